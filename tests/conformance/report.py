"""What a suite of another project said, and how one is described."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 1800
"""Seconds that a suite, or the fetching of one, may take."""


class SuiteError(RuntimeError):
    """A suite could not be fetched, or did not run to its end."""


@dataclass
class Report:
    """The outcome of one suite."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Suite:
    """A suite, which runs in a directory and an environment in which `swtpm` on PATH is the TPM."""

    name: str
    run: Callable[[Path, dict[str, str]], Report]
