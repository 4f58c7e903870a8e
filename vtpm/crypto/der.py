"""X.690's distinguished encoding (DER), as far as X.509 certificates need it."""

from dataclasses import dataclass

from vtpm.wire.error import TPM_RC, TpmError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING = 0x01, 0x02, 0x03, 0x04
NULL = b"\x05\x00"
OBJECT_IDENTIFIER, SEQUENCE = 0x06, 0x30
CONTEXT = 0xA0
"""The tag of an explicitly tagged element, to which its number is added."""


@dataclass(frozen=True, slots=True)
class Element:
    """An element: its tag, what is in it, and all its octets."""

    tag: int
    content: bytes
    octets: bytes


def elements_of(octets: bytes) -> list[Element]:
    """The elements that the octets are made of; TPM_RC_VALUE if they are not made of whole ones."""
    found = []
    while octets:
        element = _first(octets)
        found.append(element)
        octets = octets[len(element.octets) :]
    return found


def _first(octets: bytes) -> Element:
    if len(octets) < 2 or octets[0] & 0x1F == 0x1F:
        raise TpmError(TPM_RC.VALUE)
    size, begin = octets[1], 2
    if size >= 0x80:
        begin += size & 0x7F
        size = int.from_bytes(octets[2:begin], "big")
        if begin == 2 or octets[2:3] == b"\0" or size < 0x80 or size.bit_length() <= 8 * (begin - 3):
            raise TpmError(TPM_RC.VALUE)
    end = begin + size
    if len(octets) < end:
        raise TpmError(TPM_RC.VALUE)
    return Element(octets[0], octets[begin:end], octets[:end])


def element(tag: int, *contents: bytes) -> bytes:
    """An element with these contents, one after the other."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def integer(number: int) -> bytes:
    """An INTEGER that is not negative."""
    return element(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def object_identifier(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER, from its numbers with dots between them."""
    first, second, *others = map(int, dotted.split("."))
    octets = b""
    for number in (40 * first + second, *others):
        part = bytes((number & 0x7F,))
        while number := number >> 7:
            part = bytes((0x80 | number & 0x7F,)) + part
        octets += part
    return element(OBJECT_IDENTIFIER, octets)


def bit_string(octets: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return element(BIT_STRING, b"\0", octets)


def bits_of(string: Element, size: int) -> int:
    """A BIT STRING of at most `size` bits as a number, its first bit the highest; TPM_RC_VALUE otherwise."""
    if string.tag != BIT_STRING or not string.content or string.content[0] > 7:
        raise TpmError(TPM_RC.VALUE)
    unused, octets = string.content[0], string.content[1:]
    number = int.from_bytes(octets, "big")
    if 8 * len(octets) > size or number & (1 << unused) - 1 or unused > 8 * len(octets):
        raise TpmError(TPM_RC.VALUE)
    return number << size - 8 * len(octets)
