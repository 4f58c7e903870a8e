"""Seals by systemd's credentials, where there is systemd-creds."""

import json
import os
import shutil
from pathlib import Path

import pytest

from nvstore import SealFailed
from nvstore.seal import programs
from nvstore.seal.programs import ProgramFailed, run_program
from nvstore.seal.systemd import SystemdSealer
from tests.nvstore.conftest import BLOBS, VM, host_at, verify


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("systemd-creds") is None or os.geteuid() != 0, reason="needs systemd-creds, as root"
)
def test_life(tmp_path: Path) -> None:
    """Another process opens the provider unasked; a credential under another name does not open."""
    host = host_at(tmp_path / "host")
    host.providers.init("main", seals=[SystemdSealer("host")])
    verify(host, "main", tmp_path / "b")
    host.create_state(VM, "guest", BLOBS).close()
    assert host.providers.show("main").seal == "systemd-creds"
    with host_at(tmp_path / "host").open_state(VM) as store:
        assert store.load() == BLOBS
    path = tmp_path / "host/providers/main.provider"
    content = path.read_text()
    seal = json.loads(content)["keys"][0]["seals"][0]
    for field in ("name", "credential"):
        path.write_text(content.replace(seal[field], "A" + seal[field][1:]))
        with pytest.raises(SealFailed, match="systemd"):
            host_at(tmp_path / "host").open_state(VM)


def test_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program is not installed, the error says so."""
    monkeypatch.setattr(programs, "DIRECTORIES", (str(tmp_path),))
    with pytest.raises(SealFailed, match="systemd-creds is not installed"):
        host_at(tmp_path / "host").providers.init("main", seals=[SystemdSealer()])


class TestPrograms:
    """`run_program`"""

    def test_pipes(self) -> None:
        """What is given comes through a pipe."""
        assert run_program(["cat"], b"given") == b"given"

    def test_failure(self) -> None:
        """The last line of what a program says is the reason."""
        with pytest.raises(ProgramFailed, match=r"^why$"):
            run_program(["sh", "-c", "echo first >&2; echo why >&2; exit 3"], b"")
        with pytest.raises(ProgramFailed, match="no reason"):
            run_program(["false"], b"")
