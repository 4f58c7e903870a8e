"""The audit log: what was done with keys and states, in a chain that shows every change."""

import itertools
import json
import os
from pathlib import Path

import pytest

from nvstore import Audit, AuditBroken, AuditUnwritable, Host, KeyUncertified, NvstoreError, RolledBack
from nvstore.audit import Root
from nvstore.audit.log import KEPT, SEGMENT
from nvstore.audit.repeats import BURST, PERIOD
from nvstore.files import OsFiles
from nvstore.keys import kdk_id_of
from nvstore.testing import FaultyFiles, PowerLoss
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM

KDK = bytes(range(32))
ROOT = Root("main", kdk_id_of(KDK), KDK)


class OneKey:
    """A key source with one KDK."""

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return it."""
        assert (provider, kdk_id) == ROOT[:2]
        return KDK

    def current(self, provider: str) -> bytes:
        """Return its id."""
        assert provider == ROOT.provider
        return ROOT.kdk_id

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """Nothing follows it."""
        if before != after:
            raise KeyUncertified(provider, before, after)

    def check_authenticated(self, provider: str, kdk_id: bytes) -> None:
        """It lies in no file."""


class LostKeys(OneKey):
    """A key source whose KDK is gone."""

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Raise an error."""
        del provider, kdk_id
        raise RolledBack(VM, 1, 2)


@pytest.fixture
def log(directory: Path) -> Path:
    """The file of the log."""
    return directory / "audit/log.jsonl"


@pytest.fixture
def own(tmp_path: Path) -> Audit:
    """A log of five operations, whose chain of keys begins with its first line."""
    audit = keyed(tmp_path / "own")
    note(audit, 5)
    return audit


def keyed(directory: Path, segment: int = SEGMENT, kept: int = KEPT) -> Audit:
    """Open a log that has a provider's key at hand."""
    audit = Audit(directory, OsFiles(), lambda: 0.0, os.urandom, segment=segment, kept=kept)
    audit.root = lambda: ROOT
    return audit


def note(audit: Audit, count: int) -> None:
    """Note operations."""
    for number in range(count):
        with audit.entry("test", number=number):
            pass


def operations(audit: Audit) -> list[tuple[str, str]]:
    """Return operations and results, but for what the log notes of itself."""
    entries = [(entry["op"], entry["result"]) for entry in audit.entries()]
    return [(operation, result) for operation, result in entries if not operation.startswith("audit-")]


def test_what_is_noted(host: Host, state: Path) -> None:
    """Operations and refusals, with actor, VM, provider, kdk_id, generation and result."""
    old = state.read_bytes()
    with host.open_state(VM) as store:
        store.commit({"a": b"1"})
    state.write_bytes(old)
    with pytest.raises(RolledBack):
        host.open_state(VM)
    host.revert_state(VM, reason="ticket 17")
    host.delete_state(VM)
    assert operations(host.audit) == [
        ("provider-init", "done"),
        ("provider-backup", "begun"),
        ("provider-backup", "done"),
        ("provider-verify", "done"),
        ("create", "done"),
        ("open", "rolled-back"),
        ("revert", "done"),
        ("delete", "begun"),
        ("delete", "done"),
    ]
    kdk_id = host.providers.show("main").kdk_id
    revert = next(entry for entry in host.audit.entries() if entry["op"] == "revert")
    assert (revert["vm"], revert["provider"], revert["kdk_id"]) == (str(VM), "main", kdk_id)
    assert (revert["generation"], revert["reason"]) == ("7", "ticket 17")
    assert revert["actor"]
    verified = host.audit.verify(host.providers)
    assert verified.authentic == verified.lines == len(host.audit.entries())


def test_no_secret(host: Host, state: Path, log: Path) -> None:
    """The log has no key, passphrase or content."""
    assert state.exists()
    kdk = host.providers.key("main", bytes.fromhex(host.providers.show("main").kdk_id))
    content = log.read_bytes() + log.with_name("head").read_bytes()
    for secret in (PASSPHRASE, kdk.hex().encode(), BLOBS["permanent"], BLOBS["permanent"].hex().encode()):
        assert secret not in content


