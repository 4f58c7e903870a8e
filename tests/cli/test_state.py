"""`vtpm state` and `vtpm audit`, as an operator uses them."""

import json
import subprocess
from pathlib import Path

import pytest

from nvstore import Host
from nvstore.state.ring import read_ring
from tests.cli.test_vm import VTPM, Installation
from tests.scenarios import seeded
from vtpm import Tpm
from vtpm.manufacture.templates import EK, SRK_HANDLE

pytestmark = pytest.mark.slow

EK_HANDLE, CERTIFICATE = EK.RSA_2048.value.handle, EK.RSA_2048.value.certificate


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation with a VM under an unverified provider."""
    installation = Installation(tmp_path)
    installation.run("provider", "init", "main")
    installation.run("create", "guest", "--allow-unverified")
    return installation


def test_verify_and_history(installation: Installation) -> None:
    """A state is looked at without being changed; a damaged one is named, with a status for monitoring."""
    assert installation.run("state", "verify") == "guest: generation 1 is intact\n"
    (entry,) = json.loads(installation.run("state", "history", "guest", "--json"))
    assert (entry["generation"], entry["acknowledged"], entry["problem"]) == (1, True, "")
    (state,) = (installation.directory / "state/states").glob("*.state")
    content = bytearray(state.read_bytes())
    content[read_ring(bytes(content)).offset(1) + 2000] ^= 1
    state.write_bytes(content)
    assert "was altered" in installation.run("state", "verify", "guest", status=1)
    command = [str(VTPM), *installation.places, "state", "verify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:27]) == (1, "guest: generation 1 of the ")


def test_bundle(installation: Installation, tmp_path: Path) -> None:
    """Export, test, import under another name; what is wrong is said in one line."""
    bundle = str(tmp_path / "guest.bundle")
    secret = ["--passphrase-file", str(installation.passphrase)]
    assert "opens with a passphrase" in installation.run("state", "export", "guest", "--out", bundle, *secret)
    assert json.loads(installation.run("state", "test", bundle, *secret, "--json"))["generation"] == 1
    assert "give that passphrase" in installation.run("state", "test", bundle, status=1)
    assert "already has" in installation.run(
        "state", "import", bundle, *secret, "--allow-unverified", status=1
    )
    words = ["--name", "second", "--uuid", "00000000-0000-0000-0000-000000000002", "--allow-unverified"]
    installation.run("state", "import", bundle, *secret, *words)
    names = [vm["name"] for vm in json.loads(installation.run("list", "--json"))]
    assert names == ["guest", "second"]


def test_clone(installation: Installation) -> None:
    """Each way of cloning makes a state that verifies; a copy is warned of."""
    for how in ("copy", "fork", "replace"):
        said = installation.run("state", "clone", "guest", how, "--how", how, "--allow-unverified")
        assert said == f"{how}: a {how} of guest\n"
    assert installation.run("state", "verify").count("is intact") == 4
    origin, copy, fork, replaced = (
        tpm_of(installation, name) for name in ("guest", "copy", "fork", "replace")
    )
    assert copy.snapshot() == origin.snapshot()
    for other in (fork, replaced):
        assert set(other.persistent) == set(origin.persistent)
        assert set(other.nv) == set(origin.nv)
        assert other.persistent[EK_HANDLE].name != origin.persistent[EK_HANDLE].name
        assert other.nv[CERTIFICATE].data != origin.nv[CERTIFICATE].data
    assert fork.persistent[SRK_HANDLE].name == origin.persistent[SRK_HANDLE].name
    assert replaced.persistent[SRK_HANDLE].name != origin.persistent[SRK_HANDLE].name


def tpm_of(installation: Installation, name: str) -> Tpm:
    """The TPM that is stored for a VM."""
    with Host(installation.directory / "state").open_state(name) as store:
        return Tpm.restore(store.load(), seeded())


def test_revert(installation: Installation) -> None:
    """A snapshot is reverted to with a reason, unless the policy denies it; the audit log has it all."""
    report = json.loads(installation.run("state", "snapshot", "guest", "--json"))
    reason = ["--reason", "ticket 17"]
    said = installation.run("state", "revert", "guest", "--snapshot", report["path"], *reason)
    assert said == "guest: reverted, as generation 1\n", "nothing has changed since"
    assert installation.run("state", "revert", "guest", "1", *reason) == "guest: reverted, as generation 2\n"
    installation.run("state", "policy", "guest", "--reverts", "deny")
    denied = installation.run("state", "revert", "guest", "1", *reason, status=1)
    assert "forbids reverts" in denied
    assert "Missing option '--reason'" in installation.run("state", "revert", "guest", "1", status=2)
    assert "are intact" in installation.run("audit", "verify")
    lines = [json.loads(line) for line in installation.run("audit", "show", "--json").splitlines()]
    assert [line["op"] for line in lines][-5:] == ["export", "revert", "revert", "policy", "revert"]
    assert "reason=ticket 17" in installation.run("audit", "show", "--last", "1")


def test_doctor(installation: Installation) -> None:
    """One page with a remedy for each finding, and a status for monitoring."""
    backup = str(installation.directory / "backup")
    installation.run("provider", "backup", "main", "--out", backup, *secret_of(installation))
    page = json.loads(doctor(installation, 2, "--json"))
    assert (page["vms"][0]["name"], page["vms"][0]["state"], page["level"]) == ("guest", "intact", "error")
    installation.run("provider", "verify", backup, *secret_of(installation))
    page = json.loads(doctor(installation, None, "--json"))
    assert [finding for finding in page["findings"] if finding["level"] == "error"] == []
    assert "guest" in doctor(installation, None)


def secret_of(installation: Installation) -> list[str]:
    """Where a passphrase is."""
    return ["--passphrase-file", str(installation.passphrase)]


def doctor(installation: Installation, status: int | None, *words: str) -> str:
    """What the doctor says."""
    command = [str(VTPM), *installation.places, "doctor", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert status is None or done.returncode == status, done.stderr
    assert done.stderr == ""
    return done.stdout
