"""
The audit log: one line of JSON for every operation on keys and states, each with the hash of the line before.

A changed, removed or inserted line breaks the chain.
The head, kept in a file of its own, shows an end that was cut.
Whoever can write both files can write another history: copy the head elsewhere to have something to compare.
The log holds names, ids and results, and never a secret.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from nvstore.document import BadDocument, canonical, pretty, read_document, timestamp
from nvstore.errors import AuditBroken, AuditFailed, NvstoreError
from nvstore.files import File, Files, actor, read_file, replace_file

_FIRST: Final = "0" * 64
_HEAD: Final = "nvstore audit head"
_STAMP: Final = {"seq", "time", "actor", "op", "result", "prev"}
"""What every entry has."""


class _Head(NamedTuple):
    """Where the log ends, and what its next line follows."""

    lines: int = 0
    size: int = 0
    hash: str = _FIRST

    def after(self, line: bytes) -> "_Head":
        return _Head(self.lines + 1, self.size + len(line), hashlib.sha256(line).hexdigest())


class Audit:
    """The audit log of one host; `Host.audit`."""

    def __init__(self, directory: Path, files: Files, clock: Callable[[], float]) -> None:
        self._directory, self._files, self._clock = directory, files, clock
        self._log, self._head = directory / "log.jsonl", directory / "head"
        files.make_directory(directory)

    def __repr__(self) -> str:
        return f"Audit({str(self._log)!r})"

    @contextmanager
    def entry(self, operation: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """
        Note an operation with its result; facts that become known meanwhile are added to the dict.

        AuditFailed: the operation succeeded, and could not be noted.
        """
        try:
            yield facts
        except NvstoreError as error:
            try:
                self._append(operation, facts, error.code)
            except OSError as failure:
                error.add_note(f"this could not be noted in {self._log}: {failure}")
            raise
        try:
            self._append(operation, facts, "done")
        except OSError as failure:
            raise AuditFailed(self._log, operation, str(failure)) from failure

    def verify(self) -> tuple[int, str]:
        """
        Return how many lines the log has, and the hash of the last one.

        AuditBroken: a line does not fit; the first one is named.
        """
        with self._locked():
            head = self._read_head()
            found = _Head()
            for line in self._content().splitlines(keepends=True):
                self._check(line, found)
                found = found.after(line)
                if found.lines == head.lines and found != head:
                    raise AuditBroken(self._log, found.lines, "it is not the one that the head names")
            if found.lines < head.lines:
                raise AuditBroken(self._log, found.lines + 1, f"it is missing: the head counts {head.lines}")
            return found.lines, found.hash

    def entries(self) -> list[dict[str, Any]]:
        """Return all lines, oldest first, without verifying them; AuditBroken if one is no entry at all."""
        entries = []
        for number, line in enumerate(self._content().splitlines(), 1):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise AuditBroken(self._log, number, str(error)) from None
            if not isinstance(entry, dict) or not entry.keys() >= _STAMP:
                raise AuditBroken(self._log, number, "it is no entry")
            entries.append(entry)
        return entries

    def _append(self, operation: str, facts: dict[str, Any], result: str) -> None:
        with self._locked():
            if not self._files.exists(self._log):
                replace_file(self._files, self._log, b"")
            file = self._files.open(self._log)
            try:
                head = self._end(file)
                known = {name: str(value) for name, value in facts.items() if value not in {None, ""}}
                stamp = {"seq": head.lines + 1, "time": timestamp(self._clock()), "actor": actor()}
                line = (
                    canonical({**stamp, "op": operation, **known, "result": result, "prev": head.hash})
                    + b"\n"
                )
                file.write(head.size, [line])
                file.flush()
            finally:
                file.close()
            self._write_head(head.after(line))

    def _end(self, file: File) -> _Head:
        """Return where the next line goes; a last line without head is kept if it is whole."""
        head, size = self._read_head(), file.size()
        if size < head.size:
            raise AuditBroken(
                self._log, head.lines, f"the log has {size} octets, the head counts {head.size}"
            )
        rest = file.read(head.size, size - head.size)
        for line in rest.splitlines(keepends=True):
            try:
                self._check(line, head)
            except AuditBroken:
                file.truncate(head.size)
                break
            head = head.after(line)
        return head

    def _check(self, line: bytes, before: _Head) -> None:
        number = before.lines + 1
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or entry.get("seq") != number:
            raise AuditBroken(self._log, number, "it is no entry of that number")
        if entry.get("prev") != before.hash:
            raise AuditBroken(self._log, number, "it does not follow the line before")

    def _content(self) -> bytes:
        try:
            return read_file(self._files, self._log)
        except FileNotFoundError:
            return b""

    def _read_head(self) -> _Head:
        try:
            head = read_document(read_file(self._files, self._head), _HEAD)
            return _Head(int(head["lines"]), int(head["size"]), str(head["hash"]))
        except FileNotFoundError:
            return _Head()
        except (BadDocument, KeyError, TypeError, ValueError) as error:
            raise AuditBroken(self._head, 0, str(error)) from None

    def _write_head(self, head: _Head) -> None:
        replace_file(self._files, self._head, pretty(_HEAD, head._asdict()))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._files.lock(self._directory / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()
