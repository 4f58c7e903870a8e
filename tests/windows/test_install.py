"""examples/windows11: its files, what it makes of what Windows tells, and the installation itself."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from examples.guest.tpm_server import vtpm
from examples.windows11.__main__ import install
from examples.windows11.answers import ANSWERS, CHECK, HERE, NAMES, UNATTEND, make_answers
from examples.windows11.facts import MUST, told_in
from examples.windows11.machine import Machine

ISO = os.environ.get("VTPM_WIN11_ISO")
ACTION = "{http://schemas.microsoft.com/WMIConfig/2002/State}action"
COMPONENT = {
    "processorArchitecture": "amd64",
    "publicKeyToken": "31bf3856ad364e35",
    "language": "neutral",
    "versionScope": "nonSxS",
}
"""What identifies every component of Windows, besides its name."""

COMPONENTS = {
    "windowsPE": {"Microsoft-Windows-International-Core-WinPE", "Microsoft-Windows-Setup"},
    "oobeSystem": {"Microsoft-Windows-International-Core", "Microsoft-Windows-Shell-Setup"},
}
"""Those that take settings in a pass, as far as the answers need any."""

GOOD: dict[str, Any] = {
    "secure_boot": True,
    "spec_version": "2.0, 0, 1.85",
    "TpmPresent": True,
    "TpmReady": True,
    "TpmEnabled": True,
    "TpmActivated": True,
    "TpmOwned": True,
    "LockedOut": False,
    "ek_present": True,
    "ek_certificates": 1,
    "protection": "On",
    "protectors": ["Tpm"],
}


def line_of(phase: str, facts: dict[str, Any], errors: dict[str, str] | None = None) -> bytes:
    """A line of check.ps1."""
    said = json.dumps({"facts": facts, "errors": errors or {}})
    return f"windows11 {phase} {base64.b64encode(said.encode()).decode()}\n".encode()


class TestFacts:
    """What Windows tells"""

    def test_content(self) -> None:
        """Both phases are found between what firmware says; nothing is wrong with them."""
        told = told_in(
            b"BdsDxe: starting\r\n" + line_of("first", GOOD) + b"noise\n" + line_of("second", GOOD)
        )

        assert list(told) == ["first", "second"]
        assert told["first"].facts == GOOD
        assert [phase.problems() for phase in told.values()] == [[], []]

    @pytest.mark.parametrize("name", sorted(MUST))
    def test_wrong(self, name: str) -> None:
        """Each fact that is wrong, missing, or could not be found out is named once."""
        for value in (None, "nonsense"):
            (problem,) = told_in(line_of("first", GOOD | {name: value}))["first"].problems()
            assert problem == f"{name}: {value!r}"
        without = {key: value for key, value in GOOD.items() if key != name}
        assert told_in(line_of("first", without))["first"].problems() == [f"{name}: not told"]
        refused = told_in(line_of("first", without, {name: "access denied"}))["first"]
        assert refused.problems() == [f"{name}: access denied"]

    @pytest.mark.parametrize(
        "octets", [b"", b"windows11 first e30=", b"windows11 first e30=\n", b"windows11 first !\n"]
    )
    def test_unfinished(self, octets: bytes) -> None:
        """A line that is not whole is none."""
        assert told_in(octets) == {}

    def test_script_tells_all(self) -> None:
        """The script tells every fact that is asked for."""
        script = CHECK.read_text()

        assert {name for name in MUST if f"'{name}'" not in script} == set()


class TestAnswers:
    """The answer file of Windows setup"""

    def test_no_check_is_bypassed(self) -> None:
        """Setup finds TPM, Secure Boot and memory good by itself."""
        assert not re.search(r"bypass(?!\s+-Command)|labconfig", ANSWERS.read_text(), re.IGNORECASE)

    @pytest.mark.parametrize("key", ["", "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"])
    def test_medium(self, tmp_path: Path, key: str) -> None:
        """The medium has the script and the answers, with the image and the product key that were given."""
        medium = make_answers(tmp_path, 6, key)
        tree = ET.parse(medium / ANSWERS.name)

        assert sorted(path.name for path in medium.iterdir()) == ["autounattend.xml", "check.ps1"]
        assert (medium / "check.ps1").read_bytes() == CHECK.read_bytes()
        assert tree.findtext(".//u:MetaData/u:Value", namespaces=NAMES) == "6"
        assert tree.findtext(".//u:ProductKey/u:Key", namespaces=NAMES) == (key or None)
        (command,) = tree.iterfind(".//u:FirstLogonCommands//u:CommandLine", NAMES)
        assert "check.ps1" in (command.text or "")
        (disk,) = tree.iterfind(".//u:InstallTo/u:PartitionID", NAMES)
        kinds = [kind.text for kind in tree.iterfind(".//u:CreatePartition/u:Type", NAMES)]
        assert kinds == ["EFI", "MSR", "Primary"]
        assert disk.text == "3"

    def test_schema(self) -> None:
        """Passes and components are those of the unattend schema, each named in full, once a pass."""
        root = ET.parse(ANSWERS).getroot()
        passes = [settings.get("pass", "") for settings in root.findall("u:settings", NAMES)]

        assert root.tag == f"{{{UNATTEND}}}unattend"
        assert passes == ["windowsPE", "oobeSystem"]
        for settings in root.findall("u:settings", NAMES):
            components = settings.findall("u:component", NAMES)
            names = [component.get("name") for component in components]
            assert len(set(names)) == len(names)
            for component in components:
                assert COMPONENT.items() <= component.attrib.items()
                assert component.get("name") in COMPONENTS[settings.get("pass", "")]
        for element in root.iter():
            assert element.tag.startswith(f"{{{UNATTEND}}}")
            assert set(element.attrib) <= {ACTION, "pass", "name", *COMPONENT}
            assert len(element) == 0 or not (element.text or "").strip(), (
                f"{element.tag} mixes text and elements"
            )

    def test_numbers(self) -> None:
        """What has a number in a list is counted from 1; partitions that are named are made."""
        root = ET.parse(ANSWERS).getroot()

        for name in ("CreatePartition", "ModifyPartition", "SynchronousCommand"):
            orders = [element.text for element in root.iterfind(f".//u:{name}/u:Order", NAMES)]
            assert orders == [str(number + 1) for number in range(len(orders))], name
            assert orders
        made = [element.text for element in root.iterfind(".//u:CreatePartition/u:Order", NAMES)]
        for element in root.iterfind(".//u:PartitionID", NAMES):
            assert element.text in made


class TestProgram:
    """`python -m examples.windows11`"""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "status", "said"),
        [
            ([], 2, "give --iso, or set VTPM_WIN11_ISO: no ISO of Windows comes with this project"),
            (["--iso", "/usr/no-windows.iso"], 1, "/usr/no-windows.iso: No such file or directory"),
            (["--iso", "/dev/null", "--keep", "/dev/null/place"], 1, "/dev/null/place: Not a directory"),
        ],
        ids=["no ISO", "an ISO that is not there", "a place that cannot be"],
    )
    def test_errors(self, words: list[str], status: int, said: str) -> None:
        """What is missing is named, in one line, and nothing is started."""
        env = {name: value for name, value in os.environ.items() if name != "VTPM_WIN11_ISO"}
        command = [sys.executable, "-m", "examples.windows11", *words]
        done = subprocess.run(
            command, cwd=HERE.parents[1], env=env, capture_output=True, text=True, timeout=60, check=False
        )

        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.splitlines()[-1].endswith(said)
        assert "Traceback" not in done.stderr

    def test_own(self) -> None:
        """No file of the example needs another project's TPM."""
        texts = {path.name: path.read_text() for path in HERE.iterdir() if path.is_file()}

        assert {"domain.xml", "virt-install.sh", "check.sh", "check.ps1"} <= texts.keys()
        assert [name for name, text in texts.items() if "swtpm" in text] == []


