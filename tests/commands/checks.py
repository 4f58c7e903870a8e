"""
Commands with several faults at once: which of them a TPM reports is the order of its checks.

Part 3, 5.1 leaves that order to the TPM; this one has the order of the reference code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from tests.scenarios import BY_HANDLER, Client

Arguments = dict[str, Any]


class Change:
    """A change of an argument that leaves the rest of its value alone, so that others can come with it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function


@dataclass(frozen=True)
class Fault:
    """What is wrong with some arguments, values or a `Change` of each, and the response code for it."""

    code: int
    arguments: Mapping[str, Any]


def fault(code: int, **arguments: Any) -> Fault:
    """A fault."""
    return Fault(code, arguments)


Found = tuple[Arguments, list[Fault]]
"""Arguments that are in order, and the faults that they can have, in the order of the checks."""


@dataclass(frozen=True)
class Checks:
    """
    The checks of one command in their order.

    `faults` makes what they need in a TPM.
    `send` sends the command where its arguments are not simply those of Part 3.
    """

    command: str
    faults: Callable[[Client], Found]
    send: Callable[[Client, Arguments], int] | None = None

    def code(self, tpm: Client, arguments: Arguments) -> int:
        """Send the command; gives its response code."""
        if self.send is not None:
            return self.send(tpm, arguments)
        names = [handle.name for handle in BY_HANDLER[self.command].handles]
        rest = {name: value for name, value in arguments.items() if name not in names}
        rc: int = getattr(tpm, self.command)(*(arguments[name] for name in names), **rest).rc
        return rc


def changed(**fields: Any) -> Change:
    """Other fields in a structure."""
    return Change(lambda value: replace(value, **fields))


def marked(**attributes: bool) -> Change:
    """Other attributes in a public area."""
    return Change(lambda p: replace(p, object_attributes=p.object_attributes.but(**attributes)))


def parametrized(**fields: Any) -> Change:
    """Other parameters in a public area."""
    return Change(lambda p: replace(p, parameters=replace(p.parameters, **fields)))


def together(good: Arguments, *found: Fault) -> Arguments | None:
    """The arguments with these faults; None if two of them say different things of an argument."""
    arguments = dict(good)
    given: set[str] = set()
    for one in found:
        for name, value in one.arguments.items():
            if isinstance(value, Change):
                if name in given:
                    return None
                arguments[name] = value.function(arguments[name])
            elif name in given or arguments[name] is not good[name]:
                return None
            else:
                arguments[name] = value
                given.add(name)
    return arguments


def misplaced(tpm: Client, checks: Checks) -> list[str]:
    """What is not answered as its faults, alone and in pairs, ask."""
    good, faults = checks.faults(tpm)
    wrong = []
    cases = [(one,) for one in faults] + list(combinations(faults, 2))
    for case in cases:
        arguments = together(good, *case)
        if arguments is None:
            continue
        code = checks.code(tpm, arguments)
        if code != case[0].code:
            numbers = " and ".join(str(1 + faults.index(one)) for one in case)
            wrong.append(f"fault {numbers}: 0x{code:03X} in place of 0x{case[0].code:03X}")
    code = checks.code(tpm, dict(good))
    return wrong + ([f"no fault: 0x{code:03X}"] if code else [])
