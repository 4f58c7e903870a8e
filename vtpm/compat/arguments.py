"""
The command line of `swtpm socket` (swtpm 0.7 to 0.10, man page swtpm.8).

Nothing is ignored: what this TPM does not do is refused by its name.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

TRUE: Final = "true"
SCHEMES: Final = ("dir://", "file://")
"""Of the URI of a state."""


class ArgumentError(Exception):
    """The command line cannot be obeyed; the text names the option."""


SIMPLE: Final = frozenset({"port", "fd", "chardev", "runas", "print-info"})
"""Options whose value is one word."""

MESSAGES: Final = frozenset({"help", "version", "print-capabilities", "print-states", "print-profiles"})
"""Switches that make the program print something, and end."""

WITHOUT_VALUE: Final = frozenset({"daemon", "terminate", "tpm2", "vtpm-proxy"}) | MESSAGES
SHORT: Final = {
    "d": "daemon",
    "h": "help",
    "p": "port",
    "f": "fd",
    "t": "terminate",
    "r": "runas",
    "R": "chroot",
}

NOT_DONE: Final = {
    "chroot": "is not supported: this program loads parts of itself later; confine the process from outside",
}
"""The options of swtpm that this program does not have, and why."""

SOCKET: Final = frozenset({"server", "port", "fd"})
CHARDEV: Final = frozenset({"chardev", "fd", "vtpm-proxy"})
"""Where commands come from, of which an interface takes its own."""

KEY: Final = frozenset({"file", "fd", "format", "pwdfile", "pwdfd", "kdf", "mode", "remove"})

VALUES: Final[Mapping[str, frozenset[str]]] = {
    "server": frozenset({"type", "port", "bindaddr", "path", "fd", "mode", "uid", "gid", "disconnect"}),
    "ctrl": frozenset(
        {"type", "port", "bindaddr", "path", "fd", "clientfd", "mode", "uid", "gid", "terminate"}
    ),
    "tpmstate": frozenset({"dir", "backend-uri", "mode", "lock", "backup", "fsync"}),
    "flags": frozenset(
        {"not-need-init", "startup-none", "startup-clear", "startup-state", "disable-auto-shutdown"}
    ),
    "locality": frozenset({"reject-locality-4", "allow-set-locality"}),
    "log": frozenset({"file", "fd", "level", "prefix", "truncate"}),
    "pid": frozenset({"file", "fd"}),
    "key": KEY,
    "migration-key": KEY,
    "migration": frozenset({"incoming", "release-lock-outgoing"}),
    "profile": frozenset({"name", "profile", "file", "fd", "remove-disabled"}),
    "pcap": frozenset({"file", "truncate", "mode"}),
    "seccomp": frozenset({"action"}),
}
"""What may stand in an option's value; `a=b` or, for a switch, `a` alone."""

CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "mode": frozenset({"aes-cbc", "aes-128-cbc", "aes-256-cbc"}),
    "kdf": frozenset({"pbkdf2", "sha512"}),
    "format": frozenset({"hex", "binary"}),
    "remove": frozenset({"true", "false"}),
}
"""What the values of a key may be."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line, taken apart: switches, and options with their values."""

    switches: frozenset[str] = frozenset()
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, option: str) -> Mapping[str, str]:
        """The values of an option; empty if it was not given."""
        return self.options.get(option, {})

    def has(self, option: str, switch: str) -> bool:
        """Is a switch among the values of an option?"""
        return self.of(option).get(switch, "false") == TRUE


def parse(words: Sequence[str]) -> Arguments:
    """Take the words after `swtpm socket` apart; ArgumentError names what is wrong."""
    switches: set[str] = set()
    options: dict[str, Mapping[str, str]] = {}
    rest = list(words)
    while rest:
        name, value = _next(rest)
        if name in NOT_DONE:
            raise ArgumentError(f"--{name} {NOT_DONE[name]}")
        if name in WITHOUT_VALUE:
            if value is not None:
                raise ArgumentError(f"--{name} takes no value")
            switches.add(name)
        elif name in SIMPLE or name in VALUES:
            if value is None:
                if not rest:
                    raise ArgumentError(f"--{name} needs a value")
                value = rest.pop(0)
            options[name] = {name: value} if name in SIMPLE else split(name, value)
        else:
            raise ArgumentError(f"--{name} is not an option of swtpm")
    return Arguments(frozenset(switches), options)


