"""A peer at a port of the TCG simulator's protocol: this project's own, and the one that the caller names."""

from collections.abc import Iterator

import pytest

from tests.differential.campaign import Result, run
from tests.differential.counterparts import Counterparts
from tests.differential.peer import VARIABLE, Peer, PeerError, chosen
from vtpm.spec.constants import TPM_ALG, TPM_CAP
from vtpm.state.pcr import LAYOUTS
from vtpm.state.profile import DEFAULT, PC_CLIENT, SWTPM_COMPATIBLE, Profile
from vtpm.testing import TpmServer

COMMANDS = 4000
"""Of each campaign, enough for most kinds of commands."""

PEER = chosen()


def story(result: Result) -> str:
    """The differences that no row explains, with the commands before them."""
    return "\n".join(f"{key}: {result.examples[key]}" for key in result.unexplained)


@pytest.fixture(autouse=True)
def layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else learns of the layout of the peer's PCR."""
    monkeypatch.setitem(LAYOUTS, "peer", LAYOUTS["reference"])


@pytest.fixture(params=[DEFAULT, PC_CLIENT, SWTPM_COMPATIBLE], ids=lambda profile: profile.name)
def own(request: pytest.FixtureRequest) -> Iterator[tuple[Peer, Profile]]:
    """The simulator of this project as the peer, with a profile."""
    with TpmServer(profile=request.param) as server:
        peer = Peer(server.host, server.mssim_port)
        yield peer, request.param
        peer.close()


@pytest.mark.slow
class TestOwn:
    """A TPM of this project beside another, with other seeds"""

    def test_profile(self, own: tuple[Peer, Profile]) -> None:
        """What capabilities tell is the profile that the peer was made with."""
        peer, profile = own

        found = peer.profile
        assert found.algorithms == profile.algorithms
        assert (found.curves, found.commands) == (profile.curves, profile.commands)
        assert (found.rsa_key_bits, found.aes_key_bits) == (profile.rsa_key_bits, profile.aes_key_bits)
        assert (found.pcr_banks, found.active_banks) == (profile.pcr_banks, profile.active_banks)
        assert (found.revision, found.transient_slots) == (profile.revision, profile.transient_slots)

    def test_streams(self, own: tuple[Peer, Profile]) -> None:
        """There is no difference at all, also none that the table explains."""
        peer, _ = own

        result = run(1, COMMANDS, peer, Result())
        assert not result.unexplained, story(result)
        assert not result.explained
        assert not result.crashes
        assert result.successes > COMMANDS // 4

    def test_renewed(self, own: tuple[Peer, Profile]) -> None:
        """Whatever a stream has left, the next begins without it."""
        peer, _ = own
        run(1, COMMANDS // 4, peer, Result())
        peer.renew()
        peer.startup(startup_type=0).check()

        kinds = [number << 24 for number in (0x01, 0x02, 0x03, 0x80, 0x81)]
        assert [peer.capabilities(TPM_CAP.HANDLES, first) for first in kinds] == [()] * len(kinds)


@pytest.mark.slow
@pytest.mark.skipif(
    PEER is None, reason=f"{VARIABLE}=mssim:HOST:PORT names no other TPM to be put beside this one"
)
def test_named_peer() -> None:
    """The TPM that the caller names differs in what the table explains, and in nothing else."""
    assert PEER is not None
    peer = Peer(*PEER)
    try:
        result = run(1, COMMANDS, peer, Result())
    finally:
        peer.close()

    assert not result.unexplained, story(result)
    assert result.successes > COMMANDS // 4


class TestChoice:
    """VTPM_PEER"""

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("", None),
            ("mssim:127.0.0.1:2321", ("127.0.0.1", 2321)),
            ("mssim:[::1]:65534", ("::1", 65534)),
            ("mssim:host.example:1", ("host.example", 1)),
        ],
    )
    def test_named(
        self, value: str, expected: tuple[str, int] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Host and command port."""
        monkeypatch.setenv(VARIABLE, value)

        assert chosen() == expected

    @pytest.mark.parametrize(
        "value", ["127.0.0.1:2321", "swtpm:127.0.0.1:1", "mssim:host", "mssim:host:65535", "mssim:host:0"]
    )
    def test_refused(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What names none is an error with the form, and not a run without the peer."""
        monkeypatch.setenv(VARIABLE, value)

        with pytest.raises(PeerError, match="give mssim:HOST:PORT"):
            chosen()


class TestCounterparts:
    """What depends on seeds"""

    def test_translated(self) -> None:
        """Octets are replaced within others, with their size before where that differs."""
        pairs = Counterparts()
        pairs.note(b"t" * 20, b"o" * 19 + b"1")
        pairs.note(b"longer" * 4, b"short" * 4)

        assert pairs.translated(b"<" + b"o" * 19 + b"1>") == b"<" + b"t" * 20 + b">"
        assert pairs.translated(b"\0\x14" + b"short" * 4) == b"\0\x18" + b"longer" * 4

    def test_alike(self) -> None:
        """Only fields that depend on seeds may have other octets, and those of the same size."""
        pairs = Counterparts()
        pairs.note(b"t" * 20, b"o" * 19 + b"1")

        assert pairs.are_alike("Hash", "out_hash", b"t" * 20, b"o" * 19 + b"1")
        assert not pairs.are_alike("Hash", "out_hash", b"a" * 20, b"b" * 20)
        assert pairs.are_alike("Load", "name", b"a" * 20, b"b" * 20)
        assert not pairs.are_alike("Load", "name", b"a" * 20, b"b" * 21)
        assert not pairs.are_alike("Load", "name", TPM_ALG.SHA1, TPM_ALG.SHA256)
