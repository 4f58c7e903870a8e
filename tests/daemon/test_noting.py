"""What is noted of a VM, changed while its guest runs; and names that somebody exchanged on the disk."""

import json
import subprocess
from pathlib import Path

import pytest

from nvstore import Host as Store
from tests.daemon.living import STARTUP, Guest, Host, is_ready
from vtpm.cli.domains import rename_tpm
from vtpm.cli.place import Place

pytestmark = pytest.mark.slow


@pytest.fixture
def installation(tmp_path: Path) -> Host:
    """Two VMs under one provider."""
    host = Host(tmp_path)
    host.vtpm("provider", "init", "main")
    for name in ("vm", "other"):
        host.vtpm("create", name, "--allow-unverified")
    return host


def test_policy_while_it_runs(installation: Host) -> None:
    """The daemon writes it into the state that it has open, and the index follows."""
    with installation.daemon():
        guest = Guest(installation.socket)
        assert guest.execute(STARTUP)[6:] == bytes(4)
        installation.vtpm("state", "policy", "vm", "--reverts", "deny")
        guest.close()
    index = next(p for p in (installation.state / "vms").glob("*.vm") if '"name": "vm"' in p.read_text())
    assert json.loads(index.read_text())["reverts"] is False
    index.unlink()
    store = Store(installation.state)
    with store.open_state(index.stem) as state:
        assert not state.registration.reverts
        assert state.registration.name == "vm"


def test_names_exchanged(installation: Host) -> None:
    """A socket never serves the TPM of another VM; after the refusal, it serves its own."""
    store = Store(installation.state)
    uuids = {name: store.show_state(name).vm for name in ("vm", "other")}
    paths = {name: installation.state / "vms" / f"{vm}.vm" for name, vm in uuids.items()}
    for path, name in ((paths["vm"], "other"), (paths["other"], "vm")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}))
    names = [path for path in (installation.state / "vms/names").iterdir() if path.stat().st_size]
    contents = [path.read_bytes() for path in names]
    for path, content in zip(names, reversed(contents), strict=True):
        path.write_bytes(content)
    before = {name: store.show_state(vm).generation for name, vm in uuids.items()}
    with installation.daemon():
        with pytest.raises((AssertionError, OSError)):
            Guest(installation.socket)
        served = None
        for _ in range(100):  # until the socket is that of the right VM
            try:
                served = Guest(installation.socket)
                break
            except (AssertionError, OSError):
                subprocess.run(["sleep", "0.1"], check=True)
        assert served is not None
        assert served.execute(STARTUP)[6:] == bytes(4)
        installation.vtpm("state", "policy", "vm", "--reverts", "deny")
        served.close()
    after = {name: Store(installation.state).show_state(vm).generation for name, vm in uuids.items()}
    assert after["vm"] > before["vm"]
    assert after["other"] == before["other"]


def test_a_locked_provider(tmp_path: Path) -> None:
    """Where the daemon alone has the key, it changes policy and name, and the socket follows."""
    host, secret = Host(tmp_path), tmp_path / "secret"
    secret.write_text("correct horse battery staple")
    secret.chmod(0o600)
    host.vtpm("provider", "init", "main", "--passphrase", "--seal-passphrase-file", str(secret))
    host.vtpm("create", "vm", "--bare", "--allow-unverified", "--passphrase-file", str(secret))
    with host.serve("--passphrase-file", str(secret)) as process:
        try:
            assert is_ready(process)
            host.vtpm("state", "policy", "vm", "--reverts", "deny")
            rename_tpm(Place(str(host.state), str(host.socket.parent)), "vm", "renamed")
            guest = Guest(host.socket.with_name("renamed.sock"))
            assert guest.execute(STARTUP)[6:] == bytes(4)
            guest.close()
            assert not host.socket.exists()
        finally:
            process.kill()
    (index,) = (host.state / "vms").glob("*.vm")
    noted = json.loads(index.read_text())
    assert (noted["name"], noted["reverts"]) == ("renamed", False)
