"""What a target of the campaign is: where its inputs begin, and what must hold for any of them."""

from abc import ABC, abstractmethod
from typing import ClassVar


class Finding(Exception):  # noqa: N818 - what was found
    """An input did what no input may do."""


class Target(ABC):
    """
    One thing that reads octets.

    An input is octets and nothing else, so that any source of octets can drive it.
    """

    name: ClassVar[str]
    words: ClassVar[tuple[bytes, ...]] = ()
    """Octets that mean something to what reads them."""

    @abstractmethod
    def seeds(self) -> list[bytes]:
        """Inputs to begin with, which reach far."""

    @abstractmethod
    def check(self, octets: bytes) -> bool:
        """Try one input: was it taken? `Finding`, or any other exception, is a bug."""
