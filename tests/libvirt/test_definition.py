"""The TPM in a domain's definition, and the conditions for changing it."""

import pytest

from vtpm.libvirt.attachment import EmulatorState, check_attachable, check_detachable
from vtpm.libvirt.definition import DefinedTpm, Definition, DefinitionError, difference
from vtpm.libvirt.elements import XmlError, parse

SOCKET = "/run/vtpm/guest.sock"
UUID = "0b4ff7d3-9d6f-4d1c-8e4a-0d9c2a5f3b10"
ELSEWHERE = "/run/other/guest.sock"


def domain(devices: str, *, arch: str = "x86_64", uuid: str = f"<uuid>{UUID}</uuid>") -> str:
    """A definition as people write them: comments, both quotes, a namespace, more than ASCII."""
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        f"<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
        f"  <name>guest</name>{uuid}\n"
        "  <title>grün > blau</title> <!-- <tpm model='none'/> -->\n"
        f"""  <os><type arch="{arch}" machine='q35'>hvm</type></os>\n  <devices>\n"""
        f"    <emulator>/usr/bin/qemu</emulator>\n{devices}  </devices>\n"
        "  <qemu:commandline><qemu:arg value='a>b'/></qemu:commandline>\n</domain>\n"
    )


def external(path: str = SOCKET, model: str = "tpm-crb") -> str:
    """An external TPM, laid out as libvirt prints it."""
    return (
        f"    <tpm model='{model}'>\n      <backend type='external'>\n"
        f"        <source type='unix' mode='connect' path='{path}'/>\n      </backend>\n    </tpm>\n"
    )


EMULATED = (
    "    <tpm model='tpm-tis'>\n      <backend type='emulator' version='2.0' persistent_state='yes'>\n"
    "        <encryption secret='6dd3e4a5-1d76-44ce-961f-f119f5aad935'/>\n      </backend>\n"
    "      <alias name='ua-tpm'/>\n    </tpm>\n"
)


class TestReading:
    """Domain XML format, "TPM device": reading"""

    def test_external(self) -> None:
        """An external TPM has a model and a socket."""
        assert Definition(domain(external())).tpm == DefinedTpm("tpm-crb", "external", SOCKET)

    def test_emulated(self) -> None:
        """An emulator may be encrypted; what is in a comment counts for nothing."""
        assert Definition(domain(EMULATED)).tpm == DefinedTpm("tpm-tis", "emulator", is_encrypted=True)
        assert Definition(domain("")).tpm is None

    def test_state_of_emulator(self) -> None:
        """A later libvirt lets the definition say where an emulator's state is."""
        source = (
            "<tpm model='tpm-crb'><backend type='emulator'><source type='dir' path='/a'/></backend></tpm>\n"
        )

        assert Definition(domain(source)).tpm == DefinedTpm("tpm-crb", "emulator", state="/a")

    def test_identity(self) -> None:
        """A TPM is bound to the UUID of the domain, which a definition may lack."""
        assert str(Definition(domain("")).uuid) == UUID
        with pytest.raises(DefinitionError, match="has no UUID"):
            _ = Definition(domain("", uuid="")).uuid

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("<network/>", "give the definition of a domain"),
            (domain(external() + external()), "several TPMs"),
        ],
    )
    def test_refused(self, text: str, message: str) -> None:
        """Anything but one domain with at most one TPM is refused."""
        with pytest.raises(DefinitionError, match=message):
            Definition(text)

    @pytest.mark.parametrize(
        "text", ["", "<domain>", "<domain></name>", "<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>"]
    )
    def test_no_xml(self, text: str) -> None:
        """What is malformed, or declares entities, is no definition."""
        with pytest.raises(XmlError):
            Definition(text)


class TestPositions:
    """Where elements are"""

    @pytest.mark.parametrize(
        ("text", "inner"),
        [
            ("<a><b x='>'/></a>", ""),
            ("<a><b/></a>", ""),
            ("<a><b>/></b></a>", "/>"),
            ("<a><b ></b\n></a>", ""),
            ("<a>ü<b>é</b></a>", "é"),
        ],
    )
    def test_element(self, text: str, inner: str) -> None:
        """An element is found to the octet, whatever its tags look like."""
        octets = text.encode()
        element = next(parse(octets).all("b"))

        assert octets[element.inner_start : element.inner_end].decode() == inner
        assert octets[element.start : element.start + 2] == b"<b"
        assert octets[element.end :] == b"</a>"


