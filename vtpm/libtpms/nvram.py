"""INDEX_ORDERLY_RAM and USER_NVRAM of libtpms' permanent state: NV Indices and persistent objects."""

from io import BytesIO
from typing import Annotated, Any, ClassVar

from vtpm.libtpms.form import OCTETS, TAIL, Long, UntilZero, Version
from vtpm.libtpms.objects import AnyObject
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_HT
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import codec_of

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
