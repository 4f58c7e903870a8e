"""A TPM with an NV counter that anybody may increment."""

import os
from collections.abc import Callable

from nvstore import Store
from tests.scenarios import Caller
from vtpm import Tpm
from vtpm.daemon.device.device import Device
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_RH, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.clock import Instant
from vtpm.wire.error import TPM_RC

INDEX = 0x01800000
ATTRIBUTES = TPMA_NV(AUTHREAD=True, AUTHWRITE=True, NO_DA=True, TPM_NT=TPM_NT.COUNTER)


def state_with_counter() -> dict[str, bytes]:
    """The state of a TPM with the counter at 1."""
    tpm = Tpm.manufacture(os.urandom)
    tpm.power_on(Instant(0))
    caller = InProcess(tpm)
    assert caller.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
    public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, ATTRIBUTES, b"", 8)
    assert caller.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).rc == TPM_RC.SUCCESS
    assert caller.nv_increment(INDEX, INDEX).rc == TPM_RC.SUCCESS
    return tpm.snapshot()


class InProcess(Caller):
    """The commands of the table as methods, for a TPM in this process."""

    def __init__(self, tpm: Tpm) -> None:
        self._tpm = tpm

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Execute a command."""
        return self._tpm.execute(request, locality).response

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4)


class CounterTpm(Caller):
    """A running TPM over a store."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._device = Device("soak", Tpm, open_store)
        self._device.init()
        assert self.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Execute a command, durably."""
        return self._device.execute(request, locality)

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4)

    def value(self) -> int:
        """The value of the counter."""
        reply = self.nv_read(INDEX, INDEX, size=8, offset=0)
        assert reply.rc == TPM_RC.SUCCESS
        return int.from_bytes(reply.data)

    def increment(self) -> int:
        """Increment it, and read its value."""
        assert self.nv_increment(INDEX, INDEX).rc == TPM_RC.SUCCESS
        return self.value()

    def close(self) -> None:
        """Power off, with a Shutdown."""
        self._device.close()
