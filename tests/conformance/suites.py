"""Test suites of other projects, fetched when they are run, and what they said."""

import os
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.conformance.report import LIMIT, Report, Suite, SuiteError
from tests.conformance.swtpm import run_swtpm
from tests.conformance.tools import run_tools
from tests.differential.campaign import Result, run
from tests.differential.judge import Judge, Swtpm
from tests.differential.peer import VARIABLE, Peer, PeerError, chosen


def read_junit(path: Path) -> Report:
    """What pytest wrote with --junit-xml."""
    report = Report()
    for case in ET.parse(path).getroot().iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            report.failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif skip is not None:
            report.skipped[skip.get("message", "")] += 1
        else:
            report.passed += 1
    return report


def run_pytest(directory: Path, work: Path, environment: dict[str, str], *options: str) -> Report:
    """Run pytest in a directory, with its output in work/output."""
    junit = work / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "auto"]
    with (work / "output").open("wb") as output:
        done = subprocess.run(
            [*command, "--junit-xml", junit, *options],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        )
    if done.returncode not in (0, 1) or not junit.exists():
        raise SuiteError((work / "output").read_text(errors="replace")[-3000:])
    return read_junit(junit)


def run_pytss(work: Path, environment: dict[str, str]) -> Report:
    """The suite in the source distribution of tpm2-pytss, in the version that is installed."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "tpm2-pytss"]
    requirement = f"tpm2-pytss=={version('tpm2-pytss')}"
    fetched = subprocess.run(
        [*pip, "--dest", work, requirement],
        env={**os.environ, "PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if fetched.returncode != 0:
        raise SuiteError(f"pip could not fetch {requirement}: {fetched.stderr}")
    with tarfile.open(next(work.glob("tpm2_pytss-*.tar.gz"))) as archive:
        archive.extractall(work, filter="data")
    root = next(path for path in work.glob("tpm2_pytss-*") if path.is_dir())
    return run_pytest(root, work, environment, "--config-file", os.devnull, "--rootdir", ".", "test")


def run_guests(work: Path, environment: dict[str, str]) -> Report:
    """Every firmware with every TPM device, in a guest of our own lab; one comes from the real swtpm."""
    environment = {**environment, "PATH": os.environ["PATH"]}
    return run_pytest(Path.cwd(), work, environment, "-m", "conformance", "tests/guest", "tests/windows")


def run_clients(work: Path, environment: dict[str, str]) -> Report:
    """Our own flows of tpm2-tools, tpm2-pytss and tpm2-openssl, through the resource manager tpm2-abrmd."""
    return run_pytest(Path.cwd(), work, environment, "-m", "conformance", "tests/clients")


def run_vectors(work: Path, environment: dict[str, str]) -> Report:
    """The vectors and recordings of others, and the faults of other TPMs by their numbers."""
    return run_pytest(Path.cwd(), work, environment, *VECTORS)


def run_campaign(_work: Path, _environment: dict[str, str]) -> Report:
    """The recorded campaign beside swtpm: a command passes when both answer the same."""
    return beside(Swtpm(), CAMPAIGN_COMMANDS)


def run_peer(_work: Path, _environment: dict[str, str]) -> Report:
    """The same streams beside the TPM that VTPM_PEER names, as the TCG's reference simulator."""
    try:
        address = chosen()
        if address is None:
            return Report(skipped=Counter({f"{VARIABLE}=mssim:HOST:PORT names no TPM": 1}))
        return beside(Peer(*address), PEER_COMMANDS)
    except PeerError as error:
        raise SuiteError(str(error)) from error


def beside(judge: Judge, commands: int) -> Report:
    """A campaign beside another TPM, as a report."""
    try:
        result = run(CAMPAIGN_SEED, commands, judge, Result())
    finally:
        judge.close()
    differences = result.explained.total() + result.unexplained.total()
    skipped = {f"explained: {name}": count for name, count in result.explained.items()}
    skipped |= {f"{judge.title} has crashed: {name}": count for name, count in result.crashes.items()}
    return Report(
        passed=result.commands - differences,
        failed=[f"{key[0]}: {judge.title} {key[1]}, vtpm {key[2]}" for key in result.unexplained.elements()],
        skipped=Counter(skipped),
    )


VECTORS = (
    "tests/crypto",
    "tests/commands/test_recorded.py",
    "tests/commands/test_single_commands.py",
    "tests/commands/test_windows_vm.py",
    "tests/commands/test_cve.py",
    "tests/compat/test_cve.py",
    "tests/control/test_cve.py",
    "tests/foreign_state/test_formats.py",
)
CAMPAIGN_SEED, CAMPAIGN_COMMANDS, PEER_COMMANDS = 1, 120_000, 25_000

SUITES = [
    Suite("vectors", run_vectors),
    Suite("campaign", run_campaign),
    Suite("peer", run_peer),
    Suite("tpm2-pytss", run_pytss),
    Suite("tpm2-tools", run_tools),
    Suite("swtpm", run_swtpm),
    Suite("clients", run_clients),
    Suite("guests", run_guests),
]
