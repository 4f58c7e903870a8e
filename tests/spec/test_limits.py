"""The limits that Part 2 leaves to the implementation."""

import pytest

from tests.spec.facts import STRUCTURES
from vtpm.spec import limits
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG, TPM_PT
from vtpm.spec.context import TPMS_CONTEXT
from vtpm.spec.objects import TPM2B_PRIVATE, TPM2B_PUBLIC
from vtpm.spec.structures import TPM2B_ATTEST, fitting
from vtpm.wire.integers import UINT16, UINT32
from vtpm.wire.vocabulary import codec_of

REPORTED_BY_LIBTPMS = {
    TPM_PT.INPUT_BUFFER: 0x400,
    TPM_PT.ACTIVE_SESSIONS_MAX: 0x40,
    TPM_PT.PCR_COUNT: 0x18,
    TPM_PT.PCR_SELECT_MIN: 3,
    TPM_PT.NV_INDEX_MAX: 0x800,
    TPM_PT.MAX_DIGEST: 0x40,
    TPM_PT.NV_BUFFER_MAX: 0x400,
    TPM_PT.MAX_CAP_BUFFER: 0x400,
}
"""GetCapability of libtpms 0.9.2."""

DECLARED = {
    TPM_PT.INPUT_BUFFER: limits.MAX_2B_BUFFER_SIZE,
    TPM_PT.ACTIVE_SESSIONS_MAX: limits.MAX_ACTIVE_SESSIONS,
    TPM_PT.PCR_COUNT: limits.IMPLEMENTATION_PCR,
    TPM_PT.PCR_SELECT_MIN: limits.PCR_SELECT_MIN,
    TPM_PT.NV_INDEX_MAX: limits.MAX_NV_INDEX_SIZE,
    TPM_PT.MAX_DIGEST: limits.MAX_DIGEST_SIZE,
    TPM_PT.NV_BUFFER_MAX: limits.MAX_NV_BUFFER_SIZE,
    TPM_PT.MAX_CAP_BUFFER: limits.MAX_CAP_BUFFER,
}

MAX_COMMAND_SIZE = 4096


class TestLimits:
    """Part 2, 10 to 14"""

    @pytest.mark.parametrize("known", REPORTED_BY_LIBTPMS, ids=lambda known: known.name)
    def test_as_libtpms(self, known: TPM_PT) -> None:
        """A client that knows libtpms finds the same limits."""
        assert DECLARED[known] == REPORTED_BY_LIBTPMS[known]

    def test_digests(self) -> None:
        """10.2.1, Table 88: the sizes of digests."""
        table = {
            selector: int(member["array"])
            for member in STRUCTURES["unions"]["TPMU_HA"]["members"]
            for selector in member["selectors"]
            if "array" in member
        }

        assert {
            f"TPM_ALG_{alg.name}": size for alg, size in limits.DIGEST_SIZES.items()
        }.items() <= table.items()

    def test_at_least_the_required(self) -> None:
        """What Part 2 requires: 10.3.8, 10.3.9, 10.5.1, 11.1.10, 11.1.13."""
        assert limits.MAX_2B_BUFFER_SIZE >= 1024
        assert limits.MAX_NV_BUFFER_SIZE >= 512
        assert limits.PCR_SELECT_MIN <= limits.PCR_SELECT_MAX == (limits.IMPLEMENTATION_PCR + 7) // 8
        assert min(32, limits.MAX_DIGEST_SIZE, limits.MAX_ECC_KEY_BYTES) == limits.LABEL_MAX_BUFFER
        assert limits.MAX_SYM_DATA == 128
        assert limits.DIGEST_SIZES.keys() >= {TPM_ALG.SHA1, TPM_ALG.SHA256}

    def test_keys(self) -> None:
        """11.2.4.6, 11.2.5.1: the largest modulus has 4096 bits, the largest curve 638."""
        assert limits.MAX_RSA_KEY_BYTES == 4096 // 8
        assert limits.MAX_ECC_KEY_BYTES == (638 + 7) // 8
        assert codec_of(TPMS_ECC_POINT).most() == 2 * (2 + 80)

    def test_elements_of_a_capability(self) -> None:
        """10.9: a 1024-octet buffer has room for 254 handles, as Part 2's example has it."""
        assert fitting(UINT32) == 254
        assert fitting(UINT16) == 508

    @pytest.mark.parametrize("kind", [TPM2B_PUBLIC, TPM2B_PRIVATE, TPM2B_ATTEST, TPMS_CONTEXT])
    def test_largest_structures_fit_into_a_command(self, kind: object) -> None:
        """No structure is larger than a command or a response may be."""
        assert codec_of(kind).most() < MAX_COMMAND_SIZE - 256
