"""The daemon is killed while a guest writes: what was acknowledged is there afterwards."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.living import DEFINE, LIMIT, READ, STARTUP, Guest, Host, write
from vtpm.commands import COMMANDS
from vtpm.spec.constants import TPM_CC

pytestmark = pytest.mark.slow


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with one VM."""
    host = Host(tmp_path)
    host.vtpm("provider", "init", "test")
    host.vtpm("create", "vm", "--allow-unverified")
    return host


def kill_later(process: "subprocess.Popen[str]", after: int) -> Callable[[int], None]:
    """Kill the daemon from outside, a moment after so many writes."""

    def maybe(count: int) -> None:
        if count == after and os.fork() == 0:
            time.sleep(0.0007 * (after % 7))
            os.kill(process.pid, signal.SIGKILL)
            os._exit(0)

    return maybe


@pytest.mark.skipif(TPM_CC.NV_Write not in COMMANDS, reason="the engine has no TPM2_NV_Write yet")
def test_acknowledged_writes_survive(host: Host) -> None:
    """After `kill -9` among NV_Writes, the Index holds the last acknowledged value, or the one after it."""
    acknowledged = 0
    for round_ in range(4):
        with host.daemon() as process:
            guest = Guest(host.socket)
            assert guest.execute(STARTUP)[6:10] == bytes(4)
            if round_ == 0:
                assert guest.execute(DEFINE)[6:10] == bytes(4)
            else:
                response = guest.execute(READ)
                assert response[6:10] == bytes(4), response.hex()
                value = int.from_bytes(response[-13:-5])
                assert value in (acknowledged, acknowledged + 1)
            kill = kill_later(process, 20 + 3 * round_)
            count = 0
            while response := guest.execute(write(acknowledged + 1)):
                assert response[6:10] == bytes(4)
                acknowledged += 1
                count += 1
                kill(count)
            guest.close()
            assert process.wait(LIMIT) == -signal.SIGKILL
    assert acknowledged >= 80
