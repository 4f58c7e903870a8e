"""Part 1, "Primary Key Creation" and "Derivation": a seed gives the key that libtpms gives, bit for bit."""

from typing import Any

import pytest

from tests.crypto.published import content, dealing, label, octets, vectors
from vtpm.crypto.digest import digest, digest_size, hmac_digest
from vtpm.crypto.drbg import DerivationGenerator, LabelGenerator, RandomGenerator
from vtpm.crypto.ecc import generated_key
from vtpm.crypto.rsa import derived_key
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMS_SYMCIPHER_PARMS
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
)
from vtpm.wire.structure import unmarshal

LABEL = b"Primary Object Creation\0"
SEEDS = {name: bytes.fromhex(seed) for name, seed in content("crypto/primary-derivation")["seeds"].items()}
SEED_OF = {TPM_RH.ENDORSEMENT: "EPSeed", TPM_RH.OWNER: "SPSeed", TPM_RH.PLATFORM: "PPSeed"}

PRIMARIES = vectors("crypto/primary-derivation")
DERIVED = content("crypto/derived-objects")


class Counting:
    """A generator that counts its requests."""

    def __init__(self, vector: dict[str, Any]) -> None:
        template, data = octets(vector, "template_TPMT_PUBLIC", "sensitive_data")
        self.public = unmarshal(TPMT_PUBLIC, template)
        self.hierarchy = TPM_RH(int(vector["hierarchy"], 16))
        alg = self.public.name_alg
        name = alg.to_bytes(2, "big") + digest(alg, template)
        assert name.hex() == vector["drbg_seed_material_suffix_name"]
        self.requests = 0
        self.drbg = DerivationGenerator(SEEDS[SEED_OF[self.hierarchy]], LABEL, name, data)

    def __call__(self, count: int) -> bytes:
        """One request."""
        self.requests += 1
        return self.drbg(count)

    def seed_value(self) -> bytes:
        """The seedValue, once the key is made: a primary of the endorsement hierarchy takes in two proofs."""
        if self.hierarchy is TPM_RH.ENDORSEMENT:
            self.drbg.stir(SEEDS["shProof"])
            self.drbg.stir(SEEDS["ehProof"])
        return self(digest_size(self.public.name_alg))


def name_and_level(vector: dict[str, Any]) -> str:
    """The name of a vector and the compatibility level of its seed."""
    return f"{label(vector)}, level {vector['seed_compat_level']}"


RSA_PRIMARIES = [
    pytest.param(v, id=name_and_level(v), marks=[pytest.mark.slow] if "3072" in v["name"] else [])
    for v in PRIMARIES
    if "modulus" in v["private"]
]


class TestPrimary:
    """Part 1, "Primary Key Creation"; primary objects of swtpm's seeds"""

    @pytest.mark.parametrize(
        "vector", [v for v in PRIMARIES if "modulus" in v["private"]], ids=name_and_level
    )
    def test_rsa_key(self, vector: dict[str, Any]) -> None:
        """The two primes, the number of requests it takes to find them, and the seed of a Storage Parent."""
        generate = Counting(vector)
        assert isinstance(generate.public.parameters, TPMS_RSA_PARMS)
        parameters, private = generate.public.parameters, vector["private"]

        key = derived_key(
            parameters.key_bits, parameters.exponent, generate, level=vector["seed_compat_level"]
        )

        size = parameters.key_bits // 16
        assert key.q.to_bytes(size, "big").hex() == private["first_prime_q"]
        assert key.p.to_bytes(size, "big").hex() == private["second_prime_p_stored_as_sensitive"]
        assert f"{key.public.modulus:x}" == private["modulus"]
        if not generate.public.object_attributes.sign:
            assert generate.seed_value().hex() == private["seedValue"]
            assert generate.requests == vector["drbg_requests"]

    @pytest.mark.parametrize("vector", [v for v in PRIMARIES if "d" in v["private"]], ids=label)
    def test_ecc_key(self, vector: dict[str, Any]) -> None:
        """The private number, its point, and the seed."""
        generate = Counting(vector)
        assert isinstance(generate.public.parameters, TPMS_ECC_PARMS)
        private = vector["private"]

        key = generated_key(generate.public.parameters.curve_id, generate)

        assert key.octets.hex() == private["d"]
        assert (key.public.x_octets.hex(), key.public.y_octets.hex()) == (private["x"], private["y"])
        seed = generate.seed_value()
        assert private["seedValue"] == ("" if generate.public.object_attributes.sign else seed.hex())
        assert generate.requests == vector["drbg_requests"]

    @pytest.mark.parametrize("vector", [v for v in PRIMARIES if "unique" in v["private"]], ids=label)
    def test_symmetric_key(self, vector: dict[str, Any]) -> None:
        """The secret unless it was given, the seed, and the unique that binds them."""
        generate = Counting(vector)
        private, public = vector["private"], generate.public

        secret = bytes.fromhex(vector["sensitive_data"]) or generate(secret_size(public))
        seed = generate.seed_value()

        assert secret.hex() == private["sensitive"]
        assert seed.hex() == private["seedValue"]
        assert unique(public, seed, secret).hex() == private["unique"]
        assert generate.requests == vector["drbg_requests"]


def secret_size(public: TPMT_PUBLIC) -> int:
    """Octets of the secret of a symmetric object."""
    parameters = public.parameters
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        return parameters.sym.key_bits // 8
    assert isinstance(parameters, TPMS_KEYEDHASH_PARMS)
    details = parameters.scheme.details
    return digest_size(getattr(details, "hash_alg", public.name_alg))