@pytest.mark.parametrize("line", range(5))
def test_every_change_breaks_the_chain(host: Host, state: Path, log: Path, line: int) -> None:
    """A line that was changed, removed, doubled or moved is found, with keys and without."""
    assert state.exists()
    lines = log.read_bytes().splitlines(keepends=True)
    assert host.audit.verify()[0] == len(lines) > 5
    changed = lines[line].replace(b'"actor"', b'"actOR"')
    for altered in (
        [*lines[:line], changed, *lines[line + 1 :]],
        [*lines[:line], *lines[line + 1 :]],
        [*lines[: line + 1], *lines[line:]],
        [*lines[:line], lines[line][:-5], *lines[line + 1 :]],
    ):
        log.write_bytes(b"".join(altered))
        for keys in (None, host.providers):
            with pytest.raises(AuditBroken):
                host.audit.verify(keys)
    log.write_bytes(b"".join(lines))
    assert host.audit.verify()[0] == len(lines)


def test_a_cut_end(host: Host, state: Path, log: Path) -> None:
    """The head remembers lines that are gone; operations go on to say so."""
    assert state.exists()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(AuditBroken, match="missing"):
        host.audit.verify()
    with pytest.raises(AuditBroken):
        host.delete_state(VM)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_cut_end_without_head(host: Host, state: Path, log: Path, cut: int) -> None:
    """A log without its head is broken, however much of it is left; another one can be begun."""
    assert state.exists()
    lines = log.read_bytes().splitlines(keepends=True)
    log.with_name("head").unlink()
    log.write_bytes(b"".join(lines[: len(lines) - cut]) if cut < 3 else b"")
    with pytest.raises(AuditBroken, match="missing"):
        host.audit.verify()
    with pytest.raises(AuditBroken):
        host.rename(VM, "other")
    aside = host.audit.restart("restored from tape")
    assert (aside / "log.jsonl").exists()
    host.rename(VM, "other")
    assert operations(host.audit) == [("rename", "done")]
    assert host.audit.verify(host.providers).lines == len(host.audit.entries())


def test_a_log_that_is_gone(host: Host, state: Path, log: Path) -> None:
    """Where nothing is left of it, operations go on, and the log says for good that something is missing."""
    assert state.exists()
    for path in (log, log.with_name("head")):
        path.unlink()
    with pytest.raises(AuditBroken):
        host.audit.verify()
    host.rename(VM, "other")
    with pytest.raises(AuditBroken, match="nothing was left"):
        host.audit.verify()


