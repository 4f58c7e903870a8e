"""vtpm/testing/server.py: a TPM at ports, behind clients that do not know what it is."""

import os
import socket
import subprocess

import pytest
from tpm2_pytss import ESAPI, ESYS_TR

from vtpm.control.mssim import SIM, UINT32
from vtpm.testing import TpmServer

pytestmark = pytest.mark.slow

LIMIT = 20.0
GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")


def ask(server: TpmServer, command: bytes) -> bytes:
    """Send a command to swtpm's data port."""
    with socket.create_connection((server.host, server.swtpm_port), LIMIT) as client:
        client.sendall(command)
        return client.recv(4096)


class TestPorts:
    """Both pairs of ports lead to one TPM"""

    @pytest.mark.parametrize("protocol", ["mssim", "swtpm"])
    def test_tools(self, protocol: str) -> None:
        """tpm2-tools reach it through either TCTI."""
        with TpmServer() as server:
            done = subprocess.run(
                ["tpm2_getrandom", "--hex", "8", "--tcti", getattr(server, protocol)],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )

        assert (done.returncode, done.stderr) == (0, "")
        assert len(bytes.fromhex(done.stdout)) == 8

    def test_environment(self) -> None:
        """tpm2-tools find it by the variables."""
        with TpmServer() as server:
            environment = {**os.environ, **server.environment}
            subprocess.run(["tpm2_selftest"], env=environment, timeout=LIMIT, check=True)

    def test_one_tpm(self) -> None:
        """What one protocol changes, the other one shows."""
        with TpmServer() as server:
            with ESAPI(server.mssim) as esapi:
                esapi.pcr_event(ESYS_TR.PCR23, b"event")
            with ESAPI(server.swtpm) as esapi:
                _, _, (value,) = esapi.pcr_read("sha256:23")

        assert bytes(value) != bytes(32)


class TestLife:
    """From the beginning of the context to its end"""

    def test_seed(self) -> None:
        """The same seed gives the same octets."""
        answers = []
        for seed in (b"a", b"a", b"b"):
            with TpmServer(seed=seed) as server:
                answers.append(ask(server, GET_RANDOM))

        assert len(answers[0]) == 20
        assert answers[0] == answers[1] != answers[2]

    def test_not_started(self) -> None:
        """A TPM that is not started waits for Startup."""
        with TpmServer(start=False) as server:
            assert ask(server, GET_RANDOM).hex() == "80010000000a00000100"

    def test_end(self) -> None:
        """After the context, nobody listens."""
        with TpmServer() as server:
            ports = [server.mssim_port, server.mssim_port + 1, server.swtpm_port, server.swtpm_port + 1]

        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((server.host, port), LIMIT)

    def test_ended_by_client(self) -> None:
        """A client of the simulator may end the TPM; the context then just ends."""
        with (
            TpmServer() as server,
            socket.create_connection((server.host, server.mssim_port), LIMIT) as client,
        ):
            client.sendall(UINT32.pack(SIM.STOP))
            assert client.recv(1) == b""