def split(option: str, text: str) -> dict[str, str]:
    """The values in `a=b,c`; a switch has the value `true`."""
    values = {}
    while text:
        part, _, text = text.partition(",")
        name, equals, value = part.partition("=")
        if name == "profile" and value.startswith("{"):
            value, text = _document(f"{value},{text}")
        if not part:
            continue
        if name not in VALUES[option]:
            raise ArgumentError(f"--{option} {name}: not supported")
        values[name] = value if equals else TRUE
    return values


def number(option: str, name: str, text: str, base: int = 10) -> int:
    """A number that an option has for a value."""
    try:
        value = int(text, base)
    except ValueError:
        value = -1
    if value < 0:
        raise ArgumentError(f"--{option} {name}={text}: not a number")
    return value


def state_uri(arguments: Arguments) -> str:
    """Where the state is: --tpmstate's directory or URI, or the directory in TPM_PATH."""
    values = arguments.of("tpmstate")
    if "mode" in values:
        number("tpmstate", "mode", values["mode"], 8)  # files are 0600, directories 0700, whatever is allowed
    uri = values.get("backend-uri")
    if uri is not None:
        return check_uri(f"--tpmstate backend-uri={uri}", uri)
    directory = values.get("dir") or os.environ.get("TPM_PATH")
    if not directory:
        raise ArgumentError("--tpmstate is required: give dir=<directory> or backend-uri=<uri>")
    return f"{SCHEMES[0]}{directory}"


def check_uri(named: str, uri: str) -> str:
    """A URI of a directory or file, as it is."""
    if not uri.startswith(SCHEMES) or uri in SCHEMES:
        raise ArgumentError(f"{named}: only {' and '.join(SCHEMES)} with a path are supported")
    return uri


def key_source(option: str, values: Mapping[str, str]) -> tuple[str, str] | None:
    """Where a key is, as (kind, place); None if no key was given."""
    if not values:
        return None
    given = [(kind, values[kind]) for kind in ("file", "fd", "pwdfile", "pwdfd") if kind in values]
    if len(given) != 1:
        raise ArgumentError(f"--{option}: give one of file, fd, pwdfile and pwdfd")
    for name, choices in CHOICES.items():
        if name in values and values[name] not in choices:
            raise ArgumentError(f"--{option} {name}={values[name]}: give {' or '.join(sorted(choices))}")
    return given[0]


def check(arguments: Arguments, *, chardev: bool = False) -> None:
    """Refuse combinations that cannot be obeyed."""
    if "tpm2" not in arguments.switches:
        raise ArgumentError("--tpm2 is required: a TPM 1.2 is not supported")
    given = arguments.options.keys() | arguments.switches
    own, others = (CHARDEV, SOCKET) if chardev else (SOCKET, CHARDEV)
    foreign = sorted(given & (others - own))
    if foreign:
        raise ArgumentError(f"--{foreign[0]} is not an option of this interface")
    if chardev and len(given & own) != 1:
        raise ArgumentError("give one of --chardev, --fd and --vtpm-proxy: where commands come from")
    if not chardev and not given & {"ctrl", *own}:
        raise ArgumentError("--ctrl or --server is required: nobody could reach the TPM")
    state_uri(arguments)
    for option in ("key", "migration-key"):
        key_source(option, arguments.of(option))
    if arguments.of("pcap") and "file" not in arguments.of("pcap"):
        raise ArgumentError("--pcap: give file=<path>")


def _document(text: str) -> tuple[str, str]:
    """A JSON document, which has commas of its own, and what follows the comma behind it."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        raise ArgumentError("--profile profile: the value is no JSON") from None
    return text[:end], text[end:].removeprefix(",")


def _next(rest: list[str]) -> tuple[str, str | None]:
    """The next option's long name, and the value that is part of the same word."""
    word = rest.pop(0)
    if word.startswith("--") and len(word) > len("--"):
        name, equals, value = word[2:].partition("=")
        return name, value if equals else None
    if word.startswith("-") and len(word) > 1:
        name = SHORT.get(word[1], "")
        if not name:
            raise ArgumentError(f"-{word[1]} is not an option of swtpm")
        attached = word[2:]
        if attached and name in WITHOUT_VALUE:
            rest.insert(0, f"-{attached}")
            return name, None
        return name, attached or None
    raise ArgumentError(f"{word!r}: not an option")