def unique(public: TPMT_PUBLIC, seed: bytes, secret: bytes) -> bytes:
    """The unique of a symmetric object."""
    if public.object_attributes.restricted and public.object_attributes.decrypt:
        return hmac_digest(public.name_alg, seed, secret)
    return digest(public.name_alg, seed, secret)


class TestDerived:
    """Part 1, "Derivation"; objects of a derivation parent of swtpm"""

    @pytest.mark.parametrize("vector", DERIVED["vectors"], ids=label)
    def test_object(self, vector: dict[str, Any]) -> None:
        """The parent's secret, a label and a context give the object's secret, and then its seed."""
        public = unmarshal(TPMT_PUBLIC, bytes.fromhex(vector["out_public"]))
        parent = bytes.fromhex(DERIVED["parent_sensitive"])
        generate = LabelGenerator(
            lambda message: hmac_digest(TPM_ALG.SHA256, parent, message),
            *octets(vector, "effective_label", "effective_context"),
        )
        if isinstance(public.parameters, TPMS_ECC_PARMS):
            key = generated_key(public.parameters.curve_id, generate)
            assert key.octets.hex() == vector["private"]["d"]
            assert public.unique == TPMS_ECC_POINT(key.public.x_octets, key.public.y_octets)
        else:
            secret, seed = generate(secret_size(public)), generate(digest_size(public.name_alg))
            assert secret.hex() == vector["private"]["sensitive"]
            assert seed.hex() == vector["private"]["seedValue"]
            assert public.unique == unique(public, seed, secret)

    def test_parent(self) -> None:
        """The parent is itself a primary object of the owner hierarchy."""
        template = bytes.fromhex(DERIVED["parent_template"])
        name = template[2:4] + digest(TPM_ALG.SHA256, template)

        generate = DerivationGenerator(SEEDS["SPSeed"], LABEL, name, b"")

        assert generate(32).hex() == DERIVED["parent_sensitive"]


class TestGenerators:
    """The generators behind the keys"""

    def test_ctr_drbg(self) -> None:
        """SP 800-90A, 10.2.1.2: NIST's vector of an AES-256 generator without derivation function."""
        vector = content("crypto/kdf-and-drbg")["ctr_drbg_aes256_selftest"]
        drbg = DerivationGenerator(b"", b"", b"", b"")
        drbg._key, drbg._counter = bytes(32), 0

        drbg._update(bytes.fromhex(vector["instantiate_entropy"]))
        assert drbg(16).hex() == vector["generate_1"]

        drbg._update(bytes.fromhex(vector["reseed_entropy"]))
        assert drbg(16).hex() == vector["generate_2"]

    def test_each_call_is_one_request(self) -> None:
        """A stream that is cut differently is another stream."""
        one, other = (DerivationGenerator(b"seed", LABEL, b"", b"") for _ in range(2))

        first = one(16)
        assert other(32)[:16] == first
        assert one(16) != DerivationGenerator(b"seed", LABEL, b"", b"")(32)[16:]

    def test_counter_wraps(self) -> None:
        """The counter of 128 bits goes on at zero."""
        high, low = (DerivationGenerator(b"", b"", b"", b"") for _ in range(2))
        high._key = low._key = bytes(32)
        high._counter, low._counter = (1 << 128) - 1, 0

        assert high._stream(32)[16:] == low._stream(16)

    def test_label_stream_is_continuous(self) -> None:
        """Part 1, "Derivation": nothing of the stream is lost between requests."""
        parts = LabelGenerator(lambda m: digest(TPM_ALG.SHA256, m), b"label", b"context")
        whole = LabelGenerator(lambda m: digest(TPM_ALG.SHA256, m), b"label\0", b"context")

        assert parts(5) + parts(0) + parts(40) + parts(19) == whole(64)

    def test_saved(self) -> None:
        """A generator that was put back to where it was gives the same octets again."""
        drbg = DerivationGenerator(b"seed", LABEL, b"", b"")
        drbg(5)
        state = drbg.save()
        following = drbg(40), drbg(3)

        drbg.restore(state)

        assert (drbg(40), drbg(3)) == following

    def test_shows_no_secret(self) -> None:
        """A representation is a name."""
        assert repr(DerivationGenerator(b"seed", LABEL, b"", b"")) == "DerivationGenerator()"
        assert repr(LabelGenerator(bytes, b"", b"")) == "LabelGenerator()"


class TestRandomGenerator:
    """Part 1, "Random Number Generator Module"; Part 3, clause 16"""

    def test_every_request_takes_entropy(self) -> None:
        """There is no state that could be repeated: all that comes out is fresh entropy, as many octets."""
        random = RandomGenerator(lambda count: b"\xa5" * count)

        assert [random(count) for count in (0, 1, 40)] == [b"", b"\xa5", b"\xa5" * 40]

    def test_stir(self) -> None:
        """Part 3, 16.2: what is stirred in changes all that follows, even if the entropy were the same."""
        one, other = RandomGenerator(bytes), RandomGenerator(bytes)
        one.stir(b"a")
        other.stir(b"b")

        outputs = [random(32) for random in (one, one, other, other)]

        assert len({*outputs, bytes(32)}) == 5

    def test_stirring_cannot_choose(self) -> None:
        """What a caller stirs in does not cancel the entropy."""
        one, other = (RandomGenerator(dealing(octets)) for octets in (bytes(32), b"\1" * 32))
        for random in (one, other):
            random.stir(b"known")

        assert one(32) != other(32)
