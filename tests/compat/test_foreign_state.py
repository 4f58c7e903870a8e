"""A guest that ran on swtpm goes on here: vtpm/compat/foreign_state.py."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.compat.runs import LIMIT, serving
from tests.scenarios import Caller, Client
from vtpm.compat.arguments import ArgumentError
from vtpm.compat.directory import make_directory
from vtpm.compat.foreign_state import StreamForm, is_for_swtpm, take_over, takes_clear
from vtpm.compat.keys import Key, key_of, read_key
from vtpm.compat.storage import StateDirectory
from vtpm.control import blobs
from vtpm.control.blobs import BlobError, BlobKeyError, Opened
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.stateblobs import digest_of_state, pack_run, powered_off, run_in, suspended_in
from vtpm.daemon.errors import DeviceError
from vtpm.engine.tpm import Tpm
from vtpm.libtpms import file
from vtpm.libtpms.exporting import export_state
from vtpm.libtpms.exporting_run import export_run
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.state.clock import Instant
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

SAVED_AT = 1_700_000_000_000
PCR_16 = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\0\0\x01"),)
STATE = "tpm2-00.permall"
SECRET = Key(b"a\0secret\nof libvirt", is_passphrase=True)
PERMANENT, VOLATILE, SAVESTATE = PTM_BLOB_TYPE
NEEDS_SWTPM = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")


@pytest.fixture(scope="module")
def made() -> Tpm:
    """A TPM that swtpm could hold."""
    return Tpm.manufacture(bytes, SWTPM_COMPATIBLE)


@pytest.fixture
def permanent(made: Tpm) -> bytes:
    """Its state as libtpms writes it."""
    return export_state(made.snapshot(), bytes).state


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def wrapped(permanent: bytes, key: Key | None = None) -> bytes:
    """The file, encrypted under a key."""
    return file.wrap(permanent, key.of_size(32) if key else None, bytes(32))


class TestDirectory:
    """`--tpmstate dir=` of a guest of swtpm"""

    @pytest.mark.parametrize("key", [None, SECRET, Key(bytes(16), is_passphrase=False)])
    def test_taken_over(self, tmp_path: Path, made: Tpm, permanent: bytes, key: Key | None) -> None:
        """The first opening takes it over; the file stays as it is and is never read again."""
        size = 32 if key is None or key.is_passphrase else 16
        octets = file.wrap(permanent, key.of_size(size) if key else None, bytes(size))
        (tmp_path / STATE).write_bytes(octets)
        for _ in range(2):
            open_store = StateDirectory(tmp_path).opener(
                key.passphrase if key else None,
                lambda: take_over(StateDirectory(tmp_path), SWTPM_COMPATIBLE, key),
            )
            store = open_store()
            found = Tpm.restore(store.load(), bytes)
            store.close()
            assert found.owner.seed == made.owner.seed
            assert found.endorsement.proof == made.endorsement.proof
        assert (tmp_path / STATE).read_bytes() == octets

    def test_not_there(self, tmp_path: Path) -> None:
        """Without a file there is nothing to take over."""
        assert take_over(StateDirectory(tmp_path), SWTPM_COMPATIBLE, None) == {}

    @pytest.mark.parametrize(
        ("key", "given", "said"),
        [
            (SECRET, None, "is encrypted"),
            (SECRET, Key(b"another", is_passphrase=True), "is not the state's"),
            (SECRET, Key(SECRET.secret, is_passphrase=True, kdf="sha512"), "is not the state's"),
        ],
    )
    def test_wrong_key(
        self, tmp_path: Path, permanent: bytes, key: Key, given: Key | None, said: str
    ) -> None:
        """Without its key nothing is taken over, and nothing is made beside it."""
        (tmp_path / STATE).write_bytes(wrapped(permanent, key))
        with pytest.raises(DeviceError, match=said):
            StateDirectory(tmp_path).opener(
                None, lambda: take_over(StateDirectory(tmp_path), SWTPM_COMPATIBLE, given)
            )()
        assert not list(tmp_path.glob("states/*.state"))

    @pytest.mark.parametrize("key", [None, SECRET])
    def test_suspended(self, tmp_path: Path, key: Key | None) -> None:
        """A suspended run beside the permanent state is taken over with it."""
        here = Client(profile=SWTPM_COMPATIBLE)
        sequence = here.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
        whole = here.tpm.snapshot() | here.tpm.snapshot_volatile()
        (tmp_path / STATE).write_bytes(wrapped(export_state(whole, os.urandom).state, key))
        volatile = tmp_path / "tpm2-00.volatilestate"
        volatile.write_bytes(wrapped(export_run(whole, SAVED_AT, os.urandom), key))
        state = take_over(StateDirectory(tmp_path), SWTPM_COMPATIBLE, key)
        run, saved_at = suspended_in(state)
        assert saved_at == SAVED_AT
        tpm = Tpm.restore(powered_off(state) | run, os.urandom)
        tpm.resume(Instant(0))
        assert list(tpm.volatile.objects) == [sequence]
        volatile.write_bytes(volatile.read_bytes()[:-1])
        with pytest.raises(DeviceError, match=STATE):
            take_over(StateDirectory(tmp_path), SWTPM_COMPATIBLE, key)

    def test_damaged(self, tmp_path: Path, permanent: bytes) -> None:
        """A damaged file is named."""
        (tmp_path / STATE).write_bytes(wrapped(permanent)[:-1])
        with pytest.raises(DeviceError, match=STATE):
            take_over(StateDirectory(tmp_path), SWTPM_COMPATIBLE, None)


class TestBlobs:
    """State blobs that swtpm has written"""

    def test_permanent(self, made: Tpm, permanent: bytes) -> None:
        """A permanent blob becomes one of this TPM's."""
        form = StreamForm(SWTPM_COMPATIBLE, None, None)
        state, _ = blobs.unpack(PERMANENT, form.unwrap(PERMANENT, wrapped(permanent)).blob)
        assert Tpm.restore(state, bytes).owner.seed == made.owner.seed

    def test_keys(self, permanent: bytes) -> None:
        """An encrypted one needs the key."""
        octets = wrapped(permanent, SECRET)
        assert StreamForm(SWTPM_COMPATIBLE, SECRET, None).unwrap(PERMANENT, octets)
        assert StreamForm(SWTPM_COMPATIBLE, None, SECRET).unwrap(PERMANENT, octets)
        with pytest.raises(BlobKeyError, match="--migration-key"):
            StreamForm(SWTPM_COMPATIBLE, None, None).unwrap(PERMANENT, octets)
        with pytest.raises(BlobError, match="is not the state's"):
            StreamForm(SWTPM_COMPATIBLE, Key(b"x", is_passphrase=True), None).unwrap(PERMANENT, octets)

    def test_volatile_alone(self, permanent: bytes) -> None:
        """A volatile one needs the permanent one before it."""
        with pytest.raises(BlobError, match="send that first"):
            StreamForm(SWTPM_COMPATIBLE, None, None).unwrap(VOLATILE, wrapped(permanent))

    @pytest.mark.parametrize("key", [None, SECRET])
    def test_there_and_back(self, key: Key | None) -> None:
        """What leaves in swtpm's form, encrypted or not, comes back as the same run."""
        here = Client(profile=SWTPM_COMPATIBLE)
        here.pcr_event(16, event_data=b"event").check()
        permanent = blobs.pack(PERMANENT, here.tpm.snapshot())
        volatile = pack_run(here.tpm.snapshot_volatile(), SAVED_AT, blobs.digest_of(permanent))
        sender = StreamForm(SWTPM_COMPATIBLE, key, None, for_swtpm=True)
        receiver = StreamForm(SWTPM_COMPATIBLE, key, None)
        sent = [sender.wrap(blob) for blob in (permanent, volatile)]
        assert sent == [sender.wrap(blob) for blob in (permanent, volatile)]
        assert all(file.is_state(octets) for octets in sent)
        assert all(file.is_encrypted(octets) is (key is not None) for octets in sent)
        state, _ = blobs.unpack(PERMANENT, receiver.unwrap(PERMANENT, sent[0]).blob)
        parts, companion = blobs.unpack(VOLATILE, receiver.unwrap(VOLATILE, sent[1]).blob)
        run, saved_at = run_in(parts)
        assert (companion, saved_at) == (digest_of_state(state), SAVED_AT)
        tpm = Tpm.restore(state | run, os.urandom)
        tpm.resume(Instant(0))
        assert tpm.pcr.banks == here.tpm.pcr.banks

    def test_not_for_swtpm(self) -> None:
        """What swtpm has no place for is not sent in its form, and a stale permanent state neither."""
        here = Client(profile=SWTPM_COMPATIBLE)
        permanent = blobs.pack(PERMANENT, here.tpm.snapshot())
        sender = StreamForm(SWTPM_COMPATIBLE, None, None, for_swtpm=True)
        sender.wrap(permanent)
        with pytest.raises(BlobError, match="ask for both again"):
            sender.wrap(pack_run(here.tpm.snapshot_volatile(), SAVED_AT, bytes(32)))
        here.tpm.volatile.failed = True
        with pytest.raises(BlobError, match="failure mode"):
            sender.wrap(pack_run(here.tpm.snapshot_volatile(), SAVED_AT, blobs.digest_of(permanent)))

    @pytest.mark.parametrize(("value", "chosen"), [("", False), ("vtpm", False), ("swtpm", True)])
    def test_environment(self, monkeypatch: pytest.MonkeyPatch, value: str, *, chosen: bool) -> None:
        """The environment says in whose form they leave; anything else is named."""
        monkeypatch.setenv("VTPM_STATE_BLOBS", value)
        assert is_for_swtpm() is chosen
        monkeypatch.setenv("VTPM_STATE_BLOBS", "libtpms")
        with pytest.raises(ArgumentError, match="VTPM_STATE_BLOBS=libtpms"):
            is_for_swtpm()


