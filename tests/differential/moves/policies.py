"""Sessions, and the assertions of policies."""

import hashlib
import hmac
from typing import Any

from tests.differential.moves.move import move
from tests.differential.moves.storage import authority, selection
from tests.differential.openings import NONCE, SIZES, opening
from tests.differential.pair import Request, Split
from tests.differential.stream import Stream
from tests.scenarios import Reply
from tests.sessions import AES_128, AES_256, HASHES, NO_CIPHER, XOR_SHA256
from vtpm.spec.algorithms import TPMT_SIGNATURE, TPMT_SYM_DEF
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_EO, TPM_RH, TPM_SE, TPM_ST
from vtpm.spec.structures import TPMT_HA, TPMT_TK_AUTH, TPMT_TK_VERIFIED

A = TPM_ALG
LATER = 50
"""Milliseconds after which the first one is past for both."""

CODES = (TPM_CC.NV_Read, TPM_CC.NV_Write, TPM_CC.ObjectChangeAuth, TPM_CC.Sign, TPM_CC.Duplicate, 0x111)


@move(5)
def start(stream: Stream) -> Request:
    """A new session: maybe bound to an entity, maybe with a salt for a key."""
    kind = stream.pick([TPM_SE.HMAC, TPM_SE.HMAC, TPM_SE.POLICY, TPM_SE.POLICY, TPM_SE.TRIAL])
    symmetric = stream.pick([NO_CIPHER, AES_128, AES_256, XOR_SHA256])
    bind = stream.pick([TPM_RH.NULL] * 4 + [TPM_RH.OWNER, TPM_RH.LOCKOUT, stream.index(), stream.object()])
    tpm_key = stream.object(decrypt=True) if stream.dice.chance(0.3) else TPM_RH.NULL
    return opening(stream, kind, stream.pick(SIZES), symmetric, bind=bind, tpm_key=tpm_key)


@move(1)
def start_badly(stream: Stream) -> Request:
    """A session with something wrong in its parameters, of which the callers keep nothing if it begins."""
    pick = stream.pick
    other_modes = [TPMT_SYM_DEF(A.AES, 128, mode) for mode in (A.CTR, A.OFB, A.CBC, A.ECB)]
    given: dict[str, Any] = {
        "nonce_caller": pick([NONCE, NONCE, bytes(15), bytes(20), bytes(33), bytes(64), b""]),
        "encrypted_salt": pick([b"", b"", b"x", bytes(32), stream.dice.octets(128), bytes(384)]),
        "session_type": pick([TPM_SE.HMAC, TPM_SE.POLICY, TPM_SE.TRIAL]),
        "symmetric": pick([NO_CIPHER, AES_128, *other_modes, TPMT_SYM_DEF(A.CAMELLIA, 128, A.CFB)]),
        "auth_hash": pick(list(SIZES)),
    }
    handles = pick([TPM_RH.NULL, stream.object(), stream.object()]), pick([TPM_RH.NULL, stream.object()])

    def after(theirs: Reply, ours: Reply) -> None:
        assert theirs.session_handle == ours.session_handle
        stream.pair.forget(ours.session_handle)

    request = stream.request("start_auth_session", *handles, **given)
    request.after = after
    request.fixed = True
    return request


def session(stream: Stream) -> int:
    """A policy or trial session, or the handle of none."""
    return int(stream.pick(stream.loaded_sessions(hmac=False) or [0x03000000]))


def session_size(stream: Stream, handle: int) -> int:
    """The size of the digests of a session."""
    loaded = stream.pair.tpm.volatile.sessions.get(handle & 0xFFFFFF)
    return SIZES[loaded.hash] if loaded is not None else 32


@move(10)
def assertion(stream: Stream) -> Request:
    """An assertion that needs nothing but its parameters."""
    pick, handle = stream.pick, session(stream)
    size = session_size(stream, handle)
    digest = pick([bytes(size)] * 3 + [bytes(20), bytes(32), b""])
    known = pick([bytes(size), *stream.digests[-4:]])
    verb, given = pick(
        [
            ("policy_command_code", {"code": pick(CODES)}),
            ("policy_pcr", {"pcr_digest": pick([b"", b"", digest]), "pcrs": selection(stream)}),
            ("policy_nv_written", {"written_set": pick([True, False])}),
            ("policy_cp_hash", {"cp_hash_a": digest}),
            ("policy_name_hash", {"name_hash": digest}),
            ("policy_template", {"template_hash": digest}),
            ("policy_or", {"p_hash_list": (known, bytes(size), b"y" * size)[: pick([1, 2, 3, 3])]}),
            ("policy_or", {"p_hash_list": (bytes(20), bytes(32), bytes(48))}),
            ("policy_physical_presence", {}),
            ("policy_auth_value", {}),
            ("policy_auth_value", {}),
            ("policy_password", {}),
            ("policy_restart", {}),
            ("policy_locality", {"locality": pick([1, 2, 3, 16, 0, 31, 32, 255])}),
            (
                "policy_duplication_select",
                {"object_name": b"", "new_parent_name": b"\0\x0b" + bytes(32), "include_object": True},
            ),
        ]
    )
    return stream.request(verb, handle, **given)


@move(6)
def digest_of(stream: Stream) -> Request:
    """What a session has come to."""

    def after(_: Reply, ours: Reply) -> None:
        stream.digests.append(ours.policy_digest)

    request = stream.request("policy_get_digest", session(stream))
    request.after = after
    return request


