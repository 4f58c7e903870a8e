"""
The files of the log: the one that grows, older ones beside it, and the head, which says where the log ends.

    audit/log.jsonl                 the newest lines
    audit/log-000000000001.jsonl    older ones, by the number of their first line
    audit/head                      where the log ends, and the key of the next line
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nvstore.audit.line import FIRST, End
from nvstore.document import BadDocument, pretty, read_document
from nvstore.errors import AuditBroken
from nvstore.files import Files, read_file, replace_file
from nvstore.keys import KDK_ID_SIZE, KEY_SIZE

KIND: Final = "nvstore audit end"
UNKEYED: Final = "nvstore audit head"
"""What versions without keys wrote."""
NEWEST: Final = "log.jsonl"
_OLDER: Final = "log-{:012}.jsonl"


class Head(NamedTuple):
    """Where the log ends."""

    end: End = End()
    size: int = 0
    """Octets of the newest file."""
    first: int = 1
    """The number of the first line in the newest file."""
    provider: str = ""
    """Whose KDK the chain of keys began with; empty if there is no chain."""
    kdk_id: bytes = b""

    def after(self, line: bytes) -> "Head":
        """Return it after this line."""
        return self._replace(end=self.end.after(line), size=self.size + len(line))


class Segments:
    """The files of one log; to be used under its lock."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._files = directory, files
        self.newest, self.head = directory / NEWEST, directory / "head"
        files.make_directory(directory)

    def __repr__(self) -> str:
        return f"Segments({str(self._directory)!r})"

    def read_head(self) -> Head | None:
        """Return where the log ends; None if nothing says so."""
        try:
            octets = read_file(self._files, self.head)
        except FileNotFoundError:
            return None
        try:
            try:
                fields = read_document(octets, KIND)
            except BadDocument:
                fields = {
                    "first": 1,
                    "key": "",
                    "provider": "",
                    "kdk_id": "",
                    **read_document(octets, UNKEYED),
                }
            end = End(int(fields["lines"]), str(fields["hash"]), bytes.fromhex(fields["key"]))
            kdk_id = bytes.fromhex(fields["kdk_id"])
            if len(end.hash) != len(FIRST) or len(end.key) not in {0, KEY_SIZE}:
                raise ValueError
            if len(kdk_id) != (KDK_ID_SIZE if end.key else 0):
                raise ValueError
            return Head(end, int(fields["size"]), int(fields["first"]), str(fields["provider"]), kdk_id)
        except BadDocument as error:
            raise AuditBroken(self.head, 0, str(error)) from None
        except (KeyError, TypeError, ValueError):
            raise AuditBroken(self.head, 0, "fields are missing or malformed") from None

    def write_head(self, head: Head) -> None:
        """Say where the log ends, durable on return."""
        fields = {
            "lines": head.end.lines,
            "size": head.size,
            "first": head.first,
            "hash": head.end.hash,
            "provider": head.provider,
            "kdk_id": head.kdk_id.hex(),
            "key": head.end.key.hex(),
        }
        replace_file(self._files, self.head, pretty(KIND, fields))

    def older(self) -> list[tuple[int, Path]]:
        """Return the older files with the numbers of their first lines, in order."""
        found = []
        for name in self._files.entries(self._directory):
            number = name.removeprefix("log-").removesuffix(".jsonl")
            if number.isdigit() and name == _OLDER.format(int(number)):
                found.append((int(number), self._directory / name))
        return sorted(found)

    def lines(self, *, after: int = 0) -> Iterator[bytes]:
        """Give the lines of all files in order, or those of the files that begin after a number."""
        for number, path in self.older():
            if number > after:
                yield from read_file(self._files, path).splitlines(keepends=True)
        try:
            yield from read_file(self._files, self.newest).splitlines(keepends=True)
        except FileNotFoundError:
            return

    def rotate(self, head: Head) -> Head:
        """Begin a new file, and return the head in it; a crash in between is put right by `resume`."""
        self._files.rename(self.newest, self._directory / _OLDER.format(head.first))
        self._files.flush_directory(self._directory)
        return self.resume(head)

    def resume(self, head: Head) -> Head:
        """Finish a rotation that was interrupted after its first step."""
        if head.size and not self._files.exists(self.newest):
            if self._files.exists(self._directory / _OLDER.format(head.first)):
                head = head._replace(size=0, first=head.end.lines + 1)
                self.write_head(head)
            else:
                raise AuditBroken(self.newest, head.end.lines, "the file is missing")
        return head

    def put_aside(self, stamp: int) -> Path:
        """Move all files into a directory of their own, whose name has this stamp, and return it."""
        aside = self._directory / f"aside-{stamp}"
        while self._files.exists(aside):
            aside = aside.with_name(aside.name + "-again")
        self._files.make_directory(aside)
        for path in (*(path for _, path in self.older()), self.newest, self.head):
            if self._files.exists(path):
                self._files.rename(path, aside / path.name)
        self._files.flush_directory(aside)
        self._files.flush_directory(self._directory)
        return aside

    def drop(self, path: Path) -> None:
        """Remove an older file."""
        self._files.remove(path)
        self._files.flush_directory(self._directory)
