"""Part 3, clause 20: signing and signature verification."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from tests.keys import (
    NULL_SIGNATURE_SCHEME,
    RSA_MODULUS,
    ecc_private,
    put_cipher,
    put_ecc,
    put_hmac,
    put_rsa,
    signing,
    with_attributes,
)
from tests.libtpms import by_name, put_areas, put_external, recorded_tpm, vectors
from tests.scenarios import Client, Reply
from vtpm.crypto import ecc
from vtpm.crypto.curves import CURVES
from vtpm.crypto.ecc import combination, generator_of, point_of
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH, TPM_ST
from vtpm.spec.structures import TPMT_HA, TPMT_TK_HASHCHECK
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")
DIGEST = hashlib.sha256(b"message").digest()
SIGNED = by_name("crypto-commands.json", "Sign with HMAC", "Sign RSASSA")
VERIFICATIONS = by_name("commands-deterministic.json", "VerifySignature")
RSA_PUBLIC = rsa.RSAPublicNumbers(65537, RSA_MODULUS).public_key()
NIST_CURVES = [TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384, TPM_ECC_CURVE.NIST_P521]
ECC_PUBLIC = TPM_ECC_CURVE.NIST_P256


def sign(tpm: Client, key: int, scheme: TPMT_SIG_SCHEME, digest: bytes = DIGEST, **options: Any) -> Reply:
    """Sign a digest, without a ticket unless one is given."""
    options.setdefault("validation", NO_TICKET)
    return tpm.sign(key, digest=digest, in_scheme=scheme, **options)


def loading(name: str) -> dict[str, Any]:
    """The recorded command that loads the key of a later one."""
    loads: list[dict[str, Any]] = []
    for vector in vectors("crypto-commands.json"):
        if {"in_private", "load_private", "load_command"} & vector.keys():
            loads.append(vector)
        if vector["name"] == name:
            break
    return loads[-1]


class TestSign:
    """Part 3, 20.5"""

    @pytest.mark.parametrize("name", SIGNED)
    def test_recorded(self, name: str) -> None:
        """HMAC and RSASSA signatures, which are deterministic, are those of another TPM."""
        tpm, load = recorded_tpm(), loading(name)
        public, private = (load.get(f"in_{area}") or load[f"load_{area}"] for area in ("public", "private"))
        key = put_areas(tpm, bytes.fromhex(public), bytes.fromhex(private))
        with_attributes(tpm, key, sign=True)

        response = tpm.send(bytes.fromhex(SIGNED[name]["command"]))

        assert SIGNED[name]["signature"] in response[14:-5].hex()

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA512])
    def test_rsapss(self, tpm: Client, alg: TPM_ALG) -> None:
        """RSAPSS has as long a salt as fits, but no longer than the digest."""
        digest = hashlib.new(alg.name, b"message").digest()
        reply = sign(tpm, put_rsa(tpm), signing(TPM_ALG.RSAPSS, alg), digest)

        kind = getattr(hashes, alg.name)()
        salt = min(len(digest), 128 - len(digest) - 2)
        scheme = padding.PSS(padding.MGF1(kind), salt)
        RSA_PUBLIC.verify(reply.signature.signature.sig, digest, scheme, utils.Prehashed(kind))

    @pytest.mark.parametrize("curve", NIST_CURVES)
    def test_ecdsa(self, tpm: Client, curve: TPM_ECC_CURVE) -> None:
        """ECDSA, with both numbers as long as the order of the curve."""
        key, alg = put_ecc(tpm, curve=curve), TPM_ALG.SHA384
        digest = hashlib.sha384(b"message").digest()

        signature = sign(tpm, key, signing(TPM_ALG.ECDSA, alg), digest).signature.signature

        numbers = [int.from_bytes(part, "big") for part in (signature.signature_r, signature.signature_s)]
        assert len(signature.signature_r) == len(signature.signature_s) == CURVES[curve].size
        public = ecc_private(curve).openssl.public_key()
        scheme = ec.ECDSA(utils.Prehashed(hashes.SHA384()))
        public.verify(utils.encode_dss_signature(*numbers), digest, scheme)

    @pytest.mark.parametrize(
        ("scheme", "curve"),
        [
            (TPM_ALG.ECSCHNORR, TPM_ECC_CURVE.NIST_P256),
            (TPM_ALG.ECSCHNORR, TPM_ECC_CURVE.BN_P256),
            (TPM_ALG.SM2, TPM_ECC_CURVE.SM2_P256),
            (TPM_ALG.ECDSA, TPM_ECC_CURVE.BN_P256),
            (TPM_ALG.ECDSA, TPM_ECC_CURVE.BP_P256_R1),
        ],
    )
    def test_verifiable(self, tpm: Client, scheme: TPM_ALG, curve: TPM_ECC_CURVE) -> None:
        """VerifySignature accepts what Sign made, and nothing else."""
        key = put_ecc(tpm, curve=curve)
        signature = sign(tpm, key, signing(scheme)).signature

        assert tpm.verify_signature(key, digest=DIGEST, signature=signature).rc == TPM_RC.SUCCESS
        other = tpm.verify_signature(key, digest=DIGEST[::-1], signature=signature)
        assert TPM_RC.SIGNATURE.parameter(2) == other.rc

    def test_ecdaa(self, tpm: Client) -> None:
        """The number that Commit committed to is used once: s = r + T d, with T of the nonce and digest."""
        curve = CURVES[TPM_ECC_CURVE.BN_P256]
        key = put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=curve.id)
        no_point = TPMS_ECC_POINT(b"", b"")
        committed = tpm.commit(key, p1=no_point, s2=b"", y2=b"")
        scheme = signing(TPM_ALG.ECDAA, count=committed.counter)

        signature = sign(tpm, key, scheme).signature.signature

        nonce, s = signature.signature_r, int.from_bytes(signature.signature_s, "big")
        t = int.from_bytes(hashlib.sha256(nonce + DIGEST).digest(), "big")
        public = ecc_private(curve.id).public
        found = combination((s, generator_of(curve)), (-t, public))
        assert point_of(curve.id, committed.e.x, committed.e.y) == found
        assert sign(tpm, key, scheme).rc == TPM_RC.VALUE

    def test_miscalculated(self, tpm: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """A point that the TPM has miscalculated puts it in failure mode; nothing leaves."""
        key = put_ecc(tpm, "sign", TPM_ALG.ECSCHNORR, curve=TPM_ECC_CURVE.BN_P256)
        double = ecc._double
        monkeypatch.setattr(ecc, "_double", lambda *given: (double(*given)[0] + 1, *double(*given)[1:]))

        assert sign(tpm, key, signing(TPM_ALG.NULL)).rc == TPM_RC.FAILURE

    def test_ecdaa_needs_count(self, tpm: Client) -> None:
        """A key with an anonymous scheme needs the caller's scheme, for its counter."""
        key = put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=TPM_ECC_CURVE.BN_P256)

        assert TPM_RC.SCHEME.parameter(2) == sign(tpm, key, NULL_SIGNATURE_SCHEME).rc
        wrong = signing(TPM_ALG.ECDAA, TPM_ALG.SHA1)
        assert TPM_RC.SCHEME.parameter(2) == sign(tpm, key, wrong, bytes(20)).rc
        assert sign(tpm, key, signing(TPM_ALG.ECDAA, count=7)).rc == TPM_RC.VALUE

    @pytest.mark.parametrize(
        ("own", "asked", "expected"),
        [
            (None, signing(TPM_ALG.RSASSA), TPM_RC.SUCCESS),
            (None, signing(TPM_ALG.RSAPSS), TPM_RC.SUCCESS),
            (None, NULL_SIGNATURE_SCHEME, TPM_RC.SCHEME.parameter(2)),
            (None, signing(TPM_ALG.ECDSA), TPM_RC.SCHEME.parameter(2)),
            (None, signing(TPM_ALG.HMAC), TPM_RC.SCHEME.parameter(2)),
            (TPM_ALG.RSASSA, NULL_SIGNATURE_SCHEME, TPM_RC.SUCCESS),
            (TPM_ALG.RSASSA, signing(TPM_ALG.RSASSA), TPM_RC.SUCCESS),
            (TPM_ALG.RSASSA, signing(TPM_ALG.RSAPSS), TPM_RC.SCHEME.parameter(2)),
            (TPM_ALG.RSASSA, signing(TPM_ALG.RSASSA, TPM_ALG.SHA3_256), TPM_RC.SCHEME.parameter(2)),
        ],
    )
    def test_scheme(self, tpm: Client, own: TPM_ALG | None, asked: TPMT_SIG_SCHEME, expected: int) -> None:
        """The scheme is the key's, or else the caller's; they must not clash."""
        key = put_rsa(tpm, "sign", own, TPM_ALG.SHA256) if own else put_rsa(tpm)

        assert expected == sign(tpm, key, asked).rc

    def test_key(self, tpm: Client) -> None:
        """The key must be able to sign, and be no symmetric cipher and no sequence."""
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
        for key in (put_rsa(tpm, "decrypt"), put_cipher(tpm, attributes="sign"), sequence):
            assert TPM_RC.KEY.handle(1) == sign(tpm, key, signing(TPM_ALG.RSASSA)).rc

    def test_x509(self, tpm: Client) -> None:
        """A key for certificates signs nothing else."""
        key = put_rsa(tpm, "sign x509sign")

        assert TPM_RC.ATTRIBUTES.handle(1) == sign(tpm, key, signing(TPM_ALG.RSASSA)).rc

    @pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
    def test_digest_size(self, tpm: Client, size: int) -> None:
        """The digest must be as long as the scheme's hash makes it."""
        key = put_rsa(tpm)

        assert TPM_RC.SIZE.parameter(1) == sign(tpm, key, signing(TPM_ALG.RSASSA), bytes(size)).rc

    def test_public_only(self, tpm: Client) -> None:
        """Without its private part, a key authorizes nothing."""
        key = put_rsa(tpm, private=False)

        assert sign(tpm, key, signing(TPM_ALG.RSASSA)).rc == TPM_RC.AUTH_UNAVAILABLE


