"""Part 3, 5.1, clauses 14 to 19: of several faults, the one that the reference code would find first."""

from dataclasses import replace

import pytest

from tests.commands.checks import (
    Arguments,
    Checks,
    Found,
    fault,
    misplaced,
)
from tests.commands.test_certificate import partial
from tests.commands.test_ephemeral import BN, OFF_CURVE, P2, S2, structure_of
from tests.commands.test_object import flipped
from tests.commands.test_rare_cases import external, nameless_point
from tests.keys import ecc_private, put, put_cipher, put_ecc, put_hmac, put_rsa, signing
from tests.objects import STORAGE_ECC, creation, handle_of
from tests.scenarios import Client
from tests.sessions import start_session
from vtpm.crypto.curves import CURVES
from vtpm.crypto.der import SEQUENCE, element
from vtpm.crypto.ecc import generator_of
from vtpm.spec.algorithms import (
    TPMS_SCHEME_HASH,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
)
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC

A, RC = TPM_ALG, TPM_RC
OWNER, NULL = TPM_RH.OWNER, TPM_RH.NULL

SHA256 = TPMS_SCHEME_HASH(A.SHA256)
KDF2 = TPMT_KDF_SCHEME(A.KDF2, SHA256)
OAEP = TPMT_RSA_DECRYPT(A.OAEP, SHA256)
RSAES = TPMT_RSA_DECRYPT(A.RSAES, None)


def rsa_encrypt(tpm: Client) -> Found:
    """14.2"""
    key = put_rsa(tpm, "decrypt", A.OAEP, A.SHA256)
    return {"key": key, "message": b"message", "in_scheme": OAEP, "label": b"label\0"}, [
        fault(RC.KEY.handle(1), key=put_ecc(tpm, "decrypt")),
        fault(RC.ATTRIBUTES.handle(1), key=put_rsa(tpm, "sign", A.RSASSA, A.SHA256)),
        fault(RC.VALUE.parameter(3), label=b"label"),
        fault(RC.SCHEME.parameter(2), in_scheme=RSAES),
        fault(RC.VALUE, message=bytes(128)),
    ]


def rsa_decrypt(tpm: Client) -> Found:
    """14.3"""
    key = put_rsa(tpm, "decrypt", A.OAEP, A.SHA256)
    text = tpm.rsa_encrypt(key, message=b"message", in_scheme=OAEP, label=b"label\0").out_data
    return {"key": key, "cipher_text": text, "in_scheme": OAEP, "label": b"label\0"}, [
        fault(RC.KEY.handle(1), key=put_ecc(tpm, "decrypt")),
        fault(RC.ATTRIBUTES.handle(1), key=put_rsa(tpm, "decrypt restricted")),
        fault(RC.VALUE.parameter(3), label=b"label"),
        fault(RC.SCHEME.parameter(2), in_scheme=RSAES),
        fault(RC.SIZE, cipher_text=bytes(127)),
        fault(RC.VALUE, cipher_text=b"\xff" * 128),
        fault(RC.VALUE, label=b"other\0"),
    ]


def ecdh_z_gen(tpm: Client) -> Found:
    """14.5"""
    return {"key": put_ecc(tpm, "decrypt"), "in_point": structure_of(ecc_private().public)}, [
        fault(RC.KEY.handle(1), key=put_rsa(tpm, "decrypt")),
        fault(RC.ATTRIBUTES.handle(1), key=put_ecc(tpm, "decrypt restricted", A.SM2)),
        fault(RC.SCHEME.handle(1), key=put_ecc(tpm, "decrypt", A.SM2)),
        fault(RC.ECC_POINT.parameter(1), in_point=OFF_CURVE),
    ]


