"""Asymmetric keys: RSA encryption, commitments and the two-phase agreement, certificates."""

from typing import Any

from tests.commands.test_certificate import partial
from tests.differential.moves.cryptography import keys, scheme
from tests.differential.moves.move import move
from tests.differential.pair import Request
from tests.differential.stream import Stream
from tests.keys import NO_KDF, NO_SYMMETRIC, NULL_SIGNATURE_SCHEME, RSA_MODULUS, RSA_P, ecc_private, signing
from tests.scenarios import Reply
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_ECDAA,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_ECC_SCHEME,
    TPMT_RSA_DECRYPT,
    TPMT_RSA_SCHEME,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH, TPM_ST
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import TPMT_TK_CREATION, TPMT_TK_HASHCHECK

A = TPM_ALG
HASHES = (A.SHA1, A.SHA256, A.SHA384)
CERTIFICATES = tuple(
    partial(*usages, **options)
    for usages, options in (
        (("digital_signature",), {}),
        (("digital_signature",), {"with_algorithm": True}),
        (("key_cert_sign", "crl_sign"), {}),
        (("key_agreement", "key_encipherment"), {}),
        ((), {}),
        (("digital_signature",), {"attributes": 0x00040072}),
    )
)
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")


def rsa_public(stream: Stream, modulus: bytes, *, loaded: bool) -> TPMT_PUBLIC:
    """An RSA key of 1024 bits, for signing, for decryption, or for both."""
    pick = stream.pick
    scheme, sign, decrypt = pick(
        [
            (TPMT_RSA_SCHEME(A.NULL, None), True, True),
            (TPMT_RSA_SCHEME(A.NULL, None), False, True),
            (TPMT_RSA_SCHEME(A.RSAES, None), False, True),
            (TPMT_RSA_SCHEME(A.OAEP, TPMS_SCHEME_HASH(pick(HASHES))), False, True),
            (TPMT_RSA_SCHEME(A.RSASSA, TPMS_SCHEME_HASH(pick(HASHES))), True, False),
            (TPMT_RSA_SCHEME(A.RSAPSS, TPMS_SCHEME_HASH(pick(HASHES))), True, False),
        ]
    )
    chosen = {"sign": sign, "decrypt": decrypt, "sensitiveDataOrigin": not loaded}
    policy = pick([b"", b"", pick(stream.recipes).digest(A.SHA256)])
    return TPMT_PUBLIC(
        type=A.RSA,
        name_alg=A.SHA256,
        object_attributes=TPMA_OBJECT(userWithAuth=True, noDA=True, x509sign=False, **chosen),
        auth_policy=policy,
        parameters=TPMS_RSA_PARMS(NO_SYMMETRIC, scheme, 1024, 0),
        unique=modulus,
    )


@move(2)
def load_rsa(stream: Stream) -> Request:
    """A known RSA key."""
    public = rsa_public(stream, RSA_MODULUS.to_bytes(128, "big"), loaded=True)
    sensitive = TPMT_SENSITIVE(A.RSA, b"", b"", RSA_P.to_bytes(64, "big"))
    given: dict[str, Any] = {"in_public": public, "hierarchy": TPM_RH.NULL}
    return stream.request("load_external", in_private=stream.pick([sensitive, sensitive, None]), **given)


@move(1)
def create_rsa(stream: Stream) -> Request:
    """A primary RSA key, which the seeds make the same for both."""
    given: dict[str, Any] = {"outside_info": b"", "creation_pcr": ()}
    given["in_sensitive"] = TPMS_SENSITIVE_CREATE(stream.pick(stream.auths), b"")
    given["in_public"] = rsa_public(stream, stream.pick([b"", b"u"]), loaded=False)
    return stream.request("create_primary", stream.hierarchy(), **given)


def padding(stream: Stream) -> TPMT_RSA_DECRYPT:
    """How a message is padded: often as the key says."""
    alg = stream.pick([A.NULL, A.NULL, A.RSAES, A.OAEP, A.OAEP, A.RSASSA])
    details = TPMS_SCHEME_HASH(stream.pick(HASHES)) if alg in (A.OAEP, A.RSASSA) else None
    return TPMT_RSA_DECRYPT(alg, details)


@move(2)
def load_ecc(stream: Stream) -> Request:
    """A known ECC key, for agreement or for anonymous signatures."""
    pick = stream.pick
    curve = pick([TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.BN_P256])
    chosen, sign = pick(
        [
            (TPMT_ECC_SCHEME(A.NULL, None), False),
            (TPMT_ECC_SCHEME(A.ECDH, TPMS_SCHEME_HASH(A.SHA256)), False),
            (TPMT_ECC_SCHEME(A.ECDAA, TPMS_SCHEME_ECDAA(A.SHA256, 0)), True),
            (TPMT_ECC_SCHEME(A.NULL, None), True),
        ]
    )
    key = ecc_private(curve)
    public = TPMT_PUBLIC(
        type=A.ECC,
        name_alg=A.SHA256,
        object_attributes=TPMA_OBJECT(userWithAuth=True, noDA=True, sign=sign, decrypt=not sign),
        auth_policy=b"",
        parameters=TPMS_ECC_PARMS(NO_SYMMETRIC, chosen, curve, NO_KDF),
        unique=TPMS_ECC_POINT(key.public.x_octets, key.public.y_octets),
    )
    sensitive = TPMT_SENSITIVE(A.ECC, b"", b"", key.octets)
    return stream.request("load_external", in_private=sensitive, in_public=public, hierarchy=TPM_RH.NULL)


