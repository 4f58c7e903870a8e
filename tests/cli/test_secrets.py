"""No secret is where it does not belong: files, logs, command lines, core dumps."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvstore import Host
from tests.cli.test_vm import VTPM, Installation
from vtpm import Tpm
from vtpm.testing.entropy import seeded

pytestmark = pytest.mark.slow

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A VM under a provider that a passphrase seals."""
    installation = Installation(tmp_path)
    installation.passphrase.write_bytes(PASSPHRASE)
    secret = ["--passphrase-file", str(installation.passphrase)]
    installation.run("provider", "init", "main", *secret)
    installation.run(
        "provider", "backup", "main", "--out", str(tmp_path / "b"), *unlocked(installation), *secret
    )
    installation.run("create", "guest", "--allow-unverified", *secret)
    return installation


def unlocked(installation: Installation) -> list[str]:
    """How a command is given the passphrase of the provider itself."""
    return ["--unlock-file", str(installation.passphrase)]


def secrets_of(installation: Installation) -> Iterator[bytes]:
    """The secrets of the provider and of the TPM, in the forms in which they might be written."""
    host = Host(installation.directory / "state")
    host.providers.unlock("main", PASSPHRASE)
    kdk = host.providers.key("main", bytes.fromhex(host.providers.show("main").kdk_id))
    with host.open_state("guest") as store:
        tpm = Tpm.restore(store.load(), seeded())
    raw = [PASSPHRASE, kdk]
    raw += [
        part for hierarchy in tpm.hierarchies.values() for part in (hierarchy.seed, hierarchy.proof) if part
    ]
    for secret in raw:
        yield from (secret, secret[:16], secret.hex().encode(), base64.b64encode(secret)[:20])


def test_nowhere(installation: Installation) -> None:
    """State, backups, logs and the process table show none of them, and there will be no core dump."""
    command = [
        str(VTPM),
        *installation.places,
        "serve",
        "-v",
        "--passphrase-file",
        str(installation.passphrase),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready ")
        about = Path(f"/proc/{process.pid}")
        seen = [(about / name).read_bytes() for name in ("cmdline", "environ", "comm")]
        limits = (about / "limits").read_text()
        process.terminate()
        seen += process.communicate()
    files = [path for path in installation.directory.rglob("*") if path.is_file()]
    places = {str(path): path.read_bytes() for path in files if path != installation.passphrase}
    places |= {f"seen {number}": content for number, content in enumerate(seen)}
    secrets = list(secrets_of(installation))

    assert len(places) > 8
    assert len(secrets) > 20
    for place, content in places.items():
        assert not [secret for secret in secrets if secret in content], place
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"]
