"""
libtpms' permanent state (PERSISTENT_ALL of src/tpm2/NVMarshal.c), as libtpms 0.7 to 0.11 write it.

Names are those of libtpms, in snake case.
"""

from io import BytesIO
from typing import Annotated, Any, ClassVar

from vtpm.libtpms.form import OCTETS, TAIL, Array, Block, Fixed, Long, Since, UntilZero, Version
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_HT
from vtpm.spec.interface import TPMI_ALG_HASH_NULL
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import TPML_PCR_SELECTION
from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.flags import Bit, Flags
from vtpm.wire.integers import UINT8, UINT16, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import ListOf, YesNo, codec_of

BOOL = Annotated[bool, YesNo()]
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

    version: Annotated[int, Version(0xC9EA6431, {3: 1})]
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


class Epoch(Codec):
    """timeEpoch: its size in octets, 4 or 8, then the value, as the pair of both."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[int, int]:  # noqa: ARG002
        size = take(stream, 1)[0]
        if size not in (4, 8):
            raise TpmError(TPM_RC.SIZE)
        return size, int.from_bytes(take(stream, size), "big")

    def _build(self, obj: tuple[int, int], stream: BytesIO, context: Any, path: str) -> Any:  # noqa: ARG002
        size, value = obj
        stream.write(bytes((size,)) + value.to_bytes(size, "big"))
        return obj


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
    levels: Annotated[SeedLevels | None, Block(SeedLevels)]


@structure
class PersistentData:
    """PERSISTENT_DATA; its sets of commands are over those of libtpms 0.9, or all codes since version 5."""

    version: Annotated[int, Version(0x12213443, {4: 4, 5: 5})]
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


@structure
class DrbgState:
    """The random generator, which is not carried over."""

    version: Annotated[int, Version(0x6FE83EA1, {2: 1})]
    reseed_counter: UINT64
    magic: Annotated[int, Fixed("I", 0x47425244)]
    seed: OCTETS
    last_value: Annotated[tuple[int, ...], Array(UINT32, 4)]
    tail: TAIL

    __repr__ = object.__repr__


@structure
class Timers:
    """Of the dictionary attack protection, and Time, in milliseconds."""

    self_heal: UINT64
    lockout: UINT64
    time: UINT64


@structure
class OrderlyData:
    """ORDERLY_DATA: Clock, in milliseconds, and the random generator."""

    version: Annotated[int, Version(0x56657887, {2: 1})]
    clock: UINT64
    clock_safe: BOOL
    drbg: DrbgState
    timers: Annotated[Timers | None, Block(Timers)]
    tail: TAIL


@structure
class Commit:
    """The open operations of TPM2_Commit."""

    counter: UINT64
    nonce: OCTETS
    used: OCTETS

    __repr__ = object.__repr__


@structure
class NullLevel:
    """How primary objects are derived from the null seed."""

    level: UINT8
    tail: TAIL


@structure
class StateReset:
    """STATE_RESET: what the next TPM Reset ends."""

    version: Annotated[int, Version(0x01102332, {4: 4})]
    null_proof: OCTETS
    null_seed: OCTETS
    clear_count: UINT32
    object_context_id: UINT64
    context_array: Annotated[tuple[int, ...], Array(UINT16)]
    context_slot_mask: UINT16
    context_counter: UINT64
    command_audit_digest: OCTETS
    restart_count: UINT32
    pcr_counter: UINT32
    commit: Annotated[Commit | None, Block(Commit)]
    null_level: Annotated[NullLevel | None, Block(NullLevel)]

    __repr__ = object.__repr__


@structure
class SavedPcrBank:
    """The values of the saved PCR of a bank, one after the other."""

    alg: UINT16
    values: OCTETS


BANKS_END = 0x0010


class Banks(Codec):
    """Banks until TPM_ALG_NULL."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[SavedPcrBank, ...]:
        banks = []
        while (alg := int.from_bytes(take(stream, 2), "big")) != BANKS_END:
            banks.append(SavedPcrBank(alg, codec_of(OCTETS)._parse(stream, context, path)))  # noqa: SLF001
        return tuple(banks)

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        for bank in obj:
            codec_of(SavedPcrBank)._build(bank, stream, context, path)  # noqa: SLF001 - how a construct writes
        stream.write(BANKS_END.to_bytes(2, "big"))
        return obj


