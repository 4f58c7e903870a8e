"""Part 1, "Hash Functions" and "HMAC Algorithm": digests at once, in parts, and written down in between."""

import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto.published import label, octets, vectors
from vtpm.crypto.digest import digest, digest_size, hmac_digest
from vtpm.crypto.folding import fold_in_python
from vtpm.crypto.midstate import FAMILIES, MerkleDamgard
from vtpm.crypto.running import RunningCmac, RunningDigest, RunningHmac
from vtpm.crypto.signing import HASHES
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import TPMT_SENSITIVE
from vtpm.wire.structure import unmarshal

ABC = {
    TPM_ALG.SHA1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    TPM_ALG.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    TPM_ALG.SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
    "8086072ba1e7cc2358baeca134c825a7",
    TPM_ALG.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    TPM_ALG.SM3_256: "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
    TPM_ALG.SHA3_256: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    TPM_ALG.SHA3_384: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
    "98d88cea927ac7f539f1edf228376d25",
    TPM_ALG.SHA3_512: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
    "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
}
"""The digests of `abc` in FIPS 180-4, FIPS 202 and GB/T 32905."""

ALGS = [pytest.param(alg, id=alg.name) for alg in ABC]


class TestDigest:
    """Part 1, "Hash Functions"; FIPS 180-4, FIPS 202, GB/T 32905"""

    def test_all_are_here(self) -> None:
        """Every hash algorithm has a published digest here, a midstate, and a counterpart in OpenSSL."""
        assert set(ABC) == set(FAMILIES) == set(HASHES)

    @pytest.mark.parametrize("alg", ALGS)
    def test_published(self, alg: TPM_ALG) -> None:
        """The digest of `abc`, in one part or more."""
        assert digest(alg, b"abc").hex() == digest(alg, b"a", b"", b"bc").hex() == ABC[alg]
        assert digest_size(alg) == len(ABC[alg]) // 2

    @pytest.mark.parametrize("alg", ALGS)
    @given(key=st.binary(max_size=300), message=st.binary(max_size=300))
    def test_hmac(self, alg: TPM_ALG, key: bytes, message: bytes) -> None:
        """FIPS 198-1, as another implementation has it, with keys shorter and longer than a block."""
        judge = HMAC(key, HASHES[alg])
        judge.update(message)

        assert hmac_digest(alg, key, message) == judge.finalize()

    @pytest.mark.parametrize(
        "vector", [v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("HMAC ")], ids=label
    )
    def test_recorded(self, vector: dict[str, Any]) -> None:
        """The HMAC of libtpms with a key that it was given."""
        private, mac = octets(vector, "in_private", "mac")
        alg, key = TPM_ALG[vector["name"].split()[1].upper()], unmarshal(TPMT_SENSITIVE, private).sensitive

        assert hmac_digest(alg, key, b"some data") == mac


class TestMidstate:
    """FIPS 180-4, FIPS 202, GB/T 32905: the compression functions in Python"""

    @pytest.mark.parametrize("alg", ALGS)
    @given(data=st.data())
    def test_any_length(self, alg: TPM_ALG, data: st.DataObject) -> None:
        """Compression block by block and the end of a message give OpenSSL's digest."""
        family = FAMILIES[alg]
        message = data.draw(st.binary(max_size=3 * family.block))
        whole = len(message) // family.block * family.block
        blocks = message[:whole] + family.padded(message[whole:], len(message))
        state = fold_in_python(alg)(family.start(), blocks)

        assert state[: family.digest_size] == digest(alg, message)

    def test_constants(self) -> None:
        """FIPS 180-4, 5.3: the initial values that are computed, by their first words."""
        first = {
            alg: family.initial[0] for alg, family in FAMILIES.items() if isinstance(family, MerkleDamgard)
        }

        assert first[TPM_ALG.SHA256] == 0x6A09E667
        assert first[TPM_ALG.SHA384] == 0xCBBB9D5DC1059ED8
        assert first[TPM_ALG.SHA512] == 0x6A09E667F3BCC908


class TestRunning:
    """Part 1, "Hash, MAC, and Event Sequences": a running digest can be saved at any octet"""

    @pytest.mark.parametrize("alg", ALGS)
    def test_saved_past_the_fold(self, alg: TPM_ALG) -> None:
        """What was folded away goes on as well as what is kept."""
        message = bytes(range(256)) * 8
        running = RunningDigest(alg)
        running.update(message)
        again = RunningDigest.load(alg, running.save())
        again.update(message)

        assert again.digest() == digest(alg, message, message)
        running.update(b"other")
        assert running.digest() == digest(alg, message, b"other")

    @given(key=st.binary(max_size=200), parts=st.lists(st.binary(max_size=100), max_size=5))
    def test_hmac(self, key: bytes, parts: list[bytes]) -> None:
        """An HMAC in parts is the HMAC of the whole."""
        running = RunningHmac(TPM_ALG.SHA3_256, key)
        for part in parts:
            running.update(part)
            running = RunningHmac.load(TPM_ALG.SHA3_256, running.save())

        assert running.digest() == hmac.digest(key, b"".join(parts), "sha3_256")

    def test_long_key(self) -> None:
        """FIPS 198-1: a key longer than a block is replaced by its digest."""
        running = RunningHmac(TPM_ALG.SHA256, bytes(200))
        running.update(b"message")

        assert running.digest() == hmac.digest(bytes(200), b"message", "sha256")

    def test_shows_no_octets(self) -> None:
        """A representation names the algorithm and nothing else."""
        assert repr(RunningHmac(TPM_ALG.SHA256, b"key")) == "RunningHmac(SHA256)"
        assert repr(RunningDigest(TPM_ALG.SHA256)) == "RunningDigest(SHA256)"
        assert repr(RunningCmac(TPM_ALG.AES, b"key")) == "RunningCmac(AES)"
