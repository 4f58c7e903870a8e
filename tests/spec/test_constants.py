"""Names and numbers against the tables of Part 2."""

import pytest

from tests.spec.facts import CONSTANTS, number
from vtpm.spec import attributes, constants
from vtpm.wire.error import RC_FMT1, TPM_RC
from vtpm.wire.flags import Bit, Flags
from vtpm.wire.integers import Constant

ENUMS: dict[str, type[Constant]] = {
    name: value
    for name, value in vars(constants).items()
    if isinstance(value, type) and issubclass(value, Constant) and value is not Constant
}
PREFIXES = {"TPM_ECC_CURVE": "TPM_ECC_", "TPM_CLOCK_ADJUST": "TPM_CLOCK_"}
MARKERS = {"ERROR", "FIRST", "LAST"}
"""Names of the beginning and the end of a table, which are no values of their own."""

FLAGS = {
    name: value
    for name, value in vars(attributes).items()
    if isinstance(value, type) and issubclass(value, Flags) and value is not Flags
}


def table(group: str) -> dict[str, int]:
    """A table of constants: names without their prefix, and values."""
    prefix = PREFIXES.get(group, f"{group}_")
    found = {name.removeprefix(prefix): number(value) for name, value in CONSTANTS[group].items()}
    return {name: value for name, value in found.items() if name not in MARKERS}


class TestConstants:
    """Part 2, 6, 7.2, 7.4 and 13.2"""

    @pytest.mark.parametrize("group", sorted(ENUMS.keys() & CONSTANTS.keys()))
    def test_enumeration(self, group: str) -> None:
        """The enumeration has the names and values of the table, and no others."""
        assert {name: int(member) for name, member in ENUMS[group].__members__.items()} == table(group)

    def test_every_enumeration_has_a_table(self) -> None:
        """Only the command codes, which Part 3 repeats, are compared elsewhere."""
        assert ENUMS.keys() - CONSTANTS.keys() == {"TPM_CC"}

    def test_response_codes(self) -> None:
        """6.6.3: names and values, and whether a code has a position."""
        declared = {f"TPM_RC_{name}": int(code) for name, code in TPM_RC.__members__.items()}

        assert declared == {name: number(value) for name, value in CONSTANTS["TPM_RC"].items()}
        formats = CONSTANTS["TPM_RC_format"]
        assert {name for name, code in declared.items() if code & RC_FMT1} == {
            name for name, form in formats.items() if form == "fmt1"
        }

    def test_numbers(self) -> None:
        """6.1 and 6.2"""
        assert number(CONSTANTS["TPM_CONSTANTS32"]["TPM_GENERATED_VALUE"]) == constants.TPM_GENERATED_VALUE
        assert CONSTANTS["TPM_CONSTANTS32"]["TPM_MAX_DERIVATION_BITS"] == constants.TPM_MAX_DERIVATION_BITS
        assert number(CONSTANTS["TPM_SPEC"]["FAMILY"]) == constants.TPM_SPEC_FAMILY
        assert number(CONSTANTS["TPM_SPEC"]["VERSION"]) == constants.TPM_SPEC_VERSION
        assert number(CONSTANTS["TPM_SPEC"]["LEVEL"]) == constants.TPM_SPEC_LEVEL
        assert number(CONSTANTS["TPM_SPEC"]["YEAR"]) == constants.TPM_SPEC_YEAR


class TestAttributes:
    """Part 2, 8 and 13"""

    def test_every_table_is_declared(self) -> None:
        """There is a word for every table of bits."""
        assert FLAGS.keys() == CONSTANTS["bit_fields"].keys()

    @pytest.mark.parametrize("name", sorted(FLAGS))
    def test_bits(self, name: str) -> None:
        """A word has the bits of its table, in their places; the others are reserved."""
        rows = CONSTANTS["bit_fields"][name]
        own = {bit: shape for bit, shape in vars(FLAGS[name]).items() if bit in FLAGS[name].bits}
        declared = {
            bit: str(shape.mask.bit_length() - 1)
            if isinstance(shape, Bit)
            else f"{shape.mask.bit_length() - 1}:{shape.low}"
            for bit, shape in own.items()
        }

        assert declared == {
            bit: place for bit, place in rows.items() if not bit.lower().startswith("reserved")
        }

    def test_word_made_of_another(self) -> None:
        """13.5: the lower half of a TPMA_NV_EXP is a TPMA_NV."""
        word = attributes.TPMA_NV_EXP(WRITTEN=True, EXTERNAL_NV_INTEGRITY=True)

        assert word == 1 << 29 | 1 << 33
        assert word.WRITTEN
        assert attributes.TPMA_NV_EXP.reserved & 0xFFFFFFFF == attributes.TPMA_NV.reserved
