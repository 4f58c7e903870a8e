"""`vtpm attach`, `detach` and `status`, with the hypervisor that libvirt has for tests."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.libvirt.lab import EMULATED, TRANSIENT, URI, UUID, Lab, libvirt
from vtpm.cli.access import access_problem
from vtpm.cli.place import Place
from vtpm.libvirt.hypervisor import User

pytestmark = pytest.mark.slow


class TestAttach:
    """A domain gets a TPM"""

    def test_persistent(self, lab: Lab) -> None:
        """The TPM is bound to the domain's UUID, its socket is in the definition; again, nothing changes."""
        domain = lab.define()

        first, again = lab.attach(), lab.attach()

        assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
        assert lab.names() == {UUID: "guest"}
        assert f"<source type='unix' mode='connect' path='{lab.socket}'/>" in domain.XMLDesc()

    def test_dry_run(self, lab: Lab) -> None:
        """A dry run shows the change and makes none."""
        domain = lab.define()
        before = domain.XMLDesc()

        shown = lab.attach("--dry-run")

        assert (
            f"+        <source type='unix' mode='connect' path='{lab.socket}'/>" in shown.stdout.splitlines()
        )
        assert (lab.names(), domain.XMLDesc()) == ({}, before)

    @pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["made", "dry run"])
    def test_no_external(self, lab: Lab, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
        """Where libvirt offers no such TPM, for want of swtpm's programs, nothing is made."""
        domain = lab.define()
        before, rng = domain.XMLDesc(), "<rng supported='yes'><enum name='backendModel'></enum></rng>"
        tpm = "<tpm supported='yes'><enum name='backendModel'><value>passthrough</value>{}</enum></tpm>"
        told = rng + tpm
        asked: list[tuple[str | None, ...]] = []

        def capabilities(_: object, *given: str | None) -> str:
            asked.append(given)
            return told

        monkeypatch.setattr(libvirt.virConnect, "getDomainCapabilities", capabilities)
        refused = lab.attach(*words)

        assert refused.exit_code == 1
        assert "install Debian's packages swtpm and swtpm-tools" in refused.stderr
        assert (lab.names(), domain.XMLDesc()) == ({}, before)
        assert asked == [(None, "x86_64", None, "test")]
        told = told.format("<value>external</value>")
        assert lab.attach(*words).exit_code == 0

    def test_running(self, lab: Lab) -> None:
        """For a domain that runs, the change is said to need another start."""
        domain = lab.define()
        domain.create()

        result = lab.attach()

        assert "shut down and started again" in result.stderr
        assert lab.socket in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)

    def test_transient(self, lab: Lab) -> None:
        """The definition of a transient domain is printed, for its next creation."""
        domain = lab.connection.createXML(TRANSIENT)
        assert not domain.isPersistent()

        result = lab.attach()
        domain.destroy()
        domain = lab.connection.createXML(result.stdout)

        assert lab.names() == {UUID: "guest"}
        assert lab.socket in domain.XMLDesc()

    def test_file(self, lab: Lab) -> None:
        """A definition in a file is printed with the TPM."""
        file = lab.directory / "guest.xml"
        file.write_text(TRANSIENT)

        result = lab.run("attach", "--file", str(file), "--bare", "--allow-unverified")

        assert lab.socket in result.stdout
        assert lab.names() == {UUID: "guest"}
        assert file.read_text() == TRANSIENT

    def test_other_name(self, lab: Lab) -> None:
        """A TPM may have another name than its domain, and keeps it."""
        lab.define()

        assert lab.attach("--name", "other").exit_code == 0
        assert lab.attach().exit_code == 0
        assert lab.attach("--name", "guest").exit_code == 2
        assert lab.names() == {UUID: "other"}

    def test_emulator_with_state(self, lab: Lab) -> None:
        """An emulator's state is not left behind: the message says how to import it."""
        domain = lab.define(EMULATED)
        state = lab.directory / "emulators" / UUID / "tpm2"
        state.mkdir(parents=True)
        (state / "tpm2-00.permall").touch()

        refused = lab.attach()

        assert refused.exit_code == 1
        assert f"vtpm import-swtpm {state} guest --uuid {UUID}" in refused.stderr
        assert "emulator" in domain.XMLDesc()
        assert lab.names() == {}

        (state / "states").mkdir()
        assert f"vtpm --state-dir {state} state export" in lab.attach().stderr

    def test_saved(self, lab: Lab) -> None:
        """A saved domain goes on with the TPM it had, so it is refused."""
        domain = lab.define()
        domain.create()
        domain.managedSave()

        refused = lab.attach()

        assert "is saved" in refused.stderr
        assert lab.names() == {}
        domain.managedSaveRemove()

    def test_snapshots(self, lab: Lab) -> None:
        """A snapshot has the definition of its time, which is told."""
        lab.define().snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>")

        assert "has snapshots (before)" in lab.attach().stderr

    def test_unknown(self, lab: Lab) -> None:
        """What libvirt says is passed on."""
        refused = lab.attach()

        assert refused.exit_code == 1
        assert "Domain not found" in refused.stderr

    def test_elsewhere(self, lab: Lab) -> None:
        """The TPMs of another host are not here."""
        refused = lab.run("attach", "guest", "--connect", "qemu+ssh://elsewhere/system")

        assert "another host" in refused.stderr


