"""Test suites of other projects, fetched when they are run, and what they said."""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.conformance.report import LIMIT, Report, Suite, SuiteError
from tests.conformance.swtpm import run_swtpm
from tests.conformance.tools import run_tools


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
    """Every firmware with every TPM device, in a guest of our own lab."""
    return run_pytest(Path.cwd(), work, environment, "-m", "conformance", "tests/guest")


def run_clients(work: Path, environment: dict[str, str]) -> Report:
    """Our own flows of tpm2-tools, tpm2-pytss and tpm2-openssl, through the resource manager tpm2-abrmd."""
    return run_pytest(Path.cwd(), work, environment, "-m", "conformance", "tests/clients")


SUITES = [
    Suite("tpm2-pytss", run_pytss),
    Suite("tpm2-tools", run_tools),
    Suite("swtpm", run_swtpm),
    Suite("clients", run_clients),
    Suite("guests", run_guests),
]