@structure
class PcrSave:
    """PCR_SAVE: PCR 0 to `count` - 1 of each bank."""

    version: Annotated[int, Version(0x7372EABC, {2: 1})]
    count: UINT16
    banks: Annotated[tuple[SavedPcrBank, ...], Banks()]
    tail: TAIL


@structure
class PcrAuthValue:
    """PCR_AUTHVALUE: the authValues of the groups of PCR."""

    version: Annotated[int, Version(0x6BE82EAF, {2: 1})]
    values: Annotated[tuple[bytes, ...], Array(OCTETS)]
    tail: TAIL

    __repr__ = object.__repr__


@structure
class StateClear:
    """STATE_CLEAR: what the next TPM Reset or Restart ends."""

    version: Annotated[int, Version(0x98897667, {2: 1})]
    sh_enable: BOOL
    eh_enable: BOOL
    ph_enable_nv: BOOL
    platform_alg: TPMI_ALG_HASH_NULL
    platform_policy: OCTETS
    platform_auth: OCTETS
    pcr_save: PcrSave
    pcr_auth_values: PcrAuthValue
    tail: TAIL

    __repr__ = object.__repr__


@structure
class Suspended:
    """What Shutdown(STATE) adds."""

    reset: StateReset
    clear: StateClear


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


ORDERLY_ENTRY_HEAD = 12


@structure
class OrderlyIndex:
    """The live attributes and data of an orderly NV Index; `size` counts 12 octets more than the data."""

    size: UINT32
    handle: UINT32
    attributes: TPMA_NV
    data: OCTETS


class OrderlyIndices(Codec):
    """The entries of an array of so many octets; the end is marked where there is room for the mark."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[OrderlyIndex, ...]:
        room = context["array_size"]
        entries = []
        while room >= ORDERLY_ENTRY_HEAD:
            place = stream.tell()
            if int.from_bytes(take(stream, 4), "big") == 0:
                break
            stream.seek(place)
            entries.append(codec_of(OrderlyIndex)._parse(stream, None, path))  # noqa: SLF001
            room -= entries[-1].size
        return tuple(entries)

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        room = context["array_size"]
        for entry in obj:
            codec_of(OrderlyIndex)._build(entry, stream, None, path)  # noqa: SLF001 - how a construct writes
            room -= entry.size
        if room >= ORDERLY_ENTRY_HEAD:
            stream.write(bytes(4))
        return obj


@structure
class IndexOrderlyRam:
    """INDEX_ORDERLY_RAM."""

    version: Annotated[int, Version(0x5346FEAB, {2: 1})]
    array_size: UINT32
    entries: Annotated[tuple[OrderlyIndex, ...], OrderlyIndices()]
    tail: TAIL


@structure
class NvIndexInfo:
    """NV_INDEX."""

    version: Annotated[int, Version(0x2547265A, {2: 1})]
    public: TPMS_NV_PUBLIC
    auth_value: OCTETS
    tail: TAIL

    __repr__ = object.__repr__


class ObjectAttributes(Flags, octets=4):
    """OBJECT_ATTRIBUTES (src/tpm2/Global.h)."""

    public_only = Bit(0)
    eps_hierarchy = Bit(1)
    pps_hierarchy = Bit(2)
    sps_hierarchy = Bit(3)
    evict = Bit(4)
    primary = Bit(5)
    temporary = Bit(6)
    st_clear = Bit(7)
    hmac_seq = Bit(8)
    hash_seq = Bit(9)
    event_seq = Bit(10)
    ticket_safe = Bit(11)
    first_block = Bit(12)
    is_parent = Bit(13)
    private_exp = Bit(14)
    occupied = Bit(15)
    derivation = Bit(16)
    external = Bit(17)


@structure
class BnPrime:
    """BN_PRIME: a number as words of 64 bits, the least significant first."""

    version: Annotated[int, Version(0x2FE736AB, {2: 1})]
    words: OCTETS
    tail: TAIL

    __repr__ = object.__repr__


@structure
class PrivateExponent:
    """PRIVATE_EXPONENT: the prime that the object does not hold, and the three other numbers."""

    version: Annotated[int, Version(0x0854EAB2, {2: 1})]
    q: BnPrime
    dp: BnPrime
    dq: BnPrime
    qinv: BnPrime
    tail: TAIL

    __repr__ = object.__repr__


class MaybeSensitive(Codec):
    """The sensitive area of an object; None is written as type 0 with an empty authValue and seed."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> TPMT_SENSITIVE | None:
        place = stream.tell()
        if take(stream, 2) == bytes(2):
            if take(stream, 4) != bytes(4):
                raise TpmError(TPM_RC.SIZE)
            return None
        stream.seek(place)
        sensitive: TPMT_SENSITIVE = codec_of(TPMT_SENSITIVE)._parse(stream, context, path)  # noqa: SLF001
        return sensitive

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        if obj is None:
            stream.write(bytes(6))
        else:
            codec_of(TPMT_SENSITIVE)._build(obj, stream, context, path)  # noqa: SLF001
        return obj