class TestLibvirt:
    """The domain, and the call of virt-install"""

    def test_domain(self) -> None:
        """Libvirt's schema has all of it, and it is what Windows 11 asks for."""
        virsh = shutil.which("virsh")
        if virsh is None:
            pytest.skip("virsh is not installed")
        define = [virsh, "-c", "test:///default", "define", "--validate", str(HERE / "domain.xml")]
        defined = subprocess.run(define, capture_output=True, text=True, check=False)
        assert defined.returncode == 0, defined.stderr
        domain = ET.parse(HERE / "domain.xml")

        features = {
            item.get("name"): item.get("enabled") for item in domain.iterfind("./os/firmware/feature")
        }
        assert features == {"secure-boot": "yes", "enrolled-keys": "yes"}
        assert domain.find("./features/smm[@state='on']") is not None
        assert domain.find("./devices/tpm[@model='tpm-crb']/backend[@type='external']") is not None

    def test_virt_install(self, directory: Path) -> None:
        """The script hands virt-install the same TPM; without an ISO or a TPM it says what is missing."""
        script = HERE / "virt-install.sh"
        recorded = directory / "virt-install"
        recorded.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        recorded.chmod(0o700)
        env = {"PATH": f"{directory}:{os.environ['PATH']}", "VTPM_RUN_DIR": str(directory)}
        no_iso = subprocess.run([script], env=env, capture_output=True, text=True, check=False)
        assert no_iso.returncode
        assert "name the ISO" in no_iso.stderr
        env["VTPM_WIN11_ISO"] = "windows.iso"
        no_tpm = subprocess.run([script, "other"], env=env, capture_output=True, text=True, check=False)
        assert no_tpm.returncode == 1
        assert "vtpm create other" in no_tpm.stderr
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(directory / "other.sock"))
            given = subprocess.run([script, "other"], env=env, capture_output=True, text=True, check=True)
        words = given.stdout.splitlines()
        assert words[words.index("--cdrom") + 1] == "windows.iso"
        assert words[words.index("--name") + 1] == "other"
        assert f"./devices/tpm/backend/source/@path={directory}/other.sock" in words