class TestEncryption:
    """--migration-key"""

    def test_there_and_back(self) -> None:
        """Equal blobs are equal in the stream, hidden, and the other end reads them."""
        blob = blobs.pack(PERMANENT, {"name": b"secret state"})
        sender, receiver = (StreamForm(SWTPM_COMPATIBLE, SECRET, None) for _ in range(2))
        sent = sender.wrap(blob)
        assert b"secret" not in sent
        assert sent == sender.wrap(blob)
        assert receiver.unwrap(PERMANENT, sent) == Opened(blob, is_sealed=True)
        assert receiver.wrap(blob) != sent

    @pytest.mark.parametrize("of_swtpm", [False, True])
    def test_in_the_clear(self, permanent: bytes, monkeypatch: pytest.MonkeyPatch, *, of_swtpm: bool) -> None:
        """Beside a migration key nothing is taken in the clear, unless the environment says so."""
        octets = wrapped(permanent) if of_swtpm else blobs.pack(PERMANENT, {"name": b"anybody's"})
        receiver = StreamForm(SWTPM_COMPATIBLE, SECRET, None)
        with pytest.raises(BlobError, match="VTPM_CLEAR_STATE_BLOBS=accept"):
            receiver.unwrap(PERMANENT, octets)
        assert not StreamForm(SWTPM_COMPATIBLE, None, SECRET).unwrap(PERMANENT, octets).is_sealed
        monkeypatch.setenv("VTPM_CLEAR_STATE_BLOBS", "accept")
        receiver = StreamForm(SWTPM_COMPATIBLE, SECRET, None, takes_clear=takes_clear())
        assert not receiver.unwrap(PERMANENT, octets).is_sealed
        monkeypatch.setenv("VTPM_CLEAR_STATE_BLOBS", "yes")
        with pytest.raises(ArgumentError, match="VTPM_CLEAR_STATE_BLOBS=yes"):
            takes_clear()

    def test_refusals(self) -> None:
        """Another key, no key, and an altered blob."""
        sent = StreamForm(SWTPM_COMPATIBLE, SECRET, None).wrap(blobs.pack(PERMANENT, {}))
        with pytest.raises(BlobKeyError, match="migration key"):
            StreamForm(SWTPM_COMPATIBLE, None, SECRET).unwrap(PERMANENT, sent)
        other = StreamForm(SWTPM_COMPATIBLE, Key(b"other", is_passphrase=True), None)
        with pytest.raises(BlobError, match="another migration key"):
            other.unwrap(PERMANENT, sent)
        same = StreamForm(SWTPM_COMPATIBLE, SECRET, None)
        for at in (20, 40, len(sent) - 1):
            altered = sent[:at] + bytes((sent[at] ^ 1,)) + sent[at + 1 :]
            with pytest.raises(BlobError):
                same.unwrap(PERMANENT, altered)
        with pytest.raises(BlobError, match="incomplete"):
            same.unwrap(PERMANENT, sent[:30])