@structure
class ObjectLevel:
    """How the object was derived; since version 4 of OBJECT, `tail` begins with its hierarchy."""

    seed_level: UINT8
    tail: TAIL


@structure
class LoadedObject:
    """OBJECT."""

    version: Annotated[int, Version(0x75BE73AF, {3: 3, 4: 4})]
    public: TPMT_PUBLIC
    sensitive: Annotated[TPMT_SENSITIVE | None, MaybeSensitive()]
    exponent: Annotated[PrivateExponent | None, Block(PrivateExponent)]
    qualified_name: OCTETS
    evict_handle: UINT32
    name: OCTETS
    level: Annotated[ObjectLevel | None, Block(ObjectLevel)]

    __repr__ = object.__repr__


@structure
class AnyObject:
    """ANY_OBJECT, of which the permanent state holds persistent objects alone."""

    version: Annotated[int, Version(0xFE9A3974, {2: 1})]
    attributes: ObjectAttributes
    loaded: LoadedObject
    tail: TAIL


@structure
class NvData:
    """An NV Index; no data if it is orderly."""

    info: NvIndexInfo
    data: Annotated[bytes, Long()]

    __repr__ = object.__repr__


class ByHandle(Codec):
    """What an entry holds, by the type of its handle."""

    KINDS: ClassVar = {TPM_HT.NV_INDEX: NvData, TPM_HT.PERSISTENT: AnyObject}

    def _kind(self, context: Any) -> Codec:
        kind = self.KINDS.get(context["handle"] >> 24)
        if kind is None:
            raise TpmError(TPM_RC.HANDLE)
        return codec_of(kind)

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        return self._kind(context)._parse(stream, None, path)  # noqa: SLF001 - how a construct reads

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        self._kind(context)._build(obj, stream, None, path)  # noqa: SLF001 - how a construct writes
        return obj


@structure
class UserEntry:
    """An entry of USER_NVRAM; `size` is that of libtpms' memory, which its reader computes anew."""

    size: UINT32
    handle: UINT32
    item: Annotated[NvData | AnyObject, ByHandle()]


@structure
class UserNvram:
    """USER_NVRAM: NV Indices and persistent objects."""

    version: Annotated[int, Version(0x094F22C3, {2: 1})]
    area_size: UINT64
    entries: Annotated[tuple[UserEntry, ...], UntilZero(UserEntry, UINT32)]
    max_counter: UINT64
    tail: TAIL


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