class TestKeys:
    """What the chain of keys shows that hashes alone do not."""

    def rewritten(self, own: Audit, directory: Path) -> list[bytes]:
        """Return another history with hashes that fit, as whoever has the files can make it."""
        fields = ("time", "actor", "op", "result")
        other = Audit(directory, OsFiles(), lambda: 0.0, os.urandom)
        for entry in own.entries()[1:]:
            with other.entry(entry["op"], other="history"):
                pass
        assert all(name in entry for entry in other.entries() for name in fields)
        return (directory / "log.jsonl").read_bytes().splitlines(keepends=True)

    def test_another_history(self, own: Audit, tmp_path: Path) -> None:
        """A log that was written again, hashes and head included, is not vouched for by the key."""
        lines = self.rewritten(own, tmp_path / "other")
        for name in ("log.jsonl", "head"):
            (tmp_path / "own" / name).write_bytes((tmp_path / "other" / name).read_bytes())
        verified = own.verify(OneKey())
        assert (verified.lines, verified.authentic) == (len(lines), 0)

    def test_a_line_of_before(self, own: Audit, tmp_path: Path) -> None:
        """Whoever has the head, with the key of the next line, cannot write an earlier one."""
        log, head = tmp_path / "own/log.jsonl", tmp_path / "own/head"
        stolen = json.loads(head.read_text())
        lines = log.read_bytes().splitlines(keepends=True)
        for kept in range(1, len(lines)):
            log.write_bytes(b"".join(lines[:kept]))
            end = {"lines": kept, "size": log.stat().st_size, "hash": json.loads(lines[kept])["prev"]}
            head.write_text(json.dumps({**stolen, **end}))
            with pytest.raises(AuditBroken, match="key"):
                own.verify(OneKey())
            note(own, 1)
            with pytest.raises(AuditBroken, match="MAC"):
                own.verify(OneKey())

    def test_no_key_left_behind(self, own: Audit, tmp_path: Path) -> None:
        """The head has the key of the next line alone, and the files none of an earlier one."""
        head = tmp_path / "own/head"
        keys = set()
        for _ in range(3):
            keys.add(json.loads(head.read_text())["key"])
            note(own, 1)
        assert len(keys) == 3
        content = b"".join(path.read_bytes() for path in (tmp_path / "own").iterdir())
        assert not [key for key in keys if key.encode() in content]

    def test_macs_taken_out(self, own: Audit, tmp_path: Path) -> None:
        """Lines without MACs after such with one are refused even without a key."""
        log, head = tmp_path / "own/log.jsonl", tmp_path / "own/head"
        unkeyed = {**json.loads(head.read_text()), "key": "", "kdk_id": "", "provider": ""}
        head.write_text(json.dumps(unkeyed))
        note(own, 1)
        del own.root
        entries = log.read_bytes().splitlines()
        assert b'"mac"' in entries[1]
        head.write_text(json.dumps({**json.loads(head.read_text()), "key": "", "kdk_id": ""}))
        with pytest.raises(AuditBroken):
            own.verify()

    def test_a_key_that_is_gone(self, own: Audit) -> None:
        """Without the key the lines are known to fit, and nobody vouches for them."""
        verified = own.verify(LostKeys())
        assert (verified.lines, verified.authentic) == (6, 0)
        assert "cannot be followed" in verified.why

    def test_a_planted_chain(self, own: Audit, tmp_path: Path) -> None:
        """A line that begins a chain and was not written by who had the provider's key is refused."""
        other = Audit(tmp_path / "own", OsFiles(), lambda: 0.0, os.urandom)
        other.root = lambda: Root("main", ROOT.kdk_id, bytes(32))
        head = tmp_path / "own/head"
        head.write_text(json.dumps({**json.loads(head.read_text()), "kdk_id": "00" * 16}))
        note(other, 1)
        with pytest.raises(AuditBroken, match="provider's key"):
            own.verify(OneKey())

    def test_a_chain_under_another_key(self, own: Audit, tmp_path: Path) -> None:
        """A key that the provider's own one has not certified does not go on with its log."""
        planted = bytes(32)
        other = Audit(tmp_path / "own", OsFiles(), lambda: 0.0, os.urandom)
        other.root = lambda: Root("main", kdk_id_of(planted), planted)
        note(other, 1)
        with pytest.raises(AuditBroken, match="not a successor"):
            own.verify(OneKey())

    def test_the_versions_before(self, tmp_path: Path) -> None:
        """A log without keys goes on with them, and a key vouches for its lines from then on."""
        before = Audit(tmp_path / "audit", OsFiles(), lambda: 0.0, os.urandom)
        note(before, 3)
        head = tmp_path / "audit/head"
        fields = json.loads(head.read_text())
        kept = {name: fields[name] for name in ("lines", "size", "hash", "version")}
        head.write_text(json.dumps({"format": "nvstore audit head", **kept}))
        assert before.verify(OneKey())[::2] == (3, 0, 3)
        note(keyed(tmp_path / "audit"), 1)
        assert before.verify(OneKey())[::2] == (5, 5, 3)


class TestCopies:
    """Copies of the head elsewhere show what the files alone cannot."""

    def test_an_older_copy(self, own: Audit, tmp_path: Path) -> None:
        """The whole log of an earlier time is found out by a head of later."""
        files = {path: path.read_bytes() for path in (tmp_path / "own").iterdir()}
        note(own, 2)
        later = own.verify(OneKey())
        for path, content in files.items():
            path.write_bytes(content)
        assert own.verify(OneKey()).lines == later.lines - 2
        with pytest.raises(AuditBroken, match="copy of the head"):
            own.verify(OneKey(), {later.lines: later.hash})
        note(own, 2)
        with pytest.raises(AuditBroken, match="copy of the head"):
            own.verify(OneKey(), {later.lines: "0" * 64})

    def test_the_witness(self, tmp_path: Path) -> None:
        """Whoever keeps copies is given each line's number and hash, and those fit."""
        seen: dict[int, str] = {}
        audit = Audit(
            tmp_path,
            OsFiles(),
            lambda: 0.0,
            os.urandom,
            witness=lambda number, head, _: seen.update({number: head}),
        )
        note(audit, 4)
        assert list(seen) == [1, 2, 3, 4]
        assert audit.verify(seen=seen).hash == seen[4]


