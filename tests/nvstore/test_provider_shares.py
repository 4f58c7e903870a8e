"""Recovery: shares of a passphrase, and drills."""

import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvstore import DrillFailed, Host, ShareRefused, WrongPassphrase, examine
from nvstore.keys import Entropy
from nvstore.provider.shamir import combine, invert, multiply, split
from nvstore.provider.shares import Share, draw_passphrase, recover_passphrase
from tests.nvstore.conftest import BLOBS, CHEAP, OTHER, PASSPHRASE, VM, host_at, verify

octet = st.integers(0, 255)


def _fixed(*values: bytes) -> Entropy:
    """Entropy that was decided before."""
    left = list(values)
    return lambda _size: left.pop(0)


class TestField:
    """GF(2^8) with the polynomial of AES (FIPS 197, clause 4)"""

    @pytest.mark.parametrize(
        ("a", "b", "product"),
        [
            (0x57, 0x83, 0xC1),
            (0x57, 0x13, 0xFE),
            (0x57, 0x02, 0xAE),
            (0x57, 0x10, 0x07),
            (0, 7, 0),
            (1, 7, 7),
        ],
    )
    def test_products(self, a: int, b: int, product: int) -> None:
        """The examples of FIPS 197, clause 4.2."""
        assert multiply(a, b) == multiply(b, a) == product

    def test_inverses(self) -> None:
        """Every element but 0 has its inverse."""
        assert all(multiply(a, invert(a)) == 1 for a in range(1, 256))

    @given(octet, octet, octet)
    def test_laws(self, a: int, b: int, c: int) -> None:
        """Multiplication is associative, and distributes over addition."""
        assert multiply(a, multiply(b, c)) == multiply(multiply(a, b), c)
        assert multiply(a, b ^ c) == multiply(a, b) ^ multiply(a, c)


class TestShamir:
    """Any t shares give the secret, and fewer fit every secret."""

    def test_vector(self) -> None:
        """42 + 7x + 9x² at 1, 2 and 3, computed by hand."""
        shares = split(b"\x2a", 3, 3, _fixed(b"\x07", b"\x09"))
        assert shares == {1: b"\x24", 2: b"\x00", 3: b"\x0e"}
        assert combine(shares) == b"\x2a"

    @given(st.binary(min_size=1, max_size=40), st.integers(2, 5), st.integers(0, 3), st.randoms())
    def test_every_subset(self, secret: bytes, threshold: int, more: int, rng: random.Random) -> None:
        """Every set of t shares, and every larger one, gives the secret."""
        shares = split(secret, threshold, threshold + more, rng.randbytes)
        for size in range(threshold, threshold + more + 1):
            for chosen in itertools.combinations(shares.items(), size):
                assert combine(dict(chosen)) == secret

    @pytest.mark.slow
    def test_fewer_tell_nothing(self) -> None:
        """One share of two fits every secret: some coefficient explains it."""
        for secret in range(256):
            explained = {split(bytes([secret]), 2, 2, _fixed(bytes([c])))[1][0] for c in range(256)}
            assert explained == set(range(256))

    @pytest.mark.parametrize(("threshold", "count"), [(1, 3), (0, 0), (4, 3), (2, 256)])
    def test_impossible(self, threshold: int, count: int) -> None:
        """One share that suffices alone is no sharing."""
        with pytest.raises(ValueError, match="impossible"):
            split(b"x", threshold, count, _fixed(b"y"))


