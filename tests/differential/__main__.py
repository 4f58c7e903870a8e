"""
Send the same random commands to another TPM and to this one, and compare what they answer.

The other is swtpm, or what VTPM_PEER=mssim:HOST:PORT names, all of whose state is deleted.

`python -m tests.differential [--commands N] [--seed S] [--examples] [--coverage]`
"""

import argparse
import sys
import time

from tests.differential.campaign import Result, run
from tests.differential.coverage import missing, summary
from tests.differential.judge import HAS_SWTPM, Judge, Swtpm, version
from tests.differential.peer import Peer, PeerError, chosen


def found_judge() -> Judge:
    """The peer that the caller names, or swtpm; PeerError if there is none."""
    address = chosen()
    if address is not None:
        return Peer(*address)
    if not HAS_SWTPM:
        raise PeerError("swtpm is not installed; install the package swtpm, or name a TPM in VTPM_PEER")
    return Swtpm()


def print_instances(result: Result, name: str, other: str) -> None:
    """What a row of the table has explained."""
    for (row, key), count in result.instances.most_common():
        if row == name:
            print(f"{count:>14}  {key[0]}: {other} {key[1]}, vtpm {key[2]} ({key[3]})")


def main() -> int:
    """Exit with 1 when a difference is not explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--commands", type=int, default=100_000, help="how many to send at least")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first stream")
    parser.add_argument("--examples", action="store_true", help="show the commands that led to a difference")
    parser.add_argument("--coverage", action="store_true", help="show the listed response codes not met")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        judge = found_judge()
    except PeerError as error:
        print(error)
        return 1
    try:
        result = run(arguments.seed, arguments.commands, judge, Result())
    except PeerError as error:
        print(error)
        return 1
    finally:
        judge.close()
    other = judge.title
    for key, count in result.unexplained.most_common():
        print(f"{count:>6}  {key[0]}: {other} {key[1]}, vtpm {key[2]} ({key[3]})")
        if arguments.examples:
            print(result.examples[key])
    for name, count in result.explained.most_common():
        print(f"{count:>6}  explained: {name}")
        if arguments.examples:
            print_instances(result, name, other)
    for name, count in result.crashes.items():
        print(f"{count:>6}  {other} has crashed: {name} ({result.crash_examples[name]})")
    if arguments.coverage:
        print("\n".join(missing(result.met)))
    print(
        f"differential: {result.commands} commands of {len(result.seen)} kinds in {result.streams} streams, "
        f"{result.damaged} damaged, {result.successes} succeeded; "
        f"{result.explained.total()} explained differences, {result.unexplained.total()} unexplained; "
        f"{result.crashes.total()} crashes of {other}; "
        f"{summary(result.met)}; "
        f"{version() if isinstance(judge, Swtpm) else judge.title}, "
        f"seed {arguments.seed}, {time.monotonic() - began:.0f} s"
    )
    return 1 if result.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
