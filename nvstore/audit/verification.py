"""Reading the whole log: does every line follow the one before, and did who had the keys write it?"""

import hmac
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nvstore.audit.line import DROPPED, KEYED, LOST, End, Entry, Misfit, Root, check_root, read_line
from nvstore.audit.segments import Head
from nvstore.errors import NvstoreError
from nvstore.keys import KeySource
from nvstore.provider_errors import KeyUncertified


class Verified(NamedTuple):
    """What is known of a log whose lines all fit."""

    lines: int
    """The number of the last line."""
    hash: str
    """The hash of the last line: what to compare with a copy kept elsewhere."""
    authentic: int
    """How many of the lines a key vouches for, from the first; 0 if none."""
    why: str = ""
    """Why a key vouches for no more; empty if it does for all."""
    unkeyed: int = 0
    """How many of the lines, from the first, come before any chain of keys: nobody needed a key for them."""


class Broken(Exception):  # noqa: N818 - an error is called by what is wrong
    """A line that does not fit; the numbers and the text say which and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class Walk:
    """Goes along the lines, and keeps what is known so far."""

    def __init__(self, keys: KeySource | None, seen: Mapping[int, str]) -> None:
        self._keys, self._seen = keys, seen
        self._end = End()
        self._root: Root | None = None
        self._is_keyed = False
        self._unkeyed = 0
        self._missing: tuple[int, str] | None = None
        """The last of the lines that are not here any more, until one says that they were dropped."""
        self._authentic = 0
        self._why = "no line begins a chain of keys yet"

    def follow(self, lines: Iterable[bytes], head: Head) -> Verified:
        """Go along all lines up to the head; Broken where one does not fit."""
        for line in lines:
            if self._end.lines == 0:
                self._begin(line)
            self._step(line)
            if self._end.lines == head.end.lines:
                self._check_head(head)
        if self._missing is not None:
            raise Broken(
                self._missing[0] + 1,
                "the lines before it are missing, and no line says that they were dropped",
            )
        if self._end.lines < head.end.lines:
            raise Broken(self._end.lines + 1, f"it is missing: the head counts {head.end.lines}")
        beyond = [number for number in self._seen if number > self._end.lines]
        if beyond:
            raise Broken(max(beyond), "it is missing: a copy of the head has it")
        return Verified(self._end.lines, self._end.hash, self._authentic, self._why, self._unkeyed)

    def _begin(self, line: bytes) -> None:
        """Begin with the first line that is kept: after line 1, one that begins a chain of keys."""
        entry = read_line(line)
        if entry is None or not isinstance(entry["seq"], int):
            raise Broken(1, "it is not an entry")
        if entry["seq"] > 1 and entry["op"] == KEYED:
            self._end = End(entry["seq"] - 1, str(entry["prev"]))
            self._missing = self._end.lines, self._end.hash

    def _step(self, line: bytes) -> None:
        number = self._end.lines + 1
        try:
            entry = self._end.check(line)
            if entry["op"] == LOST:
                raise Misfit("the log was begun where there had been one, of which nothing was left")
            if entry["op"] == KEYED:
                self._end = self._end.after(line, self._key_of(entry))
            else:
                if self._is_keyed and "mac" not in entry:
                    raise Misfit("it has no MAC, and lines before have one")
                if entry["op"] == DROPPED and self._missing == (_number(entry), entry.get("hash")):
                    self._missing = None
                self._end = self._end.after(line)
        except Misfit as error:
            raise Broken(number, str(error)) from None
        if not self._is_keyed:
            self._unkeyed = number
        if self._end.key:
            self._authentic = number
        if self._seen.get(number, self._end.hash) != self._end.hash:
            raise Broken(number, "it is not the one that a copy of the head names")

    def _key_of(self, entry: Entry) -> bytes:
        """Return the first key of the chain that begins here; nothing if it cannot be had."""
        self._is_keyed = True
        provider, kdk_id = str(entry.get("provider")), _octets(entry.get("kdk_id"))
        if self._keys is None:
            self._why = "the keys were not asked for"
            return b""
        try:
            if self._root is not None and self._root.provider == provider:
                self._keys.check_succession(provider, self._root.kdk_id, kdk_id)
            root = self._root = Root(provider, kdk_id, self._keys.key(provider, kdk_id))
        except KeyUncertified as error:
            raise Misfit(f"its key is not a successor of the one before: {error.cause}") from None
        except NvstoreError as error:
            self._why = f"the chain of keys from line {entry['seq']} on cannot be followed: {error.cause}"
            return b""
        self._why = ""
        return check_root(entry, root, self._end)

    def _check_head(self, head: Head) -> None:
        if self._end.hash != head.end.hash:
            raise Broken(self._end.lines, "it is not the one that the head names")
        if self._end.key and not hmac.compare_digest(self._end.key, head.end.key):
            raise Broken(self._end.lines, "the head has another key than the one that follows from it")
        if self._is_keyed and not head.end.key:
            raise Broken(self._end.lines, "the head has no key, and the lines have MACs")


def _number(entry: Entry) -> int:
    through = str(entry.get("through"))
    return int(through) if through.isdecimal() else 0


def _octets(text: object) -> bytes:
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        raise Misfit("what it says of its key is malformed") from None
