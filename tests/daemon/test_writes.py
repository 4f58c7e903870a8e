"""What a guest does that makes its TPM write: nothing that is not permanent (Part 1, "NV Memory")."""

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.commands.nv_indices import SELF
from tests.daemon.fake import LastingStore
from tests.objects import SEALED, STORAGE_RSA, created, handle_of, primary
from tests.scenarios import HEADER, Caller
from vtpm import Tpm
from vtpm.daemon.device.device import Device
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_RH, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.state.clock import Instant
from vtpm.wire.error import TPM_RC

SRK, INDEX = 0x81000001, 0x01800001
SECRET = b"the volume's key"
PROTECTED = SELF.but(NO_DA=False)


class CountingStore(LastingStore):
    """Counts the commits of each kind of command."""

    under_way = ""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Count it."""
        self.counted[self.under_way] += 1
        super().commit(changes)


class Guest(Caller):
    """The commands of the table as methods, for a device over a store that counts."""

    def __init__(self) -> None:
        self.store = CountingStore()
        times = itertools.count(0, 20)
        self.device = Device(
            "vm",
            Tpm,
            lambda: self.store,
            may_manufacture=True,
            auto_shutdown=False,
            clock=lambda: Instant(next(times)),
        )

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Execute a command, which must succeed."""
        self.store.under_way = TPM_CC(HEADER.unpack_from(request)[2]).name
        response = self.device.execute(request, locality)
        assert HEADER.unpack_from(response)[2] == TPM_RC.SUCCESS, self.store.under_way
        return response

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4)

    def power_on(self) -> None:
        """Begin a boot, and count from here."""
        self.store.under_way = ""
        self.device.init()
        self.store.counted.clear()


def measure(guest: Guest) -> None:
    """What firmware and boot loader do."""
    guest.startup(startup_type=TPM_SU.CLEAR)
    guest.self_test(full_test=True)
    guest.get_capability(capability=TPM_CAP.PCRS, property=0, property_count=1)
    for number in range(60):
        guest.pcr_extend(number % 8, digests=(TPMT_HA(TPM_ALG.SHA256, bytes(32)),))
    guest.pcr_read(pcr_selection_in=(TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\xff\x00\x00"),))


def use(guest: Guest, sealed_data: dict[str, Any]) -> None:
    """What an operating system does that unlocks its volume, again and again."""
    for _ in range(5):
        guest.get_random(bytes_requested=32)
        guest.read_clock()
        guest.read_public(SRK)
        sealed = handle_of(guest.load(SRK, **sealed_data))
        assert guest.unseal(sealed).out_data == SECRET
        guest.flush_context(flush_handle=sealed)
        guest.nv_read_public(INDEX)
        guest.nv_read(INDEX, INDEX, size=8, offset=0)


def test_boots() -> None:
    """
    Provisioning writes once for each thing that is kept; a later boot at its start, its end, and once more.

    That once is the first use of an entity that is protected from dictionary attacks.
    A loss of power afterwards counts as a failure, so it must be durable.
    """
    guest = Guest()
    guest.power_on()
    measure(guest)
    made = primary(guest, STORAGE_RSA)
    guest.evict_control(TPM_RH.OWNER, made, persistent_handle=SRK)
    guest.flush_context(flush_handle=made)
    sealed = created(guest, SRK, SEALED, data=SECRET)
    index = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, PROTECTED, b"", 8)
    guest.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=index)
    guest.nv_write(INDEX, INDEX, data=bytes(8), offset=0)
    use(guest, sealed)
    guest.shutdown(shutdown_type=TPM_SU.CLEAR)
    assert guest.store.counted == {
        "Startup": 1,
        "CreatePrimary": 1,
        "EvictControl": 1,
        "NV_DefineSpace": 1,
        "NV_Write": 1,
        "Shutdown": 1,
    }

    for _ in range(2):
        guest.power_on()
        measure(guest)
        use(guest, sealed)
        guest.shutdown(shutdown_type=TPM_SU.CLEAR)
        counted = guest.store.counted
        assert counted.pop("Startup") == counted.pop("Shutdown") == 1
        assert sum(counted.values()) == 1, counted
