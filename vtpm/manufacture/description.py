"""A TPM described for its operator: what a guest could read, and what only the host sees, but no secret."""

from datetime import datetime
from typing import Any, Final

from vtpm.commands.properties import property_of
from vtpm.manufacture.endorsement import EK_HANDLES, EK_INDICES, kind_of
from vtpm.manufacture.templates import PLATFORM_CERTIFICATE, SRK_HANDLE
from vtpm.spec.constants import TPM_PT, TPM_RH, TPM_SU
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.flags import Bit, Flags

HIERARCHIES: Final = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM)
VENDOR_STRINGS: Final = (
    TPM_PT.VENDOR_STRING_1,
    TPM_PT.VENDOR_STRING_2,
    TPM_PT.VENDOR_STRING_3,
    TPM_PT.VENDOR_STRING_4,
)


def describe(tpm: TpmState, now: datetime) -> dict[str, Any]:
    """All of it; PCR and what else power takes only of a TPM that is started."""
    del now
    started = tpm.volatile.started
    facts = {
        "started": started,
        "failure": tpm.volatile.failure if tpm.volatile.failed else None,
        "profile": tpm.profile.name,
        "identity": identity_of(tpm),
        "hierarchies": [hierarchy_facts(tpm.hierarchies[handle], started=started) for handle in HIERARCHIES],
        "lockout": lockout_facts(tpm),
        "clock": clock_facts(tpm),
        "banks": [bank.name for bank, chosen in tpm.permanent.pcr_allocation.items() if chosen],
        "persistent": [object_facts(tpm.persistent[handle]) for handle in sorted(tpm.persistent)],
        "nv": [index_facts(tpm.nv[handle]) for handle in sorted(tpm.nv)],
        "nv_octets_free": tpm.nv_space,
        "disable_clear": tpm.permanent.disable_clear,
    }
    return facts | (run_facts(tpm) if started else {})


def identity_of(tpm: TpmState) -> dict[str, str]:
    """Whose TPM it says it is."""
    vendor = b"".join(word_of(tpm, tag) for tag in VENDOR_STRINGS)
    level, revision = property_of(tpm, TPM_PT.LEVEL), property_of(tpm, TPM_PT.REVISION)
    high, low = (property_of(tpm, tag) for tag in (TPM_PT.FIRMWARE_VERSION_1, TPM_PT.FIRMWARE_VERSION_2))
    return {
        "manufacturer": text_of(word_of(tpm, TPM_PT.MANUFACTURER)),
        "vendor": text_of(vendor),
        "firmware": f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}",
        "specification": f"{text_of(word_of(tpm, TPM_PT.FAMILY_INDICATOR))}, {level}, {revision / 100:.2f}",
    }


def word_of(tpm: TpmState, tag: TPM_PT) -> bytes:
    """A property as the four octets that it is."""
    return property_of(tpm, tag).to_bytes(4, "big")


def text_of(octets: bytes) -> str:
    """Characters that end in zeros."""
    return octets.rstrip(b"\0").decode("ascii", "backslashreplace")


def hierarchy_facts(hierarchy: Hierarchy, *, started: bool) -> dict[str, Any]:
    """How a hierarchy is authorized; enables, and all of this of the platform's, end with a run."""
    facts: dict[str, Any] = {"name": TPM_RH(hierarchy.handle).name.lower()}
    if started:
        facts["enabled"] = hierarchy.enabled
    if started or hierarchy.handle != TPM_RH.PLATFORM:
        facts |= {"auth_set": bool(hierarchy.auth_value), "policy_set": bool(hierarchy.auth_policy)}
    return facts


def lockout_facts(tpm: TpmState) -> dict[str, Any]:
    """The count of failed authorizations and its limits; times in seconds."""
    lockout = tpm.lockout
    return {
        "locked_out": lockout.locked_out,
        "failed_tries": lockout.failed_tries,
        "max_tries": lockout.max_tries,
        "recovery_time": lockout.recovery_time,
        "lockout_recovery": lockout.lockout_recovery,
        "auth_set": bool(lockout.auth_value),
        "auth_enabled": lockout.auth_enabled,
        "policy_set": bool(lockout.auth_policy),
    }


def clock_facts(tpm: TpmState) -> dict[str, Any]:
    """Clock, which is permanent, and its counters; milliseconds."""
    facts: dict[str, Any] = {"clock": tpm.clock.clock, "reset_count": tpm.permanent.reset_count}
    if tpm.volatile.started:
        info = tpm.time_info()
        return facts | {
            "restart_count": info.clock_info.restart_count,
            "safe": info.clock_info.safe,
            "time": info.time,
        }
    shutdown = tpm.permanent.shutdown
    return facts | {"shutdown": None if shutdown is None else TPM_SU(shutdown).name}


def object_facts(item: Object) -> dict[str, Any]:
    """A persistent object."""
    public = item.public
    return {
        "handle": f"0x{item.handle:08x}",
        "meaning": meaning_of_object(item.handle),
        "kind": kind_of(public),
        "hierarchy": TPM_RH(item.hierarchy).name.lower(),
        "name_alg": public.name_alg.name,
        "attributes": names_of(public.object_attributes),
        "auth_set": bool(item.auth_value),
        "policy_set": bool(item.auth_policy),
        "name": item.name.hex(),
    }


def meaning_of_object(handle: int) -> str | None:
    """What a handle is reserved for."""
    if handle == SRK_HANDLE:
        return "storage root key"
    return "endorsement key" if handle in EK_HANDLES else None


def index_facts(index: NvIndex) -> dict[str, Any]:
    """An NV Index without its data, which may be secret."""
    return {
        "index": f"0x{index.handle:08x}",
        "meaning": meaning_of_index(index.handle),
        "kind": index.kind.name.lower(),
        "size": index.public.data_size,
        "name_alg": index.public.name_alg.name,
        "attributes": names_of(index.attributes),
        "auth_set": bool(index.auth_value),
        "policy_set": bool(index.auth_policy),
        "name": index.name.hex(),
    }


def meaning_of_index(handle: int) -> str | None:
    """What an Index is reserved for."""
    if handle == PLATFORM_CERTIFICATE:
        return "platform certificate"
    return "endorsement key's" if handle in EK_INDICES else None


def names_of(flags: Flags) -> list[str]:
    """The names of the bits that are set."""
    return [name for name, bit in flags.bits.items() if isinstance(bit, Bit) and flags & bit.mask]


def run_facts(tpm: TpmState) -> dict[str, Any]:
    """What a loss of power ends."""
    return {
        "pcr": {
            bank.name: {
                str(number): value.hex()
                for number, value in enumerate(values)
                if tpm.pcr.exists(bank, number)
            }
            for bank, values in tpm.pcr.banks.items()
        },
        "transient_objects": len(tpm.volatile.objects),
        "loaded_sessions": len(tpm.volatile.sessions),
        "saved_sessions": len(tpm.reset.saved_sessions),
    }
