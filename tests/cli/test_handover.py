"""`vtpm state offer`, `expect` and `reclaim`, and what a hook asks the daemon for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvstore import Host
from tests.cli.test_vm import Installation
from vtpm.daemon.admin import AdminError, ask
from vtpm.daemon.device.custody import Admitted, Custody, Holding, custody_of

pytestmark = pytest.mark.slow


@pytest.fixture
def source(tmp_path: Path) -> Installation:
    """Where the TPM is."""
    (tmp_path / "a").mkdir()
    installation = Installation(tmp_path / "a")
    installation.run("provider", "init", "main")
    installation.run("create", "guest", "--allow-unverified", "--bare")
    return installation


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Installation]:
    """Where it is to go; its provider is another one."""
    (tmp_path / "b").mkdir()
    installation = Installation(tmp_path / "b")
    installation.run("provider", "init", "main")
    with installation.serving():
        yield installation


@pytest.fixture
def offered(source: Installation) -> str:
    """The file of the offer."""
    path = source.directory / "offer"
    path.write_text(source.run("state", "offer", "guest"))
    return str(path)


def give_key(source: Installation, target: Installation) -> None:
    """Restore the provider at the target, under another name."""
    backup, secret = str(source.directory / "backup"), ["--passphrase-file", str(source.passphrase)]
    source.run("provider", "backup", "main", "--out", backup, *secret)
    target.run("provider", "restore", backup, "--name", "elsewhere", *secret)


def custody(installation: Installation) -> Custody:
    """Who has the TPM of the guest."""
    return custody_of(Host(installation.directory / "state").read_state("guest"))


def test_key_missing(source: Installation, target: Installation, offered: str) -> None:
    """A TPM whose key is not here is not expected; the message names the key, and nothing is made."""
    key = json.loads(source.run("provider", "show", "main", "--json"))["kdk_id"]

    for words in ([], ["--dry-run"]):
        assert f"the key {key} of provider 'main'" in target.run("state", "expect", offered, *words, status=1)
    assert target.run("list") == ""


def test_expected(source: Installation, target: Installation, offered: str) -> None:
    """It is served before it comes, under the provider that has its key; again, nothing changes."""
    give_key(source, target)
    assert target.run("state", "expect", offered, "--dry-run") == "guest: could come\n"
    assert target.run("list") == ""

    for _ in range(2):
        said = target.run("state", "expect", offered)
        assert said == f"guest: is expected at {target.run_dir}/guest.sock\n"
    (vm,) = json.loads(target.run("list", "--json"))
    assert (vm["provider"], vm["vm"], vm["running"]) == (
        "elsewhere",
        json.loads(source.run("list", "--json"))[0]["vm"],
        False,
    )
    assert custody(target) == Custody(Holding.EXPECTED)
    assert "has not come yet" in target.run("state", "reclaim", "guest", "--reason", "test", status=1)

    assert ask(target.run_dir, "withdraw", name="guest") is True
    assert target.run("list") == ""
    assert not (target.run_dir / "guest.sock").exists()


def test_somebody_else(source: Installation, target: Installation, offered: str) -> None:
    """Nothing takes the name of another TPM, nor another name for one that is here."""
    give_key(source, target)
    target.run("create", "guest", "--allow-unverified", "--bare")
    assert "another TPM called guest" in target.run("state", "expect", offered, status=1)

    target.run("delete", "guest", "--yes")
    target.run("state", "expect", offered)
    offer = json.loads(Path(offered).read_text())
    Path(offered).write_text(json.dumps(offer | {"name": "other"}))
    assert "is called guest on this host" in target.run("state", "expect", offered, status=1)


@pytest.mark.parametrize("is_served", [True, False])
def test_admitted(source: Installation, *, is_served: bool) -> None:
    """An operator's word is in the state, in the audit log, and ends."""
    words = ("state", "admit", "guest", "--in-the-clear", "--reason", "a save file of May", "--minutes", "5")
    if is_served:
        with source.serving():
            said = source.run(*words)
    else:
        said = source.run(*words)
    assert said == "guest: the next such state is admitted, within 5 minutes\n"
    word = custody(source).word
    assert word.at(word.until) is Admitted.IN_THE_CLEAR
    assert word.at(word.until + 1) is Admitted.NOTHING
    assert "reason=a save file of May" in source.run("audit", "show")
    assert "say what is admitted" in source.run("state", "admit", "guest", "--reason", "x", status=1)


def test_expected_in_the_clear(source: Installation, target: Installation, offered: str) -> None:
    """A TPM may be expected in the clear; the end of a run that brought nothing does not take that back."""
    give_key(source, target)
    target.run("state", "expect", offered, "--in-the-clear")
    assert custody(target).word.admitted is Admitted.IN_THE_CLEAR
    assert ask(target.run_dir, "withdraw", name="guest") is False
    assert custody(target).holding is Holding.EXPECTED


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vm": "guest"}'])
def test_no_offer(target: Installation, text: str) -> None:
    """What is no offer is refused."""
    path = target.directory / "offer"
    path.write_text(text)
    assert "this is no offer" in target.run("state", "expect", str(path), status=1)


def test_no_daemon(source: Installation, offered: str) -> None:
    """Without a daemon, nothing can be expected."""
    assert "start `vtpm serve`" in source.run("state", "expect", offered, status=1)


@pytest.mark.parametrize("is_served", [True, False])
def test_given_away(source: Installation, *, is_served: bool) -> None:
    """What went to another host is neither offered nor changed, until it is reclaimed for a reason."""
    with source.serving():
        assert ask(source.run_dir, "custody", name="guest", change="give-away", reason=None) is True
        assert ask(source.run_dir, "withdraw", name="guest") is False
        with pytest.raises(AdminError, match="no change other"):
            ask(source.run_dir, "custody", name="guest", change="other", reason=None)
        for words in (["state", "offer"], ["lockout-reset"]):
            assert "went to another host" in source.run(*words, "guest", status=1)
        if is_served:
            source.run("state", "reclaim", "guest", "--reason", "host b burnt")
    if not is_served:
        source.run("state", "reclaim", "guest", "--reason", "host b burnt")

    assert custody(source)[:2] == (Holding.HERE, 2)
    log = source.run("audit", "show")
    assert "give-away: done" in log
    assert "reason=host b burnt" in log
    assert "nothing has to be reclaimed" in source.run("state", "reclaim", "guest", "--reason", "x", status=1)
