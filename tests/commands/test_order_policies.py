"""Part 3, 5.1, clauses 20 to 23: of several faults, the one that the reference code would find first."""

import hashlib
import hmac
from typing import Any

import pytest

from tests.commands.checks import Arguments, Checks, Fault, Found, fault, misplaced
from tests.commands.nv_indices import INDEX, OWNED, define
from tests.commands.test_pcr import digests, selection
from tests.keys import put_hmac, put_rsa, signing
from tests.scenarios import Client
from tests.sessions import start_session
from vtpm.spec.algorithms import TPMS_SIGNATURE_RSA, TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_EO, TPM_PT, TPM_RH, TPM_SE, TPM_ST
from vtpm.spec.structures import TPMT_HA, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from vtpm.wire.error import TPM_RC

A, RC = TPM_ALG, TPM_RC
OWNER, PLATFORM, NULL = TPM_RH.OWNER, TPM_RH.PLATFORM, TPM_RH.NULL
DIGEST, OTHER = (hashlib.sha256(text).digest() for text in (b"something", b"something else"))
SHORT = DIGEST[:-1]
REF = b"reference"
NAME = b"\0\x0b" + DIGEST
NO_TICKET = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, NULL, None, b"")
RSA_SIGNATURE = TPMT_SIGNATURE(A.RSASSA, TPMS_SIGNATURE_RSA(A.SHA256, bytes(128)))
LOCKED, UNWRITTEN = INDEX + 1, INDEX + 2


def hmac_signature(digest: bytes) -> TPMT_SIGNATURE:
    """The HMAC of a digest with the key "key"."""
    return TPMT_SIGNATURE(A.HMAC, TPMT_HA(A.SHA256, hmac.digest(b"key", digest, "sha256")))


def new_session(tpm: Client, kind: TPM_SE = TPM_SE.POLICY) -> int:
    """The handle of a policy session."""
    return start_session(tpm, kind).handle


def bound(tpm: Client) -> int:
    """A policy session for a command with a cpHash."""
    session = new_session(tpm)
    tpm.policy_cp_hash(session, cp_hash_a=OTHER).check()
    return session


def verify_signature(tpm: Client) -> Found:
    """20.2"""
    return {"key": put_hmac(tpm, b"key"), "digest": DIGEST, "signature": hmac_signature(DIGEST)}, [
        fault(RC.ATTRIBUTES.handle(1), key=put_rsa(tpm, "decrypt")),
        fault(RC.HANDLE.parameter(2), key=put_hmac(tpm, b"key", private=False)),
        fault(RC.SCHEME.parameter(2), signature=RSA_SIGNATURE),
        fault(RC.SIGNATURE.parameter(2), digest=OTHER),
    ]


def sign(tpm: Client) -> Found:
    """20.5"""
    ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, OWNER, bytes(64))
    no_ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, NULL, b"")
    scheme = signing(A.RSASSA)
    return {"key": put_rsa(tpm), "digest": DIGEST, "in_scheme": scheme, "validation": no_ticket}, [
        fault(RC.KEY.handle(1), key=put_rsa(tpm, "decrypt x509sign")),
        fault(RC.ATTRIBUTES.handle(1), key=put_rsa(tpm, "sign x509sign")),
        fault(RC.SCHEME.parameter(2), in_scheme=signing(A.ECDSA)),
        fault(RC.TICKET.parameter(3), validation=ticket),
        fault(RC.SIZE.parameter(1), digest=SHORT),
    ]


def pcr_set_auth_policy(tpm: Client) -> Found:  # noqa: ARG001 - as all
    """22.6"""
    return {"auth": PLATFORM, "auth_policy": DIGEST, "hash_alg": A.SHA256, "pcr_num": 20}, [
        fault(RC.SIZE.parameter(1), auth_policy=SHORT),
        fault(RC.VALUE.parameter(3), pcr_num=0),
    ]


