"""vtpm/testing/plugin.py: as other projects use it."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

REPORT = (
    "from pathlib import Path\ndef note(tpm):\n    octets = tpm.get_random(bytes_requested=16).random_bytes\n"
)
REPORT += "    with Path('seen').open('a') as seen:\n        print(octets.hex(), file=seen)\n"


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run tests with the plugin, with warnings as errors."""

    def run(source: str, *words: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=source)
        # Not by its entry point, whose other name pytest would take for another plugin.
        plugin = ["-p", "no:vtpm", "-p", "vtpm.testing.plugin", "-p", "no:cacheprovider"]
        return pytester.runpytest(*plugin, "-W", "error", "--strict-markers", *words)

    return run


def test_entry_point() -> None:
    """Pytest finds the plugin by itself where this project is installed."""
    (plugin,) = (point for point in entry_points(group="pytest11") if point.name == "vtpm")

    assert plugin.value == "vtpm.testing.plugin"


@pytest.mark.slow
def test_cheap() -> None:
    """The plugin loads no part of a TPM, for pytest loads it in every run."""
    program = "import sys, pytest; before = set(sys.modules); import vtpm.testing.plugin\n"
    program += "print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['vtpm', 'vtpm.testing', 'vtpm.testing.plugin']"


class TestFixtures:
    """The fixtures `tpm` and `tpm_server`"""

    def test_tpm(self, run: Run) -> None:
        """One line gives a TPM that answers."""
        result = run("def test(tpm):\n    assert len(tpm.get_random(bytes_requested=8).random_bytes) == 8\n")

        result.assert_outcomes(passed=1)

    def test_server(self, run: Run) -> None:
        """One line gives a TPM at ports, and nothing is left open."""
        result = run(
            "import socket\n"
            "def test(tpm_server):\n"
            "    assert tpm_server.mssim.startswith('mssim:host=127.0.0.1,port=')\n"
            "    with socket.create_connection((tpm_server.host, tpm_server.swtpm_port), 20) as client:\n"
            "        client.sendall(bytes.fromhex('80010000000c000001440000'))\n"
            "        assert client.recv(100).hex() == '80010000000a00000100'\n"
        )

        result.assert_outcomes(passed=1)

    def test_marker(self, run: Run, pytester: pytest.Pytester) -> None:
        """The marker chooses the seed, and whether the TPM is started."""
        result = run(
            f"import pytest\n{REPORT}"
            "@pytest.mark.tpm(seed=b'a')\ndef test_1(tpm):\n    note(tpm)\n"
            "@pytest.mark.tpm(seed='a')\ndef test_2(tpm):\n    note(tpm)\n"
            "def test_3(tpm):\n    note(tpm)\n"
            "@pytest.mark.tpm(start=False)\n"
            "def test_4(tpm):\n    assert tpm.get_random(bytes_requested=8).rc == 0x100\n"
        )

        result.assert_outcomes(passed=4)
        first, second, third = (pytester.path / "seen").read_text().split()
        assert first == second != third

    @pytest.mark.parametrize(
        ("mark", "message"),
        [
            ("b'a'", "the marker tpm takes profile, seed, start, each by name"),
            ("sed=1", "the marker tpm takes profile, seed, start, each by name"),
            ("profile='none'", "there is no profile none; there are *default*"),
        ],
    )
    def test_wrong_marker(self, run: Run, mark: str, message: str) -> None:
        """A marker that says something else is an error that says what it may say."""
        result = run(f"import pytest\n@pytest.mark.tpm({mark})\ndef test(tpm):\n    pass\n")

        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"*{message}*"])

    def test_profile(self, run: Run) -> None:
        """The profile is chosen by its name or given itself."""
        result = run(
            "import pytest\n"
            "from dataclasses import replace\n"
            "from vtpm import DEFAULT\n"
            "@pytest.mark.tpm(profile=replace(DEFAULT, name='small', transient_slots=3))\n"
            "def test_1(tpm):\n    assert tpm.tpm.profile.transient_slots == 3\n"
            "def test_2(tpm):\n    assert tpm.tpm.profile == DEFAULT\n",
            "--tpm-profile=default",
        )

        result.assert_outcomes(passed=2)


class TestSeed:
    """A run draws its own seed, unless it is told one"""

    TESTS = f"{REPORT}def test_1(tpm):\n    note(tpm)\ndef test_2(tpm):\n    note(tpm)\n"

    def seen(self, pytester: pytest.Pytester) -> list[str]:
        """What the tests of one run have noted."""
        path = pytester.path / "seen"
        noted = path.read_text().split()
        path.unlink()
        return noted

    def test_fresh(self, run: Run, pytester: pytest.Pytester) -> None:
        """Every run and every test has another TPM."""
        runs = []
        for _ in range(2):
            run(self.TESTS).assert_outcomes(passed=2)
            runs += self.seen(pytester)

        assert len(set(runs)) == 4

    @pytest.mark.parametrize("source", ["option", "ini"])
    def test_told(self, run: Run, pytester: pytest.Pytester, source: str) -> None:
        """A test has the same TPM in every run with the same seed, even if it runs alone."""
        words = ["--tpm-seed=1"] if source == "option" else []
        if source == "ini":
            pytester.makeini("[pytest]\ntpm_seed = 1\n")
        run(self.TESTS, *words).assert_outcomes(passed=2)
        first, second = self.seen(pytester)
        run(self.TESTS, *words, "-k", "test_2").assert_outcomes(passed=1, deselected=1)

        assert first != second
        assert self.seen(pytester) == [second]

    def test_failure_can_be_repeated(self, run: Run, pytester: pytest.Pytester) -> None:
        """The report of a failed test says how to repeat it."""
        source = f"{REPORT}def test(tpm):\n    note(tpm)\n    assert False\n"
        result = run(source)
        result.assert_outcomes(failed=1)
        (hint,) = (line for line in result.outlines if "--tpm-seed=" in line)
        run(source, hint.split()[-1]).assert_outcomes(failed=1)

        first, second = self.seen(pytester)
        assert first == second