class TestKeys:
    """--key"""

    def test_read(self, tmp_path: Path) -> None:
        """Passphrases as they are, keys in hexadecimal or binary; `remove` removes the file."""
        path = tmp_path / "key"
        path.write_bytes(b"pass\nphrase\n")
        key = read_key("key", {"pwdfile": str(path), "kdf": "sha512", "remove": "true"})
        assert key == Key(b"pass\nphrase\n", is_passphrase=True, kdf="sha512")
        assert not path.exists()
        path.write_text("0x" + "ab" * 16 + "\n")
        assert read_key("key", {"file": str(path)}) == Key(b"\xab" * 16, is_passphrase=False)
        assert "nphrase" not in repr(key)

    @pytest.mark.parametrize(
        ("octets", "is_passphrase", "said"),
        [(b"", True, "is empty"), (b"short", False, "neither 16 or 32 octets")],
    )
    def test_refused(self, octets: bytes, *, is_passphrase: bool, said: str) -> None:
        """What is no key is named."""
        with pytest.raises(ArgumentError, match=f"--key x: .*{said}"):
            key_of("key x", octets, is_passphrase=is_passphrase)

    def test_absent(self, tmp_path: Path) -> None:
        """So is a file that is not there."""
        with pytest.raises(ArgumentError, match=r"--key file=.*No such file"):
            read_key("key", {"file": str(tmp_path / "none")})


