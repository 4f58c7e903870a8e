"""
One line of the log: what it says, what it follows, and what authenticates it.

    line = canonical(entry) ‖ line feed
    prev = SHA-256 of the whole line before
    mac  = expand(k, 32, "nvstore v1 audit line", canonical(entry without mac))
    the k of the next line = expand(k, 32, "nvstore v1 audit next")

A line `audit-key` begins a chain of keys: it has `root`, a MAC under the first key of the new chain,
which follows from a KDK, besides the MAC under the old chain, if there was one.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from nvstore.document import canonical
from nvstore.keys import AUDIT_LINE, AUDIT_NEXT, AUDIT_ROOT, KEY_SIZE, expand

FIRST: Final = "0" * 64
KEYED: Final = "audit-key"
"""The operation of a line that begins a chain of keys."""
LOST: Final = "audit-lost"
"""The operation of the first line of a log that was begun where there should have been one."""
DROPPED: Final = "audit-drop"
"""The operation of a line that says which segments were removed."""
SALT_SIZE: Final = 32
STAMP: Final = frozenset({"seq", "time", "actor", "op", "result", "prev"})
"""What every entry has."""

Entry = dict[str, Any]


class Root(NamedTuple):
    """A KDK from which a chain of keys may begin."""

    provider: str
    kdk_id: bytes
    kdk: bytes

    def __repr__(self) -> str:
        return f"Root({self.provider!r})"


class Misfit(Exception):  # noqa: N818 - an error is called by what is wrong
    """A line that does not belong where it is; the text says why."""


class End(NamedTuple):
    """Where a chain of lines ends: what its next line follows, and the key of that line, if it has one."""

    lines: int = 0
    hash: str = FIRST
    key: bytes = b""

    def __repr__(self) -> str:
        return f"End({self.lines}, {self.hash!r})"

    def line(self, fields: Mapping[str, Any]) -> bytes:
        """Return the line with these fields that comes here."""
        entry = {"seq": self.lines + 1, **fields, "prev": self.hash}
        if self.key:
            entry["mac"] = mac_of(self.key, entry)
        return canonical(entry) + b"\n"

    def key_line(self, fields: Mapping[str, Any], root: Root, salt: bytes) -> tuple[bytes, bytes]:
        """Return the line that begins a chain of keys here, and the first key of that chain."""
        first = first_key(root, salt, self)
        named = {"provider": root.provider, "kdk_id": root.kdk_id.hex(), "salt": salt.hex()}
        entry = {"seq": self.lines + 1, **fields, **named, "prev": self.hash}
        return self.line({**fields, **named, "root": mac_of(first, entry)}), first

    def after(self, line: bytes, key: bytes | None = None) -> Self:
        """Return the end after this line; `key` begins a chain of keys."""
        digest = hashlib.sha256(line).hexdigest()
        following = self.key if key is None else key
        return self._replace(lines=self.lines + 1, hash=digest, key=next_key(following) if following else b"")

    def check(self, line: bytes) -> Entry:
        """Return the entry of a line that comes here, or raise Misfit; the MAC counts if a key is known."""
        entry = read_line(line)
        if entry is None or entry["seq"] != self.lines + 1:
            raise Misfit("it is not an entry of that number")
        if entry["prev"] != self.hash:
            raise Misfit("it does not follow the line before")
        if self.key and not _is_equal(entry.get("mac"), mac_of(self.key, entry)):
            raise Misfit("its MAC is missing or wrong")
        return entry


def read_line(line: bytes) -> Entry | None:
    """Return the entry of a line; None if it is not one."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and entry.keys() >= STAMP else None


def first_key(root: Root, salt: bytes, end: End) -> bytes:
    """Return the first key of a chain that begins after this end."""
    place = (end.lines + 1).to_bytes(8, "big"), end.hash.encode()
    return expand(root.kdk, KEY_SIZE, AUDIT_ROOT, root.kdk_id, salt, *place)


def check_root(entry: Entry, root: Root, end: End) -> bytes:
    """Return the first key of the chain that a line begins, or raise Misfit."""
    try:
        salt = bytes.fromhex(entry["salt"])
    except (KeyError, TypeError, ValueError):
        raise Misfit("what it says of its key is malformed") from None
    key = first_key(root, salt, end)
    beside = {name: value for name, value in entry.items() if name != "root"}
    if not _is_equal(entry.get("root"), mac_of(key, beside)):
        raise Misfit("it was not written by who had the provider's key")
    return key


def mac_of(key: bytes, entry: Mapping[str, Any]) -> str:
    """Return the MAC of an entry, over all else of it."""
    content = {name: value for name, value in entry.items() if name != "mac"}
    return expand(key, KEY_SIZE, AUDIT_LINE, canonical(content)).hex()


def next_key(key: bytes) -> bytes:
    """Return the key of the next line; that of this one does not follow from it."""
    return expand(key, KEY_SIZE, AUDIT_NEXT)


def _is_equal(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())
