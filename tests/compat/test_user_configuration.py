"""A user's own swtpm_setup.conf (swtpm_setup.8, --create-config-files)."""

import os
from pathlib import Path

import pytest

from vtpm.compat.arguments import ArgumentError
from vtpm.compat.setup_arguments import parse, read_configuration
from vtpm.compat.user_configuration import create_configuration


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is for somebody who is not root."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path / "config/swtpm_setup.conf"


def test_made(path: Path) -> None:
    """It is found before the system's, and names no tool for certificates."""
    create_configuration("skip-if-exist")

    assert path.exists()
    assert read_configuration(parse([])) == {"active_pcr_banks": "sha256"}


def test_home(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_CONFIG_HOME it is in ~/.config."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    create_configuration("skip-if-exist")

    assert not path.exists()
    assert (tmp_path / "home/.config/swtpm_setup.conf").exists()


def test_there_already(path: Path) -> None:
    """What a user has is kept, unless it is to be overwritten."""
    path.parent.mkdir()
    path.write_text("active_pcr_banks = sha384\n")
    create_configuration("skip-if-exist")
    with pytest.raises(ArgumentError, match="exists; give overwrite or skip-if-exist"):
        create_configuration("")
    assert path.read_text() == "active_pcr_banks = sha384\n"

    create_configuration("overwrite")
    assert "sha256" in path.read_text()


def test_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root says so, as with swtpm, lest a user's file be made for the wrong one."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ArgumentError, match="give root besides"):
        create_configuration("skip-if-exist")
    assert not path.exists()

    create_configuration("skip-if-exist,root")
    assert path.exists()


@pytest.mark.parametrize("text", ["skip", "overwrite,other"])
def test_unknown(path: Path, text: str) -> None:
    """Another word is refused."""
    with pytest.raises(ArgumentError, match="give overwrite or skip-if-exist"):
        create_configuration(text)
    assert not path.exists()


def test_not_writable(path: Path) -> None:
    """Where it cannot be written, the path is named."""
    path.parent.write_text("no directory")
    with pytest.raises(ArgumentError, match=str(path)):
        create_configuration("skip-if-exist")
