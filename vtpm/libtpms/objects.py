"""ANY_OBJECT of libtpms' states: keys, sealed data and sequences."""

from io import BytesIO
from typing import Annotated, Any

from vtpm.libtpms.form import OCTETS, TAIL, Array, Block, Version
from vtpm.libtpms.hashes import HashState
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.flags import Bit, Flags
from vtpm.wire.integers import UINT8, UINT16, UINT32
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import codec_of


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

    version: Annotated[int, Version(0x75BE73AF, {2: 1, 3: 3, 4: 4})]
    public: TPMT_PUBLIC
    sensitive: Annotated[TPMT_SENSITIVE | None, MaybeSensitive()]
    exponent: Annotated[PrivateExponent | None, Block(PrivateExponent)]
    qualified_name: OCTETS
    evict_handle: UINT32
    name: OCTETS
    level: Annotated[ObjectLevel | None, Block(ObjectLevel, may_be_empty=True)]

    __repr__ = object.__repr__


@structure
class HashSequence:
    """HASH_OBJECT of an event sequence, with a digest for each algorithm, or of a hash sequence, with one."""

    version: Annotated[int, Version(0xB874FE38, {3: 1})]
    type: UINT16
    name_alg: UINT16
    attributes: UINT32
    auth_value: OCTETS
    states: Annotated[tuple[HashState, ...], Array(HashState)]
    tail: TAIL

    __repr__ = object.__repr__


@structure
class MacSequence:
    """HASH_OBJECT of an HMAC sequence; `key` is the block that the outer digest begins with."""

    version: Annotated[int, Version(0xB874FE38, {3: 1})]
    type: UINT16
    name_alg: UINT16
    attributes: UINT32
    auth_value: OCTETS
    state: HashState
    key: OCTETS
    tail: TAIL

    __repr__ = object.__repr__


Item = LoadedObject | HashSequence | MacSequence


class ByAttributes(Codec):
    """What a slot holds, by its attributes; None if it is empty."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Item | None:
        attributes: ObjectAttributes = context["attributes"]
        if not attributes.occupied:
            return None
        form: type[Item] = LoadedObject
        if attributes.hash_seq or attributes.event_seq:
            form = HashSequence
        elif attributes.hmac_seq:
            form = MacSequence
        item: Item = codec_of(form)._parse(stream, None, path)  # noqa: SLF001 - how a construct reads
        return item

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:  # noqa: ARG002
        if obj is not None:
            codec_of(type(obj))._build(obj, stream, None, path)  # noqa: SLF001 - how a construct writes
        return obj


@structure
class AnyObject:
    """ANY_OBJECT: a persistent object, or the content of a transient slot."""

    version: Annotated[int, Version(0xFE9A3974, {2: 1})]
    attributes: ObjectAttributes
    item: Annotated[Item | None, ByAttributes()]
    tail: TAIL
