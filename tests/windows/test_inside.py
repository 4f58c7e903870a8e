"""What Windows 11 asks, asked in a Linux guest under Secure Boot while the host asks from outside."""

import os
import subprocess
from pathlib import Path

import pytest

from examples.guest.host import Host
from examples.guest.secure_boot import SecureMachine, loaders
from tests.clients.simulators import reference_chosen, simulator
from tests.windows.inside import (
    LOG,
    PREPARE,
    SCRIPT,
    additions,
    check_inside,
    check_log,
    check_outside,
    verdicts_in,
    write_log,
)
from vtpm.manufacture.windows import ALGORITHMS, CHECKS, RECOMMENDED, REQUIRED
from vtpm.manufacture.windows_keys import KEY_CHECKS

LIMIT = 300
JOB = f"""{PREPARE}
report_file log {LOG}
sh /{SCRIPT.name} >/tmp/lines
report status $?
report_file lines /tmp/lines
"""
WITHOUT_FIRMWARE = {
    "TPM 2.0",
    "device of ACPI",
    "Secure Boot",
    "EK certificate",
    "PCR hold measurements",
    "event log",
    "PCR match the event log",
    "Secure Boot in the event log",
}
"""What fails of a bare TPM, where no firmware is."""


@pytest.mark.slow
@pytest.mark.conformance
def test_secure_boot(directory: Path) -> None:
    """Every line passes inside; so does every line outside meanwhile, with what shim and grub have logged."""
    try:
        loaders()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    host, said = Host(directory), {}
    host.vtpm("provider", "init", "main")
    host.vtpm("create", "guest", "--allow-unverified", "--banks", "sha256")

    def look(name: str, octets: bytes) -> None:
        """While the guest goes on with its script."""
        if name == "log":
            log = write_log(directory, octets)
            said["check"] = host.vtpm("check", "windows11", "guest", "--event-log", log, "--json")
            said["inspect"] = host.vtpm("inspect", "guest", "--event-log", log, "--json")

    with host.daemon("guest"):
        machine = SecureMachine(directory, additions=additions())
        run = machine.boot(JOB, host.socket_of("guest"), LIMIT, look)

    check_inside(run.text("lines"))
    assert run.text("status") == "0"
    check_outside(said["check"])
    check_log(said["inspect"])


class TestScript:
    """examples/windows11/check.sh"""

    def test_same_questions(self) -> None:
        """It has each line of `vtpm check windows11`, and the same lists."""
        text = SCRIPT.read_text()
        lists = {
            "windows_uses": [code.name for code in REQUIRED],
            "recommended": [code.name for code in RECOMMENDED],
            "algorithms": [alg.name.lower() for alg in ALGORITHMS],
        }

        for name, expected in lists.items():
            given = text.partition(f'{name}="')[2].partition('"')[0]
            assert given.split() == expected
        for check in [*CHECKS, *KEY_CHECKS]:
            assert f"'{check.name}'" in text

    @pytest.mark.slow
    @pytest.mark.skipif(reference_chosen(), reason="libtpms lacks what the lines ask for of a PC Client TPM")
    def test_nothing_there(self, tmp_path: Path) -> None:
        """Without firmware and certificate the lines that need them fail, and no other; each has a remedy."""
        with simulator("swtpm", tmp_path) as tcti:
            environment = {**os.environ, "TPM2TOOLS_TCTI": tcti, "SYSFS": str(tmp_path)}
            subprocess.run(["tpm2_startup", "-c"], env=environment, check=True)
            done = subprocess.run(
                ["sh", SCRIPT], env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )

        assert done.returncode == 1
        lines = verdicts_in(done.stdout)
        assert {name for name, verdict in lines.items() if verdict == "failed"} == WITHOUT_FIRMWARE
        assert done.stdout.count("\n             -> ") == sum(
            verdict != "passed" for verdict in lines.values()
        )
        assert "EK certificate: there is none at 0x01c00002" in done.stdout
