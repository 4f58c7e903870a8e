"""The command line of `swtpm_ioctl` (swtpm 0.7 to 0.10, swtpm_ioctl.8): a command, and where to send it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vtpm.compat.arguments import ArgumentError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 6546
MAX_PORT: Final = 0xFFFF
MAX_LOCALITY: Final = 4
MAX_UINT32: Final = 0xFFFFFFFF

COMMANDS: Final = {
    "c": 0,
    "i": 0,
    "s": 0,
    "e": 0,
    "v": 0,
    "C": 0,
    "g": 0,
    "stop": 0,
    "r": 1,
    "l": 1,
    "h": 1,
    "b": 1,
    "info": 1,
    "lock-storage": 1,
    "save": 2,
    "load": 2,
}
"""The commands, and how many words each takes."""

PLACES: Final = frozenset({"tcp", "unix", "tpm-device"})
MESSAGES: Final = frozenset({"version", "help"})
LOCALITIES: Final = frozenset({"r", "l"})
NUMBERS: Final = {"r": MAX_LOCALITY, "l": MAX_LOCALITY, "b": MAX_UINT32, "lock-storage": MAX_UINT32}
"""The commands whose word is a decimal number, and the largest that it may be."""


@dataclass(frozen=True, slots=True)
class IoctlArguments:
    """A command with its words, and the socket that it goes to: a path, or a host and a port."""

    command: str
    words: tuple[str, ...] = ()
    unix: str | None = None
    tcp: tuple[str, int] | None = None

    @property
    def number(self) -> int:
        """The command's word as a number."""
        return int(self.words[0], 0 if self.command == "info" else 10)


def parse(words: Sequence[str]) -> IoctlArguments:
    """Take the words after `swtpm_ioctl` apart; ArgumentError names what is wrong."""
    command: tuple[str, tuple[str, ...]] | None = None
    places: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            places["tpm-device"] = word
            continue
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name not in COMMANDS.keys() | PLACES | MESSAGES:
            raise ArgumentError(f"{word} is not an option of swtpm_ioctl")
        count = 1 if name in PLACES else COMMANDS.get(name, 0)
        taken = _take(word, count, [value] if equals else [], rest)
        if name in PLACES:
            places[name] = taken[0]
        elif name in MESSAGES:
            return IoctlArguments(name)
        elif command is not None:
            raise ArgumentError("only one command may be given")
        else:
            command = name, taken
    if command is None:
        raise ArgumentError("no command is given; swtpm_ioctl --help lists them")
    check_words(*command)
    return _addressed(*command, places)


def check_words(command: str, words: tuple[str, ...]) -> None:
    """Refuse a word that the command cannot take."""
    if command in ("save", "load"):
        if words[0] not in ("permanent", "volatile", "savestate"):
            raise ArgumentError(f"--{command} {words[0]}: give permanent, volatile or savestate")
        return
    if command == "info":
        maximum, base = (1 << 64) - 1, 0
    elif command in NUMBERS:
        maximum, base = NUMBERS[command], 10
    else:
        return
    try:
        value = int(words[0], base)
    except ValueError:
        value = -1
    if not 0 <= value <= maximum:
        raise ArgumentError(f"{words[0]}: give a number from 0 to {maximum}")


def address_of(text: str) -> tuple[str, int]:
    """The host and port in `host:port`, `host` or `:port`."""
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    if port and not (port.isascii() and port.isdecimal() and int(port) <= MAX_PORT):
        raise ArgumentError(f"--tcp {text}: {port} is not a port")
    return host.strip("[]") or DEFAULT_HOST, int(port) if port else DEFAULT_PORT


def _take(word: str, count: int, taken: list[str], rest: list[str]) -> tuple[str, ...]:
    """As many words as an option needs."""
    if len(taken) > count:
        raise ArgumentError(f"{word}: takes no value")
    missing = count - len(taken)
    found, rest[:] = rest[:missing], rest[missing:]
    is_option = count > 1 and any(each.startswith("-") for each in found)
    if len(found) < missing or is_option:
        needs = "a type and a file" if count > 1 else "a value"
        raise ArgumentError(f"{word} needs {needs}")
    return (*taken, *found)


def _addressed(command: str, words: tuple[str, ...], places: dict[str, str]) -> IoctlArguments:
    if "tpm-device" in places:
        raise ArgumentError(f"{places['tpm-device']}: a device is not supported; give --unix or --tcp")
    if len(places) != 1:
        raise ArgumentError("give --unix <path> or --tcp <host>:<port>, where the control channel is")
    if "unix" in places:
        return IoctlArguments(command, words, unix=places["unix"])
    return IoctlArguments(command, words, tcp=address_of(places["tcp"]))
