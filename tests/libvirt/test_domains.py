"""`vtpm libvirt watch` and `hook`, with the hypervisor that libvirt has for tests."""

import socket
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import click
import pytest
from click.testing import CliRunner

from tests.libvirt.lab import EMULATED, TRANSIENT, URI, Lab
from tests.libvirt.lab import UUID as IDENTITY
from vtpm.cli.domains import Watcher, ensure
from vtpm.cli.libvirt import Making
from vtpm.cli.main import cli
from vtpm.cli.place import Place
from vtpm.daemon.device.custody import Holding, custody_of
from vtpm.libvirt.definition import Definition
from vtpm.libvirt.hypervisor import Event, Hypervisor

pytestmark = pytest.mark.slow

BARE = Making(None, "", "default", None, "QEMU,QEMU,1", None, None, provision=False, allow_unverified=True)
OTHER = "11111111-9d6f-4d1c-8e4a-0d9c2a5f3b10"


def external(socket: str, text: str = TRANSIENT) -> str:
    """A definition that names a socket."""
    return Definition(text).with_socket(socket)


def place_of(lab: Lab) -> Place:
    """The directories of an installation."""
    return Place(str(lab.directory / "state"), str(lab.directory / "run"))


@pytest.fixture
def watcher(lab: Lab) -> Callable[..., Watcher]:
    """What watches a hypervisor."""

    def watching(*, deletes: bool = False) -> Watcher:
        return Watcher(place_of(lab), Hypervisor(URI), BARE, deletes=deletes)

    return watching


class TestWatch:
    """TPMs come and go with domains"""

    def test_there_already(self, lab: Lab, watcher: Callable[..., Watcher]) -> None:
        """A domain that was defined before has its TPM made, under the name of its socket."""
        lab.define(external(f"{lab.directory}/run/other.sock"))

        watcher().begin()
        assert lab.names() == {IDENTITY: "other"}

    def test_defined(self, lab: Lab, watcher: Callable[..., Watcher]) -> None:
        """A domain that is defined, again and again, gets one TPM."""
        lab.define(external(lab.socket))

        for _ in range(2):
            watcher().take(Event("defined", "guest", UUID(IDENTITY)))
        assert lab.names() == {IDENTITY: "guest"}

    @pytest.mark.parametrize("text", [TRANSIENT, EMULATED, external("/run/elsewhere/guest.sock")])
    def test_not_asked_for(self, lab: Lab, watcher: Callable[..., Watcher], text: str) -> None:
        """A domain with no TPM, or somebody else's, gets none."""
        lab.define(text)

        watcher().take(Event("defined", "guest", UUID(IDENTITY)))
        assert lab.names() == {}

    def test_undefined(self, lab: Lab, watcher: Callable[..., Watcher]) -> None:
        """The TPM of a domain that is undefined is deleted only if that was asked for."""
        lab.define(external(lab.socket)).undefine()
        ensure(place_of(lab), Definition(external(lab.socket)), BARE, is_session=False)

        watcher().take(Event("undefined", "guest", UUID(IDENTITY)))
        assert lab.names() == {IDENTITY: "guest"}
        watcher(deletes=True).take(Event("undefined", "guest", UUID(IDENTITY)))
        assert lab.names() == {}

    def test_defined_again(self, lab: Lab, watcher: Callable[..., Watcher]) -> None:
        """A domain that is there again when its end is looked after keeps its TPM."""
        lab.define(external(lab.socket))
        watching = watcher(deletes=True)
        watching.begin()

        watching.take(Event("undefined", "guest", UUID(IDENTITY)))
        assert lab.names() == {IDENTITY: "guest"}

    def test_key(self, lab: Lab, watcher: Callable[..., Watcher]) -> None:
        """A definition says which key its TPM needs, also after a rotation."""
        domain, providers = lab.define(external(lab.socket)), lab.host.providers
        before = providers.current("main")
        watcher().begin()
        assert Definition(domain.XMLDesc()).key == ("main", before.hex())

        for step in (lab.host.rotations.begin, lab.host.rotations.promote):
            backup = lab.directory / f"{step.__name__}.backup"
            providers.backup("main", backup, b"a long passphrase")
            providers.verify(backup, b"a long passphrase")
            step("main")
        watcher().begin()

        assert Definition(domain.XMLDesc()).key == ("main", providers.current("main").hex())
        assert providers.current("main") != before

    @pytest.mark.parametrize("is_ours", [True, False])
    def test_moved(self, lab: Lab, watcher: Callable[..., Watcher], *, is_ours: bool) -> None:
        """Without a daemon, what is stored says that a run went; the TPM of another backend did not."""
        lab.define(external(lab.socket) if is_ours else EMULATED)
        lab.host.create_state(IDENTITY, "guest", {}, allow_unverified=True).close()

        for kind in ("came", "went"):
            watcher().take(Event(kind, "guest", UUID(IDENTITY)))
        holding = custody_of(lab.host.read_state("guest")).holding
        assert holding is (Holding.AWAY if is_ours else Holding.HERE)

    def test_another_renamed(self, lab: Lab, watcher: Callable[..., Watcher]) -> None:
        """A TPM with a name of its own keeps it when its domain is renamed."""
        lab.define(external(f"{lab.directory}/run/other.sock"))
        watching = watcher()
        watching.begin()

        watching.take(Event("former name", "before", UUID(IDENTITY)))
        watching.take(Event("renamed", "guest", UUID(IDENTITY)))
        assert lab.names() == {IDENTITY: "other"}

    def test_error(self, lab: Lab, watcher: Callable[..., Watcher], caplog: pytest.LogCaptureFixture) -> None:
        """What goes wrong with one domain is reported, and does not end the watch."""
        lab.host.create_state(OTHER, "guest", {}, allow_unverified=True).close()
        lab.define(external(lab.socket))

        watcher().take(Event("defined", "guest", UUID(IDENTITY)))
        assert "guest already has a state under this name" in caplog.text


