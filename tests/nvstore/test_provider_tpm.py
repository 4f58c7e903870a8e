"""Seals by the host's TPM: swtpm, and this project's own simulator, in its place."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest

from nvstore import Host, HostTpmRequired, ProviderLocked, SealFailed, TctiRefused
from nvstore.seal.tpm import TpmSealer, recover_from_tpm
from nvstore.tcti import VARIABLE
from tests.clients.simulators import free_port_pair
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM, host_at, verify

pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed")
pytestmark = pytest.mark.slow


def wait_for(port: int) -> None:
    """Return when something listens at this port."""
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "no TPM listens"
        time.sleep(0.01)


class HostTpm:
    """A TPM that stands for the host's, and can be replaced."""

    def __init__(self, kind: str, directory: Path, stack: ExitStack) -> None:
        self._kind, self._directory, self._stack = kind, directory, stack
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self.tcti = ""
        self.replace()

    def replace(self) -> None:
        """Put another TPM in its place, at the same port."""
        if self._process is None:
            self._port = free_port_pair()
        else:
            self._process.kill()
            self._process.wait()
        self._count += 1
        state = self._directory / f"tpm{self._count}"
        state.mkdir()
        if self._kind == "swtpm":
            command = ["swtpm", "socket", "--tpm2", "--server", f"port={self._port}"]
            command += ["--ctrl", f"type=tcp,port={self._port + 1}", "--tpmstate", f"dir={state}"]
            command += ["--flags", "not-need-init,startup-clear"]
        else:
            program = str(Path(sys.executable).with_name("vtpm"))
            command = [program, "simulator", "--swtpm", str(self._port), "--state", str(state), "--startup"]
        self._process = self._stack.enter_context(subprocess.Popen(command))
        self._stack.callback(self._process.kill)
        wait_for(self._port)
        self.tcti = f"swtpm:port={self._port}"
        self._stack.enter_context(patch.dict(os.environ, {VARIABLE: self.tcti}))

    def extend(self, pcr: int) -> None:
        """Change a PCR, as another boot would."""
        import tpm2_pytss as tss  # noqa: PLC0415 - it may be missing

        with tss.ESAPI(self.tcti) as esys:
            digests = tss.TPML_DIGEST_VALUES(
                [tss.TPMT_HA(hashAlg=tss.TPM2_ALG.SHA256, digest=tss.TPMU_HA(sha256=b"\1" * 32))]
            )
            esys.pcr_extend(tss.ESYS_TR(pcr), digests)


@pytest.fixture(params=["swtpm", "vtpm"])
def tpm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HostTpm]:
    """The TPM of the host."""
    if request.param == "swtpm" and shutil.which("swtpm") is None:
        pytest.skip("swtpm is not installed")
    with ExitStack() as stack:
        yield HostTpm(request.param, tmp_path, stack)


@pytest.fixture
def sealed(tpm: HostTpm, tmp_path: Path) -> Host:
    """A host whose provider is sealed by its TPM and nothing else."""
    host = host_at(tmp_path / "sealed")
    host.providers.init("main", seals=[TpmSealer(tpm.tcti)], require_host_tpm=True)
    verify(host, "main", tmp_path / "main.backup")
    return host


def test_life(sealed: Host, tpm: HostTpm, tmp_path: Path) -> None:
    """Another process unseals the key by the TPM; a change of the PCR, or another TPM, keeps it closed."""
    status = sealed.providers.show("main")
    assert (status.state, status.seal, status.require_host_tpm, status.unlocked) == (
        "active",
        "tpm",
        True,
        True,
    )
    sealed.create_state(VM, "guest", BLOBS).close()
    kdk = sealed.providers.key("main", bytes.fromhex(status.kdk_id))
    assert kdk.hex() not in (tmp_path / "sealed/providers/main.provider").read_text()
    with host_at(tmp_path / "sealed").open_state(VM) as store:
        assert store.load() == BLOBS
    new = sealed.rotations.begin("main")
    assert host_at(tmp_path / "sealed").providers.key("main", new) == sealed.providers.key("main", new)
    sealed.rotations.abandon("main")

    tpm.extend(7)
    with pytest.raises(SealFailed, match="PCR sha256:7 have other values"):
        host_at(tmp_path / "sealed").open_state(VM)

    tpm.replace()
    again = host_at(tmp_path / "sealed")
    with pytest.raises(SealFailed, match=r"another TPM.*backup"):
        again.open_state(VM)
    again.providers.restore(tmp_path / "main.backup", PASSPHRASE, seals=[TpmSealer(tpm.tcti)])
    with host_at(tmp_path / "sealed").open_state(VM) as store:
        assert store.load() == BLOBS


