"""ORDERLY_DATA of libtpms' states: Clock, the random generator and the timers of the lockout."""

from typing import Annotated

from vtpm.libtpms.form import BOOL, OCTETS, TAIL, Array, Block, Fixed, Version
from vtpm.wire.integers import UINT32, UINT64
from vtpm.wire.structure import structure


@structure
class DrbgState:
    """The random generator, which is not carried over."""

    version: Annotated[int, Version(0x6FE83EA1, {2: 1})]
    reseed_counter: UINT64
    magic: Annotated[int, Fixed("I", 0x47425244)]
    seed: OCTETS
    last_value: Annotated[tuple[int, ...], Array(UINT32, 4)]
    tail: TAIL

    __repr__ = object.__repr__


@structure
class Timers:
    """Of the dictionary attack protection, and Time, in milliseconds."""

    self_heal: UINT64
    lockout: UINT64
    time: UINT64


@structure
class OrderlyData:
    """ORDERLY_DATA: Clock, in milliseconds, and the random generator."""

    version: Annotated[int, Version(0x56657887, {2: 1})]
    clock: UINT64
    clock_safe: BOOL
    drbg: DrbgState
    timers: Annotated[Timers | None, Block(Timers)]
    tail: TAIL