class TestAttaching:
    """A definition with an external TPM"""

    def test_inserted(self) -> None:
        """The TPM is put behind the last device, and nothing else changes."""
        assert Definition(domain("")).with_socket(SOCKET) == domain(external())

    def test_idempotent(self) -> None:
        """A definition that has it stays as it is."""
        assert Definition(domain(external())).with_socket(SOCKET) == domain(external())

    def test_emulator_replaced(self) -> None:
        """Of an emulated TPM the backend changes; its model and its alias stay, for the guest sees them."""
        changed = Definition(domain(EMULATED)).with_socket(SOCKET)

        alias = "      <alias name='ua-tpm'/>\n    </tpm>\n"
        assert changed == domain(external(model="tpm-tis").replace("    </tpm>\n", alias))

    def test_model(self) -> None:
        """A model that is asked for takes the place of another."""
        assert Definition(domain(external())).with_socket(SOCKET, "tpm-tis") == domain(
            external(model="tpm-tis")
        )

    def test_usual_model(self) -> None:
        """ARM has no CRB in libvirt; of other machines the operator knows which they have."""
        assert "tpm-tis-device" in Definition(domain("", arch="aarch64")).with_socket(SOCKET)
        with pytest.raises(DefinitionError, match="--model"):
            Definition(domain("", arch="ppc64")).with_socket(SOCKET)

    def test_path_is_quoted(self) -> None:
        """A path is one attribute, whatever is in it."""
        path = "/run/a'b<&>/guest.sock"

        changed = Definition(Definition(domain("")).with_socket(path))

        assert changed.tpm == DefinedTpm("tpm-crb", "external", path)

    @pytest.mark.parametrize("devices", ["", "<devices/>"])
    def test_no_devices(self, devices: str) -> None:
        """A definition that libvirt has not completed yet is refused."""
        with pytest.raises(DefinitionError, match="no devices"):
            Definition(f"<domain><name>a</name>{devices}</domain>").with_socket(SOCKET, "tpm-crb")

    def test_difference(self) -> None:
        """What would change is shown line by line."""
        shown = difference("guest", domain(""), domain(external())).splitlines()

        assert [line for line in shown[2:] if line[0] in "+-"] == ["+" + x for x in external().splitlines()]


class TestDetaching:
    """A definition without its TPM"""

    def test_removed(self) -> None:
        """All of the TPM goes, and nothing else."""
        assert Definition(domain(external())).without_tpm() == domain("")

    @pytest.mark.parametrize("other", ["", "    <x:y xmlns:x='urn:x'/>\n"])
    def test_key(self, other: str) -> None:
        """What was noted of its key goes, too; other metadata stay."""
        key = "    <vtpm:key xmlns:vtpm='urn:vtpm:domain:1' provider='main' id='5a'/>\n"
        before = domain("").replace("  <devices>", f"  <metadata>\n{other}  </metadata>\n  <devices>", 1)
        noted = domain(external()).replace(
            "  <devices>", f"  <metadata>\n{other}{key}  </metadata>\n  <devices>", 1
        )

        assert Definition(noted).key == ("main", "5a")
        assert Definition(noted).without_tpm() == (before if other else domain(""))

    def test_other_key(self) -> None:
        """An element of another namespace is somebody else's."""
        other = "<metadata><vtpm:key xmlns:vtpm='urn:other' provider='main'/></metadata>"
        text = domain(external()).replace("  <devices>", f"  {other}\n  <devices>", 1)

        assert Definition(text).key is None
        assert other in Definition(text).without_tpm()

    def test_none(self) -> None:
        """A definition without one stays as it is."""
        assert Definition(domain("")).without_tpm() == domain("")


class TestWhatIsRefused:
    """Nothing that a guest relies on is lost"""

    @pytest.mark.parametrize("devices", ["", external(), EMULATED])
    def test_attachable(self, devices: str) -> None:
        """No TPM, this one, or an emulator that never had a state can be replaced."""
        check_attachable(Definition(domain(devices)), "guest", SOCKET, None, is_known=False)

    def test_emulator_with_state(self) -> None:
        """The state of an emulator is to be imported first, under the domain's UUID, with its passphrase."""
        definition, state = Definition(domain(EMULATED)), EmulatorState("/states/tpm2", is_ours=False)

        with pytest.raises(DefinitionError, match=f"import-swtpm /states/tpm2 a --uuid {UUID} --pwdfile"):
            check_attachable(definition, "a", SOCKET, state, is_known=False)
        check_attachable(definition, "a", SOCKET, state, is_known=True)

    def test_emulator_of_ours(self) -> None:
        """What our programs keep is newer than what swtpm left there: it is exported and imported."""
        definition, state = Definition(domain(EMULATED)), EmulatorState("/states/tpm2", is_ours=True)

        with pytest.raises(DefinitionError, match=f"import FILE --name a --uuid {UUID}") as refused:
            check_attachable(definition, "a", SOCKET, state, is_known=False)
        assert "vtpm --state-dir /states/tpm2 state export tpm" in str(refused.value)
        assert "import-swtpm" not in str(refused.value)

    @pytest.mark.parametrize(
        "devices",
        [
            external(ELSEWHERE),
            "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\n",
        ],
    )
    def test_other_tpm(self, devices: str) -> None:
        """A TPM of somebody else's is neither replaced nor removed."""
        with pytest.raises(DefinitionError, match="another TPM"):
            check_attachable(Definition(domain(devices)), "guest", SOCKET, None, is_known=True)
        with pytest.raises(DefinitionError, match="none of this host"):
            check_detachable(Definition(domain(devices)), SOCKET)

    def test_nothing_to_detach(self) -> None:
        """A domain without a TPM has none to lose; one with ours can lose it."""
        with pytest.raises(DefinitionError, match="has no TPM"):
            check_detachable(Definition(domain("")), SOCKET)
        check_detachable(Definition(domain(external())), SOCKET)
