"""
Any octets and mutated valid ones, to everything that reads octets, until the time of each target is over.

Guided by coverage where atheris is installed (the optional dependency `fuzz`), else mutations alone.
A line for each target, its findings after it, and a line at the end; the inputs of findings are kept.
"""

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.campaign import Result, mutate
from tests.fuzz.targets import TARGETS

INPUTS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
SHOWN = 4000
"""Characters of a finding's report."""


def guide(name: str, seconds: float, seed: int, findings: Path) -> Result:
    """The part of one target in a process of its own, guided by coverage."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz") as directory:
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(max(1, int(seconds)))]
        done = subprocess.run(
            [*command, str(seed % (1 << 32) or 1), directory],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        problems = []
        for artifact in Path(directory).glob("*-*"):
            kept = findings / f"{name}-{artifact.name}"
            kept.write_bytes(artifact.read_bytes())
            problems.append(f"{kept}\n{done.stdout[-SHOWN:]}")
    if done.returncode and not problems:
        problems.append(done.stdout[-SHOWN:] + done.stderr[-SHOWN:])
    inputs = INPUTS.search(done.stderr)
    count = int(inputs[1]) if inputs else 0
    return Result(name, "guided by coverage", count, None, time.monotonic() - began, problems)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--target", choices=[*TARGETS], action="append", help="all targets if not given")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "vtpm-fuzz")
    parser.add_argument(
        "--unguided", action="store_true", help="mutations alone, which a seed repeats exactly"
    )
    parser.add_argument("--input", type=Path, help="try the input in this file, and nothing else")
    arguments = parser.parse_args()
    names = arguments.target or [*TARGETS]
    if arguments.input is not None:
        for name in names:
            print(f"{name}: {'taken' if TARGETS[name]().check(arguments.input.read_bytes()) else 'refused'}")
        return 0
    arguments.findings.mkdir(mode=0o700, exist_ok=True)
    guided = importlib.util.find_spec("atheris") is not None and not arguments.unguided
    results = []
    for name in names:
        if guided:
            result = guide(name, arguments.seconds, arguments.seed, arguments.findings)
        else:
            result = mutate(TARGETS[name](), arguments.seconds, arguments.seed, arguments.findings)
        print("\n".join([str(result), *result.findings]), flush=True)
        results.append(result)
    inputs, findings = sum(r.inputs for r in results), sum(len(r.findings) for r in results)
    kept = f"; inputs in {arguments.findings}" if findings else ""
    print(
        f"fuzz: {len(results)} targets, {inputs:,} inputs, {findings} findings, --seed {arguments.seed}{kept}"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
