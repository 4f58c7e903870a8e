"""The RAM of a TPM written down between two commands, and the TPM that goes on from it in another process."""

from collections.abc import Mapping
from typing import Any

from vtpm.daemon.device.bringup import Loader
from vtpm.daemon.errors import DeviceError
from vtpm.state.clock import Instant


def asleep(tpm: Any) -> dict[str, Any]:
    """What `awakened` needs beside the stored state; of a TPM in failure mode, no more than that it is."""
    facts = {"instant": tpm.clock.last, "physical_presence": tpm.physical_presence}
    if tpm.volatile.failed:
        return {**facts, "failure": tpm.volatile.failure}
    return {**facts, "ram": tpm.snapshot_volatile()}


def awakened(loader: Loader, stored: Mapping[str, bytes], facts: Mapping[str, Any]) -> Any:
    """
    The TPM of a stored state and what `asleep` gave; its Time has gone on, as both processes read one clock.

    SavedStateError if this program cannot read it, DeviceError if it fails its self-tests here.
    """
    failure = facts.get("failure")
    tpm = loader.tpms.restore({**stored, **facts.get("ram", {})}, loader.entropy)
    now = Instant(facts["instant"])
    if failure is None:
        tpm.resume(now, sole=True)
        if tpm.volatile.failed:
            raise DeviceError(f"the TPM fails in this process: {tpm.volatile.failure}; use another version")
    else:
        tpm.power_on(now)
        tpm.fail(failure)
    tpm.physical_presence = facts["physical_presence"]
    return tpm
