"""The source of a program that is installed from Debian's packages."""

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.report import LIMIT, SuiteError


@dataclass(frozen=True)
class Source:
    """
    A source package.

    `variable` may name an unpacked tree instead, for a machine on which apt has no source packages.
    """

    package: str
    variable: str

    def fetch(self, work: Path) -> Path:
        """The root of the source of the package that is installed."""
        given = os.environ.get(self.variable)
        if given:
            root = work / "source"
            shutil.copytree(Path(given), root, symlinks=True)
            return root
        version = _output("dpkg-query", "-W", "-f", "${source:Version}", self.package)
        lists = work / "apt"
        (lists / "lists/partial").mkdir(parents=True)
        (lists / "archives/partial").mkdir(parents=True)
        targets = _output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)")
        sources = lists / "sources.list"
        sources.write_text("".join(f"deb-src {target}\n" for target in sorted(set(targets.splitlines()))))
        apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"]
        apt += ["-o", f"Dir::State::lists={lists / 'lists'}", "-o", f"Dir::Cache={lists}"]
        apt += ["-o", "Acquire::Languages=none"]
        try:
            _output(*apt, "update")
            _output(*apt, "source", "--download-only", f"{self.package}={version}", directory=work)
        except SuiteError as error:
            raise SuiteError(
                f"{error}\nOr set {self.variable} to an unpacked source tree of {self.package}."
            ) from None
        with tarfile.open(next(work.glob(f"{self.package}_*.orig.tar.*"))) as archive:
            archive.extractall(work, filter="data")
        return next(path for path in work.glob(f"{self.package}-*") if path.is_dir())


def _output(*command: str, directory: Path | None = None) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise SuiteError(f"{command[0]} {command[-1]}: {done.stderr.strip()[-1500:]}")
    return done.stdout