def ecc_key(stream: Stream, *, sign: bool) -> int:
    """An ECC key for signing or for agreement, most often one that may."""
    fit = [handle for handle in stream.objects() if stream.item(handle).public.type is A.ECC]
    fit = [handle for handle in fit if stream.item(handle).public.object_attributes.sign is sign]
    return int(stream.pick(fit)) if fit and stream.dice.chance(0.9) else keys(stream, A.ECC)


@move(3)
def encrypt_rsa(stream: Stream) -> Request:
    """Encrypt a message, and have both decrypt what either has made of it."""
    key, how = keys(stream, A.RSA), padding(stream)
    label = stream.pick([b"", b"", b"label\0", b"no end"])

    def after(theirs: Reply, ours: Reply) -> None:
        octets = stream.shown(theirs, ours).out_data
        stream.send(stream.request("rsa_decrypt", key, cipher_text=octets, in_scheme=how, label=label))

    message = stream.pick([b"message", b"", bytes(20), b"\1" * 128, b"\xff" * 128, bytes(64), b"\0\0x"])
    request = stream.request("rsa_encrypt", key, message=message, in_scheme=how, label=label)
    request.after = after
    return request


@move(1)
def decrypt_rsa(stream: Stream) -> Request:
    """Decrypt what is no cipher text."""
    octets = stream.pick([b"", bytes(128), b"\1" * 128, b"\xff" * 128, b"\1" * 127, stream.dice.octets(128)])
    given: dict[str, Any] = {"in_scheme": padding(stream), "label": stream.pick([b"", b"l\0", b"no end"])}
    return stream.request("rsa_decrypt", keys(stream, A.RSA), cipher_text=octets, **given)


def point(stream: Stream, key: int) -> TPMS_ECC_POINT:
    """A point on the key's curve most often; or another's, none, or a wrong one."""
    curve = TPM_ECC_CURVE.NIST_P256
    if key in stream.objects():
        curve = getattr(stream.item(key).public.parameters, "curve_id", curve)
    found = ecc_private(curve if curve in (3, 4, 0x10) else TPM_ECC_CURVE.NIST_P256, b"other").public
    right = TPMS_ECC_POINT(found.x_octets, found.y_octets)
    other = ecc_private(TPM_ECC_CURVE.NIST_P384).public
    wrong = TPMS_ECC_POINT(found.y_octets, found.x_octets)
    none = TPMS_ECC_POINT(b"", b"")
    foreign = TPMS_ECC_POINT(other.x_octets, other.y_octets)
    chosen: TPMS_ECC_POINT = stream.pick([right] * 5 + [none, wrong, foreign])
    return chosen


@move(2)
def agree_in_two_phases(stream: Stream) -> Request:
    """EC_Ephemeral, then ZGen_2Phase with its counter."""
    key = ecc_key(stream, sign=False)
    curve = stream.pick([TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384])

    def after(theirs: Reply, _: Reply) -> None:
        counter = theirs.counter + stream.pick([0, 0, 0, 0, 1])
        given: dict[str, Any] = {"in_qs_b": point(stream, key), "in_qe_b": point(stream, key)}
        given["in_scheme"] = stream.pick([A.ECDH, A.ECDH, A.SM2, A.ECMQV])
        stream.send(stream.request("z_gen_2phase", key, counter=counter & 0xFFFF, **given))

    request = stream.request("ec_ephemeral", curve_id=curve)
    request.after = after
    return request


@move(1)
def give_points(stream: Stream) -> Request:
    """ECDH_ZGen with points of all kinds."""
    key = ecc_key(stream, sign=False)
    return stream.request("ecdh_z_gen", key, in_point=point(stream, key))


@move(2)
def commit(stream: Stream) -> Request:
    """Commit, then Sign with the number that was committed to."""
    key = ecc_key(stream, sign=True)
    given: dict[str, Any] = {"p1": point(stream, key)}
    given["s2"], given["y2"] = stream.pick([(b"", b""), (b"", b""), (b"s", b"y"), (b"s", b""), (b"", b"y")])

    def after(theirs: Reply, _: Reply) -> None:
        count = theirs.counter + stream.pick([0, 0, 0, 1])
        how = signing(A.ECDAA, stream.pick([A.SHA256, A.SHA256, A.SHA1]), count & 0xFFFF)
        text = stream.pick([bytes(32), bytes(32), bytes(20)])
        stream.send(stream.request("sign", key, digest=text, in_scheme=how, validation=NO_TICKET))

    request = stream.request("commit", key, **given)
    request.after = after
    return request


@move(2)
def certify_x509(stream: Stream) -> Request:
    """A certificate about a key, by a key that may make certificates or not."""
    certified, signer = stream.object(), stream.object(sign=True, x509sign=stream.dice.chance(0.6))
    given: dict[str, Any] = {"reserved": stream.pick([b"", b"", b"", b"r"])}
    given["in_scheme"] = stream.pick([NULL_SIGNATURE_SCHEME, scheme(stream)])
    return stream.request(
        "certify_x509", certified, signer, partial_certificate=stream.pick(CERTIFICATES), **given
    )


@move(2)
def certify_creation(stream: Stream) -> Request | None:
    """CertifyCreation of a primary object, with the ticket that CreatePrimary has given."""
    if not stream.creations:
        return None
    name, digest, ticket = stream.pick(stream.creations[-4:])
    fit = [handle for handle in stream.objects() if stream.item(handle).name == name]
    if stream.dice.chance(0.1):
        ticket = TPMT_TK_CREATION(ticket.tag, stream.hierarchy(), ticket.digest)
    given: dict[str, Any] = {"qualifying_data": b"q", "in_scheme": scheme(stream)}
    signer = stream.pick([TPM_RH.NULL, stream.object(sign=True)])
    return stream.request(
        "certify_creation",
        signer,
        stream.pick(fit or [stream.object()]),
        creation_hash=digest,
        ticket=ticket,
        **given,
    )