class TestTicket:
    """Part 3, 20.5: a restricted key signs only what the TPM hashed"""

    @pytest.fixture
    def restricted(self, tpm: Client) -> int:
        """A restricted signing key."""
        return put_ecc(tpm, "sign restricted", TPM_ALG.ECDSA)

    def test_good(self, tpm: Client, restricted: int) -> None:
        """A digest with its ticket is signed."""
        hashed = tpm.hash(data=b"data", hash_alg=TPM_ALG.SHA256, hierarchy=TPM_RH.OWNER)

        reply = sign(tpm, restricted, NULL_SIGNATURE_SCHEME, hashed.out_hash, validation=hashed.validation)

        verified = tpm.verify_signature(restricted, digest=hashed.out_hash, signature=reply.signature)
        assert verified.rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("data", [b"\xffTCG is the TPM's own", b"data"])
    def test_missing(self, tpm: Client, restricted: int, data: bytes) -> None:
        """Without a ticket nothing is signed; there is none for what begins with TPM_GENERATED_VALUE."""
        hierarchy = TPM_RH.OWNER if data.startswith(b"\xff") else TPM_RH.NULL
        hashed = tpm.hash(data=data, hash_alg=TPM_ALG.SHA256, hierarchy=hierarchy)

        reply = sign(tpm, restricted, NULL_SIGNATURE_SCHEME, hashed.out_hash, validation=hashed.validation)

        assert TPM_RC.TICKET.parameter(3) == reply.rc

    def test_of_another_digest(self, tpm: Client, restricted: int) -> None:
        """A ticket is for one digest."""
        hashed = tpm.hash(data=b"data", hash_alg=TPM_ALG.SHA256, hierarchy=TPM_RH.OWNER)

        reply = sign(tpm, restricted, NULL_SIGNATURE_SCHEME, DIGEST, validation=hashed.validation)

        assert TPM_RC.TICKET.parameter(3) == reply.rc

    def test_of_another_algorithm(self, tpm: Client) -> None:
        """A ticket is for the algorithm that made the digest."""
        key = put_ecc(tpm)
        hashed = tpm.hash(data=b"data", hash_alg=TPM_ALG.SHA256, hierarchy=TPM_RH.OWNER)
        scheme = signing(TPM_ALG.ECDSA, TPM_ALG.SHA3_256)

        reply = sign(tpm, key, scheme, hashed.out_hash, validation=hashed.validation)

        assert TPM_RC.TICKET.parameter(3) == reply.rc

    def test_is_checked_anyway(self, tpm: Client) -> None:
        """A ticket that an unrestricted key does not need must be right nevertheless."""
        ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.OWNER, bytes(64))

        reply = sign(tpm, put_ecc(tpm), signing(TPM_ALG.ECDSA), validation=ticket)

        assert TPM_RC.TICKET.parameter(3) == reply.rc

    def test_missing_hierarchy(self, tpm: Client) -> None:
        """A ticket cannot be of a hierarchy that the TPM does not have."""
        ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.SVN_OWNER_BASE + 1, bytes(64))

        reply = sign(tpm, put_ecc(tpm), signing(TPM_ALG.ECDSA), validation=ticket)

        assert TPM_RC.SVN_LIMITED.parameter(3) == reply.rc

    def test_of_null_hierarchy(self, tpm: Client, restricted: int) -> None:
        """The proof of the null hierarchy makes no tickets that a caller could have."""
        ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, bytes(64))

        reply = sign(tpm, restricted, NULL_SIGNATURE_SCHEME, validation=ticket)

        assert TPM_RC.TICKET.parameter(3) == reply.rc


