"""Part 2, 6.13: the properties of the TPM, as GetCapability reports them."""

from collections.abc import Callable

from vtpm.spec.attributes import TPMA_MEMORY, TPMA_MODES, TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from vtpm.spec.constants import (
    TPM_ALG,
    TPM_NT,
    TPM_PS,
    TPM_PT,
    TPM_SPEC_FAMILY,
    TPM_SPEC_LEVEL,
)
from vtpm.spec.limits import (
    MAX_2B_BUFFER_SIZE,
    MAX_CAP_BUFFER,
    MAX_CONTEXT_SIZE,
    MAX_DIGEST_SIZE,
    MAX_NV_BUFFER_SIZE,
)
from vtpm.state.firmware import FIRMWARE_MAX_SVN, FIRMWARE_SVN, FIRMWARE_VERSION
from vtpm.state.nv import OVERHEAD
from vtpm.state.pcr import IMPLEMENTED_PCR, PCR_SELECT_SIZE
from vtpm.state.profile import CONTEXT_HASH
from vtpm.state.tpm import TpmState

MANUFACTURER = b"VTPM"
VENDOR_STRING = b"vtpm".ljust(16, b"\0")
CONTEXT_CIPHER, CONTEXT_KEY_BITS = TPM_ALG.AES, 256