class TestDetach:
    """A domain loses its TPM"""

    def test_kept(self, lab: Lab) -> None:
        """The TPM stays, for it to be attached again."""
        domain = lab.define()
        before = domain.XMLDesc()
        lab.attach()

        dry = lab.run("detach", "guest", "--connect", URI, "--dry-run")
        result = lab.run("detach", "guest", "--connect", URI)

        assert f"-        <source type='unix' mode='connect' path='{lab.socket}'/>" in dry.stdout.splitlines()
        assert result.exit_code == 0
        assert domain.XMLDesc() == before
        assert lab.names() == {UUID: "guest"}

    def test_not_ours(self, lab: Lab) -> None:
        """A TPM of somebody else's stays."""
        domain = lab.define(EMULATED)

        assert lab.run("detach", "guest", "--connect", URI).exit_code == 1
        assert "emulator" in domain.XMLDesc()


class TestStatus:
    """What is known of a domain's TPM"""

    def test_not_served(self, lab: Lab) -> None:
        """Whatever would keep the domain from starting is a problem, and the status is 1."""
        lab.define()
        lab.attach()

        result = lab.run("status", "guest", "--connect", URI)

        assert result.exit_code == 1
        assert "guest is not served: start `vtpm serve`" in result.stdout
        assert f"tpm-crb, external at {lab.socket}" in result.stdout

    def test_no_tpm(self, lab: Lab) -> None:
        """A domain without a TPM has no problem with one."""
        lab.define()

        result = lab.run("status", "guest", "--connect", URI)

        assert (result.exit_code, "no TPM" in result.stdout) == (0, True)

    def test_deleted(self, lab: Lab) -> None:
        """A definition whose TPM was deleted has a problem."""
        lab.define()
        lab.attach()
        lab.host.delete_state("guest")

        assert "attach it" in lab.run("status", "guest", "--connect", URI).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others cannot become another user")
def test_owner() -> None:
    """What root does to the state of a service's user is done as that user."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        state = Path(name)
        os.chown(state, 12345, 12346)
        child = os.fork()
        if child == 0:
            try:
                Place(name, "").become_owner()
                (state / "file").touch()
            finally:
                os._exit(0)
        os.waitpid(child, 0)

        facts = (state / "file").stat()
        assert (facts.st_uid, facts.st_gid) == (12345, 12346)


class TestAccess:
    """Who may connect to a socket"""

    @pytest.mark.parametrize(
        ("mode", "user", "may"),
        [
            (0o600, User(0x7000, 0x7000), False),
            (0o660, User(0x7000, os.getgid()), True),
            (0o606, User(0x7000, 0x7000), True),
            (0o600, User(os.getuid(), 0x7000), True),
            (0o600, None, True),
        ],
    )
    def test_mode(self, tmp_path: Path, mode: int, user: User | None, *, may: bool) -> None:
        """QEMU's user must be able to write to the socket; the complaint says how."""
        socket = tmp_path / "guest.sock"
        socket.touch()
        socket.chmod(mode)

        complaint = access_problem(socket, user)

        assert (complaint == "") is may
        assert may or "--owner" in complaint
