"""Inputs near known ones: octets are changed, moved, cut out, and mixed with those of other inputs."""

import random
from collections.abc import Callable, Sequence

MOST_STEPS = 4
LONGEST = 1 << 16
EDGES = (
    0,
    1,
    2,
    4,
    7,
    8,
    10,
    16,
    20,
    32,
    48,
    64,
    65,
    127,
    128,
    255,
    256,
    1024,
    4095,
    4096,
    32767,
    32768,
    65535,
)
"""Numbers at which programs change their mind."""

WIDTHS = (1, 2, 4, 8)


class Mutator:
    """Makes inputs of a corpus; the same seed makes the same ones."""

    def __init__(self, corpus: Sequence[bytes], rng: random.Random, words: Sequence[bytes] = ()) -> None:
        self.corpus = corpus
        self.words = words or [bytes(8)]
        self.rng = rng
        self.steps: tuple[Callable[[bytearray], None], ...] = (
            self.flip,
            self.flip,
            self.set_octet,
            self.set_number,
            self.set_number,
            self.cut,
            self.repeat,
            self.insert,
            self.mix,
            self.replace,
            self.end,
        )

    def next_input(self) -> bytes:
        """One of the corpus, changed."""
        return self.mutate(self.rng.choice(self.corpus))

    def mutate(self, octets: bytes) -> bytes:
        """These octets, changed in a few places."""
        changed = bytearray(octets)
        for _ in range(self.rng.randint(1, MOST_STEPS)):
            self.rng.choice(self.steps)(changed)
        return bytes(changed[:LONGEST])

    def place(self, octets: bytearray) -> int:
        """A place to change; those near the beginning decide most."""
        if self.rng.random() < 0.3:
            return self.rng.randrange(min(len(octets), 16) or 1)
        return self.rng.randrange(len(octets) or 1)

    def length(self) -> int:
        """A length, mostly short."""
        return self.rng.choice((1, 1, 2, 2, 3, 4, 8, 16, 32, self.rng.randint(1, 512)))

    def flip(self, octets: bytearray) -> None:
        """Change one bit."""
        if octets:
            octets[self.place(octets)] ^= 1 << self.rng.randrange(8)

    def set_octet(self, octets: bytearray) -> None:
        """Change one octet."""
        if octets:
            octets[self.place(octets)] = self.rng.randrange(256)

    def set_number(self, octets: bytearray) -> None:
        """Put a number on the edge of something, or near the one that is there, in either order."""
        at, width = self.place(octets), self.rng.choice(WIDTHS)
        before = int.from_bytes(octets[at : at + width])
        top = 1 << 8 * width
        number = self.rng.choice(
            (self.rng.choice(EDGES), before + 1, before - 1, top - 1, top >> 1, before * 2)
        )
        octets[at : at + width] = (number % top).to_bytes(width, self.rng.choice(("big", "big", "little")))

    def cut(self, octets: bytearray) -> None:
        """Remove some octets."""
        at = self.place(octets)
        del octets[at : at + self.length()]

    def repeat(self, octets: bytearray) -> None:
        """Some octets come twice, or elsewhere."""
        at, to = self.place(octets), self.place(octets)
        octets[to:to] = octets[at : at + self.length()]

    def insert(self, octets: bytearray) -> None:
        """Random octets, equal ones, or a word."""
        at, length = self.place(octets), self.length()
        word = self.rng.choice(self.words)
        octets[at:at] = self.rng.choice((self.rng.randbytes(length), bytes(length), b"\xff" * length, word))

    def mix(self, octets: bytearray) -> None:
        """Some octets of another input, in place of some or between them."""
        other = self.rng.choice(self.corpus)
        at, start, length = self.place(octets), self.rng.randrange(len(other) or 1), 4 * self.length()
        octets[at : at + self.rng.choice((0, length))] = other[start : start + length]

    def replace(self, octets: bytearray) -> None:
        """A word in place of what is between two others of its kind: of digits, of letters, of anything."""
        at = self.place(octets)
        end = at
        while end < len(octets) and chr(octets[end]).isalnum():
            end += 1
        octets[at:end] = self.rng.choice(self.words)

    def end(self, octets: bytearray) -> None:
        """Nothing after a place, or the rest of another input."""
        at = self.place(octets)
        other = self.rng.choice(self.corpus)
        octets[at:] = self.rng.choice((b"", other[at:], other))
