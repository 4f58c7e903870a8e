"""The life cycle of a key provider: made, backed up, verified, restored; and what is refused on the way."""

import json
import os
import sys
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import (
    BackupDamaged,
    BackupExists,
    BackupMissing,
    BadName,
    Cost,
    ExtraMissing,
    Host,
    KeyMissing,
    KmipSealer,
    KmipServer,
    ProviderDamaged,
    ProviderExists,
    ProviderLocked,
    ProviderMissing,
    ProviderUnverified,
    Sealer,
    SealFailed,
    TpmSealer,
    UnsafeFile,
    WeakPassphrase,
    WrongKey,
    WrongPassphrase,
    passphrase_from_fd,
    passphrase_from_file,
)
from nvstore.seal.passphrase import stretch
from tests.nvstore.conftest import BLOBS, CHEAP, PASSPHRASE, VM, host_at, verify


@pytest.fixture
def fresh(tmp_path: Path) -> Host:
    """A host without providers."""
    return host_at(tmp_path / "fresh")


class TestInit:
    """A provider is made once, under a name that stays its own."""

    def test_a_new_provider(self, fresh: Host) -> None:
        """It is the default, has no backup, and says so."""
        status = fresh.providers.init("main")
        assert (status.state, status.seal, status.default, status.unlocked) == (
            "created",
            "key-file",
            True,
            True,
        )
        assert status.last_verified is None
        assert "never" in "".join(status.warnings) or "ever verified" in "".join(status.warnings)
        assert any("warning" in line for line in status.lines())
        assert json.loads(json.dumps(status.to_json()))["kdk_id"] == status.kdk_id

    def test_names_are_not_used_again(self, fresh: Host) -> None:
        """A second provider of the same name is refused, and leaves the first as it was."""
        before = fresh.providers.init("main")
        with pytest.raises(ProviderExists, match=before.kdk_id):
            fresh.providers.init("main")
        assert fresh.providers.show("main") == before

    def test_several_side_by_side(self, fresh: Host) -> None:
        """Each has its own key; the default is the first, until it is changed."""
        first, second = fresh.providers.init("a"), fresh.providers.init("b")
        assert first.kdk_id != second.kdk_id
        assert fresh.providers.default == "a"
        fresh.providers.set_default("b")
        assert [(p.name, p.default) for p in fresh.providers.list()] == [("a", False), ("b", True)]

    @pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "-a", "a b", "ü", "x" * 65])
    def test_names(self, fresh: Host, name: str) -> None:
        """A name that is no file name is refused."""
        with pytest.raises(BadName):
            fresh.providers.init(name)

    def test_unknown_names(self, fresh: Host) -> None:
        """What is not there is named."""
        with pytest.raises(ProviderMissing, match="'x'"):
            fresh.providers.show("x")
        with pytest.raises(ProviderMissing, match="default"):
            fresh.create_state(VM, "guest", BLOBS)

    def test_a_damaged_file(self, fresh: Host, tmp_path: Path) -> None:
        """A provider's file that cannot be read is named, with the remedy."""
        fresh.providers.init("main")
        path = tmp_path / "fresh/providers/main.provider"
        for content in (
            "",
            "{}",
            '{"format": "nvstore provider", "version": 2}',
            path.read_text().replace("keys", "x"),
        ):
            path.write_text(content)
            with pytest.raises(ProviderDamaged, match="restore"):
                fresh.providers.show("main")


