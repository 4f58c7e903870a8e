"""
`swtpm_ioctl`: one request on the control channel of this TPM's process, or of swtpm's.

What it prints is what swtpm_ioctl prints, because scripts read it.
"""

import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from vtpm.compat.arguments import ArgumentError
from vtpm.compat.ending import obey
from vtpm.compat.ioctl_arguments import IoctlArguments, parse
from vtpm.compat.version import own_version
from vtpm.control import messages
from vtpm.control.messages import CODE, PTM_BLOB_TYPE, TPM_RESULT, Request
from vtpm.daemon.secrecy import forbid_dumps
from vtpm.wire.structure import marshal, unmarshal

PATIENCE: Final = 20.0
"""Seconds to wait for a response: a TPM that makes a key answers after it."""

HASH_PART: Final = 4096
STANDARD_INPUT: Final = "-"
BLOB_HEAD = struct.Struct(">III")
PART_HEAD = struct.Struct(">II")

USAGE: Final = """\
Usage: swtpm_ioctl <command> --unix <path> | --tcp [<host>]:[<port>]

  -c                    print the capabilities of the control channel
  -i                    power the TPM on; a stored volatile state is resumed and removed
  --stop                power the TPM off; -i powers it on again
  -s                    end the TPM's process
  -e                    print the established bit
  -r <locality>         reset the established bit at locality 3 or 4
  -v                    store the volatile state
  -C                    cancel the command that is under way
  -l <locality>         set the locality, 0 to 4
  -h <data>             measure the data, or standard input if they are -
  --save <type> <file>  write a state blob to a file; its type is permanent, volatile or savestate
  --load <type> <file>  give a TPM that is off a state blob
  -g                    print which keys are in use
  -b <size>             set the size of the buffer unless it is 0; print the limits
  --info <flags>        print the description of the TPM, in JSON
  --lock-storage <n>    lock the stored state, with n more attempts
"""


class IoctlError(Exception):
    """The request could not be made, or was refused; the text says which."""


def main() -> NoReturn:
    """Run `swtpm_ioctl` with the process's arguments."""
    forbid_dumps()  # state blobs pass through it
    obey("", run, (ArgumentError, IoctlError), lambda _words: None)


def run(words: list[str]) -> int:
    """Obey a command line; ArgumentError or IoctlError says why it could not be."""
    arguments = parse(words)
    if arguments.command == "version":
        sys.stdout.write(f"TPM emulator control tool version {own_version()} (vtpm)\n")
        return 0
    if arguments.command == "help":
        sys.stdout.write(USAGE)
        return 0
    with connected(arguments) as control:
        COMMANDS[arguments.command](control, arguments)
    return 0


