"""
Send the same random commands to swtpm and to this TPM, and compare what they answer.

`python -m tests.differential [--commands N] [--seed S] [--examples]`
"""

import argparse
import sys
import time

from tests.differential.campaign import Result, run
from tests.differential.judge import HAS_SWTPM, Swtpm, version


def main() -> int:
    """Exit with 1 when a difference is not explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--commands", type=int, default=100_000, help="how many to send at least")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first stream")
    parser.add_argument("--examples", action="store_true", help="show the commands that led to a difference")
    arguments = parser.parse_args()
    if not HAS_SWTPM:
        print("swtpm is not installed; install the package swtpm")
        return 1
    began = time.monotonic()
    judge = Swtpm()
    try:
        result = run(arguments.seed, arguments.commands, judge, Result())
    finally:
        judge.close()
    for key, count in result.unexplained.most_common():
        print(f"{count:>6}  {key[0]}: swtpm {key[1]}, vtpm {key[2]} ({key[3]})")
        if arguments.examples:
            print(result.examples[key])
    for name, count in result.explained.most_common():
        print(f"{count:>6}  explained: {name}")
    print(
        f"differential: {result.commands} commands of {len(result.seen)} kinds in {result.streams} streams, "
        f"{result.damaged} damaged, {result.successes} succeeded; "
        f"{result.explained.total()} explained differences, {result.unexplained.total()} unexplained; "
        f"swtpm {version()}, seed {arguments.seed}, {time.monotonic() - began:.0f} s"
    )
    return 1 if result.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
