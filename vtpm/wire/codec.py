"""The construct that all of the TPM's grammar derives from, with types."""

from abc import abstractmethod
from io import BytesIO
from typing import Any

from construct import Construct

from vtpm.wire.error import TPM_RC, TpmError


class Codec(Construct):
    """How one kind of value is read from octets and written to them."""

    @abstractmethod
    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        """Read a value; TpmError with the response code that Part 2 names."""

    @abstractmethod
    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        """Write a value, which is well formed."""

    def most(self) -> int:
        """The most octets that a value takes: what Part 2 calls its sizeof."""
        raise TypeError(f"the values of {type(self).__name__} have no largest size")


def take(stream: BytesIO, count: int) -> bytes:
    """Exactly `count` octets; TPM_RC_INSUFFICIENT if the stream ends before."""
    data = stream.read(count)
    if len(data) != count:
        raise TpmError(TPM_RC.INSUFFICIENT)
    return data
