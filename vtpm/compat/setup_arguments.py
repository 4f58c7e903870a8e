"""
The command line of `swtpm_setup` (swtpm 0.7 to 0.10, man page swtpm_setup.8), and its configuration file.

Nothing is ignored but what swtpm ignores: what is not done here is refused by its name.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vtpm.compat.arguments import SCHEMES, ArgumentError, check_uri

WITH_VALUE: Final = frozenset(
    {
        "config",
        "tpm-state",
        "tpmstate",
        "logfile",
        "keyfile",
        "keyfile-fd",
        "pwdfile",
        "pwdfile-fd",
        "cipher",
        "vmid",
        "pcr-banks",
        "rsa-keysize",
        "write-ek-cert-files",
        "profile",
        "profile-name",
        "profile-file",
        "profile-file-fd",
        "create-config-files",
        "tpm",
        "swtpm_ioctl",
        "tcsd-system-ps-file",
    }
)
WITHOUT_VALUE: Final = frozenset(
    {
        "tpm2",
        "createek",
        "decryption",
        "ecc",
        "create-ek-cert",
        "create-platform-cert",
        "create-spk",
        "lock-nvram",
        "display",
        "overwrite",
        "not-overwrite",
        "reconfigure",
        "print-capabilities",
        "print-profiles",
        "version",
        "help",
    }
)
NOT_DONE: Final = frozenset(
    {
        "runas",
        "allow-signing",
        "take-ownership",
        "ownerpass",
        "owner-well-known",
        "srkpass",
        "srk-well-known",
        "profile-remove-disabled",
        "no-iak",
        "ek1keyalgo",
        "ek2keyalgo",
        "iakkeyalgo",
        "idevidkeyalgo",
    }
)
"""swtpm_setup's options that this program does not have; those of a TPM 1.2 among them."""

CIPHERS: Final = frozenset({"aes-cbc", "aes-128-cbc", "aes-256-cbc"})
CONFIGURATION: Final = "swtpm_setup.conf"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SetupArguments:
    """A command line, taken apart."""

    switches: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)

    def has(self, *switches: str) -> bool:
        """Is one of the switches given?"""
        return bool(self.switches.intersection(switches))

    @property
    def state_uri(self) -> str:
        """Where the state is."""
        text = self.options.get("tpm-state") or self.options.get("tpmstate")
        if not text:
            raise ArgumentError("--tpm-state is required: give a directory, dir://<path> or file://<path>")
        if "://" not in text:
            return f"{SCHEMES[0]}{text}"
        return check_uri(f"--tpm-state {text}", text)

    @property
    def passphrase_source(self) -> tuple[str, str] | None:
        """Where the passphrase or key is, as (option, place)."""
        given = [
            (name, self.options[name])
            for name in ("keyfile", "keyfile-fd", "pwdfile", "pwdfile-fd")
            if name in self.options
        ]
        if len(given) > 1:
            raise ArgumentError(f"give one of {', '.join(f'--{name}' for name, _ in given)}")
        return given[0] if given else None


def parse(words: Sequence[str]) -> SetupArguments:
    """Take the words after `swtpm_setup` apart; ArgumentError names what is wrong."""
    switches: set[str] = set()
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if word == "-h":
            name = "help"
        elif not word.startswith("--"):
            raise ArgumentError(f"{word!r}: not an option")
        if name in NOT_DONE:
            raise ArgumentError(f"--{name} is not supported")
        if name in WITHOUT_VALUE and not equals:
            switches.add(name)
        elif name in WITH_VALUE:
            if not equals:
                if not rest:
                    raise ArgumentError(f"--{name} needs a value")
                value = rest.pop(0)
            options[name] = value
        else:
            raise ArgumentError(f"--{name} is not an option of swtpm_setup")
    return SetupArguments(frozenset(switches), options)


def check(arguments: SetupArguments) -> None:
    """Refuse combinations that cannot be obeyed."""
    if not arguments.has("tpm2"):
        raise ArgumentError("--tpm2 is required: a TPM 1.2 is not supported")
    cipher = arguments.options.get("cipher", "aes-256-cbc")
    if cipher not in CIPHERS:
        raise ArgumentError(f"--cipher {cipher}: not a cipher of swtpm")
    size = arguments.options.get("rsa-keysize", "2048")
    if size not in ("2048", "3072", "4096", "max"):
        raise ArgumentError(f"--rsa-keysize {size}: give 2048, 3072, 4096 or max")
    if arguments.has("ecc") and arguments.has("create-spk"):
        raise ArgumentError("--ecc with --create-spk is not supported: the storage root key is RSA-2048")
    if arguments.has("overwrite") and arguments.has("not-overwrite", "reconfigure"):
        raise ArgumentError("--overwrite contradicts --not-overwrite and --reconfigure")
    _ = arguments.state_uri, arguments.passphrase_source


def read_configuration(arguments: SetupArguments) -> Mapping[str, str]:
    """
    swtpm_setup.conf: the file that was named, or else the first one in the usual places that can be read.

    It is empty if there is none: a program that libvirt runs as another user has the environment of root,
    whose home it may not enter.
    ArgumentError: the file that was named cannot be read.
    """
    named = arguments.options.get("config")
    if named:
        try:
            return settings_in(Path(named))
        except OSError as error:
            raise ArgumentError(f"--config {named}: {error.strerror}") from None
    for place in usual_places(CONFIGURATION):
        try:
            return settings_in(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.info("%s is passed over: %s", place, error.strerror)
    return {}


def settings_in(place: Path) -> Mapping[str, str]:
    """The settings of a file of swtpm_setup.conf's form; OSError if it cannot be read."""
    text = place.read_text(encoding="utf-8", errors="surrogateescape")  # as the names of files are
    return dict(_setting(line) for line in text.splitlines() if "=" in line.partition("#")[0])


def usual_places(name: str) -> list[Path]:
    """Where swtpm's tools look for a configuration file."""
    places = []
    if os.environ.get("XDG_CONFIG_HOME"):
        places.append(Path(os.environ["XDG_CONFIG_HOME"]) / name)
    if os.environ.get("HOME"):
        places.append(Path(os.environ["HOME"]) / ".config" / name)
    return [*places, Path("/etc") / name]


def _setting(line: str) -> tuple[str, str]:
    name, _, value = line.partition("#")[0].partition("=")
    return name.strip(), os.path.expandvars(value.strip())
