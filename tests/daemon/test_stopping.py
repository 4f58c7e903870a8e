"""A daemon that guests need does not end without a word: vtpm/daemon/stopping.py, `vtpm stop`."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.living import LIMIT, STARTUP, VTPM, Guest, Host, is_ready, said
from vtpm.daemon import stopping
from vtpm.daemon.stopping import AGAIN, StopGuard, is_host_stopping

TERM, INT = signal.SIGTERM, signal.SIGINT


class Guarded:
    """A guard with guests, and signals at chosen times."""

    def __init__(self, *guests: str, is_admitted: bool = False) -> None:
        self.guests = list(guests)
        self.ended = 0
        self.now = 1000.0
        self._is_admitted = is_admitted

    def send(self, *signals: tuple[signal.Signals, float]) -> int:
        """Signals, each so many seconds after the one before; how often the daemon was ended."""

        async def body() -> None:
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(1) as executor:
                guard = StopGuard(
                    loop,
                    executor,
                    lambda: self.guests,
                    self._end,
                    run_dir=Path("/run/vtpm"),
                    is_admitted=self._is_admitted,
                    clock=lambda: self.now,
                )
                for number, after in signals:
                    self.now += after
                    guard.signaled(number)
                    await asyncio.sleep(0)  # what it does later, which is at once here
                    await asyncio.sleep(0)
                    await loop.run_in_executor(executor, lambda: None)  # what it asked is answered
                    await asyncio.sleep(0)

        asyncio.run(body())
        return self.ended

    def _end(self) -> None:
        self.ended += 1


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host that systemd runs and that stays up."""
    monkeypatch.setattr(stopping, "MANAGER", tmp_path)
    monkeypatch.setattr(stopping, "is_host_stopping", lambda: False)
    monkeypatch.setattr(stopping, "SETTLES_WITHIN", 0)


