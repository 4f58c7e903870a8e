"""Hypothesis strategies derived from constructs: values that can be written, for any declared type."""

from functools import singledispatch
from typing import Any

from hypothesis import strategies as st

from vtpm.wire.codec import Codec
from vtpm.wire.flags import Word
from vtpm.wire.integers import Integer
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import Choice, Limited, ListOf, Octets, PcrSelect, Selected, Sized, Tpm2b, YesNo

MANY_OCTETS = 80
MANY_ELEMENTS = 3


@singledispatch
def values_of(codec: Codec) -> st.SearchStrategy[Any]:
    """The values of a construct; long buffers and lists stay short, but for their largest size."""
    raise TypeError(f"no strategy makes values of {type(codec).__name__}")


@values_of.register
def _(codec: Integer) -> st.SearchStrategy[Any]:
    bits = 8 * codec.most()
    if codec.form.islower():
        return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
    return st.integers(0, (1 << bits) - 1)


@values_of.register
def _(codec: Word) -> st.SearchStrategy[Any]:
    allowed = (1 << 8 * codec.most()) - 1 & ~codec.kind.reserved
    return st.integers(0, (1 << 8 * codec.most()) - 1).map(lambda word: codec.kind(word & allowed))


@values_of.register
def _(codec: Choice) -> st.SearchStrategy[Any]:
    return st.sampled_from(sorted(codec.members.values()))


@values_of.register
def _(codec: Limited) -> st.SearchStrategy[Any]:
    parts: list[st.SearchStrategy[Any]] = [st.integers(part[0], part[-1]) for part in codec.ranges]
    if codec.values:
        parts.append(st.sampled_from(sorted(codec.values)))
    return st.one_of(parts)


@values_of.register
def _(codec: YesNo) -> st.SearchStrategy[Any]:  # noqa: ARG001 - the type selects the strategy
    return st.booleans()


@values_of.register
def _(codec: Tpm2b) -> st.SearchStrategy[Any]:
    short = st.binary(max_size=min(codec.maximum, MANY_OCTETS))
    return st.one_of(short, st.just(bytes(codec.maximum)))


@values_of.register
def _(codec: Octets) -> st.SearchStrategy[Any]:
    return st.binary(min_size=codec.count, max_size=codec.count)


@values_of.register
def _(codec: PcrSelect) -> st.SearchStrategy[Any]:
    return st.binary(min_size=codec.minimum, max_size=codec.maximum)


@values_of.register
def _(codec: Sized) -> st.SearchStrategy[Any]:
    inner = values_of(codec.inner)
    return st.one_of(st.none(), inner) if codec.optional else inner


@values_of.register
def _(codec: ListOf) -> st.SearchStrategy[Any]:
    most = min(codec.maximum, codec.minimum + MANY_ELEMENTS)
    return st.lists(values_of(codec.element), min_size=codec.minimum, max_size=most).map(tuple)


@values_of.register
def _(codec: Record) -> st.SearchStrategy[Any]:
    @st.composite
    def record(draw: st.DrawFn) -> Any:
        values: dict[str, Any] = {}
        for name, field in codec.fields.items():
            if isinstance(field, Selected):
                arm = field.arms[values[field.by]]
                values[name] = field.empty if arm is None else draw(values_of(arm))
            else:
                values[name] = draw(values_of(field))
        return codec.cls(**values)

    return record()