class TestVerifiedBackup:
    """No state is made under a provider whose only copy may be on this host."""

    def test_gate(self, fresh: Host, tmp_path: Path) -> None:
        """A backup that was written is not enough; one that was read back is."""
        fresh.providers.init("main")
        with pytest.raises(ProviderUnverified):
            fresh.create_state(VM, "guest", BLOBS)
        assert fresh.providers.backup("main", tmp_path / "b", PASSPHRASE).state == "exported"
        with pytest.raises(ProviderUnverified):
            fresh.create_state(VM, "guest", BLOBS)
        report = fresh.providers.verify(tmp_path / "b", PASSPHRASE)
        status = fresh.providers.show("main")
        assert (report.kdk_id, report.recorded) == (status.kdk_id, True)
        assert (status.state, status.warnings) == ("active", [])
        fresh.create_state(VM, "guest", BLOBS).close()
        assert fresh.show_state("guest").warnings == ()

    def test_allowed_unverified(self, fresh: Host, tmp_path: Path) -> None:
        """The operator may go without, and every status says so until a backup is verified."""
        fresh.providers.init("main")
        fresh.create_state(VM, "guest", BLOBS, allow_unverified=True).close()
        assert "ever verified" in " ".join(fresh.show_state("guest").lines())
        verify(fresh, "main", tmp_path / "b")
        assert fresh.show_state("guest").warnings == ()

    def test_an_old_verification_is_a_warning(self, tmp_path: Path) -> None:
        """A backup that was verified long ago should be verified again."""
        now = [1.7e9]
        host = Host(tmp_path / "h", clock=lambda: now[0], passphrase_cost=CHEAP, backup_cost=CHEAP)
        host.providers.init("main")
        verify(host, "main", tmp_path / "b")
        now[0] += 91 * 86400
        assert "91 days ago" in host.providers.show("main").warnings[0]
        assert host.providers.show("main").state == "active"

    def test_a_backup_is_never_overwritten(self, host: Host, tmp_path: Path) -> None:
        """An existing file may be the backup that is needed."""
        with pytest.raises(BackupExists):
            host.providers.backup("main", tmp_path / "main.backup", PASSPHRASE)

    def test_file(self, host: Host, tmp_path: Path) -> None:
        """It is for its owner alone, describes itself, and has no key in the clear."""
        path = tmp_path / "main.backup"
        document = json.loads(path.read_text())
        assert path.stat().st_mode & 0o777 == 0o600
        assert document["format"] == "nvstore provider backup"
        assert document["current"] == host.providers.show("main").kdk_id
        kdk = host.providers.key("main", bytes.fromhex(document["current"]))
        assert kdk.hex() not in path.read_text()

    @pytest.mark.parametrize("passphrase", [b"", b"short"])
    def test_weak_passphrases(self, host: Host, tmp_path: Path, passphrase: bytes) -> None:
        """A backup without a real passphrase is refused before anything is written."""
        with pytest.raises(WeakPassphrase):
            host.providers.backup("main", tmp_path / "weak", passphrase)
        assert not (tmp_path / "weak").exists()


class TestVerify:
    """Verification reads the file, opens it, and compares fingerprints."""

    def test_wrong_passphrase(self, host: Host, tmp_path: Path) -> None:
        """The passphrase is told apart from a damaged file."""
        with pytest.raises(WrongPassphrase):
            host.providers.verify(tmp_path / "main.backup", b"another passphrase")

    def test_missing(self, host: Host, tmp_path: Path) -> None:
        """A file that is not there is not verified."""
        with pytest.raises(BackupMissing):
            host.providers.verify(tmp_path / "nothing", PASSPHRASE)

    @pytest.mark.parametrize(
        "field", ["provider", "current", "keys", "exported", "host", "argon2id", "box", "format"]
    )
    def test_every_field_altered(self, host: Host, tmp_path: Path, field: str) -> None:
        """Whatever people can read in a backup is authenticated."""
        path = tmp_path / "main.backup"
        document = json.loads(path.read_text())
        value = document[field]
        if field == "keys":
            value[0]["epoch"] = 7
        elif field == "argon2id":
            value["iterations"] += 1
        elif field == "box":
            document[field] = value[:-2] + ("00" if value[-2:] != "00" else "01")
        elif field == "current":
            document[field] = "00" * 16
        else:
            document[field] = value + "x"
        path.write_text(json.dumps(document))
        with pytest.raises(WrongPassphrase if field == "argon2id" else BackupDamaged):
            host.providers.verify(path, PASSPHRASE)

    @pytest.mark.parametrize(
        "content", ["", "[]", "null", "{}", '{"format": "nvstore provider backup", "version": 1}', "\ud800"]
    )
    def test_not_a_backup(self, host: Host, tmp_path: Path, content: str) -> None:
        """Any other file is no backup."""
        (tmp_path / "x").write_bytes(content.encode(errors="surrogatepass"))
        with pytest.raises(BackupDamaged):
            host.providers.verify(tmp_path / "x", PASSPHRASE)

    @pytest.mark.parametrize(
        "change",
        [
            {"memory_kib": 1 << 40},
            {"memory_kib": "64"},
            {"iterations": 10**9},
            {"lanes": 0},
            {"salt": "zz"},
            {"salt": ""},
        ],
    )
    def test_parameters_that_would_exhaust_the_host(
        self, host: Host, tmp_path: Path, change: dict[str, int | str]
    ) -> None:
        """Impossible parameters of Argon2id are refused before they are used."""
        path = tmp_path / "main.backup"
        document = json.loads(path.read_text())
        document["argon2id"].update(change)
        path.write_text(json.dumps(document))
        with pytest.raises(BackupDamaged, match="Argon2id"):
            host.providers.verify(path, PASSPHRASE)

    def test_the_backup_of_a_namesake(self, host: Host, fresh: Host, tmp_path: Path) -> None:
        """A backup of another key under the same name is refused, with both ids."""
        ours = fresh.providers.init("main").kdk_id
        with pytest.raises(WrongKey, match=f"{ours}.*{host.providers.show('main').kdk_id}"):
            fresh.providers.verify(tmp_path / "main.backup", PASSPHRASE)

    def test_on_another_host(self, host: Host, fresh: Host, tmp_path: Path) -> None:
        """A backup can be checked where its provider is not; that counts nowhere."""
        report = fresh.providers.verify(tmp_path / "main.backup", PASSPHRASE)
        assert (report.kdk_id, report.recorded) == (host.providers.show("main").kdk_id, False)
        assert json.loads(json.dumps(report.to_json()))["provider"] == "main"
        assert fresh.providers.list() == []