def policy_signed(tpm: Client) -> Found:
    """23.3"""
    good = {
        "auth_object": put_hmac(tpm, b"key"),
        "session": new_session(tpm),
        "nonce_tpm": b"",
        "cp_hash_a": DIGEST,
        "policy_ref": REF,
        "expiration": 100,
        "auth": None,
    }
    session = bound(tpm)
    tpm.wait(2500)
    return good, [
        fault(RC.NONCE.parameter(1), nonce_tpm=bytes(16)),
        fault(RC.EXPIRED.parameter(4), expiration=1),
        fault(RC.SIZE.parameter(2), cp_hash_a=SHORT),
        fault(RC.CPHASH, session=session),
        fault(RC.SCHEME.parameter(5), auth=RSA_SIGNATURE),
        fault(RC.SIGNATURE.parameter(5), auth=hmac_signature(OTHER)),
    ]


def send_policy_signed(tpm: Client, arguments: Arguments) -> int:
    """With a signature of the arguments, unless another is given."""
    arguments = dict(arguments)
    if arguments["auth"] is None:
        signed = [arguments["nonce_tpm"], arguments["expiration"].to_bytes(4, "big")]
        signed += [arguments["cp_hash_a"], arguments["policy_ref"]]
        arguments["auth"] = hmac_signature(hashlib.sha256(b"".join(signed)).digest())
    key, session = arguments.pop("auth_object"), arguments.pop("session")
    return int(tpm.policy_signed(key, session, **arguments).rc)


def policy_secret(tpm: Client) -> Found:
    """23.4"""
    good, faults = policy_signed(tpm)
    del good["auth"]
    good["auth_handle"] = good.pop("auth_object")
    return good, faults[:-2]


def policy_ticket(tpm: Client) -> Found:
    """23.5"""
    given = {"cp_hash_a": DIGEST, "policy_ref": REF}
    granted = tpm.policy_secret(OWNER, new_session(tpm), nonce_tpm=b"", expiration=-100, **given)
    name = OWNER.to_bytes(4, "big")
    session = bound(tpm)
    tpm.wait(2500)
    good = {"session": new_session(tpm), "timeout": granted.timeout, **given}
    return good | {"auth_name": name, "ticket": granted.policy_ticket}, [
        fault(RC.ATTRIBUTES.handle(1), session=new_session(tpm, TPM_SE.TRIAL)),
        fault(RC.SIZE.parameter(1), timeout=bytes(7)),
        fault(RC.EXPIRED.parameter(1), timeout=(1000).to_bytes(8, "big")),
        fault(RC.SIZE.parameter(2), cp_hash_a=SHORT),
        fault(RC.CPHASH, session=session),
        fault(RC.TICKET.parameter(5), policy_ref=b"other"),
    ]


def policy_pcr(tpm: Client) -> Found:
    """23.7"""
    stale = new_session(tpm)
    tpm.policy_pcr(stale, pcr_digest=b"", pcrs=()).check()
    tpm.pcr_extend(0, digests=digests(b"event")).check()
    return {"session": new_session(tpm), "pcr_digest": b"", "pcrs": (selection(A.SHA256, 0),)}, [
        fault(RC.PCR_CHANGED, session=stale),
        fault(RC.VALUE.parameter(1), pcr_digest=DIGEST),
    ]


def indices(tpm: Client, data: bytes) -> None:
    """An Index that the owner reads, one that is locked, and one without data."""
    for handle in (INDEX, LOCKED, UNWRITTEN):
        define(tpm, OWNED.but(READ_STCLEAR=True), len(data), handle=handle)
        if handle != UNWRITTEN:
            tpm.nv_write(OWNER, handle, data=data, offset=0).check()
    tpm.nv_read_lock(OWNER, LOCKED).check()


