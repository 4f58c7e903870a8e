"""
The character devices of `swtpm chardev`: one that is named or passed, or one that the kernel's vtpmx makes.

A thread carries whole commands from the device to a socket, and whole responses back.
"""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Final

from vtpm.compat.arguments import ArgumentError, number

HEADER_SIZE: Final = 10
SIZE_AT: Final = slice(2, 6)
MOST: Final = 1 << 16

PROXY: Final = "/dev/vtpmx"
NEW_DEVICE: Final = struct.Struct("=IIIII")
"""struct vtpm_proxy_new_dev (linux/vtpm_proxy.h): flags, number, descriptor, major, minor."""

IOC_NEW_DEVICE: Final = 3 << 30 | NEW_DEVICE.size << 16 | 0xA1 << 8
FLAG_TPM2: Final = 1

Ioctl = Callable[[int, int, bytearray], object]


def new_device(ioctl: Ioctl = fcntl.ioctl, path: str = PROXY) -> tuple[int, str]:
    """A new device of the kernel's: the descriptor that is its TPM's side, and what to say of it."""
    try:
        proxy = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise ArgumentError(
            f"--vtpm-proxy: {path}: {error.strerror}; load the kernel's module tpm_vtpm_proxy"
        ) from None
    made = bytearray(NEW_DEVICE.pack(FLAG_TPM2, 0, 0, 0, 0))
    try:
        ioctl(proxy, IOC_NEW_DEVICE, made)
    except OSError as error:
        raise ArgumentError(f"--vtpm-proxy: the kernel makes no device: {error.strerror}") from None
    finally:
        os.close(proxy)
    _flags, name, descriptor, major, minor = NEW_DEVICE.unpack(made)
    return descriptor, f"New TPM device: /dev/tpm{name} (major/minor = {major}/{minor})"


def opened(options: Mapping[str, Mapping[str, str]]) -> int:
    """The device that --chardev names, or --fd passes."""
    if "fd" in options:
        descriptor = number("fd", "fd", options["fd"]["fd"])
        try:
            os.fstat(descriptor)
        except OSError as error:
            raise ArgumentError(f"--fd {descriptor}: {error.strerror}") from None
        return descriptor
    path = options["chardev"]["chardev"]
    try:
        return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise ArgumentError(f"--chardev {path}: {error.strerror}") from None


def whole(read: Callable[[int], bytes]) -> bytes:
    """A command or response, however many readings it takes; empty at the end."""
    octets = b""
    while len(octets) < HEADER_SIZE or len(octets) < int.from_bytes(octets[SIZE_AT], "big"):
        part = read(MOST)
        if not part:
            return b""
        octets += part
    return octets


class Carrier:
    """Carries commands from a device to `client`, a socket on which a TPM serves; `start` after a fork."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._end, self.client = socket.socketpair()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._carry, name="device", daemon=True).start()

    def _carry(self) -> None:
        """Carry until the device or the TPM ends."""
        with self._end:
            try:
                while request := whole(lambda most: os.read(self._device, most)):
                    self._end.sendall(request)
                    response = whole(self._end.recv)
                    if not response:
                        return
                    os.write(self._device, response)
            except OSError:
                return  # the device is gone, as at its end
