"""
Which response codes the tests of commands see, beside those that Part 3 and the reference code name.

`response_codes.toml` lists the codes; a run of all tests of this directory fails if one was not seen.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import is_hypothesis_test

from vtpm.engine.execute import HEADER, Outcome
from vtpm.engine.tpm import Tpm
from vtpm.spec.constants import TPM_CC
from vtpm.state.clock import Instant
from vtpm.wire.error import TPM_RC, decode, positioned

HERE = Path(__file__).parent
LISTED: dict[str, dict[str, Any]] = tomllib.loads((HERE / "response_codes.toml").read_text())

Seen = Mapping[int, frozenset[int]]
"""Response codes by command code."""


class Entry(NamedTuple):
    """What is listed for one command, as it stands in the list."""

    returns: Mapping[str, int]
    """Codes that a test must see."""
    never: Mapping[str, int]
    """Codes that cannot occur."""


def code_of(text: str) -> int:
    """The response code of a line of the list: `KEY`, or `KEY handle 1`."""
    name, *position = text.split()
    rc = TPM_RC[name]
    if not position:
        return rc
    kind, number = position
    if not rc.positional:
        raise ValueError(f"{text}: {name} has no position")
    return positioned(rc, **{kind: int(number)})


def entry_of(command: str) -> Entry:
    """What is listed for a command."""
    entry = LISTED[command]
    returns, never = ({text: code_of(text) for text in entry.get(part, ())} for part in Entry._fields)
    return Entry(returns, never)


def faults(seen: Seen) -> list[str]:
    """What is listed and was not seen, and what was seen though it is said not to occur."""
    found = []
    for command in LISTED:
        entry, answers = entry_of(command), seen.get(TPM_CC[command], frozenset())
        found += [
            f"{command}: no test sees {text}" for text, code in entry.returns.items() if code not in answers
        ]
        others = answers.difference(entry.returns.values())
        # Where no position is named, none can occur.
        others |= {decode(code)[0] for code in others}
        found += [
            f"{command}: {text} occurs after all" for text, code in entry.never.items() if code in others
        ]
    return found


class Recorder:
    """The plugin: it listens to the tests of this directory, in this process or in those of pytest-xdist."""

    def __init__(self) -> None:
        self.seen: defaultdict[int, set[int]] = defaultdict(set)
        self.whole = True
        self.faults: list[str] = []

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """A run that leaves out tests need not see everything."""
        self.whole = self.whole and not any(item.path.parent == HERE for item in items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Neither need one of a few files or tests."""
        collected = {item.path for item in session.items}
        self.whole = (
            self.whole
            and collected.issuperset(HERE.glob("test_*.py"))
            and not any("::" in argument for argument in session.config.args)
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Note the answers to what a test sends; what hypothesis sends is random, and asserts no codes."""
        if item.path.parent != HERE or is_hypothesis_test(getattr(item, "obj", None)):
            return (yield)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tpm, "execute", self.listening(Tpm.execute))
            return (yield)

    def listening(self, execute: Any) -> Any:
        """`Tpm.execute`, with its answers noted."""

        def noted(tpm: Tpm, request: bytes, locality: int = 0, now: Instant | None = None) -> Outcome:
            outcome: Outcome = execute(tpm, request, locality, now)
            if len(request) >= HEADER.size:
                self.seen[HEADER.unpack_from(request)[2]].add(HEADER.unpack_from(outcome.response)[2])
            return outcome

        return noted

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A process of pytest-xdist has ended: take what it has seen."""
        output = getattr(node, "workeroutput", {})
        self.whole = self.whole and output.get("whole", False)
        for code, answers in output.get("seen", {}).items():
            self.seen[code].update(answers)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Compare, or send what was seen to the process that compares."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput |= {
                "whole": self.whole,
                "seen": {code: sorted(answers) for code, answers in self.seen.items()},
            }
        elif self.whole and exitstatus == pytest.ExitCode.OK:
            self.faults = faults({code: frozenset(answers) for code, answers in self.seen.items()})
            if self.faults:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is missing."""
        if self.faults:
            terminalreporter.section("response codes of tests/commands/response_codes.toml", red=True)
            for fault in self.faults:
                terminalreporter.line(fault)
