"""The integration scripts of tpm2-tools: its source package, and one process for each script."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.report import LIMIT, Report, SuiteError
from tests.conformance.source import Source

SCRIPT_LIMIT = 300
"""Seconds that one script may take; the longest takes a quarter of that against swtpm."""

WORKERS = 4 * (os.cpu_count() or 1)
"""Scripts at once: each sleeps for most of its time."""

SKIP_STATUS = 77
"""The status of a script that skips itself, as automake has it."""

SOURCE = Source("tpm2-tools", "TPM2_TOOLS_SOURCE")

FAILED = " failed: "
"""What stands in the line with which a script gives up."""

NEEDED = ("tpm2", "tss2", "tpm2-abrmd", "dbus-run-session", "expect", "ss", "xxd", "openssl")
"""Programs that the scripts run."""


def run_tools(work: Path, environment: dict[str, str]) -> Report:
    """
    Every script, with a simulator, a resource manager and a message bus of its own.

    The scripts leave objects in the TPM, more than it has room for: they need the resource manager.
    """
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        raise SuiteError(f"install {', '.join(missing)}: the scripts run them")
    integration = SOURCE.fetch(work) / "test/integration"
    scripts = [*sorted(integration.glob("tests/*.sh")), *sorted(integration.glob("fapi/*.sh"))]
    if not scripts:
        raise SuiteError(f"{integration} has no scripts")
    settings = {
        **environment,
        "TPM2_SIM": "swtpm",
        "TPM2_ABRMD": "tpm2-abrmd",
        "PATH": f"{integration}:{environment['PATH']}",
        "TPM2_TOOLS_TEST_FIXTURES": str(integration / "fixtures"),
        "TPM2TOOLS_TEST_PERSISTENT": "false",
        "PYTHON": python_with_yaml(environment),
        "abs_srcdir": str(integration.parents[1]),
        "abs_builddir": str(integration.parents[1]),
        "srcdir": str(integration.parents[1]),
        "TMPDIR": str(work),
    }
    logs = work / "logs"
    logs.mkdir()

    def run(script: Path) -> str | None:
        command = ["dbus-run-session", "--", "bash", str(script.relative_to(integration))]
        return run_script(command, integration, logs / script.stem, settings)

    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = dict(zip(scripts, pool.map(run, scripts), strict=True))
    return report_of(outcomes)


def report_of(outcomes: dict[Path, str | None]) -> Report:
    """The report of scripts that passed (None), skipped themselves, or failed with a text."""
    report = Report()
    for script, outcome in outcomes.items():
        if outcome is None:
            report.passed += 1
        elif outcome.startswith("skip: "):
            report.skipped += Counter([f"{script.stem}: {outcome.removeprefix('skip: ')}"])
        else:
            report.failed.append(f"{script.stem}: {outcome}")
    return report


def run_script(command: list[str], directory: Path, log: Path, environment: dict[str, str]) -> str | None:
    """Run one script; None if it passed, else why not, from the end of what it wrote."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            status = process.wait(SCRIPT_LIMIT)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process.pid)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if status == 0:
        return None
    if status == SKIP_STATUS:
        return f"skip: {next((line for line in lines if 'skip' in line.lower()), 'no reason given')}"
    if status is None:
        return f"did not end within {SCRIPT_LIMIT} s"
    return reason_of(lines)


def end_group(leader: int) -> None:
    """End what a script left behind: simulators and resource managers of its own session."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def reason_of(lines: list[str]) -> str:
    """The command that failed, and the last error before it; else the last line."""
    said = [number for number, line in enumerate(lines) if FAILED in line]
    if not said:
        return lines[-1] if lines else "no output"
    errors = [line for line in lines[: said[0]] if line.startswith("ERROR")]
    return " / ".join([lines[said[0]], *errors[-1:]])


def python_with_yaml(environment: dict[str, str]) -> str:
    """An interpreter that has the module yaml, with which the scripts read what tools print."""
    for candidate in (sys.executable, "/usr/bin/python3", "python3"):
        path = shutil.which(candidate, path=environment["PATH"])
        if path is not None and _succeeds(path, "-c", "import yaml"):
            return path
    raise SuiteError("no Python has the module yaml: install python3-yaml")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=LIMIT, check=False).returncode == 0
