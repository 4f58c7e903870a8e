"""`swtpm chardev`: a TPM behind a character device."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.compat.runs import LIMIT
from vtpm.compat.arguments import ArgumentError, check, parse
from vtpm.compat.chardev import IOC_NEW_DEVICE, NEW_DEVICE, Carrier, new_device, opened, whole
from vtpm.compat.directory import make_directory

GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")
STARTUP = bytes.fromhex("80010000000c000001440000")
STATE = ["--tpm2", "--tpmstate", "dir=/s"]


class TestProxy:
    """--vtpm-proxy"""

    def test_device(self, tmp_path: Path) -> None:
        """The kernel is asked for a TPM 2.0, and gives a descriptor and a name."""
        asked = []

        def ioctl(_descriptor: int, request: int, argument: bytearray) -> int:
            asked.append((request, bytes(argument)))
            argument[:] = NEW_DEVICE.pack(1, 5, 77, 253, 65)
            return 0

        (tmp_path / "vtpmx").touch()
        descriptor, said = new_device(ioctl, str(tmp_path / "vtpmx"))
        assert (descriptor, said) == (77, "New TPM device: /dev/tpm5 (major/minor = 253/65)")
        assert asked == [(IOC_NEW_DEVICE, NEW_DEVICE.pack(1, 0, 0, 0, 0))]
        assert IOC_NEW_DEVICE == 0xC014A100

    def test_refused(self, tmp_path: Path) -> None:
        """Without the kernel's module, and where the kernel refuses."""
        with pytest.raises(ArgumentError, match="load the kernel's module tpm_vtpm_proxy"):
            new_device(path=str(tmp_path / "vtpmx"))
        (tmp_path / "vtpmx").touch()
        with pytest.raises(ArgumentError, match="the kernel makes no device: Inappropriate ioctl"):
            new_device(path=str(tmp_path / "vtpmx"))


class TestCarrier:
    """Between the device and the socket"""

    def test_whole(self) -> None:
        """A command in parts is one command; a torn one at the end is none."""
        parts = [GET_RANDOM[:3], GET_RANDOM[3:11], GET_RANDOM[11:], GET_RANDOM[:5], b""]
        read = iter(parts)
        assert whole(lambda _most: next(read)) == GET_RANDOM
        assert whole(lambda _most: next(read)) == b""

    def test_carry(self) -> None:
        """Commands go one way, responses the other, and both ends end together."""
        device, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        carrier = Carrier(device.fileno())
        carrier.start()
        for end in (kernel, carrier.client):
            end.settimeout(LIMIT)
        kernel.send(GET_RANDOM)
        assert carrier.client.recv(100) == GET_RANDOM
        carrier.client.sendall(STARTUP[:6])
        carrier.client.sendall(STARTUP[6:])
        assert kernel.recv(100) == STARTUP
        kernel.close()
        assert carrier.client.recv(100) == b""
        carrier.client.close()
        device.close()


class TestArguments:
    """Where commands come from"""

    @pytest.mark.parametrize("words", [["--fd", "3"], ["--chardev", "/dev/null"], ["--vtpm-proxy"]])
    def test_accepted(self, words: list[str]) -> None:
        """One of three."""
        check(parse([*STATE, *words]), chardev=True)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "give one of"),
            (["--fd", "3", "--vtpm-proxy"], "give one of"),
            (["--port", "3", "--vtpm-proxy"], "--port is not an option"),
        ],
    )
    def test_refused(self, words: list[str], said: str) -> None:
        """None, two, and one of the interface `socket`."""
        with pytest.raises(ArgumentError, match=said):
            check(parse([*STATE, *words]), chardev=True)

    def test_not_a_socket(self) -> None:
        """The interface `socket` has no devices."""
        with pytest.raises(ArgumentError, match="--vtpm-proxy is not an option"):
            check(parse([*STATE, "--vtpm-proxy", "--port", "1"]))

    def test_device(self, tmp_path: Path) -> None:
        """A device is opened, or named in the error."""
        descriptor = opened({"chardev": {"chardev": "/dev/null"}})
        assert opened({"fd": {"fd": str(descriptor)}}) == descriptor
        os.close(descriptor)
        for options in ({"fd": {"fd": "999"}}, {"chardev": {"chardev": str(tmp_path / "none")}}):
            with pytest.raises(ArgumentError, match=r"999: Bad file|none: No such file"):
                opened(options)


@pytest.mark.slow
def test_process(tmp_path: Path) -> None:
    """A device that is passed is served, and its end ends the program."""
    programs = make_directory([tmp_path / "programs"])
    device, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kernel.settimeout(LIMIT)
    words = ["chardev", "--tpm2", "--tpmstate", f"dir={tmp_path}", "--fd", str(device.fileno())]
    command = [str(programs / "swtpm"), *words, "--flags", "not-need-init"]
    with subprocess.Popen(command, pass_fds=[device.fileno()]) as process:
        device.close()
        for request, size in ((STARTUP, 10), (GET_RANDOM, 20)):
            kernel.send(request)
            response = kernel.recv(100)
            assert (len(response), response[6:10]) == (size, bytes(4))
        kernel.close()
        assert process.wait(LIMIT) == 0
