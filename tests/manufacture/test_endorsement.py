"""The endorsement keys of a TPM, and certificates put in place of others."""

from datetime import UTC, datetime

import pytest

from tests.windows.made import AUTHORITY, booted, made
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.certificates import Model, Specification
from vtpm.manufacture.endorsement import describe_endorsement, endorsements_of, put_certificate
from vtpm.manufacture.templates import EK
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.nv import NvIndex
from vtpm.state.profile import PROFILES

pytestmark = pytest.mark.slow

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HANDLE, INDEX = EK.RSA_2048.value.handle, EK.RSA_2048.value.certificate


@pytest.fixture(scope="module")
def blobs() -> dict[str, bytes]:
    """A TPM as `vtpm create` makes it."""
    return made(PROFILES["pc-client"])


@pytest.fixture
def tpm(blobs: dict[str, bytes]) -> Tpm:
    """It, in a guest that has booted."""
    client = booted(blobs)
    client.tpm.changes()
    return client.tpm


def certificate_of(tpm: Tpm, handle: int = HANDLE) -> bytes:
    """A new certificate of a key."""
    model, specification = Model("M", "m", "1"), Specification("2.0", 0, 185)
    return AUTHORITY.certify_ek(tpm.persistent[handle].public, "new", model, specification, 9, NOW)


class TestPairs:
    """Which certificate belongs to which key"""

    def test_by_key(self, tpm: Tpm) -> None:
        """Keys and certificates find each other by the key, not by the numbers of their handles."""
        rsa, ecc = tpm.nv[INDEX], tpm.nv[EK.ECC_P384.value.certificate]
        rsa.data, ecc.data = ecc.data, rsa.data

        assert {item.handle: item.index for item in endorsements_of(tpm)} == {
            HANDLE: ecc.handle,
            EK.ECC_P384.value.handle: rsa.handle,
        }

    def test_alone(self, tpm: Tpm) -> None:
        """A key without a certificate and a certificate without a key are told, too."""
        tpm.erase_nv(tpm.nv[EK.ECC_P384.value.certificate])
        tpm.erase_object(tpm.persistent[HANDLE])

        found = describe_endorsement(tpm, NOW)
        assert [(item["handle"], item["index"]) for item in found] == [
            (f"0x{EK.ECC_P384.value.handle:08x}", None),
            (None, f"0x{INDEX:08x}"),
        ]

    @pytest.mark.parametrize("octets", [b"", b"\x30\x80", bytes(900)])
    def test_what_a_guest_writes(self, tpm: Tpm, octets: bytes) -> None:
        """Octets that are no certificate are passed over."""
        tpm.nv[INDEX].data = octets

        assert INDEX not in {item.index for item in endorsements_of(tpm)}


class TestPut:
    """A certificate in place of another"""

    def test_changes(self, tpm: Tpm) -> None:
        """One blob changes; the Index is locked, of the new size, and anybody reads it."""
        octets = certificate_of(tpm)

        assert put_certificate(tpm, octets) == INDEX
        assert set(tpm.changes()) == {f"nv/{INDEX:08x}"}
        index = tpm.nv[INDEX]
        assert (index.data, index.public.data_size) == (octets, len(octets))
        assert index.attributes.WRITELOCKED
        assert index.attributes.AUTHREAD

    def test_missing(self, tpm: Tpm) -> None:
        """A certificate that was removed gets its Index back."""
        tpm.erase_nv(tpm.nv[INDEX])

        assert put_certificate(tpm, certificate_of(tpm)) == INDEX

    def test_occupied(self, tpm: Tpm) -> None:
        """What a guest keeps in the Index is not overwritten."""
        tpm.nv[INDEX].data = b"something of the guest's"

        with pytest.raises(ValueError, match="holds something else"):
            put_certificate(tpm, certificate_of(tpm))
        assert tpm.nv[INDEX].data == b"something of the guest's"

    def test_no_room(self, tpm: Tpm) -> None:
        """A certificate for which there is no memory is refused."""
        octets = certificate_of(tpm)
        attributes = tpm.nv[INDEX].attributes
        tpm.erase_nv(tpm.nv[INDEX])
        taken = TPMS_NV_PUBLIC(0x01500000, TPM_ALG.SHA256, attributes, b"", tpm.nv_space - 300)
        tpm.nv[0x01500000] = NvIndex(taken, b"", bytes(taken.data_size))

        with pytest.raises(ValueError, match="no room"):
            put_certificate(tpm, octets)

    def test_another_key(self, tpm: Tpm) -> None:
        """A certificate of another TPM's key is refused, so is one of a storage key."""
        other = booted(made()).tpm
        with pytest.raises(ValueError, match="none of the TPM's endorsement keys"):
            put_certificate(tpm, certificate_of(other))
        with pytest.raises(ValueError, match="none of the TPM's endorsement keys"):
            put_certificate(tpm, certificate_of(tpm, 0x81000001))
