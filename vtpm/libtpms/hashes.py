"""HASH_STATE of libtpms' volatile state: a digest that is under way, as OpenSSL's contexts hold it."""

from io import BytesIO
from typing import Annotated, Any, Final

from vtpm.libtpms.form import OCTETS, TAIL, Fixed, Version
from vtpm.spec.constants import TPM_ALG
from vtpm.wire.codec import Codec
from vtpm.wire.integers import UINT8, UINT16, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Octets, codec_of

HASH, HMAC = 1, 2
"""The types of a HASH_STATE in use."""

WORDS = 8


@structure
class Sha1State:
    """SHA-1: the chaining value, the message's length in bits, the octets of an unfinished block."""

    version: Annotated[int, Version(0x19D46F50, {2: 1})]
    chain: Annotated[bytes, Octets(20)]
    bits_low: UINT32
    bits_high: UINT32
    block: OCTETS
    fill: UINT32
    tail: TAIL

    __repr__ = object.__repr__


@structure
class Sha256State:
    """SHA-256, in the same terms."""

    version: Annotated[int, Version(0x6EA059D0, {2: 1})]
    words: Annotated[int, Fixed("H", WORDS)]
    chain: Annotated[bytes, Octets(32)]
    bits_low: UINT32
    bits_high: UINT32
    block: OCTETS
    fill: UINT32
    digest_size: UINT32
    tail: TAIL

    __repr__ = object.__repr__


@structure
class Sha384State:
    """SHA-384."""

    version: Annotated[int, Version(0x14814B08, {2: 1})]
    words: Annotated[int, Fixed("H", WORDS)]
    chain: Annotated[bytes, Octets(64)]
    bits_low: UINT64
    bits_high: UINT64
    block: OCTETS
    fill: UINT32
    digest_size: UINT32
    tail: TAIL

    __repr__ = object.__repr__


@structure
class Sha512State:
    """SHA-512."""

    version: Annotated[int, Version(0x269E8AE0, {2: 1})]
    words: Annotated[int, Fixed("H", WORDS)]
    chain: Annotated[bytes, Octets(64)]
    bits_low: UINT64
    bits_high: UINT64
    block: OCTETS
    fill: UINT32
    digest_size: UINT32
    tail: TAIL

    __repr__ = object.__repr__


Sha2State = Sha256State | Sha384State | Sha512State
ShaState = Sha1State | Sha2State

SHA2: Final[dict[int, type[Sha2State]]] = {
    TPM_ALG.SHA256: Sha256State,
    TPM_ALG.SHA384: Sha384State,
    TPM_ALG.SHA512: Sha512State,
}
STATES: Final[dict[int, type[ShaState]]] = {TPM_ALG.SHA1: Sha1State, **SHA2}


class ByHash(Codec):
    """ANY_HASH_STATE: the state of the algorithm in the field `alg`; None for one that is no hash."""

    version = Version(0x349D494B, {2: 1})
    tail = codec_of(TAIL)

    def _parse(self, stream: BytesIO, context: Any, path: str) -> ShaState | None:
        self.version._parse(stream, context, path)  # noqa: SLF001 - how a construct reads
        form = STATES.get(context["alg"])
        state = None if form is None else codec_of(form)._parse(stream, None, path)  # noqa: SLF001
        self.tail._parse(stream, context, path)  # noqa: SLF001 - how a construct reads
        return state

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        self.version._build(2, stream, context, path)  # noqa: SLF001 - how a construct writes
        if obj is not None:
            codec_of(type(obj))._build(obj, stream, None, path)  # noqa: SLF001 - how a construct writes
        self.tail._build(b"", stream, context, path)  # noqa: SLF001
        return obj


@structure
class HashState:
    """HASH_STATE."""

    version: Annotated[int, Version(0x562878A2, {2: 1})]
    type: UINT8
    alg: UINT16
    state: Annotated[ShaState | None, ByHash()]
    tail: TAIL

    __repr__ = object.__repr__
