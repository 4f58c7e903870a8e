"""Structures, buffers, lists and unions against the tables of Part 2."""

from typing import Any

import pytest

from tests.spec.facts import CONSTANTS, STRUCTURES, UNIMPLEMENTED, declared, number, snake
from vtpm.spec import limits
from vtpm.spec.interface import TPMI_ALG_ECC_SCHEME_NULL
from vtpm.wire.codec import Codec
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import Choice, ListOf, Octets, PcrSelect, Selected, Sized, Tpm2b, codec_of

ABSENT = {
    "TPM2B_PUBLIC_KEY_MLKEM",
    "TPM2B_PRIVATE_KEY_MLKEM",
    "TPMS_SIGNATURE_HASH_MLDSA",
    "TPM2B_PUBLIC_KEY_MLDSA",
    "TPM2B_PRIVATE_KEY_MLDSA",
    "TPM2B_SIGNATURE_EDDSA",
    "TPM2B_SIGNATURE_MLDSA",
    "TPMS_MLDSA_PARMS",
    "TPMS_HASH_MLDSA_PARMS",
    "TPMS_MLKEM_PARMS",
    "_PRIVATE",
    "TPMS_AC_OUTPUT",
    "TPML_AC_CAPABILITIES",
}
"""Post-quantum cryptography, EdDSA, attached components; and _PRIVATE, which is only a size."""

UNIONS_OF_OCTETS = {
    "TPMU_KEM_CIPHERTEXT",
    "TPMU_NAME",
    "TPMU_SENSITIVE_CREATE",
    "TPMU_SYM_DETAILS",
    "TPMU_SIGNATURE_CTX",
    "TPMU_ENCRYPTED_SECRET",
}
"""Unions without a selector, whose members are octets, or without contents."""

WITH_NULL = {"TPMS_TAGGED_POLICY"}
"""Only ever written: a permanent handle without a policy is reported with TPM_ALG_NULL."""

EMPTY = {"TPMS_EMPTY", "empty"}
STRUCTURE_TABLES = {n: row for n, row in STRUCTURES["structures"].items() if n not in ABSENT}
LIST_TABLES = {n: row for n, row in STRUCTURES["lists"].items() if n not in ABSENT}
UNION_TABLES = {n: row for n, row in STRUCTURES["unions"].items() if n not in UNIONS_OF_OCTETS}
BUFFERS = {
    name: row
    for name, row in STRUCTURE_TABLES.items()
    if name.startswith("TPM2B_") and row["fields"][1].get("array") == "size"
}
BOXES = {
    name: row for name, row in STRUCTURE_TABLES.items() if name.startswith("TPM2B_") and name not in BUFFERS
}
RECORDS = {n: row for n, row in STRUCTURE_TABLES.items() if not n.startswith("TPM2B_")}


def sizeof(name: str) -> int:
    """The most octets that a declared type takes."""
    return codec_of(declared(name)).most()


