"""One target's part of the campaign: inputs until the time is over, or a finding."""

import hashlib
import math
import random
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.mutation import Mutator
from tests.fuzz.target import Target


class Result(NamedTuple):
    """What came of it."""

    target: str
    how: str
    inputs: int
    taken: int | None
    """Inputs that were no refusal; None where nobody counts."""
    seconds: float
    findings: list[str]

    def __str__(self) -> str:
        found = f"{len(self.findings)} FINDINGS" if self.findings else "no finding"
        taken = "" if self.taken is None else f", {self.taken:,} taken"
        return (
            f"{self.target:12} {self.inputs:>10,} inputs in {self.seconds:.0f} s, {self.how}{taken}: {found}"
        )


def attempt(target: Target, octets: bytes, findings: Path | None) -> bool | str:
    """Try one input: was it taken? Or what is wrong, with the traceback of the bug."""
    try:
        return target.check(octets)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        name = f"{target.name}-{hashlib.sha256(octets).hexdigest()[:12]}"
        if findings is not None:
            (findings / name).write_bytes(octets)
        return f"{name}: {''.join(traceback.format_exception(error))}"


def mutate(
    target: Target, seconds: float, seed: int, findings: Path | None = None, more: float = math.inf
) -> Result:
    """
    Seeds, then inputs made of them, at most so many more; always the same ones for a seed of the campaign.

    Findings at one place count once.
    """
    rng = random.Random(f"{seed} {target.name}")
    corpus = target.seeds()
    mutator = Mutator(corpus, rng, target.words)
    began = time.monotonic()
    found: dict[str, str] = {}
    count = taken = 0
    while time.monotonic() - began < seconds and count < len(corpus) + more:
        octets = corpus[count] if count < len(corpus) else mutator.next_input()
        result = attempt(target, octets, findings)
        if isinstance(result, str):
            places = [line for line in result.splitlines() if line.startswith("  File ")]
            found.setdefault(places[-1], result)
        else:
            taken += result
        count += 1
    return Result(target.name, "mutated", count, taken, time.monotonic() - began, [*found.values()])