def policy_nv(tpm: Client) -> Found:
    """23.9"""
    indices(tpm, b"12345678")
    good = {"auth_handle": OWNER, "nv_index": INDEX, "session": new_session(tpm)}
    return good | {"operand_b": b"12", "offset": 0, "operation": TPM_EO.EQ}, [
        fault(RC.NV_LOCKED, nv_index=LOCKED),
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.NV_UNINITIALIZED, nv_index=UNWRITTEN),
        fault(RC.VALUE.parameter(2), offset=9),
        fault(RC.SIZE.parameter(1), operand_b=bytes(9)),
        fault(RC.POLICY, operation=TPM_EO.NEQ),
    ]


def policy_authorize_nv(tpm: Client) -> Found:
    """23.22"""
    indices(tpm, b"\0\x0b" + bytes(32))
    wrong = {INDEX + 3: b"\0\x0b" + bytes(31), INDEX + 4: NAME[1:], INDEX + 5: b"\0\4" + bytes(32)}
    wrong[INDEX + 6] = NAME
    for handle, data in wrong.items():
        define(tpm, OWNED, len(data), handle=handle)
        tpm.nv_write(OWNER, handle, data=data, offset=0).check()
    return {"auth_handle": OWNER, "nv_index": INDEX, "session": new_session(tpm)}, [
        fault(RC.NV_LOCKED, nv_index=LOCKED),
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.NV_UNINITIALIZED, nv_index=UNWRITTEN),
        fault(RC.INSUFFICIENT, nv_index=INDEX + 3),
        fault(RC.HASH, nv_index=INDEX + 4),
        fault(RC.HASH, nv_index=INDEX + 5),
        fault(RC.VALUE, nv_index=INDEX + 6),
    ]


def policy_counter_timer(tpm: Client) -> Found:
    """23.10"""
    good = {"session": new_session(tpm), "operand_b": b"", "offset": 16, "operation": TPM_EO.EQ}
    return good, [
        fault(RC.VALUE.parameter(2), offset=26),
        fault(RC.RANGE, operand_b=bytes(10)),
        fault(RC.POLICY, operation=TPM_EO.NEQ),
    ]


def policy_command_code(tpm: Client) -> Found:
    """23.11"""
    session = new_session(tpm)
    tpm.policy_command_code(session, code=TPM_CC.NV_Write).check()
    return {"session": new_session(tpm), "code": TPM_CC.NV_Read}, [
        fault(RC.VALUE.parameter(1), session=session),
        Fault(RC.POLICY_CC.parameter(1), {"code": 0x20000000}),
    ]


def hash_faults(tpm: Client, argument: str) -> Found:
    """A hash of the command: first its size, then whether there is another."""
    return {"session": new_session(tpm), argument: DIGEST}, [
        fault(RC.SIZE.parameter(1), **{argument: SHORT}),
        fault(RC.CPHASH, session=bound(tpm)),
    ]


def policy_cp_hash(tpm: Client) -> Found:
    """23.13"""
    return hash_faults(tpm, "cp_hash_a")


def policy_name_hash(tpm: Client) -> Found:
    """23.14"""
    return hash_faults(tpm, "name_hash")


def policy_parameters(tpm: Client) -> Found:
    """23.24"""
    return hash_faults(tpm, "p_hash")


def policy_template(tpm: Client) -> Found:
    """23.21: here the size comes last."""
    session = new_session(tpm)
    tpm.policy_template(session, template_hash=OTHER).check()
    return {"session": new_session(tpm), "template_hash": DIGEST}, [
        fault(RC.VALUE.parameter(1), session=session),
        fault(RC.CPHASH, session=bound(tpm)),
        fault(RC.SIZE.parameter(1), template_hash=SHORT),
    ]


def policy_duplication_select(tpm: Client) -> Found:
    """23.15"""
    both, coded = bound(tpm), new_session(tpm)
    for session in (both, coded):
        tpm.policy_command_code(session, code=TPM_CC.NV_Read).check()
    good = {"session": new_session(tpm), "object_name": NAME, "new_parent_name": NAME}
    return good | {"include_object": True}, [
        fault(RC.CPHASH, session=both),
        fault(RC.COMMAND_CODE, session=coded),
    ]