def _word(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


FIXED: dict[int, Callable[[TpmState], int]] = {
    TPM_PT.FAMILY_INDICATOR: lambda _: TPM_SPEC_FAMILY,
    TPM_PT.LEVEL: lambda _: TPM_SPEC_LEVEL,
    TPM_PT.REVISION: lambda tpm: tpm.profile.revision,
    TPM_PT.ERRATA: lambda _: 0,
    TPM_PT.YEAR: lambda _: 0,
    TPM_PT.MANUFACTURER: lambda _: _word(MANUFACTURER),
    TPM_PT.VENDOR_STRING_1: lambda _: _word(VENDOR_STRING[:4]),
    TPM_PT.VENDOR_STRING_2: lambda _: _word(VENDOR_STRING[4:8]),
    TPM_PT.VENDOR_STRING_3: lambda _: _word(VENDOR_STRING[8:12]),
    TPM_PT.VENDOR_STRING_4: lambda _: _word(VENDOR_STRING[12:]),
    TPM_PT.VENDOR_TPM_TYPE: lambda _: 1,
    TPM_PT.FIRMWARE_VERSION_1: lambda _: FIRMWARE_VERSION >> 32,
    TPM_PT.FIRMWARE_VERSION_2: lambda _: FIRMWARE_VERSION & 0xFFFFFFFF,
    TPM_PT.INPUT_BUFFER: lambda _: MAX_2B_BUFFER_SIZE,
    TPM_PT.HR_TRANSIENT_MIN: lambda tpm: tpm.profile.transient_slots,
    TPM_PT.HR_PERSISTENT_MIN: lambda tpm: tpm.profile.persistent_slots,
    TPM_PT.HR_LOADED_MIN: lambda tpm: tpm.profile.loaded_sessions,
    TPM_PT.ACTIVE_SESSIONS_MAX: lambda tpm: tpm.profile.active_sessions,
    TPM_PT.PCR_COUNT: lambda _: IMPLEMENTED_PCR,
    TPM_PT.PCR_SELECT_MIN: lambda _: PCR_SELECT_SIZE,
    TPM_PT.CONTEXT_GAP_MAX: lambda tpm: tpm.profile.context_gap,
    TPM_PT.NV_COUNTERS_MAX: lambda _: 0,
    TPM_PT.NV_INDEX_MAX: lambda tpm: tpm.profile.nv_index_max,
    TPM_PT.MEMORY: lambda _: TPMA_MEMORY(sharedNV=True),
    TPM_PT.CLOCK_UPDATE: lambda tpm: tpm.profile.clock_update,
    TPM_PT.CONTEXT_HASH: lambda _: CONTEXT_HASH,
    TPM_PT.CONTEXT_SYM: lambda _: CONTEXT_CIPHER,
    TPM_PT.CONTEXT_SYM_SIZE: lambda _: CONTEXT_KEY_BITS,
    TPM_PT.ORDERLY_COUNT: lambda tpm: tpm.profile.orderly_count,
    TPM_PT.MAX_COMMAND_SIZE: lambda tpm: tpm.buffer_size or tpm.profile.max_command_size,
    TPM_PT.MAX_RESPONSE_SIZE: lambda tpm: tpm.buffer_size or tpm.profile.max_response_size,
    TPM_PT.MAX_DIGEST: lambda _: MAX_DIGEST_SIZE,
    TPM_PT.MAX_OBJECT_CONTEXT: lambda _: MAX_CONTEXT_SIZE,
    TPM_PT.MAX_SESSION_CONTEXT: lambda _: MAX_CONTEXT_SIZE,
    TPM_PT.PS_FAMILY_INDICATOR: lambda _: TPM_PS.PC,
    TPM_PT.PS_LEVEL: lambda _: 0,
    TPM_PT.PS_REVISION: lambda _: 0x00000107,
    TPM_PT.PS_DAY_OF_YEAR: lambda _: 0,
    TPM_PT.PS_YEAR: lambda _: 0,
    TPM_PT.SPLIT_MAX: lambda tpm: tpm.profile.commit_slots,
    TPM_PT.TOTAL_COMMANDS: lambda tpm: len(tpm.commands),
    TPM_PT.LIBRARY_COMMANDS: lambda tpm: len(tpm.commands),
    TPM_PT.VENDOR_COMMANDS: lambda _: 0,
    TPM_PT.NV_BUFFER_MAX: lambda _: MAX_NV_BUFFER_SIZE,
    TPM_PT.MODES: lambda _: TPMA_MODES(),
    TPM_PT.MAX_CAP_BUFFER: lambda _: MAX_CAP_BUFFER,
    TPM_PT.FIRMWARE_SVN: lambda _: FIRMWARE_SVN,
    TPM_PT.FIRMWARE_MAX_SVN: lambda _: FIRMWARE_MAX_SVN,
}
"""PT_FIXED: what only a change of firmware changes."""


def permanent_attributes(tpm: TpmState) -> TPMA_PERMANENT:
    """Part 2, 8.6."""
    return TPMA_PERMANENT(
        ownerAuthSet=bool(tpm.owner.auth_value),
        endorsementAuthSet=bool(tpm.endorsement.auth_value),
        lockoutAuthSet=bool(tpm.lockout.auth_value),
        disableClear=tpm.permanent.disable_clear,
        inLockout=tpm.lockout.locked_out,
        tpmGeneratedEPS=tpm.permanent.tpm_generated_eps,
    )


def startup_attributes(tpm: TpmState) -> TPMA_STARTUP_CLEAR:
    """Part 2, 8.7."""
    return TPMA_STARTUP_CLEAR(
        phEnable=tpm.platform.enabled,
        shEnable=tpm.owner.enabled,
        ehEnable=tpm.endorsement.enabled,
        phEnableNV=tpm.clear.ph_enable_nv,
        readOnly=tpm.clear.read_only,
        orderly=tpm.volatile.was_orderly,
    )


def _counters(tpm: TpmState) -> int:
    return sum(index.kind is TPM_NT.COUNTER for index in tpm.nv.values())


def _active_sessions(tpm: TpmState) -> int:
    return len(tpm.volatile.sessions) + len(tpm.reset.saved_sessions)


VARIABLE: dict[int, Callable[[TpmState], int]] = {
    TPM_PT.PERMANENT: permanent_attributes,
    TPM_PT.STARTUP_CLEAR: startup_attributes,
    TPM_PT.HR_NV_INDEX: lambda tpm: len(tpm.nv),
    TPM_PT.HR_LOADED: lambda tpm: len(tpm.volatile.sessions),
    TPM_PT.HR_LOADED_AVAIL: lambda tpm: tpm.profile.loaded_sessions - len(tpm.volatile.sessions),
    TPM_PT.HR_ACTIVE: _active_sessions,
    TPM_PT.HR_ACTIVE_AVAIL: lambda tpm: tpm.profile.active_sessions - _active_sessions(tpm),
    TPM_PT.HR_TRANSIENT_AVAIL: lambda tpm: tpm.profile.transient_slots - len(tpm.volatile.objects),
    TPM_PT.HR_PERSISTENT: lambda tpm: len(tpm.persistent),
    TPM_PT.HR_PERSISTENT_AVAIL: lambda tpm: tpm.profile.persistent_slots - len(tpm.persistent),
    TPM_PT.NV_COUNTERS: _counters,
    TPM_PT.NV_COUNTERS_AVAIL: lambda tpm: tpm.nv_space // (OVERHEAD + 8),
    TPM_PT.ALGORITHM_SET: lambda tpm: tpm.permanent.algorithm_set,
    TPM_PT.LOADED_CURVES: lambda tpm: len(tpm.profile.curves),
    TPM_PT.LOCKOUT_COUNTER: lambda tpm: tpm.lockout.failed_tries,
    TPM_PT.MAX_AUTH_FAIL: lambda tpm: tpm.lockout.max_tries,
    TPM_PT.LOCKOUT_INTERVAL: lambda tpm: tpm.lockout.recovery_time,
    TPM_PT.LOCKOUT_RECOVERY: lambda tpm: tpm.lockout.lockout_recovery,
    TPM_PT.NV_WRITE_RECOVERY: lambda _: 0,
    TPM_PT.AUDIT_COUNTER_0: lambda tpm: tpm.permanent.audit_counter >> 32,
    TPM_PT.AUDIT_COUNTER_1: lambda tpm: tpm.permanent.audit_counter & 0xFFFFFFFF,
}
"""PT_VAR: what commands change."""

PROPERTIES = FIXED | VARIABLE

GROUP_SIZE = 0x100
"""30.2: a response has properties of one group, which begins at a multiple of this."""

GROUPS = {group: tuple(sorted(tags)) for group, tags in ((1, FIXED), (2, VARIABLE))}


LIMITED_HIERARCHIES = (TPM_PT.FIRMWARE_SVN, TPM_PT.FIRMWARE_MAX_SVN)
"""The properties of a TPM that has limited hierarchies."""


def property_group(tpm: TpmState, first: int) -> tuple[int, ...]:
    """The tags of the group that `first` is in, in ascending order; PT_FIXED's for what is below it."""
    tags = GROUPS.get(max(first // GROUP_SIZE, 1), ())
    if tpm.profile.has_limited_hierarchies:
        return tags
    return tuple(tag for tag in tags if tag not in LIMITED_HIERARCHIES)


def property_of(tpm: TpmState, tag: int) -> int:
    """The value of a property: the one that the profile reports, or what this program has."""
    for reported, value in tpm.profile.reported:
        if reported == tag:
            return value
    return PROPERTIES[tag](tpm)


IN_FAILURE = (
    TPM_PT.MANUFACTURER,
    TPM_PT.VENDOR_STRING_1,
    TPM_PT.VENDOR_STRING_2,
    TPM_PT.VENDOR_STRING_3,
    TPM_PT.VENDOR_STRING_4,
    TPM_PT.VENDOR_TPM_TYPE,
    TPM_PT.FIRMWARE_VERSION_1,
    TPM_PT.FIRMWARE_VERSION_2,
)
"""Part 3, 30.2: the properties that tell whose a failed TPM is."""


def failure_properties(tpm: TpmState, first: int) -> list[tuple[int, int]]:
    """The properties from `first` on that failure mode reports, in ascending order."""
    return [(tag, FIXED[tag](tpm)) for tag in IN_FAILURE if tag >= first]
