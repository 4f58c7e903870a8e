"""
Run the test suites of other projects against the TPM, and print what each of them found.

`python -m tests.conformance [--reference] [--work DIRECTORY] [SUITE ...]`
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.report import Report, Suite, SuiteError
from tests.conformance.suites import SUITES

WIDTH = max(len(suite.name) for suite in SUITES) + 2
"""Of the column of names."""


def environment_of(*, reference: bool) -> dict[str, str]:
    """Where the suites find a program called swtpm: ours, or the real one to show what a suite expects."""
    if reference:
        return {**os.environ, "VTPM_TEST_SERVER": "swtpm"}
    vtpm = Path(sys.executable).with_name("vtpm")
    directory = subprocess.run(
        [vtpm, "compat-dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


@contextmanager
def place_of(suite: Suite, kept: Path | None) -> Iterator[Path]:
    """The directory in which a suite runs: a temporary one, unless it is to be kept."""
    if kept is not None:
        place = kept.absolute() / suite.name
        place.mkdir(parents=True)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="vtpm-conformance-") as work:
        yield Path(work)


def print_report(suite: Suite, report: Report, seconds: float) -> None:
    """One line of the table, and a line for each failure and each reason to skip."""
    numbers = f"{report.passed:>8}{len(report.failed):>8}{report.skipped.total():>9}"
    print(f"{suite.name:<{WIDTH}}{numbers}{seconds:>8.0f} s", flush=True)
    for name in report.failed:
        print(f"    failed: {name}")
    for reason, count in report.skipped.most_common():
        print(f"    skipped: {count}: {reason}")


def main() -> int:
    """Exit with 1 when a test fails, or a suite does not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--reference", action="store_true", help="run against swtpm instead")
    parser.add_argument("--work", type=Path, help="keep what the suites leave behind in this new directory")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(suite.name for suite in SUITES))
    arguments = parser.parse_args()
    unknown = set(arguments.suites) - {suite.name for suite in SUITES}
    if unknown:
        parser.error(f"unknown suite: {', '.join(sorted(unknown))}")
    environment = environment_of(reference=arguments.reference)

    print(f"{'suite':<{WIDTH}}{'passed':>8}{'failed':>8}{'skipped':>9}{'time':>10}")
    complete = True
    for suite in SUITES:
        if arguments.suites and suite.name not in arguments.suites:
            continue
        began = time.monotonic()
        with place_of(suite, arguments.work) as work:
            try:
                report = suite.run(work, environment)
            except SuiteError as error:
                print(f"{suite.name:<{WIDTH}}did not run: {error}")
                complete = False
                continue
        print_report(suite, report, time.monotonic() - began)
        complete = complete and not report.failed
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
