"""`vtpm profile`, and the TPMs that are made with one."""

import json
from pathlib import Path

import pytest

from tests.cli.test_vm import Installation
from vtpm.spec.constants import TPM_ALG
from vtpm.state.profile import PROFILES
from vtpm.state.profile_document import profile_from

pytestmark = pytest.mark.slow


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A new installation with a provider."""
    made = Installation(tmp_path)
    made.run("provider", "init", "main")
    return made


def create(installation: Installation, vm: str, profile: str, *, status: int = 0) -> str:
    """Make a TPM of a profile."""
    return installation.run("create", vm, "--profile", profile, "--allow-unverified", status=status)


def migrate(installation: Installation, *words: str, status: int = 0) -> str:
    """Give a TPM another profile."""
    return installation.run("profile", "migrate", *words, status=status)


class TestShow:
    """What profiles there are"""

    def test_list(self, installation: Installation) -> None:
        """All of this program, for people and for programs."""
        lines = installation.run("profile", "list").splitlines()

        assert [line.split("\t")[0] for line in lines] == list(PROFILES)
        assert json.loads(installation.run("profile", "list", "--json")) == sorted(PROFILES)

    def test_show(self, installation: Installation) -> None:
        """What is shown as JSON is a file that makes the same profile."""
        shown = json.loads(installation.run("profile", "show", "swtpm-compatible", "--json"))

        assert profile_from(shown) == PROFILES["swtpm-compatible"]
        assert "transient_slots       3\n" in installation.run("profile", "show", "swtpm-compatible")

    def test_unknown(self, installation: Installation) -> None:
        """A name that is none says which there are."""
        assert "default, pc-client, swtpm-compatible" in installation.run("profile", "show", "none", status=1)


class TestFile:
    """A profile of one's own"""

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            (
                "p.toml",
                'name = "p"\ntransient_slots = 2\n',
                "transient_slots: 2 is refused; allowed are 3 to 64",
            ),
            (
                "p.toml",
                'name = "p"\n[remove]\nalgorithms = ["AES"]\n',
                "algorithms: to leave out AES is refused",
            ),
            ("p.toml", "name = ", "it is no TOML"),
            ("p.json", "[", "it is no JSON"),
            ("p.json", "[]", "a profile is a table of fields"),
            ("p.json", '{"name": "default", "transient_slots": 9}', "needs a name of its own"),
        ],
    )
    def test_refused(self, installation: Installation, name: str, text: str, message: str) -> None:
        """The field at fault is named, and nothing is made."""
        path = installation.directory / name
        path.write_text(text)

        assert message in create(installation, "a", str(path), status=1)
        assert json.loads(installation.run("list", "--json")) == []


class TestMigrate:
    """A TPM that is off gets another profile"""

    def test_changes(self, installation: Installation) -> None:
        """What changes is said first; a dry run writes nothing."""
        create(installation, "a", "swtpm-compatible")

        before = json.loads(installation.run("show", "a", "--json"))["generation"]
        said = migrate(installation, "a", "default", "--dry-run")
        assert "change: transient_slots: 3 becomes 16" in said
        assert "change: algorithms: without TDES" in said
        assert "change: commands: with " in said
        assert json.loads(installation.run("show", "a", "--json"))["generation"] == before
        assert "its profile is default" in migrate(installation, "a", "default")
        assert "it has this profile already" in migrate(installation, "a", "default")

    def test_losses(self, installation: Installation) -> None:
        """What cannot be kept is refused with its reasons, unless the loss is allowed."""
        path = installation.directory / "new.toml"
        path.write_text('name = "new"\npcr_banks = ["SHA256"]\nactive_banks = ["SHA256"]\n')
        create(installation, "a", "default")

        assert f"PCR bank {TPM_ALG.SHA1.name}" in migrate(installation, "a", str(path), status=1)
        answer = json.loads(migrate(installation, "a", str(path), "--allow-loss", "--json"))
        assert [loss.split(",")[0] for loss in answer["losses"]] == [
            "PCR bank SHA1",
            "PCR bank SHA384",
            "PCR bank SHA512",
        ]
        assert "it has this profile already" in migrate(installation, "a", str(path))