POINT = sizeof("TPMS_ECC_POINT")
LIMITS = {
    "1024": 1024,
    "512": 512,
    "8": 8,
    "sizeof(UINT64)": 8,
    "sizeof(TPMU_HA)": limits.MAX_DIGEST_SIZE,
    "sizeof(TPMT_HA)": 2 + limits.MAX_DIGEST_SIZE,
    "sizeof(TPMU_NAME)": limits.MAX_NAME_SIZE,
    "sizeof(TPMU_KEM_CIPHERTEXT)": POINT,
    "sizeof(TPMS_ATTEST)": sizeof("TPMS_ATTEST"),
    "sizeof(TPMS_DERIVE)": 2 * (2 + limits.LABEL_MAX_BUFFER),
    "sizeof(TPMU_SENSITIVE_CREATE)": max(limits.MAX_SYM_DATA, 2 * (2 + limits.LABEL_MAX_BUFFER)),
    "sizeof(TPMU_SIGNATURE_CTX)": 255,
    "sizeof(TPMU_ENCRYPTED_SECRET)": max(POINT, limits.MAX_RSA_KEY_BYTES, 2 + limits.MAX_DIGEST_SIZE),
    "sizeof(TPMT_PUBLIC)": sizeof("TPMT_PUBLIC"),
    "sizeof(_PRIVATE)": 2 * (2 + limits.MAX_DIGEST_SIZE) + 2 + sizeof("TPMT_SENSITIVE"),
    "sizeof(TPMS_ID_OBJECT)": 2 * (2 + limits.MAX_DIGEST_SIZE),
    "sizeof(TPMS_CONTEXT_DATA)": sizeof("TPMS_CONTEXT_DATA"),
    "MAX_CAP_HANDLES": limits.MAX_CAP_DATA // 4,
    "MAX_CAP_CC": limits.MAX_CAP_DATA // 4,
    "MAX_CAP_ALGS": limits.MAX_CAP_DATA // 6,
    "MAX_TPM_PROPERTIES": limits.MAX_CAP_DATA // 8,
    "MAX_PCR_PROPERTIES": limits.MAX_CAP_DATA // (4 + 1 + limits.PCR_SELECT_MAX),
    "MAX_ECC_CURVES": limits.MAX_CAP_DATA // 2,
    "MAX_TAGGED_POLICIES": limits.MAX_CAP_DATA // (4 + 2 + limits.MAX_DIGEST_SIZE),
    "MAX_ACT_DATA": limits.MAX_CAP_DATA // 12,
    "MAX_PUB_KEYS": limits.MAX_CAP_DATA // (2 + sizeof("TPMT_PUBLIC")),
    "MAX_SPDM_SESSION_INFO": limits.MAX_CAP_DATA // (2 * (2 + limits.MAX_NAME_SIZE)),
    "MAX_VENDOR_PROPERTY": limits.MAX_CAP_DATA // (2 + limits.MAX_VENDOR_PROPERTY_SIZE),
}


def upper_limit(field: dict[str, Any]) -> int:
    """What the table writes as `{:X}`."""
    name = field["limit"].replace("_", " ").strip(" :").replace(" ", "_")
    return LIMITS[name] if name in LIMITS else int(getattr(limits, name))


def is_type(codec: Codec, field: dict[str, Any]) -> bool:
    """Is the construct the declaration of the table's type or, where "+" stands, of that with NULL?"""
    name = field["type"]
    names = [name, f"{name}_TYPE", *([f"{name}_NULL"] if field.get("null_allowed") else [])]
    found = [declared(each) for each in names]
    return any(codec is codec_of(each) for each in found if each is not None and not is_enumeration(each))


def is_enumeration(value: Any) -> bool:
    """An enumeration is no type of a field: `X_TYPE` is."""
    return isinstance(value, type) and not hasattr(value, "wire")


