"""Seals by a KMIP server: PyKMIP's, started by the test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import SealFailed
from nvstore.seal.kmip import KmipSealer, KmipServer, read_kmip_server
from tests.clients.simulators import free_port_pair
from tests.nvstore.conftest import BLOBS, PASSPHRASE, host_at, verify

pytestmark = pytest.mark.slow

SERVE = """
import sys, warnings
warnings.simplefilter("ignore")
from kmip.services.server import KmipServer
with KmipServer(config_path=sys.argv[1], log_path=sys.argv[2]) as server:
    server.serve()
"""


def certify(directory: Path) -> None:
    """A CA, and certificates of the server and of its client."""

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=directory, check=True, capture_output=True)

    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca")
    for name, usage in (("server", "serverAuth\nsubjectAltName=IP:127.0.0.1"), ("client", "clientAuth")):
        (directory / "ext").write_text(f"extendedKeyUsage={usage}\n")
        openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        signing = "-CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext"
        openssl(f"x509 -req -in {name}.csr -out {name}.crt {signing}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KmipServer]:
    """A KMIP server with nothing in it."""
    pytest.importorskip("kmip", reason="PyKMIP is not installed", exc_type=ImportError)
    certify(tmp_path)
    (tmp_path / "policy").mkdir()
    port = free_port_pair()
    (tmp_path / "server.conf").write_text(
        f"[server]\nhostname=127.0.0.1\nport={port}\nauth_suite=TLS1.2\nenable_tls_client_auth=True\n"
        f"certificate_path={tmp_path}/server.crt\nkey_path={tmp_path}/server.key\nca_path={tmp_path}/ca.crt\n"
        f"database_path={tmp_path}/keys.sqlite\npolicy_path={tmp_path}/policy\n"
    )
    command = [sys.executable, "-c", SERVE, str(tmp_path / "server.conf"), str(tmp_path / "server.log")]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port, process)
            yield KmipServer(
                "127.0.0.1",
                str(tmp_path / "client.crt"),
                str(tmp_path / "client.key"),
                str(tmp_path / "ca.crt"),
                port,
            )
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when the server listens."""
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not listen"
        time.sleep(0.02)


def asked(tmp_path: Path, operation: str) -> int:
    """How often the server was asked for an operation, as its log says."""
    return (tmp_path / "server.log").read_text().count(f"Processing operation: {operation}")


def test_life(server: KmipServer, tmp_path: Path) -> None:
    """The server is asked once for each process, however many VMs it opens, and never sees a KDK."""
    host = host_at(tmp_path / "host")
    host.providers.init("main", seals=[KmipSealer(server)])
    verify(host, "main", tmp_path / "b")
    assert host.providers.show("main").seal == "kmip"
    for number in range(5):
        host.create_state(UUID(int=number), f"vm{number}", BLOBS).close()
    assert (asked(tmp_path, "Encrypt"), asked(tmp_path, "Decrypt")) == (1, 0)
    again = host_at(tmp_path / "host")
    for number in range(5):
        with again.open_state(f"vm{number}") as store:
            store.commit({"a": b"1"})
    new = again.rotations.begin("main")
    assert (asked(tmp_path, "Encrypt"), asked(tmp_path, "Decrypt"), asked(tmp_path, "Get")) == (1, 1, 0)
    assert host_at(tmp_path / "host").providers.key("main", new) == again.providers.key("main", new)

    path = tmp_path / "host/providers/main.provider"
    content = path.read_text()
    key_id = json.loads(content)["keys"][0]["seals"][0]["key_id"]
    path.write_text(content.replace(f'"key_id": "{key_id}"', '"key_id": "77"'))
    with pytest.raises(SealFailed, match=r"127\.0\.0\.1"):
        host_at(tmp_path / "host").open_state("vm0")


def test_description() -> None:
    """A file that describes no server is refused."""
    good = {"hostname": "h", "certificate": "c", "private_key": "k", "ca": "a", "key_id": "7"}
    assert read_kmip_server(json.dumps(good).encode(), "f") == KmipSealer(KmipServer("h", "c", "k", "a"), "7")
    for bad in (b"", b"[]", b"{}", json.dumps(good | {"x": 1}).encode()):
        with pytest.raises(SealFailed, match="hostname"):
            read_kmip_server(bad, "f")


def test_command_line(server: KmipServer, tmp_path: Path) -> None:
    """`vtpm provider init --kmip` seals with that server."""
    (tmp_path / "kmip.json").write_text(json.dumps(vars(server)))
    vtpm = [str(Path(sys.executable).with_name("vtpm")), "--state-dir", str(tmp_path / "state")]
    init = [*vtpm, "provider", "init", "main", "--kmip", str(tmp_path / "kmip.json"), "--json"]
    assert json.loads(subprocess.run(init, capture_output=True, check=True).stdout)["seal"] == "kmip"


def test_unreachable(tmp_path: Path) -> None:
    """Without the server, the error names it, and a passphrase beside it opens."""
    pytest.importorskip("kmip", reason="PyKMIP is not installed", exc_type=ImportError)
    certify(tmp_path)
    nobody = KmipServer(
        "127.0.0.1", str(tmp_path / "client.crt"), str(tmp_path / "client.key"), str(tmp_path / "ca.crt"), 1
    )
    with pytest.raises(SealFailed, match=r"127\.0\.0\.1:1"):
        host_at(tmp_path / "host").providers.init("main", seals=[KmipSealer(nobody)], passphrase=PASSPHRASE)