def z_gen_2phase(tpm: Client) -> Found:
    """14.7"""
    point = structure_of(ecc_private().public)
    key = put_ecc(tpm, "decrypt")
    return {"key_a": key, "in_qs_b": point, "in_qe_b": point, "in_scheme": A.ECDH, "counter": None}, [
        fault(RC.KEY.handle(1), key_a=put_rsa(tpm, "decrypt")),
        fault(RC.ATTRIBUTES.handle(1), key_a=put_ecc(tpm, "decrypt restricted", A.SM2)),
        fault(RC.SCHEME.parameter(3), key_a=put_ecc(tpm, "decrypt", A.SM2)),
        fault(RC.ECC_POINT.parameter(1), in_qs_b=OFF_CURVE),
        fault(RC.ECC_POINT.parameter(2), in_qe_b=OFF_CURVE),
        fault(RC.VALUE.parameter(4), counter=0xFFFF),
    ]


def send_z_gen_2phase(tpm: Client, arguments: Arguments) -> int:
    """With a new ephemeral key, unless the counter is given."""
    arguments = dict(arguments)
    if arguments["counter"] is None:
        arguments["counter"] = tpm.ec_ephemeral(curve_id=TPM_ECC_CURVE.NIST_P256).counter
    return int(tpm.z_gen_2phase(**arguments).rc)


def ecc_encrypt(tpm: Client) -> Found:
    """14.8"""
    return {"key": put_ecc(tpm, "decrypt"), "plain_text": b"text", "in_scheme": KDF2}, [
        fault(RC.KEY.handle(1), key=put_rsa(tpm, "decrypt")),
        fault(RC.SCHEME.parameter(2), in_scheme=TPMT_KDF_SCHEME(A.NULL, None)),
        fault(RC.KEY.handle(1), key=external(tpm, nameless_point("sign decrypt"))),
    ]


def ecc_decrypt(tpm: Client) -> Found:
    """14.9"""
    key = put_ecc(tpm, "decrypt")
    text = tpm.ecc_encrypt(key, plain_text=b"text", in_scheme=KDF2)
    return {"key": key, "c1": text.c1, "c2": text.c2, "c3": text.c3, "in_scheme": KDF2}, [
        fault(RC.KEY.handle(1), key=put_rsa(tpm, "decrypt")),
        fault(RC.ATTRIBUTES.handle(1), key=put_ecc(tpm, "decrypt restricted")),
        fault(RC.SCHEME.parameter(4), in_scheme=TPMT_KDF_SCHEME(A.NULL, None)),
        fault(RC.ECC_POINT.parameter(1), c1=OFF_CURVE),
        fault(RC.VALUE, c3=bytes(32)),
    ]


def encrypt_decrypt(tpm: Client) -> Found:
    """15.2"""
    return cipher_faults(tpm, mode=2, iv_in=3, in_data=4)


def encrypt_decrypt2(tpm: Client) -> Found:
    """15.3"""
    return cipher_faults(tpm, mode=3, iv_in=4, in_data=1)


def cipher_faults(tpm: Client, *, mode: int, iv_in: int, in_data: int) -> Found:
    """The key and the parameters, which have these numbers."""
    key = put_cipher(tpm, mode=A.CBC)
    return {"key": key, "in_data": bytes(32), "decrypt": False, "mode": A.NULL, "iv_in": bytes(16)}, [
        fault(RC.KEY.handle(1), key=put_hmac(tpm)),
        fault(RC.ATTRIBUTES.handle(1), key=put_cipher(tpm, attributes="sign decrypt restricted")),
        fault(RC.ATTRIBUTES.handle(1), key=put_cipher(tpm, attributes="decrypt")),
        fault(RC.MODE.handle(1), key=put_cipher(tpm, mode=A.CMAC)),
        fault(RC.MODE.parameter(mode), mode=A.CFB),
        fault(RC.MODE.parameter(mode), key=put_cipher(tpm), mode=A.NULL),
        fault(RC.SIZE.parameter(iv_in), iv_in=bytes(15)),
        fault(RC.SIZE.parameter(in_data), in_data=bytes(31)),
    ]


