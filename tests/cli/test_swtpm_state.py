"""`vtpm import-swtpm` and `vtpm export-swtpm`, as an operator uses them."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_vm import Installation
from tests.differential.judge import HAS_SWTPM, Swtpm
from vtpm.libtpms.file import key_of_passphrase, unwrap
from vtpm.libtpms.importing import read_state
from vtpm.spec.constants import TPM_SU

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation with a provider."""
    made = Installation(tmp_path)
    made.run("provider", "init", "main")
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The directory of a swtpm that has run, encrypted under a passphrase."""
    directory = tmp_path / "swtpm"
    directory.mkdir()
    (tmp_path / "password").write_text("the password of swtpm\n")
    run_swtpm(directory, tmp_path / "password")
    return directory


def run_swtpm(directory: Path, password: Path) -> None:
    """Start swtpm on a directory, and let a Startup and an orderly end happen."""
    subprocess.run(
        [
            *("swtpm_setup", "--tpm2", "--tpmstate", directory, "--not-overwrite"),
            *("--pwdfile", password, "--cipher", "aes-256-cbc"),
            *("--create-ek-cert", "--create-platform-cert", "--lock-nvram"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


def digest_of(directory: Path) -> str:
    return hashlib.sha256((directory / "tpm2-00.permall").read_bytes()).hexdigest()


def test_there_and_back(installation: Installation, source: Path, tmp_path: Path) -> None:
    """A VM is imported, exported, and swtpm takes it again; the source stays as it is."""
    password = str(tmp_path / "password")
    before = digest_of(source)
    said = installation.run("import-swtpm", str(source), "guest", "--pwdfile", password, "--dry-run")
    assert "nothing was written" in said
    assert json.loads(installation.run("list", "--json")) == []

    options = ["--pwdfile", password, "--allow-unverified", "--json"]
    made = json.loads(installation.run("import-swtpm", str(source), "guest", *options))
    assert made["name"] == "guest"
    assert digest_of(source) == before

    target = tmp_path / "back"
    installation.run("export-swtpm", "guest", str(target), "--pwdfile", password)
    assert (target / "tpm2-00.permall").stat().st_mode & 0o777 == 0o600
    key = key_of_passphrase(b"the password of swtpm\n")
    assert len(read_state(unwrap((target / "tpm2-00.permall").read_bytes(), key)).nvram.entries) > 0
    said = installation.run("export-swtpm", "guest", str(target), status=1)
    assert "is there already" in said


def test_refusals(installation: Installation, source: Path, tmp_path: Path) -> None:
    """Each with its cause: no passphrase, a wrong one, no state, a truncated one."""
    into = ["guest", "--allow-unverified"]
    assert "is encrypted" in installation.run("import-swtpm", str(source), *into, status=1)
    other = tmp_path / "other"
    other.write_text("another password")
    said = installation.run("import-swtpm", str(source), *into, "--pwdfile", str(other), status=1)
    assert "not the state's" in said
    assert "no state of swtpm" in installation.run("import-swtpm", str(tmp_path), *into, status=1)
    short = tmp_path / "short"
    short.write_bytes((source / "tpm2-00.permall").read_bytes()[:100])
    assert "copy it again" in installation.run("import-swtpm", str(short), *into, status=1)
    assert "there are" in installation.run("import-swtpm", str(source), *into, "--profile", "none", status=2)
    assert json.loads(installation.run("list", "--json")) == []


def test_running(installation: Installation) -> None:
    """The state of a swtpm that runs is not taken."""
    judge = Swtpm()
    try:
        assert judge.shutdown(shutdown_type=TPM_SU.CLEAR).rc == 0
        said = installation.run("import-swtpm", judge.directory.name, "guest", status=1)
    finally:
        judge.close()
    assert f"is locked by process {judge.process.pid}" in said
