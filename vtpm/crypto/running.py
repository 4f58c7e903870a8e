"""Digests and MACs of messages that arrive in parts, and that ContextSave may write down in between."""

from copy import copy
from typing import Any

from vtpm.crypto.digest import CONSTRUCTORS
from vtpm.crypto.folding import fast_fold, fold_in_python
from vtpm.crypto.midstate import FAMILIES
from vtpm.crypto.symmetric import block_size, crypt
from vtpm.spec.constants import TPM_ALG

KEPT = 1 << 12
"""
Octets that are kept for a possible saving where folding is slow, before they are folded into a midstate.

A saving folds what is kept at once, a few milliseconds for each algorithm; more would hold up other VMs.
"""

INNER, OUTER = 0x36, 0x5C


class RunningDigest:
    """
    The digest of a message that arrives in parts.

    It is a midstate: the state after the last whole block, and the octets after that.
    Where OpenSSL folds, each part is folded as it comes.
    Where only Python does, OpenSSL computes the digest beside that, unless it goes on from a saved state.
    """

    def __init__(self, alg: TPM_ALG) -> None:
        self.alg = alg
        fold = fast_fold(alg)
        self._fold = fold or fold_in_python(alg)
        self._beside: Any = CONSTRUCTORS[alg]() if fold is None else None
        self._state = FAMILIES[alg].start()
        self._tail = b""
        self._folded = 0

    def __repr__(self) -> str:
        return f"RunningDigest({self.alg.name})"

    def __copy__(self) -> "RunningDigest":
        """Another one, that goes on by itself from here."""
        other = object.__new__(RunningDigest)
        other.alg, other._fold, other._state = self.alg, self._fold, self._state
        other._tail, other._folded = self._tail, self._folded
        other._beside = None if self._beside is None else self._beside.copy()
        return other

    def update(self, octets: bytes) -> None:
        """More of the message."""
        self._tail += octets
        if self._beside is not None:
            self._beside.update(octets)
        self._fold_all_but(0 if self._beside is None else KEPT)

    def digest(self) -> bytes:
        """The digest of what has arrived so far."""
        if self._beside is not None:
            return self._beside.digest()  # type: ignore[no-any-return]
        family = FAMILIES[self.alg]
        last = family.padded(self._tail, self._folded + len(self._tail))
        return self._fold(self._state, last)[: family.digest_size]

    def save(self) -> bytes:
        """The midstate: its number of octets (8), the state, the octets after it."""
        self._fold_all_but(0)
        return self._folded.to_bytes(8, "big") + self._state + self._tail

    @classmethod
    def load(cls, alg: TPM_ALG, saved: bytes) -> "RunningDigest":
        """Go on from what `save` gave."""
        running = cls(alg)
        size = len(running._state)
        running._folded = int.from_bytes(saved[:8], "big")
        running._state = saved[8 : 8 + size]
        running._tail = saved[8 + size :]
        if running._beside is not None and running._folded == 0:
            running._beside.update(running._tail)
        else:
            running._beside = None
        running._fold_all_but(0 if running._beside is None else KEPT)
        return running

    def _fold_all_but(self, kept: int) -> None:
        """Fold whole blocks until about so many octets are left."""
        block = FAMILIES[self.alg].block
        whole = max(0, len(self._tail) - kept) // block * block
        if whole:
            self._state = self._fold(self._state, self._tail[:whole])
            self._tail = self._tail[whole:]
            self._folded += whole


class RunningHmac:
    """The HMAC of a message that arrives in parts (FIPS 198-1)."""

    def __init__(self, alg: TPM_ALG, key: bytes) -> None:
        self.alg = alg
        block = FAMILIES[alg].block
        if len(key) > block:
            key = CONSTRUCTORS[alg](key).digest()
        key = key.ljust(block, b"\0")
        self._outer = bytes(octet ^ OUTER for octet in key)
        self._inner = RunningDigest(alg)
        self._inner.update(bytes(octet ^ INNER for octet in key))

    def __repr__(self) -> str:
        return f"RunningHmac({self.alg.name})"

    def __copy__(self) -> "RunningHmac":
        """Another one, that goes on by itself from here."""
        other = object.__new__(RunningHmac)
        other.alg, other._outer, other._inner = self.alg, self._outer, copy(self._inner)
        return other

    def update(self, octets: bytes) -> None:
        """More of the message."""
        self._inner.update(octets)

    def digest(self) -> bytes:
        """The HMAC of what has arrived so far."""
        return CONSTRUCTORS[self.alg](self._outer + self._inner.digest()).digest()  # type: ignore[no-any-return]

    def save(self) -> bytes:
        """The outer key block, then the midstate of the inner digest."""
        return self._outer + self._inner.save()

    @classmethod
    def load(cls, alg: TPM_ALG, saved: bytes) -> "RunningHmac":
        """Go on from what `save` gave."""
        running = cls(alg, b"")
        block = FAMILIES[alg].block
        running._outer = saved[:block]
        running._inner = RunningDigest.load(alg, saved[block:])
        return running


class RunningCmac:
    """The CMAC of a message that arrives in parts (SP 800-38B): a CBC-MAC whose last block is masked."""

    def __init__(self, alg: TPM_ALG, key: bytes) -> None:
        self.alg = alg
        self._key = key
        self._size = block_size(alg)
        self._chain = bytes(self._size)
        self._tail = b""

    def __repr__(self) -> str:
        return f"RunningCmac({self.alg.name})"

    def update(self, octets: bytes) -> None:
        """More of the message; its last block is kept back."""
        self._tail += octets
        whole = (len(self._tail) - 1) // self._size * self._size
        if whole > 0:
            self._chain = self._chained(self._tail[:whole])
            self._tail = self._tail[whole:]

    def digest(self) -> bytes:
        """The CMAC of what has arrived so far."""
        mask = self._doubled(self._encrypted(bytes(self._size)))
        block = self._tail
        if len(block) < self._size:
            mask = self._doubled(mask)
            block = (block + b"\x80").ljust(self._size, b"\0")
        return self._chained(bytes(a ^ b for a, b in zip(block, mask, strict=True)))

    def save(self) -> bytes:
        """The chaining value, the size of the key (1), the key, the octets kept back."""
        return self._chain + bytes((len(self._key),)) + self._key + self._tail

    @classmethod
    def load(cls, alg: TPM_ALG, saved: bytes) -> "RunningCmac":
        """Go on from what `save` gave."""
        size = block_size(alg)
        end = size + 1 + saved[size]
        running = cls(alg, saved[size + 1 : end])
        running._chain, running._tail = saved[:size], saved[end:]
        return running

    def _chained(self, octets: bytes) -> bytes:
        out, _ = crypt(self.alg, TPM_ALG.CBC, self._key, self._chain, octets, encrypt=True)
        return out[-self._size :]

    def _encrypted(self, block: bytes) -> bytes:
        return crypt(self.alg, TPM_ALG.ECB, self._key, b"", block, encrypt=True)[0]

    def _doubled(self, block: bytes) -> bytes:
        """SP 800-38B, 6.1: multiplication by x."""
        number = int.from_bytes(block, "big") << 1
        if number >> 8 * self._size:
            number ^= 1 << 8 * self._size | (0x87 if self._size == 16 else 0x1B)
        return number.to_bytes(self._size, "big")


Running = RunningDigest | RunningHmac | RunningCmac