def mac_faults(tpm: Client) -> Found:
    """The key and the scheme of a MAC."""
    return {"key": put_hmac(tpm, scheme=A.HMAC, alg=A.SHA256), "in_scheme": A.SHA256}, [
        fault(RC.TYPE.handle(1), key=put_ecc(tpm)),
        fault(RC.VALUE.parameter(2), in_scheme=A.SHA384),
        fault(RC.SCHEME.parameter(2), key=put_cipher(tpm, mode=A.CFB), in_scheme=A.NULL),
        fault(RC.ATTRIBUTES.handle(1), key=put_hmac(tpm, b"k", "sign restricted", A.HMAC, A.SHA256)),
        fault(RC.KEY.handle(1), key=put_hmac(tpm, b"k", "decrypt", A.HMAC, A.SHA256)),
    ]


def mac(tpm: Client) -> Found:
    """15.5 and 15.6"""
    good, found = mac_faults(tpm)
    return good | {"buffer": b"data"}, found


def mac_start(tpm: Client) -> Found:
    """17.2 and 17.3"""
    good, found = mac_faults(tpm)
    return good | {"auth": b""}, found


def event_sequence_complete(tpm: Client) -> Found:
    """17.9"""
    return {"pcr": 0, "sequence": tpm.hash_sequence_start(auth=b"", hash_alg=A.NULL).sequence_handle}, [
        fault(
            RC.MODE.handle(2), sequence=tpm.hash_sequence_start(auth=b"", hash_alg=A.SHA256).sequence_handle
        ),
        fault(RC.LOCALITY, pcr=17),
    ]


def send_event_sequence_complete(tpm: Client, arguments: Arguments) -> int:
    """With no more data."""
    return int(tpm.event_sequence_complete(**arguments, buffer=b"").rc)


def certify(tpm: Client) -> Found:
    """18.2"""
    good, found = attestation_faults(tpm, 2, 2)
    return good | {"certified": put_ecc(tpm)}, found


def attestation_faults(tpm: Client, handle: int, parameter: int) -> Found:
    """The key and the scheme, at these places, of any attestation."""
    return {"sign_key": put_ecc(tpm), "in_scheme": signing(A.ECDSA), "qualifying_data": b""}, [
        fault(RC.KEY.handle(handle), sign_key=put_ecc(tpm, "decrypt")),
        fault(RC.KEY.handle(handle), sign_key=put_cipher(tpm)),
        fault(RC.SCHEME.parameter(parameter), in_scheme=signing(A.RSASSA)),
        fault(RC.SCHEME.parameter(parameter), sign_key=put_rsa(tpm), in_scheme=signing(A.ECDSA)),
    ]


def certify_creation(tpm: Client) -> Found:
    """18.3"""
    reply = tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC))
    good, found = attestation_faults(tpm, 1, 3)
    ticket = reply.creation_ticket
    return good | {
        "certified": handle_of(reply),
        "creation_hash": reply.creation_hash,
        "ticket": ticket,
    }, [*found, fault(RC.TICKET.parameter(4), ticket=replace(ticket, digest=flipped(ticket.digest, 0)))]


def quote(tpm: Client) -> Found:
    """18.4"""
    good, found = attestation_faults(tpm, 1, 2)
    return good | {"pcr_select": ()}, found


def get_session_audit_digest(tpm: Client) -> Found:
    """18.5"""
    session, other = start_session(tpm), start_session(tpm)
    session.attributes, session.authorizes = TPMA_SESSION(continueSession=True, audit=True), False
    tpm.get_random(bytes_requested=1, sessions=[session]).check()
    good, found = attestation_faults(tpm, 2, 2)
    return good | {"privacy": TPM_RH.ENDORSEMENT, "session": session.handle}, [
        *found,
        fault(RC.TYPE.handle(3), session=other.handle),
    ]


def get_command_audit_digest(tpm: Client) -> Found:
    """18.6"""
    good, found = attestation_faults(tpm, 2, 2)
    return good | {"privacy": TPM_RH.ENDORSEMENT}, found


