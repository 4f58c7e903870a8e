"""An installation beside the hypervisor that libvirt has for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nvstore import Host
from vtpm.cli.main import cli

libvirt = pytest.importorskip("libvirt", reason="the extra `libvirt` is not installed")

URI = "test:///default"
UUID = "0b4ff7d3-9d6f-4d1c-8e4a-0d9c2a5f3b10"
TRANSIENT = f"""<domain type='test'><name>guest</name><uuid>{UUID}</uuid><memory>8192</memory>
<os><type arch='x86_64'>hvm</type></os><devices><memballoon model='none'/></devices></domain>"""
EMULATED = TRANSIENT.replace(
    "<memballoon", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm><memballoon"
)


class Lab:
    """An installation, and a connection that keeps the hypervisor of this process alive."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.connection = libvirt.open(URI)
        self.host = Host(directory / "state")
        self.host.providers.init("main")
        self.socket = f"{directory}/run/guest.sock"

    def run(self, *words: str) -> Result:
        """Run a command."""
        places = ["--state-dir", str(self.directory / "state"), "--run-dir", str(self.directory / "run")]
        return CliRunner().invoke(cli, [*places, *words], catch_exceptions=False)

    def attach(self, *words: str) -> Result:
        """Attach a bare TPM."""
        return self.run("attach", "guest", "--connect", URI, "--bare", "--allow-unverified", *words)

    def define(self, text: str = TRANSIENT) -> Any:
        """Define a domain."""
        return self.connection.defineXML(text)

    def names(self) -> dict[str, str]:
        """The TPMs by UUID."""
        return {str(state.vm): state.name for state in self.host.list_states()}


@contextmanager
def new_lab(directory: Path) -> Iterator[Lab]:
    """A new installation, and a hypervisor without a domain called guest."""
    lab = Lab(directory)
    yield lab
    for domain in lab.connection.listAllDomains():
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            if UUID in {found.UUIDString() for found in lab.connection.listAllDomains()}:
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
    lab.connection.close()