class TestShares:
    """Each share can be checked on its own."""

    @pytest.fixture
    def shares(self) -> list[Share]:
        """Three of five."""
        return draw_passphrase(3, 5, lambda size: bytes(range(7, 7 + size)))[1]

    def test_alone(self, shares: list[Share]) -> None:
        """A share that is what it was is accepted without any other."""
        for share in shares:
            assert Share.decode(share.encode("main"), "file") == share
            assert share.value.hex() not in repr(share)

    @pytest.mark.parametrize(
        "change",
        [
            {"value": "00" * 32},
            {"index": 2},
            {"index": 0},
            {"index": 6},
            {"threshold": 2},
            {"threshold": 6},
            {"set": "00" * 16},
            {"commitments": []},
            {"commitments": 5},
            {"value": None},
            {"format": "x"},
        ],
    )
    def test_altered(self, shares: list[Share], change: dict[str, object]) -> None:
        """Any field that changed is noticed without the other shares."""
        document = json.loads(shares[0].encode("main")) | change
        with pytest.raises(ShareRefused):
            Share.decode(json.dumps(document).encode(), "file")

    def test_too_few_or_mixed(self, shares: list[Share]) -> None:
        """Two of three, one given thrice, and shares of two sets are refused."""
        other = draw_passphrase(3, 5, lambda size: bytes(range(9, 9 + size)))[1]
        for chosen in (shares[:2], [shares[0]] * 3, [*shares[:2], other[2]]):
            with pytest.raises(ShareRefused):
                recover_passphrase(chosen)

    def test_backup(self, host: Host, tmp_path: Path) -> None:
        """A backup under shares names their set, and opens with any three of them."""
        passphrase, shares = draw_passphrase(3, 5, host._entropy)
        host.providers.backup("main", tmp_path / "shared", passphrase, shares=shares)
        assert json.loads((tmp_path / "shared").read_text())["share_set"] == shares[0].set_id
        files = [share.encode("main") for share in shares]
        recovered = recover_passphrase([Share.decode(files[i], i) for i in (4, 0, 2)])
        assert host.providers.verify(tmp_path / "shared", recovered).recorded
        with pytest.raises(WrongPassphrase):
            host.providers.verify(tmp_path / "shared", PASSPHRASE)


class TestDrill:
    """A backup is worth what it opens."""

    def test_decrypts_real_state(self, host: Host, tmp_path: Path, directory: Path) -> None:
        """The states of this host open with the backup alone, even if the host's keys are locked away."""
        host.create_state(VM, "guest", BLOBS).close()
        host.providers.init("spare")
        verify(host, "spare", tmp_path / "spare.backup")
        host.create_state(OTHER, "other", BLOBS, provider="spare").close()
        (directory / "keys/main.key").unlink()
        again = host_at(directory)
        report = again.drill(tmp_path / "main.backup", PASSPHRASE)
        assert (report.opened, report.elsewhere, report.failed) == (("guest",), ("other",), ())
        assert again.providers.show("main").backups[0].drilled
        assert json.loads(json.dumps(report.to_json()))["opened"] == ["guest"]
        assert again.providers._ring._kdks == {}

    def test_a_state_that_does_not_open(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """What would be lost is named, and the drill counts as failed."""
        host.create_state(VM, "guest", BLOBS).close()
        path = directory / f"states/{VM}.state"
        octets = bytearray(path.read_bytes())
        for at in range(4096, len(octets), 4096):
            octets[at + 2000] ^= 1
        path.write_bytes(octets)
        with pytest.raises(DrillFailed, match=r"guest \(altered-state\)"):
            host.drill(tmp_path / "main.backup", PASSPHRASE)
        assert host.providers.show("main").backups[0].drilled is None

    def test_without_state(self, host: Host, tmp_path: Path) -> None:
        """Where there is nothing to decrypt, nothing was proved."""
        assert host.drill(tmp_path / "main.backup", PASSPHRASE).opened == ()
        assert host.providers.show("main").backups[0].drilled is None

    def test_overdue(self, directory: Path, tmp_path: Path) -> None:
        """Half a year after the first backup or the last drill, the status and the doctor ask for one."""
        now = 1_700_000_000.0
        host = Host(directory, passphrase_cost=CHEAP, backup_cost=CHEAP, clock=lambda: now)
        host.providers.init("main")
        verify(host, "main", tmp_path / "main.backup")
        host.create_state(VM, "guest", BLOBS).close()
        assert host.providers.show("main").warnings == []
        now += 181 * 86400
        host.providers.verify(tmp_path / "main.backup", PASSPHRASE)
        assert ["drill" in warning for warning in host.providers.show("main").warnings] == [True]
        assert any("provider drill" in finding.remedy for finding in examine(host).findings)
        host.drill(tmp_path / "main.backup", PASSPHRASE)
        assert host.providers.show("main").warnings == []
        assert host.providers.show("main").last_drilled
