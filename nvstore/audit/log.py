"""Audit: notes operations, and reads and verifies what was noted."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from nvstore.audit.line import DROPPED, KEYED, LOST, SALT_SIZE, Entry, Misfit, Root, read_line
from nvstore.audit.repeats import Repeats
from nvstore.audit.segments import Head, Segments
from nvstore.audit.verification import Broken, Verified, Walk
from nvstore.document import timestamp
from nvstore.errors import AuditBroken, AuditFailed, AuditIntact, AuditUnwritable, NvstoreError, UnsafeFile
from nvstore.files import File, Files, actor, replace_file
from nvstore.keys import Entropy, KeySource

SEGMENT: Final = 16 << 20
"""Octets after which a new file is begun."""
KEPT: Final = 16
"""Older files that are kept."""
RESTART: Final = "audit-restart"
BEGUN: Final = "begun"
"""The result in a line that is written before its operation."""

Witness = Callable[[int, str, Mapping[str, Any]], None]
"""Sends the number, the hash and the entry of a line to where this host's disk does not reach."""


class Audit:
    """The audit log of one host; `Host.audit`."""

    def __init__(
        self,
        directory: Path,
        files: Files,
        clock: Callable[[], float],
        entropy: Entropy,
        *,
        witness: Witness | None = None,
        segment: int = SEGMENT,
        kept: int = KEPT,
    ) -> None:
        """
        `witness` is called with every line that was written.

        A file grows to `segment` octets, and `kept` older ones stay.
        """
        self._directory, self._files, self._clock, self._entropy = directory, files, clock, entropy
        self._segments = Segments(directory, files)
        self._repeats = Repeats()
        self._witness, self._segment, self._kept = witness, segment, kept
        self.root: Callable[[], Root | None] = lambda: None
        """Gives the KDK from which a chain of keys may begin, if this process has unsealed one."""
        self.is_due: Callable[[], bool] = lambda: False
        """Tells whether this host has anything that was noted when it was made."""

    def __repr__(self) -> str:
        return f"Audit({str(self._segments.newest)!r})"

    @contextmanager
    def entry(
        self, operation: str, *, begun: bool = False, frequent: bool = False, **facts: Any
    ) -> Iterator[dict[str, Any]]:
        """
        Note an operation with its result; facts that become known meanwhile are added to the dict.

        With `begun`, a line before it says that it begins: for what gives secrets away or destroys them.
        What is `frequent` can be caused by whoever may connect: many of the same kind are counted.
        So are refusals.
        AuditUnwritable: nothing was done, since it could not be noted.
        AuditFailed: the operation succeeded, and could not be noted.
        """
        try:
            self._begin(operation)
            if begun:
                self._append(operation, facts, BEGUN)
        except OSError as failure:
            raise AuditUnwritable(self._segments.newest, operation, str(failure)) from failure
        try:
            yield facts
        except NvstoreError as error:
            try:
                self._note(operation, facts, error.code, may_count=not begun)
            except OSError as failure:
                error.add_note(f"this could not be noted in {self._segments.newest}: {failure}")
            raise
        try:
            self._note(operation, facts, "done", may_count=frequent)
        except OSError as failure:
            raise AuditFailed(self._segments.newest, operation, str(failure)) from failure

    def verify(self, keys: KeySource | None = None, seen: Mapping[int, str] | None = None) -> Verified:
        """
        Return how far the log goes, and how much of it the `keys` vouch for.

        `seen` has hashes of lines by their numbers, from copies of the head that were kept elsewhere.
        AuditBroken: a line does not fit; the first one is named.
        """
        with self._locked():
            head = self._segments.read_head()
            if head is None:
                if self.is_due() or next(self._segments.lines(), None) is not None:
                    raise AuditBroken(self._segments.head, 0, "it is missing")
                head = Head()
            elif head.end.lines == 0 and self.is_due():
                raise AuditBroken(self._segments.head, 0, "it counts no line, and there must have been some")
            try:
                return Walk(keys, seen or {}).follow(self._segments.lines(), head)
            except Broken as broken:
                raise AuditBroken(self._segments.newest, broken.line, str(broken)) from None

    def entries(self) -> list[Entry]:
        """Return all lines, oldest first, without verifying them; AuditBroken if one is not an entry."""
        entries = []
        for number, line in enumerate(self._segments.lines(), 1):
            entry = read_line(line)
            if entry is None:
                raise AuditBroken(self._segments.newest, number, "it is not an entry")
            entries.append(entry)
        return entries

    def restart(self, reason: str, keys: KeySource | None = None) -> Path:
        """
        Put a broken log aside, begin another one, and return the directory where the old one is.

        AuditIntact: it verifies.
        """
        with suppress(AuditBroken, UnsafeFile):
            raise AuditIntact(self._segments.newest, self.verify(keys).lines)
        with self._locked():
            aside = self._segments.put_aside(int(self._clock()))
            self._segments.write_head(Head())
        with self.entry(RESTART, reason=reason, former=aside):
            pass
        return aside

    def _begin(self, operation: str) -> None:
        """
        Begin the log of a new host.

        AuditBroken where there are lines and no head.
        Where nothing is left of a log that must have been, the first line says so, and `verify` by it.
        A head that counts no line says as little as none, but where a restart has just written it.
        """
        if self._counts_lines():
            return
        with self._locked():
            if self._counts_lines():
                return
            if not self._files.exists(self._segments.head):
                if self._files.exists(self._segments.newest) or self._segments.older():
                    raise AuditBroken(self._segments.head, 0, "it is missing")
                self._segments.write_head(Head())
            is_lost = operation != RESTART and self.is_due()
        if is_lost:
            self._append(LOST, {}, "missing")

    def _counts_lines(self) -> bool:
        """Tell whether a head says that there are lines."""
        head = self._segments.read_head()
        return head is not None and head.end.lines > 0

    def _note(self, operation: str, facts: Mapping[str, Any], result: str, *, may_count: bool) -> None:
        if not may_count or self._repeats.admit(operation, result, facts, self._clock()):
            self._append(operation, facts, result)

    def _append(self, operation: str, facts: Mapping[str, Any], result: str) -> None:
        """Write a line, after those that are due before it."""
        with self._locked():
            head = self._end()
            head = self._keyed(head)
            for repeated in self._repeats.over(self._clock()):
                counted = {**repeated.facts, "repeated": repeated.times}
                head = self._write(head, self._fields(repeated.operation, counted, repeated.result))
            head = self._write(head, self._fields(operation, facts, result))
            if head.size >= self._segment:
                head = self._keyed(self._segments.rotate(head), renew=True)
                self._drop(head)

    def _fields(self, operation: str, facts: Mapping[str, Any], result: str) -> Entry:
        known = {name: str(value) for name, value in facts.items() if value not in {None, ""}}
        return {
            **known,
            "time": timestamp(self._clock()),
            "actor": actor(),
            "op": operation,
            "result": result,
        }

    def _write(self, head: Head, fields: Entry) -> Head:
        """Append a line, durable on return, and say where the log ends now."""
        line = head.end.line(fields)
        after = head.after(line)
        self._put(head, line, after)
        return after

    def _put(self, head: Head, line: bytes, after: Head) -> None:
        file = self._file()
        try:
            file.write(head.size, [line])
            file.flush()
        finally:
            file.close()
        self._segments.write_head(after)
        if self._witness is not None:
            self._witness(after.end.lines, after.end.hash, read_line(line) or {})

    def _keyed(self, head: Head, *, renew: bool = False) -> Head:
        """Begin a chain of keys where there is none, or one under the provider's present key."""
        root = self.root()
        if root is None or (root.kdk_id == head.kdk_id and not renew):
            return head
        fields = self._fields(KEYED, {}, "done")
        line, first = head.end.key_line(fields, root, self._entropy(SALT_SIZE))
        end = head.end.after(line, first)
        after = Head(end, head.size + len(line), head.first, root.provider, root.kdk_id)
        self._put(head, line, after)
        return after

    def _drop(self, head: Head) -> None:
        """Remove files beyond those that are kept, where the next one begins a chain of keys, and note it."""
        older = self._segments.older()
        surplus = max(0, len(older) - self._kept)
        for (_, path), (number, following) in list(itertools.pairwise(older))[:surplus]:
            first = read_line(next(self._segments.lines(after=number - 1), b""))
            if first is None or first["op"] != KEYED:
                return
            facts = {"through": number - 1, "hash": first["prev"], "kept": following.name}
            head = self._write(head, self._fields(DROPPED, facts, "done"))
            self._segments.drop(path)

    def _file(self) -> File:
        if not self._files.exists(self._segments.newest):
            replace_file(self._files, self._segments.newest, b"")
        return self._files.open(self._segments.newest)

    def _end(self) -> Head:
        """
        Return where the next line goes.

        Whole lines behind the head were written when power was lost, and stay.
        One that begins a chain of keys goes, since its key is not known here, and nothing was noted by it.
        """
        head = self._segments.read_head()
        if head is None:
            raise AuditBroken(self._segments.head, 0, "it is missing")
        head = self._segments.resume(head)
        file = self._file()
        try:
            size = file.size()
            if size < head.size:
                why = f"the log has {size} octets, the head counts {head.size}"
                raise AuditBroken(self._segments.newest, head.end.lines, why)
            for line in file.read(head.size, size - head.size).splitlines(keepends=True):
                try:
                    entry = head.end.check(line)
                except Misfit:
                    break
                if entry["op"] == KEYED:
                    break
                head = head.after(line)
            if head.size < size:
                file.truncate(head.size)
        finally:
            file.close()
        return head

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._files.lock(self._directory / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()
