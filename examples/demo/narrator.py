"""A few lines that say what happens, and how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Narrator:
    """Numbers the steps, shows on a terminal that one is under way, and lists what it showed."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._steps = 0
        self._findings: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; its line is printed when it is done, and what it found below."""
        self._steps += 1
        self._findings = []
        began = time.monotonic()
        with self._console.status(f"{title} …"):
            yield
        seconds = time.monotonic() - began
        self._console.print(f"[bold]{self._steps:>2}[/]  {title} [dim]({seconds:.1f} s)[/]")
        for finding in self._findings:
            self._console.print(f"      {finding}", markup=False)

    def found(self, finding: str) -> None:
        """Something that the step under way showed."""
        self._findings.append(finding)

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, markup=False)
