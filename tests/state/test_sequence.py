"""Part 1, "Hash, MAC, and Event Sequences": what is written down between two commands goes on unchanged."""

import hashlib
import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from vtpm.crypto.digest import NAMES, digest
from vtpm.crypto.running import Running, RunningCmac, RunningDigest, RunningHmac
from vtpm.spec.constants import TPM_ALG
from vtpm.state.sequence import Sequence, SequenceKind
from vtpm.state.suspended import load_sequence, save_sequence

HASHES = sorted(NAMES)
KEY = bytes(range(16))
CIPHERS: dict[TPM_ALG, Callable[[bytes], AES | SM4 | Camellia | TripleDES]] = {
    TPM_ALG.AES: AES,
    TPM_ALG.SM4: SM4,
    TPM_ALG.CAMELLIA: Camellia,
    TPM_ALG.TDES: lambda key: TripleDES(key + key[:8]),
}

parts = st.lists(st.binary(max_size=300), max_size=6)


def finished(sequence: Sequence, data: list[bytes]) -> list[bytes]:
    """The results of a sequence that is written down and read again around every part of its data."""
    for part in data:
        sequence = load_sequence(save_sequence(sequence))
        sequence.update(part)
    sequence = load_sequence(save_sequence(sequence))
    return [state.digest() for state in sequence.states.values()]


class TestSavedSequence:
    """The saved form of a sequence"""

    @pytest.mark.parametrize("alg", HASHES)
    @given(data=parts)
    def test_hash(self, alg: TPM_ALG, data: list[bytes]) -> None:
        """A digest goes on from what was saved, at any octet."""
        sequence = Sequence(SequenceKind.HASH, b"", {alg: RunningDigest(alg)})

        assert [digest(alg, *data)] == finished(sequence, data)

    @pytest.mark.parametrize("alg", HASHES)
    @given(data=parts, key=st.binary(max_size=300))
    def test_hmac(self, alg: TPM_ALG, data: list[bytes], key: bytes) -> None:
        """So does an HMAC, with keys shorter and longer than a block."""
        sequence = Sequence(SequenceKind.MAC, b"", {alg: RunningHmac(alg, key)})

        assert [hmac.digest(key, b"".join(data), NAMES[alg])] == finished(sequence, data)

    @pytest.mark.parametrize("alg", CIPHERS)
    @given(data=parts)
    def test_cmac(self, alg: TPM_ALG, data: list[bytes]) -> None:
        """So does a CMAC, whose last block is another."""
        expected = CMAC(CIPHERS[alg](KEY))
        expected.update(b"".join(data))
        sequence = Sequence(SequenceKind.MAC, b"", {alg: RunningCmac(alg, KEY)})

        assert [expected.finalize()] == finished(sequence, data)

    @given(data=parts)
    def test_event(self, data: list[bytes]) -> None:
        """So do the digests of an event, in their order."""
        states: dict[TPM_ALG, Running] = {alg: RunningDigest(alg) for alg in (TPM_ALG.SHA384, TPM_ALG.SHA1)}

        whole = b"".join(data)
        expected = [hashlib.sha384(whole).digest(), hashlib.sha1(whole).digest()]
        assert expected == finished(Sequence(SequenceKind.EVENT, b"", states), data)

    def test_other_fields(self) -> None:
        """The authValue, the handle, and what a ticket depends on."""
        states: dict[TPM_ALG, Running] = {TPM_ALG.SHA256: RunningDigest(TPM_ALG.SHA256)}
        sequence = Sequence(SequenceKind.HASH, b"auth\0", states, handle=0x80000005)
        sequence.update(b"\xffTCG")

        again = load_sequence(save_sequence(sequence))

        assert (again.auth_value, again.handle) == (b"auth", 0x80000005)
        assert (again.started, again.is_generated) == (True, True)

    def test_long(self) -> None:
        """A long message is folded, so that its saved form stays short."""
        states: dict[TPM_ALG, Running] = {TPM_ALG.SHA256: RunningDigest(TPM_ALG.SHA256)}
        sequence = Sequence(SequenceKind.HASH, b"", states)
        for _ in range(70):
            sequence.update(b"x" * 1001)

        octets = save_sequence(sequence)

        assert len(octets) < 300
        assert finished(sequence, []) == [hashlib.sha256(b"x" * 70070).digest()]
