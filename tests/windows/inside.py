"""A Linux guest under Secure Boot that asks of its TPM what Windows 11 does (examples/windows11/check.sh)."""

import json
import re
import stat
from pathlib import Path

from examples.guest.initramfs import Archive, compressed
from examples.guest.modules import LOAD, with_modules
from examples.windows11.answers import HERE

SCRIPT = HERE / "check.sh"
LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"
LINE = re.compile(r"^(passed|failed|advice) +(.*?): (.*?): (.*)$", re.MULTILINE)
ADVICE = {"no curve that its tests stumble on"}
"""What a TPM of `vtpm create` is advised of."""

PREPARE = f"""
{LOAD}
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
unset TPM2TOOLS_TCTI
"""
"""The script chooses the device itself: its sessions outlive each tool."""


def additions() -> tuple[bytes, ...]:
    """What the guest needs besides tpm2-tools."""
    archive = Archive()
    archive.add(SCRIPT.name, SCRIPT.read_bytes(), stat.S_IFREG | 0o755)
    return with_modules("efivarfs"), compressed(archive)


def verdicts_in(said: str) -> dict[str, str]:
    """The verdict of each line, by the name of its check."""
    return {name: verdict for verdict, _, name, _ in LINE.findall(said)}


def check_inside(said: str) -> None:
    """AssertionError unless each line of the script has passed, or is advice that was to be expected."""
    lines = verdicts_in(said)

    assert len(lines) == SCRIPT.read_text().count("\ncheck ")
    assert {name for name, verdict in lines.items() if verdict != "passed"} == ADVICE, said
    assert re.search(r"device of ACPI: MSFT0101, start method 07000000$", said, re.MULTILINE)
    assert "PCR match the event log: 11 PCR" in said


def check_outside(said: str) -> None:
    """AssertionError unless `vtpm check windows11 --json` is content, and has read what grub logged."""
    lines = {line["check"]: line for line in json.loads(said)}
    found = lines["Secure Boot in the event log"]["found"]

    assert {name for name, line in lines.items() if line["verdict"] != "passed"} == ADVICE, said
    assert lines["PCR match the event log"]["verdict"] == "passed"
    assert found.startswith("on; started ")
    for name in (r"\EFI\BOOT\BOOTX64.EFI", r"\EFI\BOOT\grubx64.efi", "vouched for by db", "SbatLevel"):
        assert name in found


def check_log(said: str) -> None:
    """AssertionError unless `vtpm inspect --event-log --json` explains the PCR, and tells what grub did."""
    facts = json.loads(said)
    events = {(event["pcr"], event["says"]) for event in facts["events"]}

    assert facts["unexplained"] == []
    assert {(7, "SecureBoot"), (7, "db"), (9, "/vmlinuz"), (14, "MokList")} <= events
    assert any(pcr == 8 and says.startswith("grub_cmd: linux /vmlinuz") for pcr, says in events)


def write_log(directory: Path, octets: bytes) -> Path:
    """The log as a file of the host's."""
    path = directory / "event-log"
    path.write_bytes(octets)
    return path