class Control:
    """The control channel, seen from a client: a request, then its response."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, request: Request) -> None:
        """Send a request."""
        self._write(CODE.pack(request.command) + marshal(request))

    def ask(self, request: Request, kind: Any = messages.Result, size: int = CODE.size) -> Any:
        """The response of this kind and size; IoctlError if it is a refusal, which can be shorter."""
        self.send(request)
        self.check(request)
        return unmarshal(kind, bytes(CODE.size) + self.read(size - CODE.size))

    def check(self, request: Request, also: int = TPM_RESULT.SUCCESS) -> int:
        """The result with which a response begins; IoctlError unless it is success or `also`."""
        (result,) = CODE.unpack(self.read(CODE.size))
        if result not in (TPM_RESULT.SUCCESS, also):
            raise IoctlError(f"TPM result from PTM_{request.command.name}: 0x{result:x}")
        return int(result)

    def hash_part(self, octets: bytes) -> None:
        """HASH_DATA, complete with all octets that it announces."""
        request = messages.HashData(0, octets)
        self._write(CODE.pack(request.command) + CODE.pack(len(octets)) + octets)
        self.check(request)

    def read(self, count: int) -> bytes:
        """So many octets."""
        octets = bytearray()
        while len(octets) < count:
            try:
                part = self._sock.recv(count - len(octets))
            except TimeoutError:
                raise IoctlError(f"the TPM did not answer within {PATIENCE:.0f} s") from None
            except OSError as error:
                raise IoctlError(f"the TPM's answer could not be read: {error.strerror}") from None
            if not part:
                raise IoctlError("the TPM closed the control channel before it had answered")
            octets += part
        return bytes(octets)

    def _write(self, octets: bytes) -> None:
        try:
            self._sock.sendall(octets)
        except OSError as error:
            raise IoctlError(f"the request could not be sent: {error.strerror or error}") from None


@contextmanager
def connected(arguments: IoctlArguments) -> Iterator[Control]:
    """The control channel at the place that the command line names."""
    place: Any = arguments.unix or arguments.tcp
    try:
        if arguments.tcp is not None:
            sock = socket.create_connection(arguments.tcp, PATIENCE)
        else:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(place)
    except OSError as error:
        shown = place if arguments.unix else "{}:{}".format(*place)
        raise IoctlError(f"cannot connect to {shown}: {error.strerror or error}") from None
    with sock:
        yield Control(sock)


def get_capability(control: Control, _arguments: IoctlArguments) -> None:
    """-c: all bits, those that are not known here among them."""
    request = messages.GetCapability()
    control.send(request)
    control.check(request)
    (capabilities,) = CODE.unpack(control.read(CODE.size))
    sys.stdout.write(f"ptm capability is 0x{capabilities:x}\n")


def init(control: Control, _arguments: IoctlArguments) -> None:
    """-i."""
    control.ask(messages.Init(messages.INIT_DELETE_VOLATILE))


def get_established(control: Control, _arguments: IoctlArguments) -> None:
    """-e."""
    told = control.ask(messages.GetTpmEstablished(), messages.Established, 8)
    sys.stdout.write(f"tpmEstablished is {told.bit}\n")


def measure(control: Control, arguments: IoctlArguments) -> None:
    """-h: a hash sequence, with the octets in parts."""
    (text,) = arguments.words
    control.ask(messages.HashStart())
    if text == STANDARD_INPUT:
        while part := sys.stdin.buffer.read(HASH_PART):
            control.hash_part(part)
    else:
        octets = os.fsencode(text)
        for start in range(0, len(octets), HASH_PART):
            control.hash_part(octets[start : start + HASH_PART])
    control.ask(messages.HashEnd())


def get_config(control: Control, _arguments: IoctlArguments) -> None:
    """-g."""
    told = control.ask(messages.GetConfig(), messages.Config, 8)
    sys.stdout.write(f"ptm configuration flags: 0x{told.flags:x}\n")


def set_buffer_size(control: Control, arguments: IoctlArguments) -> None:
    """-b."""
    told = control.ask(messages.SetBufferSize(arguments.number), messages.BufferSize, 16)
    sys.stdout.write(
        f"TPM buffersize: {told.buffersize}\nminimum size  : {told.minsize}\nmaximum size  : {told.maxsize}\n"
    )


def get_info(control: Control, arguments: IoctlArguments) -> None:
    """--info: the text, put together from its parts."""
    text, total = b"", 1
    while len(text) < total:
        request = messages.GetInfo(arguments.number, len(text), 0)
        control.send(request)
        control.check(request)
        total, size = PART_HEAD.unpack(control.read(PART_HEAD.size))
        if not 0 < size <= total - len(text):
            raise IoctlError(f"the TPM gave {size} octets of {total} where {len(text)} were known")
        text += control.read(size)
    sys.stdout.write(text.rstrip(b"\0").decode(errors="replace") + "\n")


def save(control: Control, arguments: IoctlArguments) -> None:
    """--save: a blob into a file of mode 0600, which is empty if there is no such state."""
    kind, file = arguments.words
    octets = read_blob(control, PTM_BLOB_TYPE[kind.upper()])
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor
            stream.write(octets)
    except OSError as error:
        raise IoctlError(f"{file} cannot be written: {error.strerror}") from None


def read_blob(control: Control, kind: PTM_BLOB_TYPE) -> bytes:
    """A state blob, put together from its parts; empty if there is no such state."""
    octets, total = b"", 1
    while len(octets) < total:
        request = messages.GetStateBlob(messages.STATE_DECRYPTED, kind, len(octets))
        control.send(request)
        if control.check(request, TPM_RESULT.RETRY) == TPM_RESULT.RETRY:
            return b""
        _flags, total, size = BLOB_HEAD.unpack(control.read(BLOB_HEAD.size))
        if total > messages.MAX_STATE_BLOB or size > total - len(octets) or (not size and total):
            raise IoctlError(f"the TPM gave {size} octets of {total} where {len(octets)} were known")
        octets += control.read(size)
    return octets


def load(control: Control, arguments: IoctlArguments) -> None:
    """--load: the content of a file as a blob."""
    kind, file = arguments.words
    try:
        octets = Path(file).read_bytes()
    except OSError as error:
        raise IoctlError(f"{file} cannot be read: {error.strerror}") from None
    if len(octets) > messages.MAX_STATE_BLOB:
        raise IoctlError(f"{file} is larger than a state blob, {messages.MAX_STATE_BLOB} octets")
    control.ask(messages.SetStateBlob(0, PTM_BLOB_TYPE[kind.upper()], octets))


def request_of(kind: Callable[..., Request]) -> Callable[[Control, IoctlArguments], None]:
    """A command that is a request whose result is all that matters, with a number if it has one."""

    def obey(control: Control, arguments: IoctlArguments) -> None:
        control.ask(kind(arguments.number) if arguments.words else kind())

    return obey


COMMANDS: Final[dict[str, Callable[[Control, IoctlArguments], None]]] = {
    "c": get_capability,
    "i": init,
    "s": request_of(messages.Shutdown),
    "stop": request_of(messages.Stop),
    "e": get_established,
    "r": request_of(messages.ResetTpmEstablished),
    "v": request_of(messages.StoreVolatile),
    "C": request_of(messages.CancelTpmCmd),
    "l": request_of(messages.SetLocality),
    "h": measure,
    "save": save,
    "load": load,
    "g": get_config,
    "b": set_buffer_size,
    "info": get_info,
    "lock-storage": request_of(messages.LockStorage),
}