@pytest.mark.usefixtures("runs")
class TestSignals:
    """What a signal does"""

    @pytest.mark.parametrize("number", [TERM, INT])
    def test_nobody(self, number: signal.Signals) -> None:
        """Without guests, the first one ends the daemon."""
        assert Guarded().send((number, 0)) == 1

    @pytest.mark.parametrize("number", [TERM, INT])
    def test_refused(self, number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
        """While guests run it is refused, and the log names them and what to do."""
        assert Guarded("web", "db").send((number, 0)) == 0
        assert re.search(rf"{number.name} is refused.*web, db.*vtpm serve --replace", caplog.text)
        assert "vtpm --run-dir /run/vtpm stop --stop-guests" in caplog.text

    def test_meant(self, caplog: pytest.LogCaptureFixture) -> None:
        """Another one soon after is meant; the log says who loses a TPM."""
        assert Guarded("web").send((INT, 0), (INT, AGAIN[0])) == 1
        assert re.search("without their TPM now: web", caplog.text)
        assert Guarded("web").send((TERM, 0), (INT, AGAIN[1])) == 1

    def test_repeated(self) -> None:
        """One that comes with the first is no other decision, nor is one that comes much later."""
        assert Guarded("web").send((TERM, 0), (TERM, 0.1), (TERM, 0.3)) == 0
        assert Guarded("web").send((TERM, 0), (TERM, AGAIN[1] + 1)) == 0
        assert Guarded("web").send((TERM, 0), (TERM, AGAIN[1] + 1), (TERM, 1)) == 1

    def test_admitted(self) -> None:
        """Where the operator has said so, guests keep nothing."""
        assert Guarded("web", is_admitted=True).send((TERM, 0)) == 1

    def test_many(self, caplog: pytest.LogCaptureFixture) -> None:
        """A message names as many as can be read."""
        Guarded(*[f"vm{number}" for number in range(300)]).send((TERM, 0))
        assert "vm11 and 288 more" in caplog.text
        assert "vm12" not in caplog.text

    def test_host_goes_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody holds the end of the host up."""
        monkeypatch.setattr(stopping, "is_host_stopping", lambda: True)
        assert Guarded("web").send((TERM, 0)) == 1
        assert Guarded("web").send((INT, 0)) == 0


@pytest.mark.parametrize(
    ("script", "is_stopping"),
    [
        ("echo stopping; exit 1", True),
        ("echo running", False),
        ("echo degraded; exit 1", False),
        ("exit 7", False),
    ],
)
def test_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, is_stopping: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Systemd is asked whether it takes the host down."""
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1" = is-system-running ] || exit 9\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    assert is_host_stopping() is is_stopping


def test_no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without it is not asked."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert not is_host_stopping()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with one VM, whose state is never opened."""
    host = Host(tmp_path_factory.mktemp("made"))
    host.vtpm("provider", "init", "test")
    host.vtpm("create", "vm", "--bare", "--allow-unverified")
    return host


class Running:
    """A daemon with a guest whose process is another one than the test's, as QEMU's is."""

    def __init__(self, host: Host, stack: ExitStack) -> None:
        self.host = host
        self._stack = stack
        self.daemon = self.start()
        self.guest = Guest(host.socket)
        stack.callback(self.guest.close)
        assert self.guest.execute(STARTUP)[6:10] == bytes(4)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A daemon that serves."""
        process = self._stack.enter_context(self.host.serve(*words))
        self._stack.callback(process.kill)
        assert is_ready(process), said(process)
        return process

    def vtpm(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command, however it ends."""
        return subprocess.run(
            [VTPM, *self.host.places, *words], check=False, capture_output=True, text=True, timeout=4 * LIMIT
        )

    def is_served(self) -> bool:
        """Does the guest's TPM answer?"""
        return self.guest.execute(bytes.fromhex("80010000000c0000017b0008"))[6:10] == bytes(4)


@pytest.fixture
def running(made: Host, tmp_path: Path) -> Iterator[Running]:
    """A daemon with a guest."""
    shutil.copytree(made.state, tmp_path / "state")
    with ExitStack() as stack:
        yield Running(Host(tmp_path), stack)


@pytest.mark.slow
class TestDaemon:
    """The daemon as a process"""

    @pytest.mark.parametrize("number", [TERM, INT])
    def test_refused(self, running: Running, number: signal.Signals) -> None:
        """A signal changes nothing for the guest; the daemon says why, and ends once the guest has gone."""
        running.daemon.send_signal(number)
        assert running.daemon.stderr is not None
        line = next(line for line in running.daemon.stderr if "alarm" not in line)
        assert f"{number.name} is refused" in line
        assert ": vm;" in line
        assert running.is_served()
        running.guest.close()
        assert running.vtpm("stop").returncode == 0
        assert running.daemon.wait(LIMIT) == 0

    def test_stop(self, running: Running) -> None:
        """`vtpm stop` refuses with status 1, and names the guests; with the option, the daemon ends."""
        refused = running.vtpm("stop")
        assert refused.returncode == 1
        assert re.search("the daemon goes on: .*: vm; .*serve --replace", refused.stderr)
        assert running.is_served()
        other = running.vtpm("stop", "--stop-guests", "--process", "1")
        assert (other.returncode, "left alone" in other.stdout) == (0, True)
        nothing = running.vtpm("stop", "--stop-guests", "--process", "")
        assert (nothing.returncode, nothing.stdout) == (0, "")
        assert running.is_served()
        ended = running.vtpm("stop", "--stop-guests", "--process", str(running.daemon.pid))
        assert ended.returncode == 0, ended.stderr
        assert "without their TPM until powered off and on: vm" in ended.stdout
        assert running.daemon.wait(LIMIT) == 0
        again = running.vtpm("stop")
        assert (again.returncode, "no daemon serves" in again.stdout) == (0, True)

    def test_option(self, running: Running) -> None:
        """A daemon that was started with --stop-guests ends at the first signal."""
        new = running.start("--replace", "--stop-guests")
        assert running.daemon.wait(LIMIT) == 0
        assert running.is_served()
        new.terminate()
        assert new.wait(LIMIT) == 0
        assert "without their TPM now: vm" in said(new)

    def test_second_daemon(self, running: Running) -> None:
        """Another `vtpm serve` names what takes over, and touches nothing."""
        second = running.vtpm("serve")
        assert second.returncode == 1
        assert "vtpm serve --replace" in second.stderr
        assert running.is_served()

    def test_replaced_again(self, running: Running) -> None:
        """The record is the new daemon's after a replacement: nobody is said to have lost anything."""
        new = running.start("--replace")
        assert running.daemon.wait(LIMIT) == 0
        assert "without_tpm" not in running.vtpm("list", "--json").stdout
        new.kill()
        new.wait(LIMIT)
        assert "without_tpm" in running.vtpm("list", "--json").stdout

    @pytest.mark.parametrize("next_daemon", [True, False])
    def test_killed(self, running: Running, next_daemon: bool) -> None:  # noqa: FBT001 - a parameter of the test
        """After a kill, every view names the guest that runs without its TPM; so does the next daemon."""
        running.daemon.kill()
        running.daemon.wait(LIMIT)
        new = running.start() if next_daemon else None
        for words in (["show", "vm"], ["list"], ["doctor"]):
            told = running.vtpm(*words)
            assert "runs without its TPM" in told.stdout + told.stderr, told
            assert "powered off and on" in told.stdout + told.stderr, told
        (vm,) = json.loads(running.vtpm("list", "--json").stdout)
        assert vm["without_tpm"] > 0
        assert "power" in json.loads(running.vtpm("show", "vm", "--json").stdout)["problem"]
        assert running.vtpm("doctor").returncode == 2
        if new is not None:
            assert running.vtpm("stop").returncode == 0  # nobody is connected to it
            assert "vm: it runs without its TPM" in said(new)

    def test_powered_on_again(self, running: Running) -> None:
        """The finding ends with the guest's process, or its next connection."""
        running.daemon.kill()
        running.daemon.wait(LIMIT)
        running.start()
        running.guest.close()
        again = Guest(running.host.socket)
        assert again.execute(STARTUP)[6:10] == bytes(4)
        assert "without_tpm" not in running.vtpm("list", "--json").stdout
        again.close()
