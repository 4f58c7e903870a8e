"""
A key provider is made, backed up, handed to another host; a VM moves; the origin is lost; keys are rotated.

`python -m examples.key_provider`
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from examples.demo.narrator import Narrator
from examples.key_provider.guest import seal, unseal

VTPM = Path(sys.executable).with_name("vtpm")
SECRET = b"the key of the guest's disk"
LIMIT = 60.0


class UnexpectedError(AssertionError):
    """Something did not come out as it must."""


def require(condition: object, text: str) -> None:
    """Raise UnexpectedError unless the condition holds."""
    if not condition:
        raise UnexpectedError(text)


class Machine:
    """A host, as a directory: its states, its seals and the program `vtpm`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.state = directory / name
        self.name = name

    def vtpm(self, *words: str | Path, status: int = 0) -> str:
        """Run `vtpm` to its expected end; what it said."""
        done = subprocess.run(
            [VTPM, "--state-dir", self.state, "--run-dir", self.state / "run", *words],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        require(done.returncode == status, f"vtpm {' '.join(map(str, words))}: {done.stderr or done.stdout}")
        return done.stderr if status else done.stdout

    def json(self, *words: str | Path) -> Any:
        """What it says in JSON."""
        return json.loads(self.vtpm(*words, "--json"))


class Life:
    """The steps, in their order."""

    def __init__(self, directory: Path) -> None:
        self.tell = Narrator()
        self.directory = directory
        self.oslo, self.bergen, self.tromso = (
            Machine(directory, name) for name in ("oslo", "bergen", "tromso")
        )
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text("a recovery passphrase, kept on paper")
        self.passphrase.chmod(0o600)
        self.disk: dict[str, object] = {}
        self.kdk_id = ""

    def run(self) -> None:
        """All of them."""
        began = time.monotonic()
        self.make()
        self.push()
        self.move()
        self.lose_origin()
        self.rotate()
        self.clone()
        self.tamper()
        self.tell.say(f"All shown in {time.monotonic() - began:.0f} s.")

    def make(self) -> None:
        """A provider is of use after its backup was read back."""
        with self.tell.step("oslo: a provider is made, backed up and verified; a VM seals a secret"):
            self.oslo.vtpm("provider", "init", "north")
            refused = self.oslo.vtpm("create", "guest", "--bare", status=1)
            self.tell.found(f"before a verified backup: {refused.strip().removeprefix('vtpm: ')}")
            self.backup("first")
            self.kdk_id = self.oslo.json("provider", "show", "north")["kdk_id"]
            self.tell.found(f"active, key {self.kdk_id}")
            self.oslo.vtpm("create", "guest", "--bare")
            self.disk = seal(self.oslo.state, "guest", SECRET)

    def backup(self, name: str) -> None:
        """Back up the provider of oslo, and read the file back."""
        file = self.directory / f"{name}.backup"
        secret = ("--passphrase-file", self.passphrase)
        self.oslo.vtpm("provider", "backup", "north", "--out", file, *secret)
        self.oslo.vtpm("provider", "verify", file, *secret)

    def push(self) -> None:
        """The keys reach bergen encrypted to its identity, and bergen proves that it has them."""
        with self.tell.step("bergen: enrolled, the provider pushed to it and acknowledged"):
            identity, package, receipt = (
                self.directory / name for name in ("identity", "package", "receipt")
            )
            shown = self.bergen.json("provider", "enroll", "--out", identity)["host_id"]
            known = ("--to", identity, "--host-id", shown)
            self.oslo.vtpm("provider", "push", "north", *known, "--out", package)
            self.bergen.vtpm("provider", "receive", package, "--kdk-id", self.kdk_id, "--out", receipt)
            self.oslo.vtpm("provider", "acknowledge", receipt)
            self.tell.found(
                f"the same key on both: {self.bergen.json('provider', 'show', 'north')['kdk_id']}"
            )

    def move(self) -> None:
        """A VM's state goes from host to host as a bundle under the provider."""
        with self.tell.step("the VM moves from oslo to bergen"):
            bundle = self.directory / "guest.bundle"
            self.oslo.vtpm("state", "export", "guest", "--out", bundle)
            self.bergen.vtpm("state", "test", bundle)
            self.bergen.vtpm("state", "import", bundle)
            require(unseal(self.bergen.state, "guest", self.disk) == SECRET, "bergen does not unseal")
            self.tell.found("the guest unseals its disk key there")

    def lose_origin(self) -> None:
        """Nothing of a host is needed but the backup and its passphrase."""
        with self.tell.step("oslo burns down; tromso takes its place from the backup"):
            bundle = self.directory / "guest.bundle"
            shutil.rmtree(self.oslo.state)
            secret = ("--passphrase-file", self.passphrase)
            file = self.directory / "first.backup"
            self.tromso.vtpm("provider", "restore", file, "--dry-run", *secret)
            self.tromso.vtpm("provider", "restore", file, *secret)
            self.tromso.vtpm("provider", "verify", file, *secret)
            self.tromso.vtpm("state", "import", bundle)
            self.tromso.vtpm("provider", "drill", file, *secret)
            require(unseal(self.tromso.state, "guest", self.disk) == SECRET, "tromso does not unseal")
            self.tell.found("the guest unseals there; a drill of the backup decrypts its real state")

    def rotate(self) -> None:
        """A new key in two phases, and every VM under it."""
        with self.tell.step("tromso: the key is rotated, the VM rekeyed"):
            secret = ("--passphrase-file", self.passphrase)
            file = self.directory / "second.backup"
            self.tromso.vtpm("provider", "rotate", "north")
            self.tromso.vtpm("provider", "backup", "north", "--out", file, *secret)
            self.tromso.vtpm("provider", "verify", file, *secret)
            self.tromso.vtpm("provider", "rotate", "north", "--promote")
            self.tromso.vtpm("rekey", "--all")
            new = self.tromso.json("provider", "show", "north")["kdk_id"]
            require(new != self.kdk_id, "the key is the old one")
            require(self.tromso.json("show", "guest")["kdk_id"] == new, "the VM is under the old key")
            require(unseal(self.tromso.state, "guest", self.disk) == SECRET, "the rekeyed VM does not unseal")
            self.tell.found(f"from {self.kdk_id} to {new}; the guest unseals")

    def clone(self) -> None:
        """What a clone of the disks can open is the operator's choice."""
        with self.tell.step("tromso: clones of the VM"):
            self.tromso.vtpm("state", "clone", "guest", "forked", "--how", "fork")
            self.tromso.vtpm("state", "clone", "guest", "replaced", "--how", "replace")
            require(unseal(self.tromso.state, "forked", self.disk) == SECRET, "the fork does not unseal")
            require(unseal(self.tromso.state, "replaced", self.disk) is None, "the replaced TPM unseals")
            self.tell.found("the fork opens what the origin sealed, under an identity of its own")
            self.tell.found("the replaced one has nothing of the origin, and opens nothing of it")

    def tamper(self) -> None:
        """Altered, transplanted and rolled back states are refused by name."""
        with self.tell.step("tromso: tampering"):
            states = {vm["name"]: self.tromso.state / "states" / f"{vm['vm']}.state" for vm in self.vms()}
            here, whole = states["guest"], states["guest"].read_bytes()
            unseal(self.tromso.state, "guest", self.disk)
            newest = here.read_bytes()
            for what, octets in (
                ("another VM's state in its place", states["forked"].read_bytes()),
                ("the state of yesterday", whole),
                ("octets changed", bytes(b ^ 1 for b in newest)),
            ):
                here.write_bytes(octets)
                said = self.tromso.vtpm("state", "verify", "guest", status=1)
                self.tell.found(f"{what}: {said.strip().removeprefix('vtpm: ')}")
            here.write_bytes(newest)
            require(unseal(self.tromso.state, "guest", self.disk) == SECRET, "the restored state fails")
            self.tromso.vtpm("audit", "verify")
            self.tell.found("the newest state put back: it opens; the audit log is whole")

    def vms(self) -> list[dict[str, Any]]:
        """The VMs of tromso."""
        found: list[dict[str, Any]] = self.tromso.json("list")
        return found


def main() -> None:
    """Walk through it in a directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="vtpm-key-provider-") as directory:
        Life(Path(directory)).run()


if __name__ == "__main__":
    main()
