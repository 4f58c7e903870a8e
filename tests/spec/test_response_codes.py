"""Which response code a malformed structure gets: of the first field at fault, in the order of the table."""

import pytest

from tests.spec.facts import declared
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.objects import TPMT_SENSITIVE
from vtpm.spec.structures import TPMS_AUTH_COMMAND
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal

RSA = "0001 000b 00000072 0000"
ECC = "0023 000b 00000072 0000"
KEYED_HASH = "0008 000b 00000072 0000"
ATTEST = "ff544347 8018 0000 0000 0000000000000000 00000000 00000000"


class TestUnmarshaling:
    """Part 2, 10 to 14; the order of the reference code"""

    @pytest.mark.parametrize(
        ("kind", "octets", "code"),
        [
            ("TPM2B_DIGEST", "0041", TPM_RC.SIZE),
            ("TPM2B_DIGEST", "0040 00", TPM_RC.INSUFFICIENT),
            ("TPM2B_DATA", "0043", TPM_RC.SIZE),
            ("TPM2B_NAME", "0045", TPM_RC.SIZE),
            ("TPM2B_TIMEOUT", "0009", TPM_RC.SIZE),
            ("TPM2B_IV", "0011", TPM_RC.SIZE),
            ("TPM2B_MAX_BUFFER", "0401", TPM_RC.SIZE),
            ("TPM2B_MAX_NV_BUFFER", "0401", TPM_RC.SIZE),
            ("TPM2B_EVENT", "0401", TPM_RC.SIZE),
            ("TPM2B_LABEL", "0021", TPM_RC.SIZE),
            ("TPM2B_SENSITIVE_DATA", "0081", TPM_RC.SIZE),
            ("TPM2B_SYM_KEY", "0021", TPM_RC.SIZE),
            ("TPM2B_ECC_PARAMETER", "0051", TPM_RC.SIZE),
            ("TPM2B_PUBLIC_KEY_RSA", "0201", TPM_RC.SIZE),
            ("TPM2B_ENCRYPTED_SECRET", "0201", TPM_RC.SIZE),
            ("TPM2B_ECC_POINT", "0000", TPM_RC.SIZE),
            ("TPM2B_ECC_POINT", "0005 0000 0000", TPM_RC.SIZE),
            ("TPM2B_ECC_POINT", "0003 0000 0000", TPM_RC.SIZE),
            ("TPM2B_PUBLIC", "0000", TPM_RC.SIZE),
            ("TPM2B_SENSITIVE_CREATE", "0000", TPM_RC.SIZE),
            ("TPM2B_SENSITIVE_CREATE", "0005 0000 0000", TPM_RC.SIZE),
            ("TPM2B_NV_PUBLIC", "0000", TPM_RC.SIZE),
            ("TPMT_HA", "0010", TPM_RC.HASH),
            ("TPMT_HA", "0004 00", TPM_RC.INSUFFICIENT),
            ("TPMS_PCR_SELECTION", "0010 03 000000", TPM_RC.HASH),
            ("TPMS_PCR_SELECTION", "000b 02 0000", TPM_RC.VALUE),
            ("TPMS_PCR_SELECTION", "000b 04 00000000", TPM_RC.VALUE),
            ("TPML_PCR_SELECTION", "00000009", TPM_RC.SIZE),
            ("TPML_DIGEST", "00000001 0000", TPM_RC.SIZE),
            ("TPML_DIGEST", "00000009", TPM_RC.SIZE),
            ("TPML_DIGEST_VALUES", "00000009", TPM_RC.SIZE),
            ("TPML_CC", "000000ff", TPM_RC.SIZE),
            ("TPML_ALG", "00000041", TPM_RC.SIZE),
            ("TPMT_TK_CREATION", "8022 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_CREATION", "80db 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_CREATION", "8021 4000000a 0000", TPM_RC.VALUE),
            ("TPMT_TK_VERIFIED", "8021 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_VERIFIED", "8027 40000001 0010 0000", TPM_RC.HASH),
            ("TPMT_TK_VERIFIED", "0000 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_AUTH", "8024 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_AUTH", "8003 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_HASHCHECK", "8025 40000001 0000", TPM_RC.TAG),
            ("TPMT_TK_HASHCHECK", "ffff 40000001 0000", TPM_RC.TAG),
            ("TPMS_ATTEST", "ff544348", TPM_RC.VALUE),
            ("TPMS_ATTEST", "ff544347 8021", TPM_RC.SELECTOR),
            ("TPMS_ATTEST", ATTEST + "02", TPM_RC.VALUE),
            ("TPMS_AUTH_COMMAND", "40000001", TPM_RC.VALUE),
            ("TPMS_AUTH_COMMAND", "40000009 0000 08 0000", TPM_RC.RESERVED_BITS),
            ("TPMT_SYM_DEF", "0010", TPM_RC.SYMMETRIC),
            ("TPMT_SYM_DEF", "000a 0010", TPM_RC.HASH),
            ("TPMT_SYM_DEF_OBJECT", "000a", TPM_RC.SYMMETRIC),
            ("TPMT_SYM_DEF_OBJECT", "0006 0081 0043", TPM_RC.VALUE),
            ("TPMT_SYM_DEF_OBJECT", "0013 0100 0043", TPM_RC.VALUE),
            ("TPMT_SYM_DEF_OBJECT", "0006 0080 0006", TPM_RC.MODE),
            ("TPMT_KEYEDHASH_SCHEME", "0006", TPM_RC.VALUE),
            ("TPMT_KEYEDHASH_SCHEME", "000a 0010 0022", TPM_RC.HASH),
            ("TPMT_KEYEDHASH_SCHEME", "000a 000b 0006", TPM_RC.KDF),
            ("TPMT_SIG_SCHEME", "0010", TPM_RC.SCHEME),
            ("TPMT_SIG_SCHEME", "0015", TPM_RC.SCHEME),
            ("TPMT_SIG_SCHEME", "0014 0010", TPM_RC.HASH),
            ("TPMT_KDF_SCHEME", "0006", TPM_RC.KDF),
            ("TPMT_RSA_SCHEME", "0018", TPM_RC.VALUE),
            ("TPMT_RSA_DECRYPT", "0014", TPM_RC.VALUE),
            ("TPMT_ECC_SCHEME", "0014", TPM_RC.SCHEME),
            ("TPMT_SIGNATURE", "0010", TPM_RC.SCHEME),
            ("TPMT_SIGNATURE", "0018 0010", TPM_RC.HASH),
            ("TPMT_PUBLIC", "0006", TPM_RC.TYPE),
            ("TPMT_PUBLIC", "0006 0010 ffffffff 0000", TPM_RC.TYPE),
            ("TPMT_PUBLIC", "0001 0010 ffffffff 0000", TPM_RC.HASH),
            ("TPMT_PUBLIC", "0001 000b ffffffff 0000", TPM_RC.RESERVED_BITS),
            ("TPMT_PUBLIC", "0001 000b 00000072 0041", TPM_RC.SIZE),
            ("TPMT_PUBLIC", RSA + "0007", TPM_RC.SYMMETRIC),
            ("TPMT_PUBLIC", RSA + "0010 0018", TPM_RC.VALUE),
            ("TPMT_PUBLIC", RSA + "0010 0010 0801 00000000", TPM_RC.VALUE),
            ("TPMT_PUBLIC", RSA + "0010 0010 0800 00000000 0201", TPM_RC.SIZE),
            ("TPMT_PUBLIC", ECC + "0010 0014", TPM_RC.SCHEME),
            ("TPMT_PUBLIC", ECC + "0010 0010 0000", TPM_RC.CURVE),
            ("TPMT_PUBLIC", ECC + "0010 0010 0006", TPM_RC.CURVE),
            ("TPMT_PUBLIC", ECC + "0010 0010 0003 0006", TPM_RC.KDF),
            ("TPMT_PUBLIC", KEYED_HASH + "0006", TPM_RC.VALUE),
            ("TPMT_PUBLIC", "0025 000b 00000072 0000 0010", TPM_RC.SYMMETRIC),
            ("TPMT_SENSITIVE", "0010 0000 0000 0000", TPM_RC.TYPE),
            ("TPMS_NV_PUBLIC", "11000000 000b 00000000 0000 0000", TPM_RC.VALUE),
            ("TPMS_NV_PUBLIC", "01000000 0010 00000000 0000 0000", TPM_RC.HASH),
            ("TPMS_NV_PUBLIC", "01000000 000b 00000100 0000 0000", TPM_RC.RESERVED_BITS),
            ("TPMS_NV_PUBLIC", "01000000 000b 00000000 0000 0801", TPM_RC.SIZE),
            ("TPMS_NV_PUBLIC_EXP_ATTR", "01000000 000b 0000000000000000 0000 0000", TPM_RC.VALUE),
            ("TPMS_NV_PUBLIC_EXP_ATTR", "11000000 000b 0000000800000000 0000 0000", TPM_RC.RESERVED_BITS),
            ("TPMT_NV_PUBLIC_2", "02 01000000", TPM_RC.SELECTOR),
            ("TPMT_NV_PUBLIC_2", "11 01000000 000b 0000000000000000 0000 0000", TPM_RC.VALUE),
            ("TPMS_CONTEXT", "0000000000000000 80000003 40000001 0000", TPM_RC.VALUE),
        ],
    )
    def test_code(self, kind: str, octets: str, code: TPM_RC) -> None:
        """The octets are refused with the code of the first field at fault."""
        with pytest.raises(TpmError) as raised:
            unmarshal(declared(kind), bytes.fromhex(octets))

        assert (raised.value.rc, raised.value.at) == (code, None)

    @pytest.mark.parametrize(
        ("kind", "octets"),
        [
            ("TPMT_SYM_DEF_NULL", "0010"),
            ("TPMT_SYM_DEF_OBJECT_NULL", "0010"),
            ("TPMT_KEYEDHASH_SCHEME_NULL", "0010"),
            ("TPMT_SIG_SCHEME_NULL", "0010"),
            ("TPMT_KDF_SCHEME_NULL", "0010"),
            ("TPMT_RSA_SCHEME_NULL", "0010"),
            ("TPMT_RSA_DECRYPT_NULL", "0010"),
            ("TPMT_ECC_SCHEME_NULL", "0010"),
            ("TPMT_SIGNATURE_NULL", "0010"),
            ("TPMT_HA_NULL", "0010"),
            ("TPMT_PUBLIC_NULL", "0008 0010 00000040 0000 0010 0000"),
            ("TPM2B_PUBLIC_NULL", "000e 0008 0010 00000040 0000 0010 0000"),
        ],
    )
    def test_conditional_value(self, kind: str, octets: str) -> None:
        """The "+" of Part 2 takes TPM_ALG_NULL, which the type without it refuses."""
        octets_given = bytes.fromhex(octets)

        assert marshal(unmarshal(declared(kind), octets_given), declared(kind)) == octets_given
        with pytest.raises(TpmError):
            unmarshal(declared(kind.removesuffix("_NULL")), octets_given)

    def test_absent_sensitive_area(self) -> None:
        """12.3.3: an Empty Buffer is no sensitive area."""
        assert unmarshal(declared("TPM2B_SENSITIVE"), b"\0\0") is None

    def test_every_kind_of_point(self) -> None:
        """11.2.5.2: a point at infinity has empty coordinates."""
        point = unmarshal(declared("TPM2B_ECC_POINT"), bytes.fromhex("0004 0000 0000"))

        assert (point.x, point.y) == (b"", b"")


class TestSecrets:
    """Structures that hold secrets show none"""

    @pytest.mark.parametrize(
        "value",
        [
            TPMT_SENSITIVE(
                sensitive_type=TPM_ALG.RSA, auth_value=b"secret", seed_value=b"secret", sensitive=b"secret"
            ),
            TPMS_SENSITIVE_CREATE(user_auth=b"secret", data=b"secret"),
            TPMS_AUTH_COMMAND(
                session_handle=TPM_RH.TPM_RS_PW,
                nonce=b"",
                session_attributes=TPMA_SESSION(),
                hmac=b"secret",
            ),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_repr(self, value: object) -> None:
        """Neither repr() nor str() nor format() has the secret."""
        assert "secret" not in repr(value) + str(value) + f"{value}"
