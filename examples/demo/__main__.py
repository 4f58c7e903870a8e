"""
A Linux guest seals a secret to its measured state, loses its power together with its TPM, and unseals.

Then its state is altered, given to another VM and rolled back, and each of that is refused by name.
`python -m examples.demo`
"""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from examples.demo.measured import check_log, pcrs_of
from examples.demo.narrator import Narrator
from examples.guest.host import Host
from examples.guest.machine import Firmware, Machine, Run, TpmDevice, choose_accelerator
from examples.guest.processes import ProgramFailedError
from nvstore.state.record import PAGE, Damaged, read_record
from nvstore.state.ring import Ring, read_ring

JOB = Path(__file__).with_name("guest.sh").read_text()
BOOT_LIMIT = 120.0
SEALED_TO = (0, 1, 2, 3, 4, 5, 7, 9)


class DemoError(AssertionError):
    """Something did not come out as it must."""


def require(condition: object, text: str) -> None:
    """Raise DemoError unless the condition holds."""
    if not condition:
        raise DemoError(text)


class Demo:
    """The steps of the demonstration, in their order."""

    def __init__(self, directory: Path) -> None:
        self.tell = Narrator()
        self.host = Host(directory)
        self.directory = directory
        self.accelerator = "tcg"

    def run(self) -> None:
        """All steps."""
        began = time.monotonic()
        self.prepare()
        first = self.first_boot()
        older = self.host.state_of("alice").read_bytes()
        self.second_boot(first)
        self.refuse_tampering(older)
        self.tell.say(f"All shown in {time.monotonic() - began:.0f} s; nothing is left running.")

    def prepare(self) -> None:
        """A key provider with a verified backup, and two VMs."""
        backup = self.directory / "demo.backup"
        with self.tell.step("Key provider made, backed up, and the backup read back and verified"):
            passphrase = self.host.make_passphrase()
            self.host.vtpm("provider", "init", "demo")
            self.host.vtpm("provider", "backup", "demo", "--out", backup, "--passphrase-file", passphrase)
            self.host.vtpm("provider", "verify", backup, "--passphrase-file", passphrase)
        with self.tell.step("TPMs of the VMs alice and bob created, encrypted under that provider"):
            for vm in ("alice", "bob"):
                self.host.vtpm("create", vm)
        with self.tell.step("Virtual machine chosen"):
            self.accelerator = choose_accelerator(self.directory)
            how = "KVM" if self.accelerator == "kvm" else "emulated by QEMU, as no guest runs under KVM here"
            self.tell.found(f"{how}; OVMF firmware, Debian's kernel, busybox and tpm2-tools")

    def machine(self, firmware: Firmware) -> Machine:
        """The virtual machine of alice."""
        return Machine(self.directory, firmware, TpmDevice.CRB, self.accelerator)

    def boot(self) -> Run:
        """Boot alice's guest, while the daemon runs."""
        return self.machine(Firmware.OVMF).boot(JOB, self.host.socket_of("alice"), BOOT_LIMIT)

    def first_boot(self) -> Run:
        """The guest's measured boot, and the seal; then the power is cut."""
        title = "First boot: the firmware measures, the guest seals a secret to PCRs"
        with self.tell.step(title), self.host.daemon("alice") as daemon:
            run = self.boot()
            events, values = check_log(run.findings["log"], pcrs_of(run))
            self.tell.found(
                f"the firmware's log of {events} events replays to all {values} PCR values that it names"
            )
            for pcr in SEALED_TO:
                self.tell.found(f"PCR {pcr}  {pcrs_of(run)['sha256'][pcr].hex()}")
            self.tell.found(f"sealed to these: {run.text('sealed')}")
            daemon.kill()
            self.tell.found("power off; the daemon killed with SIGKILL")
        return run

    def second_boot(self, first: Run) -> None:
        """The same measurements unseal; a changed PCR does not."""
        with self.tell.step("Second boot: the guest unseals"), self.host.daemon("alice"):
            run = self.boot()
            require(pcrs_of(run) == pcrs_of(first), "the second boot measured something else")
            require(run.text("unsealed") == first.text("sealed"), "the guest unsealed something else")
            self.tell.found(f"unsealed: {run.text('unsealed')}")
            refusal = run.text("refusal")
            require("a policy check failed" in refusal, f"not refused by the policy: {refusal}")
            self.tell.found("PCR 7 extended, then unseal: refused, a policy check failed")

    def refuse_tampering(self, older: bytes) -> None:
        """Altered, foreign and old state, each refused; the real one still good."""
        alice, bob = self.host.state_of("alice"), self.host.state_of("bob")
        newest = alice.read_bytes()
        with self.tell.step("Tampering with the encrypted state of alice"):
            self.refuse("one bit changed", "was altered", alice, altered(newest))
            self.refuse("bob's state in its place", "holds the state of VM bob", alice, bob.read_bytes())
            self.refuse("the state from before the second boot", "has seen generation", alice, older)
            self.replace(alice, newest)
            require(self.power_on() == "", "the newest state is not accepted any more")
            self.tell.found("the newest state put back: accepted")

    def refuse(self, what: str, expected: str, file: Path, content: bytes) -> None:
        """Power the VM on with another content of its state; QEMU and the daemon must refuse, and say why."""
        self.replace(file, content)
        require("CMD_INIT" in self.power_on(), f"{what}: QEMU has powered the VM on")
        reason = self.readable(self.host.log.read_text().splitlines()[-1])
        require(expected in reason, f"{what}: refused with another reason: {reason}")
        self.tell.found(f"{what}: refused")
        self.tell.found(f"  {reason}")

    def readable(self, reason: str) -> str:
        """The daemon's words with names instead of UUIDs, and without the directory of the demonstration."""
        for vm in ("alice", "bob"):
            reason = reason.replace(self.host.show(vm)["vm"], vm)
        return reason.replace(f"{self.directory}/", "").removeprefix("vtpm: alice: ")

    def power_on(self) -> str:
        """Power alice on for a moment, with a daemon that has just been started; what QEMU said."""
        with self.host.daemon("alice"):
            return self.machine(Firmware.SEABIOS).power_on(self.host.socket_of("alice"))

    @staticmethod
    def replace(file: Path, content: bytes) -> None:
        """Put a content in the place of a file's, owner and mode as they were."""
        with file.open("r+b") as opened:
            opened.truncate()
            opened.write(content)


def altered(state: bytes) -> bytes:
    """A state with one bit changed, in the middle of the encrypted part of its newest record."""
    ring = read_ring(state[:PAGE])
    newest = max(generations(ring, state))
    record = read_record(state[ring.offset(newest) :])
    place = ring.offset(newest) + (record.header_size + len(record.octets)) // 2
    return state[:place] + bytes([state[place] ^ 1]) + state[place + 1 :]


def generations(ring: Ring, state: bytes) -> Iterator[int]:
    """The generations whose records a state file holds."""
    for slot in range(ring.slots):
        with suppress(Damaged):
            yield read_record(state[ring.offset(slot) :]).header.generation


def stop(_number: int, _frame: FrameType | None) -> None:
    """End as after an interrupt from the keyboard, so that everything is cleaned up."""
    raise KeyboardInterrupt


def main() -> int:
    """Exit with 1 when something did not come out as it must."""
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="vtpm-demo-") as directory:
        try:
            Demo(Path(directory)).run()
        except (DemoError, ProgramFailedError, AssertionError) as error:
            print(f"demo: FAILED: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("demo: interrupted", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
