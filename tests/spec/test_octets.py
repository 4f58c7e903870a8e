"""Part 2's structures as octets: what is written is read again, and nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.spec.facts import declared, named_codecs
from tests.spec.strategies import values_of
from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal
from vtpm.wire.vocabulary import Selected

UNIONS = {name for name, codec in named_codecs().items() if isinstance(codec, Selected)}
WITHOUT_VALUES = {"TPMS_SET_CAPABILITY_DATA", "TPM2B_SET_CAPABILITY_DATA"}
"""No capability that can be set is defined (10.9.3)."""

TYPES = {n: codec for n, codec in named_codecs().items() if n not in UNIONS | WITHOUT_VALUES}

AREAS: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "part2" / "areas.json").read_text()
)

UNMARSHALING_ERRORS = {
    TPM_RC.ASYMMETRIC,
    TPM_RC.CURVE,
    TPM_RC.HASH,
    TPM_RC.INSUFFICIENT,
    TPM_RC.KDF,
    TPM_RC.MODE,
    TPM_RC.RESERVED_BITS,
    TPM_RC.SCHEME,
    TPM_RC.SELECTOR,
    TPM_RC.SIZE,
    TPM_RC.SYMMETRIC,
    TPM_RC.TAG,
    TPM_RC.TYPE,
    TPM_RC.VALUE,
}
"""Part 3, 5.8: the response codes of unmarshaling."""

QUICK = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


class TestRoundTrip:
    """Part 2, 4 to 15"""

    @pytest.mark.parametrize("name", TYPES)
    @QUICK
    @given(data=st.data())
    def test_value_is_read_as_it_was_written(self, name: str, data: st.DataObject) -> None:
        """A value is written as octets that are read as the same value, not more than sizeof says."""
        codec = TYPES[name]
        value = data.draw(values_of(codec))

        octets = marshal(value, codec)

        assert unmarshal(codec, octets) == value
        assert len(octets) <= codec.most()

    @pytest.mark.parametrize("name", sorted(WITHOUT_VALUES))
    def test_type_without_values(self, name: str) -> None:
        """A capability to be set has no member in its union, and so is TPM_RC_SELECTOR."""
        octets = bytes(4) if name.startswith("TPMS") else b"\0\4" + bytes(4)

        with pytest.raises(TpmError) as raised:
            unmarshal(declared(name), octets)

        assert raised.value.rc == TPM_RC.SELECTOR


def outcome(codec: Codec, octets: bytes) -> TPM_RC | bytes:
    """The response code, or the octets of the value read."""
    try:
        value: Any = unmarshal(codec, octets)
    except TpmError as error:
        return error.rc
    return marshal(value, codec)


@pytest.mark.parametrize("name", AREAS)
class TestStrictness:
    """Part 3, 5.8: areas that TPMs made, and octets near them"""

    def test_area_is_read(self, name: str) -> None:
        """The area is read, and written as the same octets."""
        codec, octets = named_codecs()[AREAS[name]["type"]], bytes.fromhex(AREAS[name]["octets"])

        assert outcome(codec, octets) == octets

    def test_truncation(self, name: str) -> None:
        """Whatever is missing at the end, the response code is TPM_RC_INSUFFICIENT."""
        codec, octets = named_codecs()[AREAS[name]["type"]], bytes.fromhex(AREAS[name]["octets"])

        assert {outcome(codec, octets[:size]) for size in range(len(octets))} == {TPM_RC.INSUFFICIENT}

    def test_octets_left_over(self, name: str) -> None:
        """An octet after the end is TPM_RC_SIZE."""
        codec, octets = named_codecs()[AREAS[name]["type"]], bytes.fromhex(AREAS[name]["octets"])

        assert outcome(codec, octets + b"\0") == TPM_RC.SIZE

    @pytest.mark.slow
    def test_substitution(self, name: str) -> None:
        """With any octet changed, the area is refused or is another value of exactly those octets."""
        codec, octets = named_codecs()[AREAS[name]["type"]], bytes.fromhex(AREAS[name]["octets"])
        refused = set()
        for place in range(len(octets)):
            for octet in range(256):
                changed = octets[:place] + bytes([octet]) + octets[place + 1 :]
                result = outcome(codec, changed)
                if isinstance(result, TPM_RC):
                    refused.add(result)
                else:
                    assert result == changed

        assert refused
        assert refused <= UNMARSHALING_ERRORS