def rsa_signature(octets: bytes, scheme: TPM_ALG = TPM_ALG.RSASSA) -> TPMT_SIGNATURE:
    """An RSA signature with SHA-256."""
    return TPMT_SIGNATURE(scheme, TPMS_SIGNATURE_RSA(TPM_ALG.SHA256, octets))


def ecc_signature(r: bytes, s: bytes, scheme: TPM_ALG = TPM_ALG.ECDSA) -> TPMT_SIGNATURE:
    """An ECC signature with SHA-256."""
    return TPMT_SIGNATURE(scheme, TPMS_SIGNATURE_ECC(TPM_ALG.SHA256, r, s))


HMAC_SIGNATURE = TPMT_SIGNATURE(
    TPM_ALG.HMAC, TPMT_HA(TPM_ALG.SHA256, hmac.digest(b"hmac key", DIGEST, "sha256"))
)
ORDER = CURVES[TPM_ECC_CURVE.NIST_P256].n.to_bytes(32, "big")


class TestVerifySignature:
    """Part 3, 20.2"""

    @pytest.mark.parametrize("name", VERIFICATIONS)
    def test_recorded(self, name: str) -> None:
        """Signatures from elsewhere are verified; the tickets are those of a TPM with the same proofs."""
        tpm, load = recorded_tpm(), None
        for vector in vectors("commands-deterministic.json"):
            if vector["name"] == name:
                break
            load = vector
        assert load is not None
        put_external(tpm, bytes.fromhex(load["command"]))

        assert (
            VERIFICATIONS[name]["response"] == tpm.send(bytes.fromhex(VERIFICATIONS[name]["command"])).hex()
        )

    def test_hmac(self, tpm: Client) -> None:
        """An HMAC needs the key's secret."""
        key, public = put_hmac(tpm), put_hmac(tpm, private=False)

        assert tpm.verify_signature(key, digest=DIGEST, signature=HMAC_SIGNATURE).rc == TPM_RC.SUCCESS
        without = tpm.verify_signature(public, digest=DIGEST, signature=HMAC_SIGNATURE)
        other = tpm.verify_signature(key, digest=DIGEST[1:], signature=HMAC_SIGNATURE)
        assert [TPM_RC.HANDLE.parameter(2), TPM_RC.SIGNATURE.parameter(2)] == [without.rc, other.rc]

    @pytest.mark.parametrize(
        ("alg", "expected"),
        [(TPM_ALG.SHA256, TPM_RC.SUCCESS), (TPM_ALG.SHA1, TPM_RC.SIGNATURE.parameter(2))],
    )
    def test_hmac_of_another_hash(self, tpm: Client, alg: TPM_ALG, expected: int) -> None:
        """A key with a scheme verifies no signature of another hash, right as it may be."""
        key = put_hmac(tpm, scheme=TPM_ALG.HMAC, alg=alg)

        assert expected == tpm.verify_signature(key, digest=DIGEST, signature=HMAC_SIGNATURE).rc

    @pytest.mark.parametrize(
        "signature",
        [
            rsa_signature(bytes(128)),
            rsa_signature(b""),
            rsa_signature(bytes(127) + b"\x01"),
            rsa_signature(RSA_MODULUS.to_bytes(128, "big")),
            rsa_signature(b"\xff" * 129),
            rsa_signature(b"\x01" * 128, TPM_ALG.RSAPSS),
            rsa_signature(b"\x01" * 12, TPM_ALG.RSAPSS),
        ],
    )
    def test_wrong_rsa(self, tpm: Client, signature: TPMT_SIGNATURE) -> None:
        """No other octets are the key's signature."""
        reply = tpm.verify_signature(put_rsa(tpm), digest=DIGEST, signature=signature)

        assert TPM_RC.SIGNATURE.parameter(2) == reply.rc

    @pytest.mark.parametrize("scheme", [TPM_ALG.ECDSA, TPM_ALG.ECSCHNORR, TPM_ALG.SM2])
    @pytest.mark.parametrize(
        ("r", "s"),
        [
            (b"", b""),
            (b"\x01", b""),
            (bytes(32), b"\x01"),
            (ORDER, b"\x01"),
            (b"\x01", ORDER),
            (b"\x01" * 48, b"\x02"),
        ],
    )
    def test_wrong_ecc(self, tpm: Client, scheme: TPM_ALG, r: bytes, s: bytes) -> None:
        """Numbers out of range are no signature, and neither are others."""
        reply = tpm.verify_signature(put_ecc(tpm), digest=DIGEST, signature=ecc_signature(r, s, scheme))

        assert TPM_RC.SIGNATURE.parameter(2) == reply.rc

    @pytest.mark.parametrize(
        "curve",
        [TPM_ECC_CURVE.NIST_P192, TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P521, TPM_ECC_CURVE.BN_P256],
    )
    @pytest.mark.parametrize("size", [0, 1, 20, 33, 64])
    def test_digest_of_any_size(self, tpm: Client, curve: TPM_ECC_CURVE, size: int) -> None:
        """ECDSA takes the leftmost bits of a digest, as many as the order has (FIPS 186-4, 6.4)."""
        key, nonce, order = ecc_private(curve), ecc_private(curve, b"nonce"), CURVES[curve].n
        digest = bytes(range(0x80, 0x80 + size))
        e = int.from_bytes(digest, "big") >> max(0, 8 * size - order.bit_length())
        r = nonce.public.x % order
        s = pow(nonce.d, -1, order) * (e + r * key.d) % order
        right, wrong = (
            ecc_signature(r.to_bytes(66, "big"), number.to_bytes(66, "big")) for number in (s, s ^ 1)
        )
        handle = put_ecc(tpm, curve=curve, private=False)

        replies = [tpm.verify_signature(handle, digest=digest, signature=x) for x in (right, wrong)]

        assert [TPM_RC.SUCCESS, TPM_RC.SIGNATURE.parameter(2)] == [reply.rc for reply in replies]

    @pytest.mark.parametrize(
        ("put", "signature"),
        [
            (put_rsa, ecc_signature(b"\x01", b"\x01")),
            (put_rsa, HMAC_SIGNATURE),
            (put_ecc, rsa_signature(bytes(128))),
            (put_ecc, HMAC_SIGNATURE),
            (put_ecc, ecc_signature(b"\x01", b"\x01", TPM_ALG.ECDAA)),
            (put_hmac, rsa_signature(bytes(128))),
        ],
    )
    def test_wrong_scheme(self, tpm: Client, put: Any, signature: TPMT_SIGNATURE) -> None:
        """A signature must be of a scheme that the key's type has and that can be verified."""
        reply = tpm.verify_signature(put(tpm), digest=DIGEST, signature=signature)

        assert TPM_RC.SCHEME.parameter(2) == reply.rc

    def test_key(self, tpm: Client) -> None:
        """The key must be a signing key."""
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
        for key in (put_rsa(tpm, "decrypt"), sequence):
            reply = tpm.verify_signature(key, digest=DIGEST, signature=rsa_signature(bytes(128)))
            assert TPM_RC.ATTRIBUTES.handle(1) == reply.rc

    def test_ticket(self, tpm: Client) -> None:
        """The ticket is an HMAC with the proof of the key's hierarchy; the null hierarchy gives none."""
        for hierarchy in (TPM_RH.ENDORSEMENT, TPM_RH.NULL):
            key = put_ecc(tpm, hierarchy=hierarchy)
            signature = sign(tpm, key, signing(TPM_ALG.ECDSA)).signature
            ticket = tpm.verify_signature(key, digest=DIGEST, signature=signature).validation

            proof, name = tpm.tpm.proof_of(hierarchy), tpm.name_of(key)
            expected = hmac.digest(proof, b"\x80\x22" + DIGEST + name, "sha512")
            assert hierarchy == ticket.hierarchy
            assert (b"" if hierarchy == TPM_RH.NULL else expected) == ticket.hmac

    def test_changed_attributes(self, tpm: Client) -> None:
        """It is sign that matters, not what the key did before."""
        key = put_rsa(tpm)
        signature = sign(tpm, key, signing(TPM_ALG.RSASSA)).signature
        assert len(marshal(signature)) == 2 + 2 + 2 + 128
        with_attributes(tpm, key, sign=False)

        reply = tpm.verify_signature(key, digest=DIGEST, signature=signature)

        assert TPM_RC.ATTRIBUTES.handle(1) == reply.rc
