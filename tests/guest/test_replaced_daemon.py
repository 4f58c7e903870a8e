"""A guest runs on while the daemon that has its TPM is replaced, as for an update."""

import hashlib
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.guest.host import VTPM, Host
from examples.guest.machine import Machine
from examples.guest.processes import command_line, end

pytestmark = pytest.mark.slow

ROUNDS = 4
COUNTS = 5
LIMIT = 120.0

JOB = f"""
tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite|nt=counter' 0x1500016 || return
tpm2_pcrextend 16:sha256={"11" * 32} || return
tpm2_createprimary -Q -C o -G ecc -c /tmp/primary || return
for round in $(seq {ROUNDS}); do
    report "round$round" begun
    for count in $(seq {COUNTS}); do
        tpm2_nvincrement -Q -C o 0x1500016 || return
    done
    tpm2_readpublic -Q -c /tmp/primary || return
done
tpm2_nvread -C o 0x1500016 >/tmp/count || return
report_file count /tmp/count
tpm2_pcrread sha256:16 >/tmp/pcr || return
report_file pcr /tmp/pcr
"""


def test_replaced_while_it_runs(directory: Path) -> None:
    """The driver of a Linux guest sees no error; counters and PCR are what the guest has made of them."""
    host = Host(directory)
    host.vtpm("provider", "init", "guests")
    host.vtpm("create", "guest", "--allow-unverified")
    places = ["--state-dir", str(host.state_dir), "--run-dir", str(host.run_dir)]
    daemons: list[subprocess.Popen[bytes]] = []

    with ExitStack() as stack:

        def serve(*words: str) -> None:
            process = subprocess.Popen(command_line(VTPM, *places, "serve", *words), stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(end, process)
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"ready")
            daemons.append(process)

        def replace(name: str, _finding: bytes) -> None:
            if name == "userspace" or name.startswith("round"):
                serve("--replace")

        serve()
        run = Machine(directory).boot(JOB, host.socket_of("guest"), LIMIT, replace)

        assert [process.wait(LIMIT) for process in daemons[:-1]] == [0] * (ROUNDS + 1)
        assert daemons[-1].poll() is None

    assert int.from_bytes(run.findings["count"]) == ROUNDS * COUNTS
    assert hashlib.sha256(bytes(32) + b"\x11" * 32).hexdigest().upper() in run.text("pcr")