class TestRestore:
    """A lost host is replaced by a new one and the backup."""

    def test_states_open_on_the_new_host(self, host: Host, fresh: Host, tmp_path: Path) -> None:
        """The provider keeps its id, counts as verified, and opens its states."""
        with host.create_state(VM, "guest", BLOBS) as store:
            state = store._place.state
        dry = fresh.providers.restore(tmp_path / "main.backup", PASSPHRASE, dry_run=True)
        assert fresh.providers.list() == []
        report = fresh.providers.restore(tmp_path / "main.backup", PASSPHRASE)
        assert (dry.recorded, report.recorded, dry.kdk_id) == (False, True, report.kdk_id)
        assert fresh.providers.show("main").state == "active"
        (tmp_path / f"fresh/states/{VM}.state").write_bytes(state.read_bytes())
        with fresh.open_state(VM, adopt=True) as store:
            assert store.load() == BLOBS

    def test_a_lost_key_file(self, host: Host, tmp_path: Path, directory: Path) -> None:
        """Restoring over the same key seals it anew."""
        host.create_state(VM, "guest", BLOBS).close()
        (directory / "keys/main.key").unlink()
        again = host_at(directory)
        again.providers.restore(tmp_path / "main.backup", PASSPHRASE, seal_passphrase=b"a new passphrase")
        assert host_at(directory).providers.show("main").seal == "passphrase"
        again.open_state(VM).close()

    def test_the_name_of_another_key(self, host: Host, fresh: Host, tmp_path: Path) -> None:
        """A name belongs to one key; another name is fine."""
        fresh.providers.init("main")
        for dry_run in (True, False):
            with pytest.raises(ProviderExists, match=host.providers.show("main").kdk_id):
                fresh.providers.restore(tmp_path / "main.backup", PASSPHRASE, dry_run=dry_run)
        fresh.providers.restore(tmp_path / "main.backup", PASSPHRASE, name="from-old-host")
        assert [p.name for p in fresh.providers.list()] == ["from-old-host", "main"]


