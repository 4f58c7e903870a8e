"""
libtpms' permanent state (PERSISTENT_ALL of src/tpm2/NVMarshal.c), as libtpms 0.6 to 0.11 write it.

Names are those of libtpms, in snake case.
"""

from io import BytesIO
from typing import Annotated, Any

from vtpm.libtpms.form import BOOL, OCTETS, TAIL, Array, Block, Epoch, Fixed, Since, Version
from vtpm.libtpms.nvram import IndexOrderlyRam, UserNvram
from vtpm.libtpms.orderly import OrderlyData
from vtpm.libtpms.suspended import Suspended
from vtpm.spec.interface import TPMI_ALG_HASH_NULL
from vtpm.spec.structures import TPML_PCR_SELECTION
from vtpm.wire.codec import Codec
from vtpm.wire.integers import UINT8, UINT16, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import ListOf, codec_of

MAGIC = 0xAB364723
SUSPENDED = 0x0001
"""orderlyState after Shutdown(STATE)."""

NOT_ORDERLY = 0xFFFF
NOT_ORDERLY_DA_USED = 0xFFFE
STARTUP_LOCALITY_3 = 0x4000
PRE_STARTUP = 0x8000
SHUTDOWN_BITS = 0x3FFF


@structure
class CompileConstants:
    """What libtpms was built with; only libtpms compares it."""

    version: Annotated[int, Version(0xC9EA6431, {2: 1, 3: 1})]
    values: Annotated[tuple[int, ...], ListOf(UINT32, 1024)]
    tail: TAIL


@structure
class PolicyOfPcr:
    """The authPolicy of a group of PCR."""

    alg: TPMI_ALG_HASH_NULL
    policy: OCTETS


@structure
class PcrPolicy:
    """The groups of PCR with a policy."""

    version: Annotated[int, Version(0x176BE626, {2: 1})]
    policies: Annotated[tuple[PolicyOfPcr, ...], Array(PolicyOfPcr)]
    tail: TAIL


@structure
class SeedLevels:
    """How primary objects are derived from each seed."""

    ep: UINT8
    sp: UINT8
    pp: UINT8
    tail: TAIL


@structure
class Allocated:
    """The PCR that are allocated now."""

    pcr_allocated: TPML_PCR_SELECTION
    levels: Annotated[SeedLevels | None, Block(SeedLevels, may_be_empty=True)]


@structure
class PersistentData:
    """PERSISTENT_DATA; its sets of commands are over those of libtpms 0.9, or all codes since version 5."""

    version: Annotated[int, Version(0x12213443, {3: 1, 4: 4, 5: 5})]
    disable_clear: BOOL
    owner_alg: TPMI_ALG_HASH_NULL
    endorsement_alg: TPMI_ALG_HASH_NULL
    lockout_alg: TPMI_ALG_HASH_NULL
    owner_policy: OCTETS
    endorsement_policy: OCTETS
    lockout_policy: OCTETS
    owner_auth: OCTETS
    endorsement_auth: OCTETS
    lockout_auth: OCTETS
    ep_seed: OCTETS
    sp_seed: OCTETS
    pp_seed: OCTETS
    ph_proof: OCTETS
    sh_proof: OCTETS
    eh_proof: OCTETS
    total_reset_count: UINT64
    reset_count: UINT32
    pcr_policies: Annotated[PcrPolicy | None, Block(PcrPolicy)]
    pcr_allocated: TPML_PCR_SELECTION
    pp_list: OCTETS
    failed_tries: UINT32
    max_tries: UINT32
    recovery_time: UINT32
    lockout_recovery: UINT32
    lock_out_auth_enabled: BOOL
    orderly_state: UINT16
    audit_commands: OCTETS
    audit_hash_alg: TPMI_ALG_HASH_NULL
    audit_counter: UINT64
    algorithm_set: UINT32
    firmware_v1: UINT32
    firmware_v2: UINT32
    time_epoch: Annotated[tuple[int, int], Epoch()]
    allocated: Annotated[Allocated | None, Block(Allocated)]

    __repr__ = object.__repr__


class WhenSuspended(Codec):
    """What Shutdown(STATE) adds, if `data` says that it was the last shutdown; otherwise None."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Suspended | None:
        if context["data"].orderly_state & SHUTDOWN_BITS != SUSPENDED:
            return None
        suspended: Suspended = codec_of(Suspended)._parse(stream, None, path)  # noqa: SLF001
        return suspended

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:  # noqa: ARG002
        if obj is not None:
            codec_of(Suspended)._build(obj, stream, None, path)  # noqa: SLF001 - how a construct writes
        return obj


@structure
class PersistentAll:
    """PERSISTENT_ALL: the whole permanent state."""

    version: Annotated[int, Version(MAGIC, {3: 3, 4: 4})]
    profile: Annotated[bytes | None, Since(4, OCTETS)]
    constants: CompileConstants
    data: PersistentData
    orderly: OrderlyData
    suspended: Annotated[Suspended | None, WhenSuspended()]
    orderly_ram: IndexOrderlyRam
    nvram: UserNvram
    tail: TAIL
    end: Annotated[int, Fixed("I", MAGIC)] = MAGIC