class TestStructures:
    """Part 2, 10 to 15"""

    def test_every_table_is_declared(self) -> None:
        """Every structure, list and union has a declaration but those that are left out."""
        tables = {**STRUCTURES["structures"], **STRUCTURES["lists"], **STRUCTURES["unions"]}

        assert {name for name in tables if declared(name) is None} == ABSENT | UNIONS_OF_OCTETS

    @pytest.mark.parametrize("name", RECORDS)
    def test_fields(self, name: str) -> None:
        """A structure has the fields of its table, in order, each of the table's type."""
        record = codec_of(declared(name))
        assert isinstance(record, Record)
        # sizeofSelect is part of pcrSelect; a symmetric definition has no details.
        rows = {
            snake(row["name"]): row
            for row in RECORDS[name]["fields"]
            if row["type"] != "TPMU_SYM_DETAILS" and row["name"] != "sizeofSelect"
        }

        assert list(record.fields) == list(rows)
        for field, row in rows.items():
            codec = record.fields[field]
            if field == "pcr_select" and row["type"] == "BYTE":
                assert isinstance(codec, PcrSelect)
                assert (codec.minimum, codec.maximum) == (limits.PCR_SELECT_MIN, limits.PCR_SELECT_MAX)
            elif isinstance(codec, Selected):
                assert codec.by == snake(row["selector"])
                assert is_type(codec, row)
            elif row["type"] in {"TPM_ST", "TPM_HT", "TPM_CONSTANTS32"} or row.get("limit"):
                assert not is_type(codec, row)  # fewer values than the type has
                assert codec.most() == sizeof_row(row)
            else:
                plus = row.get("null_allowed") or name in WITH_NULL
                assert is_type(codec, row | {"null_allowed": plus})

    @pytest.mark.parametrize("name", BUFFERS)
    def test_buffer(self, name: str) -> None:
        """A sized buffer may be as large as its table says."""
        codec = codec_of(declared(name))

        if isinstance(codec, Sized):
            assert name == "TPM2B_SENSITIVE"
        else:
            assert isinstance(codec, Tpm2b)
            assert codec.maximum == upper_limit(BUFFERS[name]["fields"][1])

    @pytest.mark.parametrize("name", BOXES)
    def test_sized_structure(self, name: str) -> None:
        """A sized structure is of the table's type; only a sensitive area may be absent (12.3.3)."""
        codec = codec_of(declared(name))

        assert isinstance(codec, Sized)
        assert is_type(codec.inner, BOXES[name]["fields"][1] | {"null_allowed": False})
        assert codec.optional == (name == "TPM2B_SENSITIVE")

    @pytest.mark.parametrize("name", LIST_TABLES)
    def test_list(self, name: str) -> None:
        """A list has elements of the table's type, within the table's limits."""
        codec, (count, elements) = codec_of(declared(name)), LIST_TABLES[name]["fields"]

        assert isinstance(codec, ListOf)
        assert is_type(codec.element, elements)
        assert codec.maximum == upper_limit(elements)
        assert codec.minimum == int(count.get("limit", "0:").strip(":"))

    @pytest.mark.parametrize("name", UNION_TABLES)
    def test_union(self, name: str) -> None:
        """A union has the members of its table, by the table's selectors."""
        codec = codec_of(declared(name))
        assert isinstance(codec, Selected)
        numbers = {n: number(v) for group in ("TPM_ALG", "TPM_ST", "TPM_CAP") for n, v in constants(group)}
        numbers |= {f"TPM_HT_{n}": number(v) for n, v in constants("TPM_HT")}
        rows = {
            numbers[selector]: row
            for row in UNION_TABLES[name]["members"]
            for selector in row["selectors"]
            if selector not in UNIMPLEMENTED
        }

        if name == "TPMU_ECC_SCHEME":
            # Table 202 has no members for some selectors of Table 200; the reference code's union has them.
            assert codec.arms.keys() == choice(TPMI_ALG_ECC_SCHEME_NULL).members.keys()
        else:
            assert codec.arms.keys() == rows.keys()
        for selector, row in rows.items():
            arm = codec.arms[selector]
            if row["type"] in EMPTY:
                assert arm is None
            elif row["type"] == "BYTE":
                assert isinstance(arm, Octets)
                assert arm.count == number(row["array"])
            else:
                assert arm is not None
                assert is_type(arm, row | {"null_allowed": row["type"] == "TPMI_ALG_SYM_MODE"})


def choice(kind: Any) -> Choice:
    """The construct of an interface type."""
    codec = codec_of(kind)
    assert isinstance(codec, Choice)
    return codec


def constants(group: str) -> list[tuple[str, Any]]:
    """The names and values of a table of constants."""
    return list(CONSTANTS[group].items())


def sizeof_row(row: dict[str, Any]) -> int:
    """The octets of a field of a named constant or of a limited integer."""
    return {"TPM_ST": 2, "TPM_HT": 1, "TPM_CONSTANTS32": 4, "UINT16": 2}[row["type"]]
