"""
What a TPM is asked and answers, written to a file as it happens, for `vtpm trace` and Wireshark.

The format is that of tpm2-tss' TCTI "pcap": pcapng, whose packets carry commands to port 2321.
The file holds whatever guests tell their TPM, secrets included, so that only its owner may read it.
"""

import logging
import os
import stat
import struct
import time
from pathlib import Path
from typing import Any, Final

from vtpm.daemon.device.device import Device, Result
from vtpm.daemon.errors import OperatorError

log = logging.getLogger(__name__)

SECTION: Final = struct.Struct("=IIIHHqI")
INTERFACE: Final = struct.Struct("=IIHHII")
PACKET: Final = struct.Struct("=IIIIIII")
TCP_IP: Final = struct.Struct(">BBHHHBBH4s4s HHIIBBHHH")
BYTE_ORDER: Final = 0x1A2B3C4D
LINK_TYPE_IPV4: Final = 228
LOOPBACK: Final = bytes((127, 0, 0, 1))
HOST_PORT: Final = 50000
TPM_PORT: Final = 2321
"""The port by which Wireshark knows what the packets carry."""

MAX_PACKET: Final = 0xFFFF
"""A larger packet has a length of 0, which stands for all that was captured."""

OPEN: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class TapError(OperatorError):
    """The file cannot be written to; the text gives cause and remedy."""


def open_tap(path: Path) -> int:
    """The descriptor of a file that only its owner may read; what is in it stays."""
    try:
        descriptor = os.open(path, OPEN, 0o600)
    except OSError as error:
        raise TapError(f"{path}: {error.strerror}; name a file that can be written to") from None
    status = os.fstat(descriptor)
    is_private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    if not stat.S_ISREG(status.st_mode) or not is_private:
        os.close(descriptor)
        raise TapError(f"{path} is no file that only this user may read; remove it, or name another")
    return descriptor


def check_tap(path: Path) -> None:
    """TapError unless the file can be written to; it is created if it is not there."""
    os.close(open_tap(path))


class Tap:
    """One file; opened with the first packet after `close`, as another section. It never stops a TPM."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._is_broken = False
        self._sent = {HOST_PORT: 1, TPM_PORT: 1}

    def close(self) -> None:
        """End the section."""
        descriptor, self._descriptor = self._descriptor, None
        self._is_broken = False
        if descriptor is not None:
            os.close(descriptor)

    def write(self, octets: bytes, *, to_tpm: bool) -> None:
        """Add a command or a response; the first failure ends the section."""
        if self._is_broken:
            return
        try:
            if self._descriptor is None:
                self._descriptor = open_tap(self.path)
                os.write(self._descriptor, section())
            os.write(self._descriptor, self._packet(octets, to_tpm=to_tpm))
        except (OSError, TapError) as error:
            log.error("nothing more is traced in this run: %s", error)  # noqa: TRY400 - the operator's to mend
            self.close()
            self._is_broken = True

    def _packet(self, octets: bytes, *, to_tpm: bool) -> bytes:
        source, target = (HOST_PORT, TPM_PORT) if to_tpm else (TPM_PORT, HOST_PORT)
        size = TCP_IP.size + len(octets)
        sequence, acknowledged = self._sent[source], self._sent[target]
        self._sent[source] = (sequence + len(octets)) & 0xFFFFFFFF
        ip = (0x45, 0, size if size <= MAX_PACKET else 0, 0, 0x4000, 64, 6, 0, LOOPBACK, LOOPBACK)
        tcp = (source, target, sequence, acknowledged, 0x50, 0x10, 0xFFFF, 0, 0)
        now = time.time_ns() // 1000
        block = PACKET.size + size + -size % 4 + 4
        head = PACKET.pack(6, block, 0, now >> 32, now & 0xFFFFFFFF, size, size)
        tail = bytes(-size % 4) + struct.pack("=I", block)
        return head + TCP_IP.pack(*ip, *tcp) + octets + tail


def section() -> bytes:
    """What precedes packets: the section's header, and the only interface."""
    header = SECTION.pack(0x0A0D0D0A, SECTION.size, BYTE_ORDER, 1, 0, -1, SECTION.size)
    return header + INTERFACE.pack(1, INTERFACE.size, LINK_TYPE_IPV4, 0, 0, INTERFACE.size)


class TracedDevice(Device):
    """A device whose commands and responses go to a file, too."""

    def __init__(self, name: str, *arguments: Any, trace: Path, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        self._tap = Tap(trace)

    def run(self, request: bytes, locality: int | None = None) -> Result:
        """Execute a command; its response is final unless there are changes to conclude."""
        self._tap.write(request, to_tpm=True)
        result = super().run(request, locality)
        if not result.changes:
            self._tap.write(result.response, to_tpm=False)
        return result

    def conclude(self, result: Result) -> bytes:
        """Make the changes durable; the response is final."""
        response = super().conclude(result)
        self._tap.write(response, to_tpm=False)
        return response

    def close(self) -> None:
        """End the run."""
        try:
            super().close()
        finally:
            self._tap.close()


def device_for(trace: Path | None, *arguments: Any, **options: Any) -> Device:
    """A device, traced if there is a file for that."""
    if trace is None:
        return Device(*arguments, **options)
    return TracedDevice(*arguments, trace=trace, **options)