@pytest.mark.slow
class TestProcesses:
    """The programs, as libvirt starts them"""

    @NEEDS_SWTPM
    def test_existing_domain(self, place: Path) -> None:
        """A state that swtpm has made and encrypted runs here; the log says so, swtpm's file stays."""
        programs = make_directory([place / "programs"])
        state, secret = place / "state", place / "secret"
        state.mkdir()
        secret.write_bytes(b"a secret of libvirt")
        key = ["--key", f"pwdfile={secret},mode=aes-256-cbc"]
        migration = ["--migration-key", f"pwdfile={secret},mode=aes-256-cbc"]
        with serving(programs, state, *key, *migration, own=False) as server:
            server.ioctl("-i")
            server.ioctl("--save", "permanent", str(place / "blob"))
            server.ioctl("-s")
            server.process.wait(LIMIT)
        before = (state / STATE).read_bytes()
        with serving(programs, state, *key, *migration) as server:
            server.ioctl("-i")
            assert server.ioctl("-g") == "ptm configuration flags: 0x3\n"
            said = server.shut_down()
        assert said.count("is taken over") == 1
        assert (state / STATE).read_bytes() == before
        with serving(programs, state, *key, *migration) as server:
            server.ioctl("--load", "permanent", str(place / "blob"))
            server.ioctl("-i")
            assert "a permanent state blob of swtpm is taken over" in server.shut_down()

    def test_migration(self, place: Path) -> None:
        """Blobs travel encrypted to a host with the same key, and to no other."""
        programs = make_directory([place / "programs"])
        for name in ("source", "target", "other"):
            (place / name).mkdir()
        secret = place / "secret"
        secret.write_bytes(b"short")
        key = ["--migration-key", f"pwdfile={secret}", "--migration", "incoming,release-lock-outgoing"]
        kinds = {kind: str(place / kind) for kind in ("permanent", "volatile", "savestate")}
        with serving(programs, place / "source", *key) as server:
            server.ioctl("-i")
            assert server.ioctl("-g") == "ptm configuration flags: 0x2\n"
            for kind, name in kinds.items():
                server.ioctl("--save", kind, name)
            server.ioctl("--lock-storage", "5")
        with serving(programs, place / "target", *key) as server:
            for kind in ("permanent", "volatile"):
                server.ioctl("--load", kind, kinds[kind])
            server.ioctl("-i")
            server.shut_down()
        with serving(programs, place / "other") as server:
            refused = server.ioctl("--load", "permanent", kinds["permanent"], status=1)
            assert "PTM_SET_STATEBLOB: 0xd" in refused

    @NEEDS_SWTPM
    @pytest.mark.parametrize("encrypted", [False, True])
    @pytest.mark.parametrize("to_us", [True, False])
    def test_live(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, *, to_us: bool, encrypted: bool
    ) -> None:
        """A guest that runs goes to the other program, and keeps its PCR."""
        programs = make_directory([place / "programs"])
        monkeypatch.setenv("VTPM_STATE_BLOBS", "swtpm")
        (place / "secret").write_bytes(b"a secret")
        for name in ("source", "target"):
            (place / name).mkdir()
        words = ["--migration-key", f"pwdfile={place / 'secret'},mode=aes-256-cbc"] if encrypted else []
        kinds = {kind: str(place / kind) for kind in ("permanent", "volatile")}
        data = {name: place / f"{name}.data" for name in ("source", "target")}

        def options(name: str) -> list[str]:
            return [*words, "--server", f"type=unixio,path={data[name]}"]

        with serving(programs, place / "source", *options("source"), own=not to_us) as server:
            server.ioctl("-i")
            with connected(data["source"]) as source:
                source.startup(startup_type=TPM_SU.CLEAR).check()
                source.pcr_event(16, event_data=b"event").check()
                before = source.pcr_read(pcr_selection_in=PCR_16).pcr_values
            for kind, name in kinds.items():
                server.ioctl("--save", kind, name)
        with serving(programs, place / "target", *options("target"), own=to_us) as server:
            for kind, name in kinds.items():
                server.ioctl("--load", kind, name)
            server.ioctl("-i")
            with connected(data["target"]) as target:
                assert target.pcr_read(pcr_selection_in=PCR_16).pcr_values == before
                assert target.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.INITIALIZE

    @pytest.mark.parametrize("is_used", [True, False])
    def test_shared_storage(self, place: Path, *, is_used: bool) -> None:
        """The lock goes to the destination; once the TPM is used there, the source cannot go on."""
        programs = make_directory([place / "programs"])
        state = place / "state"
        state.mkdir()
        options = ["--migration", "release-lock-outgoing", "--flags", "startup-clear"]
        with serving(programs, state, *options) as source:
            source.ioctl("-e")
            data = place / "data"
            incoming = [
                "--migration",
                "incoming,release-lock-outgoing",
                "--server",
                f"type=unixio,path={data}",
            ]
            with serving(programs, state, *incoming, name="target") as target:
                assert "PTM_LOCK_STORAGE: 0x9" in target.ioctl("--lock-storage", "2", status=1)
                for kind in ("permanent", "volatile", "savestate"):
                    source.ioctl("--save", kind, str(place / kind))
                target.ioctl("--load", "permanent", str(place / "permanent"))
                target.ioctl("--load", "volatile", str(place / "volatile"))
                target.ioctl("-i")
                assert "PTM_LOCK_STORAGE: 0x9" in source.ioctl("--lock-storage", "2", status=1)
                if is_used:
                    with connected(data) as guest:
                        guest.pcr_read(pcr_selection_in=PCR_16).check()
                target.shut_down()
            if is_used:
                assert "PTM_LOCK_STORAGE: 0x9" in source.ioctl("--lock-storage", "2", status=1)
                assert "another host has changed" in source.shut_down()
            else:
                source.ioctl("--lock-storage", "2")
                assert "another host has changed" not in source.shut_down()

    def test_setup(self, place: Path) -> None:
        """swtpm_setup does not overwrite it; told to, it makes a new TPM beside it."""
        programs = make_directory([place / "programs"])
        made = Tpm.manufacture(bytes, SWTPM_COMPATIBLE)
        (place / STATE).write_bytes(wrapped(export_state(made.snapshot(), bytes).state))

        def seed(*words: str) -> bytes:
            words = ("--tpm2", "--tpm-state", str(place), "--config", "/dev/null", *words)
            subprocess.run([programs / "swtpm_setup", *words], check=True, capture_output=True, timeout=LIMIT)
            store = StateDirectory(place).opener(
                None, lambda: take_over(StateDirectory(place), SWTPM_COMPATIBLE, None)
            )()
            found = Tpm.restore(store.load(), bytes)
            store.close()
            return bytes(found.owner.seed)

        assert seed("--reconfigure", "--pcr-banks", "sha384") == made.owner.seed
        (place / STATE).rename(place / "away")
        assert seed("--createek", "--not-overwrite") == made.owner.seed
        (place / "away").rename(place / STATE)
        assert seed("--overwrite") != made.owner.seed

    def test_setup_keeps(self, place: Path) -> None:
        """With --not-overwrite even a state that nobody can read is left alone."""
        programs = make_directory([place / "programs"])
        (place / STATE).write_text("DUMMY")
        words = ["--tpm2", "--tpm-state", str(place), "--config", "/dev/null"]
        for option, status in (("--not-overwrite", 0), ("--createek", 1)):
            done = subprocess.run([programs / "swtpm_setup", *words, option], check=False, timeout=LIMIT)
            assert done.returncode == status
        assert (place / STATE).read_text() == "DUMMY"
        assert not (place / "states").exists()

    def test_libvirt(self, place: Path) -> None:
        """The command lines of libvirt for a domain with a secret: set up, start, end, start again."""
        programs = make_directory([place / "programs"])
        state, log = place / "state", place / "log"
        state.mkdir()
        secret = b"\0raw\nsecret"
        setup = [programs / "swtpm_setup", "--tpm2", "--pwdfile-fd", "{}", "--cipher", "aes-256-cbc"]
        setup += ["--tpm-state", str(state), "--vmid", "guest:1", "--logfile", str(log), "--createek"]
        setup += ["--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--not-overwrite"]
        environment = {"VTPM_AUTHORITY_DIR": str(place / "authority"), "XDG_CONFIG_HOME": str(place)}
        with pipe_of(secret) as descriptor:
            words = [str(word).format(descriptor) for word in setup]
            subprocess.run(words, env=environment, pass_fds=[descriptor], check=True, timeout=LIMIT)
        seeds = set()
        for _ in range(2):
            with pipe_of(secret) as first, pipe_of(secret) as second:
                keys = ["--key", f"pwdfd={first},mode=aes-256-cbc"]
                keys += ["--migration-key", f"pwdfd={second},mode=aes-256-cbc"]
                rest = ["--log", f"file={log}", "--terminate"]
                with serving(programs, state, *keys, *rest, descriptors=(first, second)) as server:
                    server.ioctl("-i")
                    assert server.ioctl("-g") == "ptm configuration flags: 0x3\n"
                    server.shut_down()
            store = StateDirectory(state).opener(Key(secret, is_passphrase=True).passphrase)()
            seeds.add(Tpm.restore(store.load(), bytes).owner.seed)
            store.close()
        assert len(seeds) == 1
        assert "Traceback" not in log.read_text()


@contextmanager
def pipe_of(octets: bytes) -> Iterator[int]:
    """A descriptor that gives these octets, then its end."""
    reading, writing = os.pipe()
    os.write(writing, octets)
    os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)


class Connection(Caller):
    """A client of a data socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""
        assert locality == 0
        self.connection.sendall(request)
        return self.connection.recv(4096)

    def name_of(self, handle: int) -> bytes:
        """The Name of a permanent entity."""
        return handle.to_bytes(4, "big")


@contextmanager
def connected(path: Path) -> Iterator[Connection]:
    """A connection to a data socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(str(path))
        yield Connection(connection)