def policy_authorize(tpm: Client) -> Found:
    """23.16"""
    key = put_hmac(tpm, b"key")
    signed = hashlib.sha256(bytes(32) + REF).digest()
    ticket = tpm.verify_signature(key, digest=signed, signature=hmac_signature(signed)).validation
    good: dict[str, Any] = {"approved_policy": bytes(32), "policy_ref": REF, "key_sign": tpm.name_of(key)}
    return good | {"session": new_session(tpm), "check_ticket": ticket}, [
        fault(RC.SIZE.parameter(3), key_sign=b"\0"),
        fault(RC.HASH.parameter(3), key_sign=b"\0\x10" + DIGEST),
        fault(RC.SIZE.parameter(3), key_sign=NAME[:-1]),
        fault(RC.VALUE.parameter(1), approved_policy=DIGEST),
        fault(RC.VALUE.parameter(4), check_ticket=NO_TICKET),
    ]


def policy_capability(tpm: Client) -> Found:
    """23.23"""
    good = {"session": new_session(tpm), "operand_b": b"", "offset": 0, "operation": TPM_EO.EQ}
    return good | {"capability": TPM_CAP.TPM_PROPERTIES, "property": TPM_PT.REVISION}, [
        fault(RC.VALUE.parameter(4), capability=TPM_CAP.PCRS),
        fault(RC.HANDLE.parameter(5), capability=TPM_CAP.HANDLES, property=0x10000000),
        fault(RC.VALUE.parameter(5), capability=TPM_CAP.AUTH_POLICIES),
        fault(RC.VALUE.parameter(2), offset=9),
        fault(RC.SIZE.parameter(1), operand_b=bytes(9)),
        fault(RC.POLICY, operation=TPM_EO.NEQ),
    ]


def policy_transport_spdm(tpm: Client) -> Found:
    """23.25"""
    session = new_session(tpm)
    tpm.policy_transport_spdm(session, req_key_name=b"", tpm_key_name=b"").check()
    return {"session": new_session(tpm), "req_key_name": NAME, "tpm_key_name": NAME}, [
        fault(RC.VALUE, session=session),
        fault(RC.SIZE.parameter(1), req_key_name=b"x"),
        fault(RC.HASH.parameter(1), req_key_name=b"\0\x10" + DIGEST),
        fault(RC.SIZE.parameter(2), tpm_key_name=NAME[:-1]),
    ]


CHECKS = [
    Checks("verify_signature", verify_signature),
    Checks("sign", sign),
    Checks("pcr_set_auth_policy", pcr_set_auth_policy),
    Checks("policy_signed", policy_signed, send_policy_signed),
    Checks("policy_secret", policy_secret),
    Checks("policy_ticket", policy_ticket),
    Checks("policy_pcr", policy_pcr),
    Checks("policy_nv", policy_nv),
    Checks("policy_authorize_nv", policy_authorize_nv),
    Checks("policy_counter_timer", policy_counter_timer),
    Checks("policy_command_code", policy_command_code),
    Checks("policy_cp_hash", policy_cp_hash),
    Checks("policy_name_hash", policy_name_hash),
    Checks("policy_parameters", policy_parameters),
    Checks("policy_template", policy_template),
    Checks("policy_duplication_select", policy_duplication_select),
    Checks("policy_authorize", policy_authorize),
    Checks("policy_capability", policy_capability),
    Checks("policy_transport_spdm", policy_transport_spdm),
]


@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: checks.faults.__name__)
def test_order(tpm: Client, checks: Checks) -> None:
    """Each fault alone has its code; of two, the first one in the order of the checks is reported."""
    assert misplaced(tpm, checks) == []
