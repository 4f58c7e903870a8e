"""Digests and MACs of messages that arrive in parts, and that ContextSave may write down in between."""

from copy import copy
from typing import Any

from vtpm.crypto.digest import CONSTRUCTORS
from vtpm.crypto.midstate import FAMILIES
from vtpm.crypto.symmetric import block_size, crypt
from vtpm.spec.constants import TPM_ALG

FOLD = 1 << 12
"""
Octets that are kept for a possible saving, before they are folded into a midstate.

A saving folds what is kept at once, a few milliseconds for each algorithm; more would hold up other VMs.
"""

INNER, OUTER = 0x36, 0x5C


class RunningDigest:
    """
    The digest of a message that arrives in parts.

    OpenSSL computes it as long as it is not saved.
    A saved one goes on from its midstate: the state after the last whole block, and the octets after that.
    """

    def __init__(self, alg: TPM_ALG) -> None:
        self.alg = alg
        self._fast: Any = CONSTRUCTORS[alg]()
        self._state = FAMILIES[alg].start()
        self._tail = bytearray()
        self._folded = 0

    def __repr__(self) -> str:
        return f"RunningDigest({self.alg.name})"

    def __copy__(self) -> "RunningDigest":
        """Another one, that goes on by itself from here."""
        other = object.__new__(RunningDigest)
        other.alg, other._state, other._folded = self.alg, self._state, self._folded
        other._fast = None if self._fast is None else self._fast.copy()
        other._tail = bytearray(self._tail)
        return other

    def update(self, octets: bytes) -> None:
        """More of the message."""
        if self._fast is not None:
            self._fast.update(octets)
        self._tail += octets
        self._fold(FOLD if self._fast is not None else 0)

    def digest(self) -> bytes:
        """The digest of what has arrived so far."""
        if self._fast is not None:
            return self._fast.digest()  # type: ignore[no-any-return]
        length = self._folded + len(self._tail)
        return FAMILIES[self.alg].finish(self._state, bytes(self._tail), length)

    def save(self) -> bytes:
        """The midstate: its number of octets (8), the state, the octets after it."""
        self._fold(0)
        return self._folded.to_bytes(8, "big") + self._state + bytes(self._tail)

    @classmethod
    def load(cls, alg: TPM_ALG, saved: bytes) -> "RunningDigest":
        """Go on from what `save` gave."""
        running = cls(alg)
        size = len(running._state)
        running._folded = int.from_bytes(saved[:8], "big")
        running._state = saved[8 : 8 + size]
        running._tail = bytearray(saved[8 + size :])
        if running._folded == 0:
            running._fast.update(bytes(running._tail))
        else:
            running._fast = None
        return running

    def _fold(self, kept: int) -> None:
        """Fold whole blocks until about so many octets are left; little by little, since folding is slow."""
        family = FAMILIES[self.alg]
        whole = max(0, len(self._tail) - kept) // family.block * family.block
        for begin in range(0, whole, family.block):
            self._state = family.compress(self._state, bytes(self._tail[begin : begin + family.block]))
        self._folded += whole
        del self._tail[:whole]


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
