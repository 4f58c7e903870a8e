"""Digests, sequences, signatures, ciphers and attestations."""

from typing import Any

from tests.differential.moves.move import move
from tests.differential.moves.storage import authority, selection
from tests.differential.openings import SIZES
from tests.differential.pair import Request
from tests.differential.stream import Stream
from tests.keys import NULL_SIGNATURE_SCHEME
from tests.scenarios import Reply
from vtpm.spec.algorithms import TPMS_SCHEME_ECDAA, TPMS_SCHEME_HASH, TPMT_SIG_SCHEME
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE, TPM_RH, TPM_ST
from vtpm.spec.structures import TPMT_TK_CREATION, TPMT_TK_HASHCHECK

A = TPM_ALG
TEXTS = (b"", b"abc", b"\xffTCG and more", b"\xffTC", bytes(64), bytes(200), bytes(1024))
SIGN = {"sign": True}
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")


def keys(stream: Stream, kind: TPM_ALG) -> int:
    """A key of a kind, mostly."""
    fit = [h for h in stream.objects() if stream.item(h).public.type is kind]
    return int(stream.pick(fit)) if fit and stream.dice.chance(0.95) else stream.object()


def scheme(stream: Stream) -> TPMT_SIG_SCHEME:
    """A signature scheme: often the key's own."""
    alg = stream.pick([A.NULL, A.NULL, A.ECDSA, A.HMAC, A.RSASSA, A.RSAPSS, A.ECDAA, A.ECSCHNORR, A.SM2])
    if alg is A.NULL:
        return NULL_SIGNATURE_SCHEME
    hash_alg = stream.pick(SIZES)
    details: Any = TPMS_SCHEME_ECDAA(hash_alg, 1) if alg is A.ECDAA else TPMS_SCHEME_HASH(hash_alg)
    return TPMT_SIG_SCHEME(alg, details)


@move(4)
def digest(stream: Stream) -> Request:
    """Part 3, 15.4."""
    given = {"hash_alg": stream.pick(SIZES), "hierarchy": stream.hierarchy()}
    return stream.request("hash", data=stream.pick(TEXTS), **given)


@move(4)
def mac(stream: Stream) -> Request:
    """Part 3, 15.5 and 17.2."""
    key, alg = keys(stream, A.KEYEDHASH), stream.pick([A.NULL, A.SHA256, A.SHA1, A.SHA512])
    if stream.dice.chance(0.4):
        return stream.request("mac_start", key, auth=stream.pick(stream.auths), in_scheme=alg)
    return stream.request("mac", key, buffer=stream.pick(TEXTS), in_scheme=alg)


@move(2)
def begin_sequence(stream: Stream) -> Request:
    """Part 3, 17.3."""
    alg = stream.pick([A.NULL, *SIZES])
    return stream.request("hash_sequence_start", auth=stream.pick(stream.auths), hash_alg=alg)


@move(4)
def go_on(stream: Stream) -> Request:
    """More octets for a sequence, or its end."""
    text = stream.pick(TEXTS)
    way = stream.pick(["sequence_update", "sequence_update", "sequence_complete", "event_sequence_complete"])
    if way == "event_sequence_complete":
        return stream.request(way, stream.pick([TPM_RH.NULL, 16, 23, 17, 20]), stream.sequence(), buffer=text)
    if way == "sequence_complete":
        return stream.request(way, stream.sequence(), buffer=text, hierarchy=stream.hierarchy())
    return stream.request(way, stream.sequence(), buffer=text)


@move(4)
def sign(stream: Stream) -> Request:
    """Sign a digest, and have both verify the signature of either."""
    key = stream.object(sign=True)
    text = stream.pick([bytes(20), bytes(32), bytes(48), bytes(64), b""])

    def after(theirs: Reply, ours: Reply) -> None:
        shown = stream.shown(theirs, ours).signature
        stream.send(stream.request("verify_signature", key, digest=text, signature=shown))

    request = stream.request("sign", key, digest=text, in_scheme=scheme(stream), validation=NO_TICKET)
    request.after = after
    return request


@move(3)
def cipher(stream: Stream) -> Request:
    """Part 3, 15.2 and 15.3."""
    mode = stream.pick([A.NULL, A.NULL, A.CFB, A.CTR, A.CBC, A.ECB, A.OFB])
    given = {
        "decrypt": stream.pick([True, False]),
        "mode": mode,
        "iv_in": stream.pick([bytes(16), b"", b"i"]),
    }
    verb = stream.pick(["encrypt_decrypt", "encrypt_decrypt2"])
    text = stream.pick([b"", bytes(16), bytes(64), bytes(33), bytes(1024)])
    return stream.request(verb, keys(stream, A.SYMCIPHER), in_data=text, **given)


@move(4)
def attest(stream: Stream) -> Request:
    """Attestations of all kinds."""
    signer, index = stream.pick([TPM_RH.NULL, stream.object(**SIGN)]), stream.index()
    given: dict[str, Any] = {"qualifying_data": stream.pick([b"", b"q"]), "in_scheme": scheme(stream)}
    privacy = stream.pick([TPM_RH.ENDORSEMENT, TPM_RH.ENDORSEMENT, TPM_RH.OWNER])
    session = stream.pick(stream.loaded_sessions(hmac=True) or [0x02000000])
    ticket = TPMT_TK_CREATION(TPM_ST.CREATION, stream.hierarchy(), stream.pick([b"", bytes(64)]))
    verb, handles, more = stream.pick(
        [
            ("certify", (stream.object(), signer), {}),
            ("quote", (signer,), {"pcr_select": selection(stream)}),
            ("get_time", (privacy, signer), {}),
            ("get_session_audit_digest", (privacy, signer, session), {}),
            ("get_command_audit_digest", (privacy, signer), {}),
            (
                "nv_certify",
                (signer, authority(stream, index), index),
                {"size": stream.pick([8, 8, 0, 20]), "offset": stream.pick([0, 0, 4])},
            ),
            ("certify_creation", (signer, stream.object()), {"creation_hash": bytes(32), "ticket": ticket}),
        ]
    )
    return stream.request(verb, *handles, **given, **more)


@move(1)
def agreement(stream: Stream) -> Request:
    """Keys of elliptic curves."""
    key = keys(stream, A.ECC)
    curve = stream.pick([TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384, TPM_ECC_CURVE.BN_P256])
    way = stream.pick(["ecdh_key_gen", "ecdh_key_gen", "ecc_parameters", "ec_ephemeral"])
    if way != "ecdh_key_gen":
        return stream.request(way, curve_id=curve)

    def after(theirs: Reply, ours: Reply) -> None:
        point = stream.shown(theirs, ours).pub_point
        stream.send(stream.request("ecdh_z_gen", key, in_point=point))

    request = stream.request(way, key)
    request.after = after
    return request


@move(1)
def audit(stream: Stream) -> Request:
    """Which commands are audited."""
    codes = (TPM_CC.Hash, TPM_CC.NV_Read, TPM_CC.PCR_Extend, TPM_CC.Clear, TPM_CC.Shutdown)
    chosen = tuple(code for code in codes if stream.dice.chance(0.3))
    alg = stream.pick([A.NULL, A.NULL, A.NULL, A.SHA256, A.SHA1])
    lists: dict[str, Any] = {"set_list": chosen, "clear_list": ()} if stream.dice.chance(0.5) else {}
    lists = lists or {"set_list": (), "clear_list": chosen}
    by = stream.pick([TPM_RH.OWNER, TPM_RH.PLATFORM])
    return stream.request("set_command_code_audit_status", by, audit_alg=alg, **lists)