def get_time(tpm: Client) -> Found:
    """18.7"""
    return get_command_audit_digest(tpm)


def certify_x509(tpm: Client) -> Found:
    """18.8"""
    good, found = attestation_faults(tpm, 2, 2)
    del good["qualifying_data"]
    hmac = put_hmac(tpm, scheme=A.HMAC, alg=A.SHA256)
    return good | {
        "certified": put_ecc(tpm),
        "reserved": b"",
        "partial_certificate": partial("digital_signature"),
    }, [
        fault(RC.SIZE.parameter(1), reserved=b"x"),
        *found,
        fault(RC.ASYMMETRIC.handle(1), certified=put_cipher(tpm)),
        fault(RC.SIZE.parameter(3), partial_certificate=partial("digital_signature") + b"x"),
        fault(RC.VALUE.parameter(3), partial_certificate=element(SEQUENCE)),
        fault(RC.SCHEME.handle(2), sign_key=hmac, in_scheme=signing(A.HMAC)),
        fault(RC.VALUE.parameter(3), partial_certificate=partial()),
        fault(RC.ATTRIBUTES.handle(1), partial_certificate=partial("data_encipherment")),
    ]


def commit(tpm: Client) -> Found:
    """19.2"""
    key = put_ecc(tpm, "sign", A.ECDAA, curve=BN)
    item = tpm.tpm.volatile.objects[key]
    assert isinstance(item, Object)
    assert item.sensitive is not None
    nameless = put(tpm, replace(item.public, name_alg=A.NULL), item.sensitive.sensitive)
    point = structure_of(generator_of(CURVES[BN]))
    return {"sign_key": key, "p1": point, "s2": S2, "y2": P2.y_octets}, [
        fault(RC.KEY.handle(1), sign_key=put_rsa(tpm)),
        fault(RC.SCHEME.handle(1), sign_key=put_ecc(tpm, "sign decrypt", curve=BN)),
        fault(RC.SIZE.parameter(3), y2=b""),
        fault(RC.HASH.handle(1), sign_key=nameless),
        fault(RC.ECC_POINT.parameter(2), s2=S2 + b"x"),
        fault(RC.ECC_POINT.parameter(1), p1=OFF_CURVE),
    ]


CHECKS = [
    Checks("rsa_encrypt", rsa_encrypt),
    Checks("rsa_decrypt", rsa_decrypt),
    Checks("ecdh_z_gen", ecdh_z_gen),
    Checks("z_gen_2phase", z_gen_2phase, send_z_gen_2phase),
    Checks("ecc_encrypt", ecc_encrypt),
    Checks("ecc_decrypt", ecc_decrypt),
    Checks("encrypt_decrypt", encrypt_decrypt),
    Checks("encrypt_decrypt2", encrypt_decrypt2),
    Checks("mac", mac),
    Checks("mac_start", mac_start),
    Checks("event_sequence_complete", event_sequence_complete, send_event_sequence_complete),
    Checks("certify", certify),
    Checks("certify_creation", certify_creation),
    Checks("quote", quote),
    Checks("get_session_audit_digest", get_session_audit_digest),
    Checks("get_command_audit_digest", get_command_audit_digest),
    Checks("get_time", get_time),
    Checks("certify_x509", certify_x509),
    Checks("commit", commit),
]


def test_misplaced(tpm: Client) -> None:
    """In another order the faults would be reported as misplaced."""
    good, found = ecc_decrypt(tpm)
    other = Checks("ecc_decrypt", lambda _: (good, found[::-1]))

    assert "fault 1 and 3: 0x4D2 in place of 0x084" in misplaced(tpm, other)


@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: checks.faults.__name__)
def test_order(tpm: Client, checks: Checks) -> None:
    """Each fault alone has its code; of two, the first one in the order of the checks is reported."""
    assert misplaced(tpm, checks) == []
