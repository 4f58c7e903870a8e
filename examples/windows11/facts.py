"""What check.ps1 tells from inside, and what must be so."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LINE = re.compile(rb"windows11 (first|second) ([A-Za-z0-9+/]+=*)\r?\n")

Facts = dict[str, Any]

MUST: dict[str, Callable[[Any], bool]] = {
    "secure_boot": lambda value: value is True,
    "spec_version": lambda value: float(str(value).split(",")[0]) >= 2,
    "TpmPresent": lambda value: value is True,
    "TpmReady": lambda value: value is True,
    "TpmEnabled": lambda value: value is True,
    "TpmActivated": lambda value: value is True,
    "TpmOwned": lambda value: value is True,
    "LockedOut": lambda value: value is False,
    "ek_present": lambda value: value is True,
    "ek_certificates": lambda value: value >= 1,
    "protection": lambda value: value == "On",
    "protectors": lambda value: "Tpm" in value,
}
"""By the fact's name: how it must be once Windows has taken the TPM over and BitLocker is on."""


@dataclass(frozen=True)
class Told:
    """What Windows has told in one phase."""

    phase: str
    facts: Facts
    errors: dict[str, str]

    def problems(self) -> list[str]:
        """What is not as it must be."""
        found = [f"{name}: {text}" for name, text in self.errors.items()]
        for name, is_right in MUST.items():
            if name not in self.facts:
                found += [] if name in self.errors else [f"{name}: not told"]
                continue
            try:
                right = is_right(self.facts[name])
            except (TypeError, ValueError):
                right = False
            if not right:
                found.append(f"{name}: {self.facts[name]!r}")
        return found


def told_in(octets: bytes) -> dict[str, Told]:
    """What a serial port's log has of it, by phase; lines that are not whole are none."""
    found = {}
    for phase, line in LINE.findall(octets):
        try:
            said = json.loads(base64.b64decode(line, validate=True))
            found[phase.decode()] = Told(phase.decode(), dict(said["facts"]), dict(said["errors"]))
        except (binascii.Error, ValueError, KeyError, TypeError):
            continue
    return found