class TestEnsure:
    """No TPM takes the place of another"""

    def test_other_name(self, lab: Lab) -> None:
        """A domain that has a TPM gets no second one under another name."""
        ensure(place_of(lab), Definition(external(lab.socket)), BARE, is_session=False)

        with pytest.raises(click.ClickException, match="its TPM is guest"):
            ensure(place_of(lab), Definition(external(f"{lab.directory}/run/b.sock")), BARE, is_session=False)

    def test_emulator(self, lab: Lab) -> None:
        """The state of an emulator that the domain had is to be imported."""
        state = lab.directory / "emulators" / IDENTITY / "tpm2"
        state.mkdir(parents=True)
        (state / "tpm2-00.permall").touch()

        with pytest.raises(click.ClickException, match=f"vtpm import-swtpm {state} guest --uuid {IDENTITY}"):
            ensure(place_of(lab), Definition(external(lab.socket)), BARE, is_session=False)
        assert lab.names() == {}


class TestHook:
    """Hooks of libvirt: /etc/libvirt/hooks/qemu"""

    def run(self, lab: Lab, *words: str) -> tuple[int, str]:
        """Call the hook."""
        places = ["--state-dir", str(lab.directory / "state"), "--run-dir", str(lab.directory / "run")]
        result = CliRunner().invoke(
            cli,
            [*places, "libvirt", "hook", "--bare", "--allow-unverified", *words],
            input=external(lab.socket),
        )
        return result.exit_code, result.stderr

    def test_not_served(self, lab: Lab) -> None:
        """Before a start, a TPM is made; where no daemon serves it, the start is refused."""
        status, said = self.run(lab, "guest", "prepare", "begin", "-")

        assert (status, "is not served" in said) == (1, True)
        assert lab.names() == {IDENTITY: "guest"}

    def test_served(self, lab: Lab, tmp_path: Path) -> None:
        """Where it is served, the start goes on."""
        (tmp_path / "run").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(lab.socket)
            assert self.run(lab, "guest", "prepare", "begin", "-") == (0, "")

    @pytest.mark.parametrize("operation", ["migrate", "restore"])
    def test_comes_without_daemon(self, lab: Lab, operation: str) -> None:
        """A TPM that is to come with its run is not made; without a daemon, nothing can come."""
        status, said = self.run(lab, "guest", operation, "begin", "-")

        assert (status, "start `vtpm serve`" in said) == (1, True)
        assert lab.names() == {}

    def test_other_operation(self, lab: Lab) -> None:
        """After a start, or at an end, nothing is done."""
        assert self.run(lab, "guest", "release", "end", "-") == (0, "")
        assert lab.names() == {}