class TestPassphrase:
    """A provider that is sealed by a passphrase."""

    def test_unlocking(self, fresh: Host, tmp_path: Path) -> None:
        """Every process must be given the passphrase once; before that, its states stay closed."""
        fresh.providers.init("main", passphrase=PASSPHRASE)
        verify(fresh, "main", tmp_path / "b")
        fresh.create_state(VM, "guest", BLOBS).close()
        again = host_at(tmp_path / "fresh")
        assert not again.providers.show("main").unlocked
        with pytest.raises(ProviderLocked):
            again.open_state(VM)
        with pytest.raises(ProviderLocked):
            again.providers.backup("main", tmp_path / "b2", PASSPHRASE)
        with pytest.raises(WrongPassphrase):
            again.providers.unlock("main", b"a wrong passphrase")
        assert again.providers.unlock("main", PASSPHRASE).unlocked
        again.open_state(VM).close()
        again.providers.forget_keys()
        with pytest.raises(ProviderLocked):
            again.open_state(VM)

    def test_no_key_file_is_made(self, fresh: Host, tmp_path: Path) -> None:
        """A passphrase leaves no key on the host."""
        fresh.providers.init("main", passphrase=PASSPHRASE)
        assert list((tmp_path / "fresh/keys").iterdir()) == []

    def test_sources(self, tmp_path: Path) -> None:
        """A passphrase comes from the first line of a private file or of a descriptor."""
        path = tmp_path / "passphrase"
        path.write_bytes(b"first line\r\nsecond\n")
        path.chmod(0o600)
        assert passphrase_from_file(path) == b"first line"
        path.chmod(0o644)
        with pytest.raises(UnsafeFile):
            passphrase_from_file(path)
        reader, writer = os.pipe()
        os.write(writer, b"from a pipe\n")
        os.close(writer)
        assert passphrase_from_fd(reader) == b"from a pipe"
        os.close(reader)

    def test_argon2id(self) -> None:
        """A passphrase becomes what the test vectors of Argon2's authors say (t = 2, m = 64 MiB, p = 1)."""
        key = stretch(b"password", b"somesalt", Cost(1 << 16, 2, 1))
        assert key.hex() == "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"


class TestKeyFile:
    """A provider that is sealed by a key file."""

    def test_its_own_place(self, fresh: Host, tmp_path: Path) -> None:
        """The key file may lie outside the host's directory, and may be there already."""
        path = tmp_path / "credentials"
        path.write_text("11" * 32)
        path.chmod(0o600)
        fresh.providers.init("main", key_file=path)
        fresh.providers.init("other", key_file=path)
        assert path.read_text() == "11" * 32
        assert host_at(tmp_path / "fresh").providers.key(
            "main", bytes.fromhex(fresh.providers.show("main").kdk_id)
        )

    def test_a_key_of_nobody(self, fresh: Host) -> None:
        """Asking for an unknown key is an error that names it."""
        with pytest.raises(KeyMissing, match="ab" * 16):
            fresh.providers.key("main", bytes.fromhex("ab" * 16))


class TestHost:
    """Names and lists of states."""

    @pytest.mark.parametrize("name", ["", "a/b", ".hidden", "new\nline", "x" * 201, str(VM)])
    def test_names(self, host: Host, name: str) -> None:
        """A VM's name can become a file name, and is no UUID."""
        with pytest.raises(BadName):
            host.create_state(VM, name, BLOBS)

    def test_list(self, host: Host) -> None:
        """States are listed by name without any key, with what an operator wants to know."""
        for number, name in enumerate(("web", "db")):
            host.create_state(UUID(int=number), name, BLOBS).close()
        host.providers.forget_keys()
        listed = host.list_states()
        assert [status.name for status in listed] == ["db", "web"]
        status = json.loads(json.dumps(listed[0].to_json()))
        assert (status["generation"], status["provider"], status["problem"], status["owner"]) == (
            1,
            "main",
            "",
            "",
        )
        assert status["kdk_id"] == host.providers.show("main").kdk_id
        assert host.open_state("db").vm == UUID(int=1)


class TestExtras:
    """What only some hosts need is not installed everywhere."""

    @pytest.mark.parametrize(
        ("package", "extra", "sealer"),
        [
            ("tpm2_pytss", "tpm", TpmSealer()),
            ("kmip", "kmip", KmipSealer(KmipServer("localhost", "c", "k", "a"))),
        ],
    )
    def test_missing(
        self, fresh: Host, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, sealer: Sealer
    ) -> None:
        """The error names what to install, and nothing is left behind."""
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ExtraMissing, match=rf"vtpm\[{extra}\]"):
            fresh.providers.init("main", seals=[sealer])
        assert fresh.providers.list() == []

    @pytest.mark.parametrize("seal", [{"kind": "x"}, {"kind": "key-file"}, {"kind": "tpm"}, {"kind": "kmip"}])
    def test_malformed_seals(self, fresh: Host, tmp_path: Path, seal: dict[str, str]) -> None:
        """A seal that is not known, or not described as it should be, is an error with that name."""
        fresh.providers.init("main")
        path = tmp_path / "fresh/providers/main.provider"
        document = json.loads(path.read_text())
        document["keys"][0]["seals"] = [seal | {"box": "00"}]
        path.write_text(json.dumps(document))
        with pytest.raises(SealFailed):
            host_at(tmp_path / "fresh").providers.key("main", bytes.fromhex(document["current"]))