@pytest.mark.slow
class TestMachine:
    """QEMU's command line"""

    def test_devices(self, directory: Path) -> None:
        """QEMU takes ISO, answers, disk and TPM as they are given, and the keys that the script presses."""
        if shutil.which("qemu-img") is None:
            pytest.skip("qemu-img is not installed")
        iso = directory / "windows.iso"
        iso.write_bytes(bytes(1 << 20))
        with vtpm(directory) as tpm:
            machine = Machine(
                directory,
                tpm,
                memory=256,
                iso=iso,
                answers=make_answers(directory),
                disk=directory / "disk.qcow2",
            )
            machine.make_disk()
            with machine.running() as (_, monitor):
                monitor.press("ret")
                blocks = {block["device"]: block for block in monitor.execute("query-block")}
                assert {"disk", "iso", "answers"} <= blocks.keys()
                assert blocks["disk"]["inserted"]["image"]["virtual-size"] == 64 << 30
                assert monitor.execute("query-tpm")[0]["model"] == "tpm-crb"
                assert monitor.execute("query-status")["running"]


@pytest.mark.slow
@pytest.mark.skipif(
    ISO is None, reason="VTPM_WIN11_ISO does not name an ISO that Windows 11 can be installed from"
)
@pytest.mark.timeout(0)
def test_installation(directory: Path) -> None:
    """Windows 11 installs, is content with its TPM, and starts again from a volume that its TPM unlocks."""
    assert ISO is not None
    assert install(Path(ISO), directory, key=os.environ.get("VTPM_WIN11_KEY", "")) == []
