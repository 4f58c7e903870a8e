"""What is named as a TPM's place in a file runs nothing, and loads nothing."""

import json
from pathlib import Path

import pytest

from nvstore import Host, NvstoreError, SealFailed, TctiRefused, TpmSealer
from nvstore.doctor import examine
from nvstore.seal.kmip import KmipServer
from nvstore.state.anchor import TpmAnchor
from nvstore.tcti import VARIABLE, check_tcti, is_allowed
from tests.nvstore.conftest import VM, host_at

DEVICES = ["device:/dev/tpm0", "device:/dev/tpmrm0", "device:/dev/tpm12"]
SIMULATORS = [
    "swtpm:port=2321",
    "mssim:host=localhost,port=2321",
    "swtpm:host=127.0.0.1,port=1",
    "swtpm:path=/run/x",
]
HARMFUL = [
    "cmd:/bin/sh -c 'touch {}'",
    "pcap:cmd:/bin/sh -c 'touch {}'",
    "spi-helper:x",
    "/tmp/evil.so",
    "evil.so:conf",
    "libtss2-tcti-cmd.so.0:touch {}",
    "tabrmd:",
    "",
    "device",
    "device:",
    "device:/dev/../tmp/fifo",
    "device:/dev/tpm",
    "device:/dev/tpm0\n",
    "device:/dev/tpm0 ",
    "device:/tmp/tpm0",
    "device:/dev/tpmrm0:cmd:touch {}",
    " device:/dev/tpm0",
    "DEVICE:/dev/tpm0",
    "device:/dev/tpm\u0661",
    "swtpm:host=evil.example,port=2321",
    "swtpm:port=2321,host=10.0.0.1",
    "swtpm:path=relative",
    "none:",
]


@pytest.mark.parametrize("tcti", DEVICES)
def test_devices(tcti: str) -> None:
    """A device is taken by its own name."""
    assert check_tcti(tcti) == tcti


@pytest.mark.parametrize("tcti", SIMULATORS)
def test_simulators(tcti: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator is taken only if the environment of the process names exactly it."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not is_allowed(tcti)
    monkeypatch.setenv(VARIABLE, tcti + "0")
    assert not is_allowed(tcti)
    monkeypatch.setenv(VARIABLE, f"swtpm:port=9 {tcti}")
    assert is_allowed(tcti)


@pytest.mark.parametrize("tcti", HARMFUL)
def test_harmful(tcti: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All else is refused by name, with a remedy, even where the environment names it."""
    monkeypatch.setenv(VARIABLE, tcti)
    with pytest.raises(TctiRefused, match="device:/dev/tpmrm0"):
        check_tcti(tcti)


@pytest.mark.usefixtures("state")
def test_in_a_seal(host: Host, tmp_path: Path) -> None:
    """A seal that somebody put in front in the provider's file runs nothing; what is wrong is said."""
    path, harm = host.directory / "providers/main.provider", tmp_path / "harm"
    document = json.loads(path.read_text())
    seal = {"kind": "tpm", "tcti": f"cmd:touch {harm}", "pcrs": "sha256:7"}
    seal |= {"parent": "00", "public": "00", "private": "00", "box": "00"}
    document["keys"][0]["seals"].insert(0, seal)
    path.write_text(json.dumps(document))
    other = Host(host.directory)
    for attempt in (
        lambda: other.verify_state(VM),
        lambda: examine(other),
        lambda: other.open_state(VM).close(),
    ):
        try:
            attempt()
        except NvstoreError as error:
            assert error.remedy  # noqa: PT017 - whether it is raised depends on the other seals
        assert not harm.exists()


@pytest.mark.usefixtures("state")
def test_in_a_registration(host: Host, tmp_path: Path) -> None:
    """An anchor that somebody wrote into a registration runs nothing."""
    path, harm = host.directory / f"vms/{VM}.vm", tmp_path / "harm"
    document = json.loads(path.read_text())
    document["anchor"] = f"cmd:touch {harm}"
    path.write_text(json.dumps(document))
    for attempt in (
        lambda: Host(host.directory).open_state(VM).close(),
        lambda: Host(host.directory).verify_state(VM),
        lambda: examine(Host(host.directory)),
        lambda: Host(host.directory).delete_state(VM),
    ):
        try:
            attempt()
        except NvstoreError as error:
            assert error.remedy  # noqa: PT017 - whether it is raised is the business of other tests
        assert not harm.exists()


@pytest.mark.usefixtures("state")
def test_from_an_option(host: Host, tmp_path: Path) -> None:
    """An operator who names one is refused, too, and nothing is noted."""
    harm = tmp_path / "harm"
    with pytest.raises(TctiRefused):
        host.set_anchor(VM, f"cmd:touch {harm}")
    with pytest.raises(TctiRefused):
        host_at(tmp_path / "other").providers.init("p", seals=[TpmSealer(f"cmd:touch {harm}")])
    with pytest.raises(TctiRefused):
        TpmAnchor(f"cmd:touch {harm}").remove(VM)
    assert not harm.exists()
    host.open_state(VM).close()


@pytest.mark.parametrize(
    ("field", "value"),
    [("hostname", "a b"), ("hostname", ""), ("port", 0), ("port", 65536), ("ca", "/dev/zero")],
)
def test_a_kmip_server(tmp_path: Path, field: str, value: object) -> None:
    """A KMIP server is a name and a port, and its files are files."""
    pem = tmp_path / "pem"
    pem.touch()
    good = {"hostname": "kmip.example", "certificate": str(pem), "private_key": str(pem), "ca": str(pem)}
    KmipServer(**good).check()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no regular file|host name"):
        KmipServer(**(good | {field: value})).check()  # type: ignore[arg-type]


def test_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is given keys is not taken from PATH."""
    from nvstore.seal.programs import ProgramFailed, run_program  # noqa: PLC0415 - only here

    fake = tmp_path / "no-such-program"
    fake.write_text("#!/bin/sh\ncat\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramFailed, match="not installed"):
        run_program(["no-such-program"], b"secret")


def test_a_credential_of_something_else() -> None:
    """A name of a credential that none of this program has reaches no program."""
    from nvstore.seal.systemd import recover_from_systemd  # noqa: PLC0415 - only here

    for name in ("root-password", "nvstore-x --help", None):
        with pytest.raises(SealFailed, match="name"):
            recover_from_systemd({"name": name, "credential": ""}, "main")
