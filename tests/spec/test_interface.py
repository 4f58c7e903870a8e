"""Interface types against the tables of Part 2: which values they take, and how they refuse others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spec.facts import CONSTANTS, STRUCTURES, UNIMPLEMENTED, declared, number
from vtpm.spec import handles
from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal
from vtpm.wire.vocabulary import codec_of

TABLES = STRUCTURES["interface_types"]
POST_QUANTUM = {"TPMI_MLKEM_PARMS", "TPMI_MLDSA_PARMS"}
REFERENCE_CODE = {"TPMI_ST_ATTEST": "TPM_RC_SELECTOR"}
"""Part 2 names no response code; this is the reference code's."""

VALUES: dict[str, int] = {
    name: number(value["value"] if isinstance(value, dict) else value)
    for group in ("TPM_ALG", "TPM_ECC_CURVE", "TPM_ST", "TPM_RH")
    for name, value in CONSTANTS[group].items()
} | {"NO": 0, "YES": 1, "TPM_RS_PW": 0x40000009}
RANGES = {
    "TRANSIENT": handles.TRANSIENT,
    "PERSISTENT": handles.PERSISTENT,
    "NV_INDEX": handles.NV_INDEX,
    "EXTERNAL_NV": handles.EXTERNAL_NV,
    "PERMANENT_NV": handles.PERMANENT_NV,
    "PCR": handles.PCR,
    "HMAC_SESSION": handles.HMAC_SESSION,
    "POLICY_SESSION": handles.POLICY_SESSION,
    "AC": handles.AC,
    "SVN_OWNER": handles.SVN_OWNER,
    "SVN_ENDORSEMENT": handles.SVN_ENDORSEMENT,
    "SVN_PLATFORM": handles.SVN_PLATFORM,
    "SVN_NULL": handles.SVN_NULL,
    "TPM_RH_AUTH_00": handles.AUTH,
    "TPM_RH_ACT_0": handles.ACT,
}
RSA_SIZES = "implementation set, 1024/2048/3072/4096 in the reference code"


def allowed(name: str, *, conditional: bool = False) -> tuple[set[int], list[range]]:
    """The values and ranges of a table, without the algorithms that are not implemented."""
    values: set[int] = set()
    ranges: list[range] = []
    row = TABLES[name]
    for value in [*row["values"], *([row["conditional_value"]] if conditional else [])]:
        if isinstance(value, int):
            values.add(value)
        elif value == RSA_SIZES:
            values |= {1024, 2048, 3072, 4096}
        elif value.startswith("{"):
            ranges.append(RANGES[value.strip("{}").split(":")[0].removesuffix("_FIRST")])
        elif value not in UNIMPLEMENTED:
            values.add(VALUES[value] if value in VALUES else number(value))
    return values, ranges


def takes(codec: Codec, octets: bytes) -> TPM_RC | None:
    """The response code for an encoded value; `None` if it is taken."""
    try:
        value: Any = unmarshal(codec, octets)
    except TpmError as error:
        return error.rc
    assert marshal(value, codec) == octets
    return None


SMALL = sorted(n for n, row in TABLES.items() if row["base"] != "TPM_HANDLE" and n not in POST_QUANTUM)
HANDLES = sorted(name for name, row in TABLES.items() if row["base"] == "TPM_HANDLE")
CASES = [(name, False) for name in TABLES] + [
    (name, True) for name, row in TABLES.items() if row["conditional_value"] is not None
]


def case_id(case: tuple[str, bool]) -> str:
    """`X` or `X_NULL`."""
    return f"{case[0]}_NULL" if case[1] else case[0]


def codec_for(case: tuple[str, bool]) -> Codec:
    """The declared construct of a table, with its conditional value or without."""
    return codec_of(declared(case_id(case)))


class TestInterfaceTypes:
    """Part 2, 9, and the interface types of 10 to 12"""

    def test_every_table_is_declared(self) -> None:
        """Every interface type has a declaration, but those of post-quantum cryptography."""
        assert {name for name in TABLES if declared(name) is None} == POST_QUANTUM

    @pytest.mark.parametrize("case", [c for c in CASES if c[0] in SMALL], ids=case_id)
    def test_values(self, case: tuple[str, bool]) -> None:
        """The type takes the values of its table and no others, which get the table's response code."""
        name, conditional = case
        codec, (values, _) = codec_for(case), allowed(name, conditional=conditional)
        code = TPM_RC[(TABLES[name]["bad_value_rc"] or REFERENCE_CODE[name]).removeprefix("TPM_RC_")]
        size = codec.most()

        for value in range(1 << 8 * size):
            expected = None if value in values else code
            assert takes(codec, value.to_bytes(size, "big")) == expected, hex(value)

    @pytest.mark.parametrize("case", [c for c in CASES if c[0] in HANDLES], ids=case_id)
    @given(data=st.data())
    def test_handles(self, case: tuple[str, bool], data: st.DataObject) -> None:
        """The type takes the handles of its table and refuses all others with TPM_RC_VALUE."""
        name, conditional = case
        codec, (values, ranges) = codec_for(case), allowed(name, conditional=conditional)
        borders = {border for part in RANGES.values() for border in (part[0], part[-1])}
        borders |= set(VALUES.values())
        near = [value + step for value in borders for step in (-1, 0, 1) if 0 <= value + step < 1 << 32]
        value = data.draw(st.one_of(st.sampled_from(sorted(near)), st.integers(0, 0xFFFFFFFF)))

        good = value in values or any(value in part for part in ranges)

        assert TABLES[name]["bad_value_rc"] == "TPM_RC_VALUE"
        assert takes(codec, value.to_bytes(4, "big")) == (None if good else TPM_RC.VALUE)

    @pytest.mark.parametrize("name", ["TPMI_RH_HIERARCHY", "TPMI_DH_PARENT"])
    def test_null_without_condition(self, name: str) -> None:
        """9.4, 9.13: the tables have TPM_RH_NULL without a condition, so that "+" changes nothing."""
        assert declared(f"{name}_NULL") is declared(name)


class TestConstantTypes:
    """Part 2, 6: constants as types of fields"""

    @pytest.mark.parametrize(
        ("name", "octets", "code"),
        [
            ("TPM_SU_TYPE", "0002", TPM_RC.VALUE),
            ("TPM_SE_TYPE", "02", TPM_RC.VALUE),
            ("TPM_EO_TYPE", "000c", TPM_RC.VALUE),
            ("TPM_CAP_TYPE", "0000000d", TPM_RC.VALUE),
            ("TPM_CLOCK_ADJUST_TYPE", "fc", TPM_RC.VALUE),
            ("TPM_CLOCK_ADJUST_TYPE", "04", TPM_RC.VALUE),
            ("TPM_ECC_CURVE_TYPE", "0006", TPM_RC.CURVE),
            ("TPM_ST_TYPE", "8003", TPM_RC.VALUE),
        ],
    )
    def test_unnamed_value(self, name: str, octets: str, code: TPM_RC) -> None:
        """A value without a name is refused."""
        assert takes(codec_of(declared(name)), bytes.fromhex(octets)) == code

    @pytest.mark.parametrize(
        "name", ["TPM_CC_TYPE", "TPM_ALG_ID", "TPM_PT_TYPE", "TPM_PT_PCR_TYPE", "TPM_HANDLE"]
    )
    def test_any_value(self, name: str) -> None:
        """The command, not the type, says what is wrong with these."""
        codec = codec_of(declared(name))

        assert takes(codec, b"\xff" * codec.most()) is None