class TestSize:
    """The log is bounded, whoever writes how much."""

    def test_rotation(self, tmp_path: Path) -> None:
        """Files grow to a size; older ones go, where a key vouches for what follows, and that is noted."""
        audit = keyed(tmp_path, segment=2000, kept=3)
        note(audit, 60)
        older = sorted(path.name for path in tmp_path.glob("log-*.jsonl"))
        assert len(older) == 3
        assert older[0] != "log-000000000001.jsonl"
        assert all(path.stat().st_size < 4000 for path in tmp_path.glob("*.jsonl"))
        verified = audit.verify(OneKey())
        assert verified.lines == verified.authentic > 60
        assert any(entry["op"] == "audit-drop" for entry in audit.entries())
        (tmp_path / older[0]).unlink()
        with pytest.raises(AuditBroken, match="lines before it are missing"):
            audit.verify(OneKey())

    def test_without_a_key_nothing_goes(self, tmp_path: Path) -> None:
        """Without a key, lines are kept: nothing would vouch for the rest."""
        audit = Audit(tmp_path, OsFiles(), lambda: 0.0, os.urandom, segment=1000, kept=1)
        note(audit, 30)
        assert len(audit.entries()) == 30
        assert audit.verify().lines == 30

    def test_refusals_of_a_kind(self, tmp_path: Path) -> None:
        """The same refusal, again and again, is counted, and what others do is noted nevertheless."""
        now = itertools.count(0.0, 0.01)
        time = [0.0]
        audit = Audit(tmp_path, OsFiles(), lambda: time[0] + next(now), os.urandom)
        for _ in range(500):
            with pytest.raises(RolledBack), audit.entry("revert", vm=VM):
                raise RolledBack(VM, 1, 2)
        with audit.entry("other"):
            pass
        assert len(audit.entries()) == BURST + 1
        time[0] = PERIOD
        with audit.entry("other"):
            pass
        counted = audit.entries()[-2]
        assert (counted["op"], counted["result"], counted["repeated"]) == ("revert", "rolled-back", "480")
        assert audit.verify().lines == BURST + 3

    def test_what_a_client_can_cause(self, tmp_path: Path) -> None:
        """What is marked as frequent is counted too; an operator's operations never are."""
        audit = Audit(tmp_path, OsFiles(), lambda: 0.0, os.urandom)
        for _ in range(BURST * 2):
            with audit.entry("arrive", frequent=True, vm=VM):
                pass
            with audit.entry("rename", vm=VM):
                pass
        noted = operations(audit)
        assert noted.count(("arrive", "done")) == BURST
        assert noted.count(("rename", "done")) == BURST * 2


def test_nothing_is_begun_that_cannot_be_noted() -> None:
    """An operation that gives secrets away does not begin where the disk takes no line."""
    full = False
    files = FaultyFiles(failures=lambda _, __: OSError("no space left") if full else None)
    audit = Audit(Path("/audit"), files, lambda: 0.0, os.urandom)
    note(audit, 1)
    done = []
    full = True
    with pytest.raises(AuditUnwritable), audit.entry("provider-backup", begun=True):
        done.append(True)
    assert not done


@pytest.mark.parametrize("root", [None, ROOT])
def test_power_loss_at_every_operation(root: Root | None) -> None:
    """After power loss the chain is whole, and has every entry that was acknowledged."""
    directory = Path("/audit")

    def opened(files: FaultyFiles) -> Audit:
        audit = Audit(directory, files, lambda: 0.0, os.urandom, segment=700, kept=1)
        audit.root = lambda: root
        return audit

    def run(files: FaultyFiles) -> int:
        done = 0
        audit = opened(files)
        try:
            for number in range(4):
                with audit.entry("test", number=number):
                    pass
                done += 1
        except PowerLoss:
            pass
        return done

    files = FaultyFiles()
    assert run(files) == 4
    for at in range(len(files.operations)):
        crashed = FaultyFiles(power_loss_at=at)
        done = run(crashed)
        for image in crashed.images(seed=at):
            audit = opened(FaultyFiles(image))
            with audit.entry("after"):
                pass
            verified = audit.verify(OneKey())
            assert verified.authentic == (verified.lines if root else 0)
            entries = [entry for entry in audit.entries() if not entry["op"].startswith("audit-")]
            assert entries[-1]["op"] == "after"
            kept = [int(entry["number"]) for entry in entries[:-1]]
            if audit.entries()[0]["seq"] == 1:
                assert kept == list(range(len(kept)))
                assert len(kept) in {done, done + 1}
            elif kept:
                assert kept == list(range(kept[0], kept[-1] + 1))
                assert kept[-1] in {done - 1, done}


def test_a_failure_that_cannot_be_noted_stays_itself(tmp_path: Path) -> None:
    """The error of an operation is told, whatever happens to the log."""
    audit = Audit(tmp_path / "audit", OsFiles(), lambda: 0.0, os.urandom)
    with audit.entry("first"):
        pass
    (tmp_path / "audit/log.jsonl").unlink()
    (tmp_path / "audit/log.jsonl").mkdir()
    with pytest.raises(NvstoreError) as raised, audit.entry("second"):
        raise RolledBack(VM, 1, 2)
    assert json.loads((tmp_path / "audit/head").read_text())["lines"] == 1
    assert raised.value.code in {"rolled-back", "unsafe-file"}
