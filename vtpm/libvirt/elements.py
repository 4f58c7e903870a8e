"""Where the elements of an XML document are, so that a change leaves every other octet as it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from vtpm.daemon.errors import OperatorError

START_TAG: Final = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*(/?)>""")


class XmlError(OperatorError):
    """The text is no XML, or none that is accepted."""


@dataclass
class Element:
    """One element: where it starts and ends in the octets, and what is between its tags."""

    name: str
    attributes: dict[str, str]
    start: int
    inner_start: int
    inner_end: int = 0
    end: int = 0
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def all(self, path: str) -> Iterator["Element"]:
        """The elements at a path below this one, such as `devices/tpm`."""
        name, _, rest = path.partition("/")
        for child in self.children:
            if child.name == name:
                if rest:
                    yield from child.all(rest)
                else:
                    yield child

    def first(self, path: str) -> "Element | None":
        """The first element at a path."""
        return next(self.all(path), None)

    def text_of(self, path: str) -> str:
        """The text of the first element at a path, without blanks around it; empty if there is none."""
        found = self.first(path)
        return "" if found is None else found.text.strip()


def parse(octets: bytes) -> Element:
    """The root of a document in UTF-8; XmlError if it is malformed, or declares types and entities."""
    parser = expat.ParserCreate("UTF-8")
    outermost = Element("", {}, 0, 0)
    stack = [outermost]

    def start(name: str, attributes: dict[str, str]) -> None:
        at = parser.CurrentByteIndex
        tag = START_TAG.match(octets, at)
        assert tag is not None, "expat has accepted the tag"
        is_empty = bool(tag[1])
        element = Element(name, attributes, at, tag.end(), *((tag.end(), tag.end()) if is_empty else (0, 0)))
        stack[-1].children.append(element)
        stack.append(element)

    def end(_name: str) -> None:
        element = stack.pop()
        if not element.end:
            element.inner_end = parser.CurrentByteIndex
            element.end = octets.index(b">", element.inner_end) + 1

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*_: object) -> None:
        raise XmlError("the XML declares a document type, which no definition of a domain does; remove that")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(octets, True)  # noqa: FBT003 - expat takes it by position
    except expat.ExpatError as error:
        raise XmlError(f"this is no XML: {error}; give what `virsh dumpxml --inactive` prints") from None
    return outermost.children[0]