def test_a_second_seal(tpm: HostTpm, tmp_path: Path) -> None:
    """Where the TPM fails, a passphrase beside it opens, and the provider is sealed with the new TPM."""
    host = host_at(tmp_path / "two")
    host.providers.init("main", seals=[TpmSealer(tpm.tcti, "sha256:0,7")], passphrase=PASSPHRASE)
    kdk_id = bytes.fromhex(host.providers.show("main").kdk_id)
    assert host_at(tmp_path / "two").providers.key("main", kdk_id)
    tpm.replace()
    again = host_at(tmp_path / "two")
    with pytest.raises(ProviderLocked, match="another TPM"):
        again.providers.key("main", kdk_id)
    again.providers.unlock("main", PASSPHRASE)
    again.providers.reseal("main", seals=[TpmSealer(tpm.tcti)], passphrase=PASSPHRASE)
    assert host_at(tmp_path / "two").providers.key("main", kdk_id) == host.providers.key("main", kdk_id)


def test_requirement(sealed: Host, tpm: HostTpm, tmp_path: Path) -> None:
    """A provider for hosts with a TPM takes no other seal, here or on the host where it is restored."""
    for operation in (
        lambda: sealed.providers.reseal("main"),
        lambda: sealed.providers.reseal("main", passphrase=PASSPHRASE),
        lambda: sealed.providers.init("other", require_host_tpm=True),
        lambda: host_at(tmp_path / "fresh").providers.restore(tmp_path / "main.backup", PASSPHRASE),
    ):
        with pytest.raises(HostTpmRequired):
            operation()
    sealed.providers.reseal("main", seals=[TpmSealer(tpm.tcti)], passphrase=PASSPHRASE)


def test_no_tpm(tmp_path: Path) -> None:
    """Without a TPM the error names the place, and no provider is left behind."""
    host = host_at(tmp_path / "none")
    with pytest.raises(SealFailed, match="device:/dev/tpm99"):
        host.providers.init("main", seals=[TpmSealer("device:/dev/tpm99")])
    assert host.providers.list() == []


@pytest.mark.parametrize("pcrs", ["", "sha256", "sha256:24", "sha1:1"])
def test_pcrs(tpm: HostTpm, tmp_path: Path, pcrs: str) -> None:
    """PCR that are none are refused."""
    with pytest.raises(SealFailed, match="PCR"):
        host_at(tmp_path / "h").providers.init("main", seals=[TpmSealer(tpm.tcti, pcrs)])


def test_altered_description(sealed: Host, tmp_path: Path) -> None:
    """What is missing or altered in the description is an error, not a crash."""
    kdk_id = bytes.fromhex(sealed.providers.show("main").kdk_id)
    path = tmp_path / "sealed/providers/main.provider"
    content = path.read_text()
    for field, value in (("private", "00" * 40), ("public", "0000"), ("parent", "zz"), ("tcti", "swtpm:x")):
        document = json.loads(content)
        document["keys"][0]["seals"][0][field] = value
        path.write_text(json.dumps(document))
        with pytest.raises(TctiRefused if field == "tcti" else SealFailed):
            host_at(tmp_path / "sealed").providers.key("main", kdk_id)


def test_command_line(tpm: HostTpm, tmp_path: Path) -> None:
    """`vtpm provider init --tpm-tcti` seals with that TPM, and says so."""
    vtpm = [str(Path(sys.executable).with_name("vtpm")), "--state-dir", str(tmp_path / "state")]
    init = [*vtpm, "provider", "init", "main", "--require-host-tpm", "--tpm-tcti", tpm.tcti]
    done = subprocess.run([*init, "--tpm-pcrs", "sha256:0,7", "--json"], capture_output=True, check=True)
    assert json.loads(done.stdout)["seal"] == "tpm"


def test_object_from_outside(sealed: Host) -> None:
    """An object that could have been made elsewhere, with a key that somebody knows, is not unsealed."""
    document = json.loads((sealed.directory / "providers/main.provider").read_text())
    seal = next(s for s in document["keys"][0]["seals"] if s["kind"] == "tpm")
    public = bytearray.fromhex(seal["public"])
    attributes = int.from_bytes(public[6:10])
    assert attributes & 0x12 == 0x12
    for bits in (0x02, 0x10, 0x12):
        public[6:10] = (attributes & ~bits).to_bytes(4, "big")
        with pytest.raises(SealFailed, match="outside"):
            recover_from_tpm(seal | {"public": public.hex()}, "main")
    assert len(recover_from_tpm(seal, "main")) == 32
