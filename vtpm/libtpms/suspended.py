"""STATE_RESET and STATE_CLEAR of libtpms' states: what Shutdown(STATE) saves, and what a run goes on with."""

from io import BytesIO
from typing import Annotated, Any

from vtpm.libtpms.form import BOOL, OCTETS, TAIL, Array, Block, Version
from vtpm.spec.interface import TPMI_ALG_HASH_NULL
from vtpm.wire.codec import Codec, take
from vtpm.wire.integers import UINT8, UINT16, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import codec_of


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
