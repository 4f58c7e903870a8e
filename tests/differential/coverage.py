"""Which response codes of which commands a campaign has met: `codes.toml` lists those that can be met."""

import tomllib
from collections import Counter
from pathlib import Path

from tests.differential.pair import Exchange
from vtpm.wire.error import TPM_RC, decode

LISTED = Path(__file__).with_name("codes.toml")

Met = tuple[str, str]
"""A command, and the name of a code without the position of the fault."""


def listed() -> set[Met]:
    """Every command with each code that its own checks can give in a campaign, and with success."""
    table = tomllib.loads(LISTED.read_text())
    pairs = {(name, code) for name, codes in table["commands"].items() for code in ["SUCCESS", *codes]}
    return pairs - {tuple(pair.split()) for pairs in table["out_of_reach"].values() for pair in pairs}


def met(exchange: Exchange) -> Met:
    """What an exchange in which both have given the same code adds to the coverage."""
    rc = decode(exchange.ours.rc)[0]
    return exchange.request.command.name, rc.name if isinstance(rc, TPM_RC) else hex(rc)


def summary(counts: Counter[Met]) -> str:
    """How many of the listed pairs were met, and how many others."""
    wanted, found = listed(), counts.keys()
    listed_ones, others = f"{len(wanted & found)} of {len(wanted)}", len(found - wanted)
    return f"{listed_ones} listed (command, code) pairs met, and {others} others"


def missing(counts: Counter[Met]) -> list[str]:
    """For each command, the listed codes that were not met."""
    absent: dict[str, list[str]] = {}
    for name, code in sorted(listed() - counts.keys()):
        absent.setdefault(name, []).append(code)
    return [f"{name}: {', '.join(codes)}" for name, codes in absent.items()]