@move(4)
def comparison(stream: Stream) -> Request:
    """PolicyNV, PolicyCounterTimer and PolicyAuthorizeNV."""
    pick, index = stream.pick, stream.index()
    if stream.dice.chance(0.2):
        return stream.request("policy_authorize_nv", authority(stream, index), index, session(stream))
    # No negative operands for the signed operations: libtpms 0.9 orders them the wrong way round.
    operand = pick([b"\0", b"\x7f", b"12345678", bytes(8), bytes(9)])
    given = {"operand_b": operand, "operation": pick(list(TPM_EO))}
    if stream.dice.chance(0.2):
        # Of the time, only the counters are the same for both.
        given["operand_b"] = pick([bytes(4), bytes(8), b"\0\0\0\1"])
        where = pick([16, 16, 16, 26, 23])
        request = stream.request("policy_counter_timer", session(stream), offset=where, **given)
        request.fixed = True
        return request
    offset = pick([0, 0, 1, 8, 9])
    return stream.request(
        "policy_nv", authority(stream, index), index, session(stream), offset=offset, **given
    )


def granted(stream: Stream, handle: int) -> dict[str, Any]:
    """What PolicySecret and PolicySigned say: a nonce, a cpHash, a reference and an expiration."""
    size = session_size(stream, handle)
    nonces = [side.sessions.get(handle) for side in stream.pair.sides]
    nonce: Any = b""
    if None not in nonces and stream.dice.chance(0.5):
        theirs, ours = nonces
        assert theirs is not None and ours is not None  # noqa: PT018 - one fact for mypy
        nonce = Split(theirs.nonce_tpm, ours.nonce_tpm)
    return {
        "nonce_tpm": stream.pick([nonce, nonce, nonce, bytes(16)]),
        "cp_hash_a": stream.pick([b"", b"", b"", bytes(size), bytes(5)]),
        "policy_ref": stream.pick([b"", b"ref"]),
        "expiration": stream.pick([0, 0, 1000, -1000, -1000]),
    }


def keep_ticket(stream: Stream, request: Request, given: dict[str, Any], name: bytes) -> Request:
    """Note the tickets of both for PolicyTicket."""

    def after(theirs: Reply, ours: Reply) -> None:
        if theirs.timeout and ours.timeout:
            entry = {"cp_hash_a": given["cp_hash_a"], "policy_ref": given["policy_ref"], "auth_name": name}
            entry["timeout"] = Split(theirs.timeout, ours.timeout)
            entry["ticket"] = Split(theirs.policy_ticket, ours.policy_ticket)
            stream.tickets.append((theirs, entry))

    request.after = after
    request.fixed = True
    return request


@move(3)
def secret(stream: Stream) -> Request:
    """PolicySecret with an entity's authorization."""
    handle = session(stream)
    entity = stream.pick([TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, stream.index(), stream.object()])
    given = granted(stream, handle)
    request = stream.request("policy_secret", entity, handle, **given)
    return keep_ticket(stream, request, given, stream.pair.own.name_of(entity))


@move(3)
def signed(stream: Stream) -> Request | None:
    """PolicySigned with an HMAC key whose value is known."""
    keys = [h for h in stream.objects() if stream.item(h).public.type is A.KEYEDHASH]
    keys = [h for h in keys if stream.item(h).sensitive is not None]
    if not stream.pair.judge.shares_seeds:
        # What one of the two has chosen itself, the other does not have.
        keys = [h for h in keys if not stream.item(h).public.object_attributes.sensitiveDataOrigin]
    if not keys:
        return None
    key, handle = stream.pick(keys), session(stream)
    given = granted(stream, handle)
    alg = stream.pick([A.SHA256, A.SHA256, A.SHA1])
    sensitive = stream.item(key).sensitive
    assert sensitive is not None
    shown, is_wrong = [], stream.dice.chance(0.05)
    for side in ("theirs", "ours"):
        nonce = given["nonce_tpm"]
        octets = getattr(nonce, side) if isinstance(nonce, Split) else nonce
        octets += (
            given["expiration"].to_bytes(4, "big", signed=True) + given["cp_hash_a"] + given["policy_ref"]
        )
        digest = hashlib.new(HASHES[alg], octets).digest()
        value = hmac.digest(bytes(sensitive.sensitive), digest, HASHES[alg])
        if is_wrong:
            value = bytes(len(value))
        shown.append(TPMT_SIGNATURE(A.HMAC, TPMT_HA(alg, value)))
    request = stream.request("policy_signed", key, handle, auth=Split(*shown), **given)
    return keep_ticket(stream, request, given, stream.item(key).name)


@move(3)
def by_ticket(stream: Stream) -> Request | None:
    """PolicyTicket and PolicyAuthorize."""
    handle = session(stream)
    if stream.tickets and stream.dice.chance(0.6):
        _, given = stream.pick(stream.tickets[-3:])
        return stream.request("policy_ticket", handle, **given)
    if stream.dice.chance(0.5):
        ticket = TPMT_TK_AUTH(stream.pick([TPM_ST.AUTH_SECRET, TPM_ST.AUTH_SIGNED]), stream.hierarchy(), b"")
        # The Time of the two is not the same to the millisecond.
        past = bytes(7) + b"\1" if stream.pair.tpm.clock.time > LATER else bytes(8)
        timeout = stream.pick([bytes(8), past, bytes(7), b"", b"\x7f" + bytes(7)])
        given = {"timeout": timeout, "cp_hash_a": b"", "policy_ref": b"", "auth_name": bytes(4)}
        return stream.request("policy_ticket", handle, ticket=ticket, **given)
    verified = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, stream.hierarchy(), None, stream.pick([b"", bytes(64)]))
    given = {"approved_policy": stream.pick([bytes(32), *stream.digests[-3:]]), "policy_ref": b""}
    name = stream.pick([b"\0\x0b" + bytes(32), b"", *[stream.item(h).name for h in stream.objects()]])
    return stream.request("policy_authorize", handle, key_sign=name, check_ticket=verified, **given)
