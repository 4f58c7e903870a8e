"""A stand-in for a TPM's control socket, which hands everything on and notes how long each answer took."""

import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 1 << 16
HEADER = struct.Struct(">HII")
"""Tag, size, and command or response code (Part 1, "Command/Response Structure")."""


@dataclass
class Record:
    """What was seen at the sockets of a TPM."""

    commands: list[tuple[int, float]] = field(default_factory=list)
    """Command codes, and the seconds until the whole response was there."""
    control: list[float] = field(default_factory=list)
    """Seconds until a control command was answered."""


@contextmanager
def recording(path: Path, tpm: Path, core: int | None = None) -> Iterator[tuple[Path, Record]]:
    """A socket for one connection of QEMU, and the record of what came through it, whole at the end."""
    record = Record()
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=_hand_on, args=(listener, tpm, record, core))
        thread.start()
        try:
            yield path, record
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _hand_on(listener: socket.socket, tpm: Path, record: Record, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})  # of this thread alone
    with ExitStack() as stack:
        try:
            hypervisor = stack.enter_context(listener.accept()[0])
        except OSError:
            return  # nobody connected
        control = stack.enter_context(socket.socket(socket.AF_UNIX))
        control.connect(str(tpm))
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(hypervisor, selectors.EVENT_READ, None)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    guest, data = key.data
                    if not _command(guest, data, record):
                        selector.unregister(guest)
                    continue
                pair = _control_command(hypervisor, control, record)
                if pair is None:
                    return
                for opened in pair:
                    stack.enter_context(opened)
                if pair:
                    selector.register(pair[0], selectors.EVENT_READ, pair)


def _control_command(
    hypervisor: socket.socket, control: socket.socket, record: Record
) -> tuple[()] | tuple[socket.socket, socket.socket] | None:
    """Hand a control command on; the sockets of a data channel that came with it, None at the end."""
    request, passed, _, _ = socket.recv_fds(hypervisor, LARGEST, 1)
    if not request:
        return None
    sockets: tuple[()] | tuple[socket.socket, socket.socket] = ()
    began = time.perf_counter()
    if passed:
        data, theirs = socket.socketpair()
        socket.send_fds(control, [request], [theirs.fileno()])
        theirs.close()
        sockets = (socket.socket(fileno=passed[0]), data)
    else:
        control.sendall(request)
    answer = control.recv(LARGEST)
    record.control.append(time.perf_counter() - began)
    hypervisor.sendall(answer)
    return sockets


def _command(guest: socket.socket, data: socket.socket, record: Record) -> bool:
    """Hand a command on; whether there was one."""
    request = guest.recv(LARGEST)
    if not request:
        return False
    began = time.perf_counter()
    data.sendall(request)
    response = data.recv(LARGEST)
    while response and len(response) < HEADER.unpack_from(response)[1]:
        response += data.recv(LARGEST)
    record.commands.append((HEADER.unpack_from(request)[2], time.perf_counter() - began))
    guest.sendall(response)
    return True
