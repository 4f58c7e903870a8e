"""`vtpm serve --replace`: another daemon takes over, and guests notice nothing (vtpm/daemon/replacement)."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import nvstore
from tests.daemon.living import LIMIT, STARTUP, VTPM, Guest, Host, is_ready, said
from tests.daemon.relay import STEPS, Relay
from tests.objects import SIGN_ECC, primary
from tests.sessions import start_session
from vtpm.caller.caller import Caller
from vtpm.daemon.replacement.messages import LENGTH, decode, encode
from vtpm.daemon.stopping import AGAIN
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_RH, TPM_SE
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION

pytestmark = pytest.mark.slow

INDEX = 0x01800042
COUNTER = TPMA_NV(AUTHREAD=True, AUTHWRITE=True, NO_DA=True, TPM_NT=TPM_NT.COUNTER)
ESTABLISHED = bytes.fromhex("00000004")
GET_RANDOM = bytes.fromhex("80010000000c0000017b0040")


class GuestTpm(Caller):
    """The TPM as a guest's driver has it; it counts by a session that the TPM and the guest share."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.names: dict[int, bytes] = {}
        self.count = 0
        self.slowest = 0.0
        self.during: Callable[[], None] = lambda: None
        self.cut: int | None = None

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send a command, whole or in two parts; `during` happens after the first."""
        del locality
        begun = time.monotonic()
        happens, self.during = self.during, lambda: None
        self.guest.data.sendall(request[: self.cut])
        happens()
        if self.cut is not None:
            self.guest.data.sendall(request[self.cut :])
        response = self.guest.receive()
        self.slowest = max(self.slowest, time.monotonic() - begun)
        assert response, "the guest has lost its TPM"
        return response

    def name_of(self, handle: int) -> bytes:
        """A Name, which the guest has asked for."""
        return self.names.get(handle, handle.to_bytes(4))

    def prepare(self) -> None:
        """Put something of every kind into the TPM's RAM."""
        assert self.guest.execute(STARTUP)[6:10] == bytes(4)
        public = TPMS_NV_PUBLIC(
            nv_index=INDEX, name_alg=TPM_ALG.SHA256, attributes=COUNTER, auth_policy=b"", data_size=8
        )
        self.nv_define_space(TPM_RH.OWNER, auth=b"secret", public_info=public).check()
        self.nv_increment(INDEX, INDEX, auths=[b"secret"]).check()
        self.names[INDEX] = self.nv_read_public(INDEX).check().nv_name
        self.session = start_session(self, bind=INDEX, bind_auth=b"secret")
        self.session.includes_auth = False
        self.policy = start_session(self, TPM_SE.POLICY)
        self.policy_password(self.policy.handle).check()
        self.key = primary(self, SIGN_ECC)
        self.sequence = self.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).check().sequence_handle
        self.pcr_event(16, event_data=b"measured").check()
        self.count = self.counted()
        self.memory = self.remembered()

    def increment(self) -> None:
        """Count by one; the answer must be authentic."""
        reply = self.nv_increment(INDEX, INDEX, sessions=[self.session]).check()
        self.session.check(reply)
        self.count += 1

    def counted(self) -> int:
        """What the TPM has counted."""
        reply = self.nv_read(INDEX, INDEX, size=8, offset=0, auths=[b"secret"]).check()
        return int.from_bytes(reply.data)

    def remembered(self) -> tuple[bytes, ...]:
        """What only RAM holds."""
        selection = TPMS_PCR_SELECTION(hash=TPM_ALG.SHA256, pcr_select=b"\x00\x00\x01")
        return (
            self.pcr_read(pcr_selection_in=(selection,)).check().octets,
            self.policy_get_digest(self.policy.handle).check().policy_digest,
            self.read_public(self.key).check().octets,
        )

    def check(self) -> None:
        """Nothing is lost, and nothing was done twice."""
        assert self.counted() == self.count
        assert self.remembered() == self.memory
        self.guest.control.sendall(ESTABLISHED)
        assert self.guest.control.recv(8, socket.MSG_WAITALL) == bytes(8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with one VM, whose state is never opened."""
    host = Host(tmp_path_factory.mktemp("made"))
    host.vtpm("provider", "init", "test")
    host.vtpm("create", "vm", "--bare", "--allow-unverified")
    return host


@pytest.fixture
def host(made: Host, tmp_path: Path) -> Host:
    """The same host at another place."""
    shutil.copytree(made.state, tmp_path / "state")
    return Host(tmp_path)


def end(process: "subprocess.Popen[str]") -> None:
    """Have a daemon end that refuses the first signal, since a guest runs."""
    process.terminate()
    assert process.stderr is not None
    assert any("SIGTERM is refused" in line for line in process.stderr)
    time.sleep(AGAIN[0])
    process.terminate()


class Daemons:
    """The daemons of a host, one after the other."""

    def __init__(self, host: Host, stack: ExitStack) -> None:
        self.host = host
        self._stack = stack
        self.old = self.start()
        assert is_ready(self.old)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A daemon that starts; it is killed with the test."""
        process = self._stack.enter_context(self.host.serve(*words))
        self._stack.callback(process.kill)
        return process

    def replace(self) -> None:
        """Have another one take over; the first must end well."""
        new = self.start("--replace")
        assert is_ready(new), said(new)
        assert self.old.wait(LIMIT) == 0, said(self.old)
        self.old = new


@pytest.fixture
def daemons(host: Host) -> Iterator[Daemons]:
    """A daemon that runs."""
    with ExitStack() as stack:
        yield Daemons(host, stack)


@pytest.fixture
def tpm(daemons: Daemons) -> Iterator[GuestTpm]:
    """The TPM of a guest, with something of every kind in its RAM."""
    guest = Guest(daemons.host.socket)
    tpm = GuestTpm(guest)
    tpm.prepare()
    yield tpm
    guest.close()


class TestReplaced:
    """The new daemon serves, and the guest has seen nothing but a moment's delay."""

    def test_in_a_stream(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """Through twenty replacements in a row: each increment is counted once, its answer authentic."""
        over = threading.Event()
        counted_between = []

        def replace() -> None:
            try:
                for _ in range(20):
                    before = tpm.count
                    daemons.replace()
                    counted_between.append(tpm.count - before)
            finally:
                over.set()

        thread = threading.Thread(target=replace)
        thread.start()
        while not over.is_set():
            tpm.increment()
        thread.join()

        assert len(counted_between) == 20
        assert all(counted_between)
        tpm.check()
        sequence = tpm.sequence_complete(tpm.sequence, buffer=b"abc", hierarchy=TPM_RH.NULL).check()
        assert sequence.result == hashlib.sha256(b"abc").digest()

    @pytest.mark.parametrize("cut", [1, 10, 30, None])
    def test_in_a_command(self, daemons: Daemons, tpm: GuestTpm, cut: int | None) -> None:
        """A command of which a part has come, or all, is executed once."""
        tpm.during, tpm.cut = daemons.replace, cut
        tpm.increment()
        tpm.cut = None
        tpm.increment()
        tpm.check()

    def test_in_a_request(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """A control request of which a part has come is answered once the rest has."""
        control = tpm.guest.control
        parts = {"begin": "00000007 00000006 6162", "ready": "6364"}

        with Relay(daemons.host.socket.parent) as relay:
            new = daemons.start("--replace")
            relay.run(lambda step: control.sendall(bytes.fromhex(parts.get(step, ""))))
            assert is_ready(new), said(new)
            control.sendall(b"ef")
            assert control.recv(4, socket.MSG_WAITALL) == bytes(4)
        tpm.check()

    def test_unread_answers(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """Answers that the guest has not read yet arrive in order, whoever has written them."""
        requests = 20000  # more than both sockets hold: most of them wait with the guest
        sender = threading.Thread(target=tpm.guest.data.sendall, args=(GET_RANDOM * requests,))
        sender.start()
        daemons.replace()
        answers = [tpm.guest.receive() for _ in range(requests)]
        sender.join()

        assert {(len(answer), answer[:12].hex()) for answer in answers} == {(76, "80010000004c000000000040")}
        assert len(set(answers)) == requests
        tpm.check()

    def test_again(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """What the new daemon writes is found by one that starts after it has ended."""
        daemons.replace()
        tpm.increment()
        daemons.host.vtpm("stop", "--stop-guests")
        assert daemons.old.wait(LIMIT) == 0
        new = daemons.start()
        assert is_ready(new)
        guest = Guest(daemons.host.socket)
        after = GuestTpm(guest)
        assert guest.execute(STARTUP)[6:10] == bytes(4)
        assert after.counted() == tpm.count
        guest.close()

    def test_nobody_to_replace(self, host: Host) -> None:
        """Without a daemon that runs, the new one just serves."""
        with host.serve("--replace") as process:
            try:
                assert is_ready(process)
            finally:
                process.kill()

    def test_no_third_one(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """At no step can another process open the state."""
        states = nvstore.Host(daemons.host.state)
        owners = []

        def look(_step: str) -> None:
            with pytest.raises(nvstore.Locked) as refused:
                states.open_state("vm")
            owners.append(refused.value.owner)

        with Relay(daemons.host.socket.parent) as relay:
            new = daemons.start("--replace")
            relay.run(look)
            assert is_ready(new), said(new)
        assert len(owners) == len(STEPS)
        assert {owner.split()[1] for owner in owners[:-1]} == {str(daemons.old.pid)}
        tpm.increment()
        tpm.check()
        assert states.show_state("vm").owner.split()[1] == str(new.pid)


NEW_GOES_ON = ("end", "ready", "go", "taken")
"""Steps from which on the new daemon has everything, and serves if the old one dies."""


class TestKilled:
    """Either process may be killed at any step: nothing acknowledged is lost, nothing is done twice."""

    @pytest.mark.parametrize("step", [step for _, step in STEPS])
    @pytest.mark.parametrize("victim", ["old", "new"])
    def test_killed(self, daemons: Daemons, tpm: GuestTpm, victim: str, step: str) -> None:
        """One daemon serves the guest on, unless the only one that had its TPM was killed."""
        old = daemons.old
        processes = {"old": old}
        last = "vm" if (victim, step) == ("old", "vm") else "taken"  # what it has sent before counts

        def kill(reached: str) -> None:
            if reached == step:
                processes[victim].kill()
                processes[victim].wait(LIMIT)

        def hand_over() -> None:
            with Relay(daemons.host.socket.parent) as relay:
                processes["new"] = daemons.start("--replace")
                relay.run(kill, last)
                survivor = processes["new" if victim == "old" else "old"]
                if victim == "old" and step in NEW_GOES_ON:
                    assert is_ready(survivor), said(survivor)

        tpm.during, tpm.cut = hand_over, 17
        if victim == "new" and step == "taken":
            with pytest.raises((AssertionError, OSError)):
                tpm.increment()
            assert old.wait(LIMIT) == 0
        elif victim == "old" and step not in NEW_GOES_ON:
            with pytest.raises((AssertionError, OSError)):
                tpm.increment()
            assert processes["new"].wait(LIMIT) == 1
            assert re.search("does not answer|had handed over", said(processes["new"]))
        else:
            tpm.increment()
            tpm.cut = None
            tpm.increment()
            tpm.check()
            return
        restarted = daemons.start("--replace")
        assert is_ready(restarted), said(restarted)
        guest = Guest(daemons.host.socket)
        after = GuestTpm(guest)
        assert guest.execute(STARTUP)[6:10] == bytes(4)
        assert after.counted() == tpm.count
        guest.close()


def connection(host: Host) -> socket.socket:
    """A connection to the daemon's own socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT)
    sock.connect(str(host.socket.parent / ".daemon"))
    return sock


def frame(sock: socket.socket) -> str:
    """The step of the next frame, with the reason of `stay`."""
    octets, descriptors, _, _ = socket.recv_fds(sock, LENGTH.size, 8)
    (length,) = LENGTH.unpack(octets)
    step, carried = decode(sock.recv(length, socket.MSG_WAITALL), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return step + str(carried.facts.get("reason", ""))


def say(sock: socket.socket, step: str) -> None:
    """Send a frame."""
    octets = encode(step, {}, [])
    sock.sendall(LENGTH.pack(len(octets)) + octets)


class TestRefused:
    """The old daemon goes on where the new one cannot, and both say why."""

    def test_version(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """A protocol that the old one does not know is refused before anything stops."""
        with connection(daemons.host) as sock:
            sock.sendall(json.dumps({"do": "replace", "versions": [99]}).encode() + b"\n")
            assert "does not know" in json.loads(sock.makefile("rb").readline())["error"]
        tpm.increment()
        tpm.check()

    def test_locked_provider(self, made: Host, daemons: Daemons, tpm: GuestTpm) -> None:
        """A new daemon that cannot open the states does not take over."""
        (key,) = made.state.glob("keys/*")  # a provider knows the path of its key
        away = key.rename(key.with_suffix(".away"))
        new = daemons.start("--replace")
        assert new.wait(LIMIT) == 1
        assert "key" in said(new)
        tpm.increment()
        away.rename(key)
        daemons.replace()
        tpm.increment()
        tpm.check()

    def test_at_a_time(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """A second one is refused while the first one loads; that one's end is the end of it."""
        with connection(daemons.host) as sock:
            sock.sendall(json.dumps({"do": "replace", "versions": [1]}).encode() + b"\n")
            assert b"result" in sock.recv(4096)
            new = daemons.start("--replace")
            assert "another new daemon" in said(new)
        tpm.increment()
        daemons.replace()
        tpm.increment()
        tpm.check()

    def test_not_ready(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """Guests wait for a new daemon that hangs no longer than a few seconds."""

        def hang() -> None:
            with connection(daemons.host) as sock:
                sock.sendall(json.dumps({"do": "replace", "versions": [1]}).encode() + b"\n")
                sock.recv(4096)
                say(sock, "begin")
                assert [frame(sock), frame(sock)] == ["vm", "end"]
                assert frame(sock).startswith("stayguests would wait")

        tpm.during = hang
        tpm.increment()
        tpm.check()

    def test_out_of_turn(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """Whoever does not keep to the protocol takes nothing over."""
        with connection(daemons.host) as sock:
            sock.sendall(json.dumps({"do": "replace", "versions": [1]}).encode() + b"\n")
            sock.recv(4096)
            say(sock, "begin")
            assert [frame(sock), frame(sock)] == ["vm", "end"]
            say(sock, "taken")
            assert "where ready was due" in frame(sock)
        tpm.increment()
        tpm.check()

    def test_ended_meanwhile(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """A daemon that is told to end while it hands over ends in order, and the new one does not begin."""
        with connection(daemons.host) as sock:
            sock.sendall(json.dumps({"do": "replace", "versions": [1]}).encode() + b"\n")
            sock.recv(4096)
            say(sock, "begin")
            assert [frame(sock), frame(sock)] == ["vm", "end"]
            end(daemons.old)
            assert frame(sock) == "stayit was told to end"
        assert daemons.old.wait(LIMIT) == 0
        after = daemons.start()
        assert is_ready(after), said(after)
        guest = Guest(daemons.host.socket)
        again = GuestTpm(guest)
        assert guest.execute(STARTUP)[6:10] == bytes(4)
        assert again.counted() == tpm.count
        guest.close()


class TestStopped:
    """A daemon is to end while another one takes over: the guest is served on in any case."""

    def test_by_request(self, daemons: Daemons, tpm: GuestTpm) -> None:
        """`vtpm stop`, even with --stop-guests, is refused while a new daemon loads."""
        with connection(daemons.host) as sock:
            sock.sendall(json.dumps({"do": "replace", "versions": [1]}).encode() + b"\n")
            sock.recv(4096)
            refused = subprocess.run(
                [VTPM, *daemons.host.places, "stop", "--stop-guests"],
                check=False,
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
            assert refused.returncode == 1
            assert "about to take over" in refused.stderr
        tpm.increment()
        daemons.replace()
        tpm.increment()
        tpm.check()

    @pytest.mark.parametrize("step", [step for _, step in STEPS])
    @pytest.mark.parametrize("side", ["old", "new"])
    def test_by_signal(self, daemons: Daemons, tpm: GuestTpm, side: str, step: str) -> None:
        """A signal to either side at any step leaves one daemon that serves."""
        old = daemons.old
        sent: list[subprocess.Popen[str]] = []

        def at(reached: str) -> None:
            if reached == step:
                (old if side == "old" else sent[0]).terminate()

        def hand_over() -> None:
            with Relay(daemons.host.socket.parent) as relay:
                sent.append(daemons.start("--replace"))
                relay.run(at)

        tpm.during, tpm.cut = hand_over, 17
        tpm.increment()
        tpm.cut = None
        tpm.increment()
        tpm.check()
        (new,) = sent
        if new.poll() is None and is_ready(new):
            assert old.wait(LIMIT) == 0
        else:
            assert (side, old.poll()) == ("new", None)
            assert step not in NEW_GOES_ON[1:], "it had everything, and has ended by a signal"


class TestService:
    """How systemd sees it."""

    def test_main_process(self, daemons: Daemons, tpm: GuestTpm, tmp_path: Path) -> None:
        """`--background` returns when the new daemon serves; the old one says who is the service now."""
        with ExitStack() as stack:
            told = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            told.bind(str(tmp_path / "notify"))
            told.settimeout(LIMIT)
            end(daemons.old)
            daemons.old.wait(LIMIT)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
                first = daemons.start()
            assert is_ready(first)
            assert told.recv(100) == b"READY=1"

            for _ in range(2):
                starter = daemons.start("--replace", "--background")
                assert starter.wait(LIMIT) == 0, said(starter)
                messages = {told.recv(100).decode(), told.recv(100).decode()}
                (main,) = messages - {"READY=1"}
                assert main.startswith("MAINPID=")
                assert int(main[8:]) not in (starter.pid, first.pid)
            daemons.host.vtpm("stop", "--stop-guests", "--process", main[8:])
        del tpm

    def test_background_fails(self, host: Host) -> None:
        """A daemon that cannot start in the background says so by its status."""
        host.socket.parent.mkdir()
        (host.socket.parent / ".daemon").write_text("no socket")
        with host.serve("--background") as starter:
            assert starter.wait(LIMIT) == 1
            assert "a file is there" in said(starter)
