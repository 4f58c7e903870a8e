"""SESSION_SLOT of libtpms' volatile state: loaded sessions."""

from io import BytesIO
from typing import Annotated, Any

from vtpm.libtpms.form import BOOL, OCTETS, TAIL, Epoch, Version
from vtpm.spec.algorithms import TPMT_SYM_DEF_NULL
from vtpm.spec.interface import TPMI_ALG_HASH
from vtpm.wire.codec import Codec
from vtpm.wire.flags import Bit, Flags
from vtpm.wire.integers import UINT8, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import codec_of


class SessionAttributes(Flags, octets=4):
    """SESSION_ATTRIBUTES (Global.h)."""

    is_policy = Bit(0)
    is_audit = Bit(1)
    is_bound = Bit(2)
    is_cp_hash_defined = Bit(3)
    is_auth_value_needed = Bit(4)
    is_password_needed = Bit(5)
    is_pp_required = Bit(6)
    is_trial_policy = Bit(7)
    is_da_bound = Bit(8)
    is_lockout_bound = Bit(9)
    include_auth = Bit(10)
    check_nv_written = Bit(11)
    nv_written_state = Bit(12)
    is_template_hash_defined = Bit(13)
    is_name_hash_defined = Bit(14)
    is_parameters_hash_defined = Bit(15)


@structure
class SessionForm:
    """SESSION; `bound` is of the bound entity, or a policy's hash; `digest` is of the policy or the audit."""

    version: Annotated[int, Version(0x44BE9F45, {2: 1})]
    attributes: SessionAttributes
    pcr_counter: UINT32
    start_time: UINT64
    timeout: UINT64
    epoch: Annotated[tuple[int, int], Epoch()]
    command_code: UINT32
    hash: TPMI_ALG_HASH
    locality: UINT8
    symmetric: TPMT_SYM_DEF_NULL
    session_key: OCTETS
    nonce_tpm: OCTETS
    bound: OCTETS
    digest: OCTETS
    tail: TAIL

    __repr__ = object.__repr__


class SessionSlot(Codec):
    """A session, or None: an empty slot has nothing after its mark."""

    version = Version(0x3664AEBC, {2: 1})
    occupied = codec_of(BOOL)
    tail = codec_of(TAIL)

    def _parse(self, stream: BytesIO, context: Any, path: str) -> SessionForm | None:
        self.version._parse(stream, context, path)  # noqa: SLF001 - how a construct reads
        if not self.occupied._parse(stream, context, path):  # noqa: SLF001 - how a construct reads
            return None
        session: SessionForm = codec_of(SessionForm)._parse(stream, None, path)  # noqa: SLF001
        self.tail._parse(stream, context, path)  # noqa: SLF001
        return session

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        self.version._build(2, stream, context, path)  # noqa: SLF001 - how a construct writes
        self.occupied._build(obj is not None, stream, context, path)  # noqa: SLF001 - how a construct writes
        if obj is not None:
            codec_of(SessionForm)._build(obj, stream, None, path)  # noqa: SLF001
            self.tail._build(b"", stream, context, path)  # noqa: SLF001
        return obj
