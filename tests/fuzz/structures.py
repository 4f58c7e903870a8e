"""Every structure of Part 2: what is read is written as the same octets, and read again as the same value."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.target import Finding, Target
from tests.spec.facts import named_codecs
from tests.spec.strategies import values_of
from vtpm.wire.codec import Codec
from vtpm.wire.error import TpmError
from vtpm.wire.structure import marshal, unmarshal
from vtpm.wire.vocabulary import Selected

WITHOUT_VALUES = {"TPMS_SET_CAPABILITY_DATA", "TPM2B_SET_CAPABILITY_DATA"}
EXAMPLES = 4


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Some values of a strategy, always the same ones."""
    values: list[Any] = []

    @seed(1)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        values.append(value)

    draw()
    return values


class Structures(Target):
    """The first two octets choose the type; the others are to be a value of it."""

    name = "structures"

    def __init__(self) -> None:
        codecs = {n: codec for n, codec in named_codecs().items() if not isinstance(codec, Selected)}
        self.types: list[tuple[str, Codec]] = sorted(codecs.items(), key=lambda item: item[0])

    def seeds(self) -> list[bytes]:
        """Values of every type."""
        return [
            number.to_bytes(2) + marshal(value, codec)
            for number, (name, codec) in enumerate(self.types)
            if name not in WITHOUT_VALUES
            for value in drawn(values_of(codec), EXAMPLES)
        ]

    def check(self, octets: bytes) -> bool:
        """Read, write, read."""
        name, codec = self.types[int.from_bytes(octets[:2]) % len(self.types)]
        try:
            value = unmarshal(codec, octets[2:])
        except TpmError:
            return False
        written = marshal(value, codec)
        if written != octets[2:]:
            raise Finding(f"{name} {octets[2:].hex()} is written as {written.hex()}")
        if unmarshal(codec, written) != value:
            raise Finding(f"{name} {written.hex()} is read as two values")
        return True
