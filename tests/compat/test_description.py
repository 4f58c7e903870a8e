"""What `swtpm socket` prints: vtpm/compat/description.py, and profiles by libtpms' names."""

import json
import re
from pathlib import Path

import pytest

from vtpm.compat.arguments import ArgumentError, parse
from vtpm.compat.description import capabilities, info, profiles, spaced, states
from vtpm.compat.profiles import profile_of, shown_name
from vtpm.compat.storage import StateDirectory
from vtpm.engine.tpm import Tpm
from vtpm.state.profile import DEFAULT, PC_CLIENT, SWTPM_COMPATIBLE


def test_spacing() -> None:
    """The spaces are swtpm's, which its own tests look for."""
    assert spaced({"type": "swtpm", "states": []}) == '{ "type": "swtpm", "states": [] }'
    assert spaced({"a": ["b", "c"]}) == '{ "a": [ "b", "c" ] }'


def test_capabilities() -> None:
    """In swtpm's order, without what is not there."""
    text = capabilities(tpm2=True)
    assert re.match(r'\{ "type": "swtpm", "features": \[ "tpm-2\.0", .* \], "version": "[^"]*" \}$', text)
    told = json.loads(text)["features"]
    assert {"cmdarg-migration", "cmdarg-print-info", "rsa-keysize-3072"} <= set(told)
    assert not {"tpm-1.2", "cmdarg-chroot"} & set(told)
    assert "rsa-keysize-3072" not in json.loads(capabilities(tpm2=False))["features"]


class TestStates:
    """--print-states"""

    def test_none(self, tmp_path: Path) -> None:
        """An empty directory holds none, and stays empty."""
        arguments = parse(["--tpmstate", f"dir={tmp_path}"])
        assert states(arguments) == '{ "type": "swtpm", "states": [] }'
        assert not list(tmp_path.iterdir())

    def test_own_and_foreign(self, tmp_path: Path) -> None:
        """Swtpm's state is shown until there is one of this TPM's."""
        arguments = parse(["--tpmstate", f"backend-uri=dir://{tmp_path}"])
        (tmp_path / "tpm2-00.permall").write_text("DUMMY\n")
        shown = '{ "type": "swtpm", "states": [ {"name": "permall", "size": 6} ] }'
        assert states(arguments) == shown
        (tmp_path / "tpm2-00.volatilestate").write_text("DUMMY")
        shown = shown.replace("} ]", '}, {"name": "volatilestate", "size": 5} ]')
        assert states(arguments) == shown
        StateDirectory(tmp_path).opener()().close()
        assert json.loads(states(arguments))["states"][0]["size"] > 6


class TestInfo:
    """--print-info and --print-profiles"""

    def test_parts(self) -> None:
        """The parts that the bits ask for."""
        told = json.loads(info(parse(["--print-info", "0x41"])))
        assert told["TPMSpecification"]["revision"] == SWTPM_COMPATIBLE.revision
        assert {"null", "default-v1"} <= {entry["Name"] for entry in told["AvailableProfiles"]}
        assert json.loads(profiles()) == {"AvailableProfiles": told["AvailableProfiles"]}
        assert "ActiveProfile" not in json.loads(info(parse(["--print-info", "0x20"])))

    def test_active(self, tmp_path: Path) -> None:
        """The profile of the TPM in the directory, by libtpms' name."""
        words = ["--print-info", "0x20", "--tpmstate", f"dir={tmp_path}"]
        assert json.loads(info(parse(words)))["ActiveProfile"] == {"Name": "null"}
        store = StateDirectory(tmp_path).opener(None, Tpm.manufacture(bytes, PC_CLIENT).snapshot)()
        store.close()
        assert json.loads(info(parse(words)))["ActiveProfile"] == {"Name": "pc-client"}

    def test_key(self, tmp_path: Path) -> None:
        """A state that the key does not open is an error, which says so."""
        StateDirectory(tmp_path).opener(b"the passphrase")().close()
        with pytest.raises(ArgumentError, match="cannot be opened"):
            info(parse(["--print-info", "0x20", "--tpmstate", f"dir={tmp_path}"]))

    def test_number(self) -> None:
        """It takes a number."""
        with pytest.raises(ArgumentError, match="--print-info all"):
            info(parse(["--print-info", "all"]))


class TestProfiles:
    """--profile"""

    @pytest.mark.parametrize(
        ("words", "profile"),
        [
            ([], SWTPM_COMPATIBLE),
            (["--profile", "name=null"], SWTPM_COMPATIBLE),
            (["--profile", "name=builtin:default-v1"], DEFAULT),
            (["--profile", "name=pc-client"], PC_CLIENT),
            (["--profile", 'profile={"Name":"default-v1","Description":"x"}'], DEFAULT),
        ],
    )
    def test_names(self, words: list[str], profile: object) -> None:
        """Libtpms' names and this program's."""
        assert profile_of(parse(words).of("profile")) == profile

    def test_file(self, tmp_path: Path) -> None:
        """A document in a file or a descriptor."""
        path = tmp_path / "profile.json"
        path.write_text('{"Name": "default-v1"}')
        assert profile_of({"file": str(path)}) == DEFAULT
        with path.open() as stream:
            assert profile_of({"fd": str(stream.fileno())}) == DEFAULT

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("name=custom", "profile custom is not supported"),
            ('profile={"Name":"null","Algorithms":"rsa"}', "lists of Algorithms"),
            ('profile={"name":"null"}', '"Name"'),
            ("name=null,file=f", "give one of"),
            ("name=null,remove-disabled=check", "remove-disabled"),
        ],
    )
    def test_refusals(self, value: str, said: str) -> None:
        """What cannot be made is refused by name."""
        with pytest.raises(ArgumentError, match=said):
            profile_of(parse(["--profile", value]).of("profile"))

    def test_shown(self) -> None:
        """By libtpms' name where it has one."""
        assert [shown_name(p) for p in (SWTPM_COMPATIBLE, DEFAULT, PC_CLIENT)] == [
            "null",
            "default-v1",
            "pc-client",
        ]
