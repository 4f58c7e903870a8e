"""Several hosts on one machine: enrolled, handed a provider, and at work without its origin."""

import hashlib
import hmac
import json
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from nvstore import (
    Host,
    HostTpmRequired,
    Identity,
    IdentityExists,
    IdentityMissing,
    PackageRefused,
    ProviderExists,
    RotationRefused,
    read_identity,
)
from nvstore.document import canonical
from nvstore.keys import PACKAGE, context
from nvstore.provider.exchange import _SUITE, _package_mac
from tests.nvstore.conftest import BLOBS, OTHER, VM, host_at, rewrite, verify


@pytest.fixture
def other(tmp_path: Path) -> Host:
    """Another host, enrolled."""
    host = host_at(tmp_path / "other")
    host.exchange.enroll()
    return host


def push(origin: Host, to: Identity, out: Path) -> None:
    """Push `main` to a host whose id the operator has compared."""
    origin.exchange.push("main", to, out, host_id=to.host_id)


def hand_over(origin: Host, to: Host, at: Path, *, kdk_id: str | None = None) -> None:
    """Push `main` to a host, and bring the acknowledgment back."""
    push(origin, to.exchange.identity(), at.with_suffix(".package"))
    known = bytes.fromhex(kdk_id) if kdk_id else None
    received = to.exchange.receive(at.with_suffix(".package"), kdk_id=known)
    at.with_suffix(".ack").write_bytes(received.acknowledgment)
    origin.exchange.acknowledge(at.with_suffix(".ack"))


class TestIdentity:
    """A host's key pair."""

    def test_enroll(self, tmp_path: Path) -> None:
        """It is made once; what is given away has no secret; its id is the fingerprint of its key."""
        host = host_at(tmp_path / "h")
        with pytest.raises(IdentityMissing):
            host.exchange.identity()
        identity = host.exchange.enroll()
        assert host_at(tmp_path / "h").exchange.identity() == identity
        assert read_identity(identity.encode(), "file") == identity
        with pytest.raises(IdentityExists):
            host.exchange.enroll()
        assert (tmp_path / "h/identity/host.identity").stat().st_mode & 0o777 == 0o600
        assert "box" not in identity.encode().decode()

    @pytest.mark.parametrize(
        "change",
        [{"public": "00" * 32}, {"public": "00"}, {"host_id": "00" * 16}, {"public": 7}, {"format": "x"}],
    )
    def test_altered(self, other: Host, change: dict[str, object]) -> None:
        """Another key under the same id is refused."""
        document = json.loads(other.exchange.identity().encode()) | change
        with pytest.raises(PackageRefused):
            read_identity(json.dumps(document).encode(), "file")


class TestHandOver:
    """push, receive, acknowledge"""

    def test_life(self, host: Host, other: Host, tmp_path: Path, directory: Path) -> None:
        """The other host works on with the origin gone, and the origin knows that it holds the key."""
        with host.create_state(VM, "guest", BLOBS) as store:
            state = store._place.state
        kdk_id = host.providers.show("main").kdk_id
        hand_over(host, other, tmp_path / "x", kdk_id=kdk_id)
        assert [h.kdk_ids for h in host.providers.show("main").hosts] == [(bytes.fromhex(kdk_id),)]
        content = state.read_bytes()
        directory.rename(tmp_path / "lost")
        status = other.providers.show("main")
        assert (status.state, status.kdk_id, status.warnings) == ("active", kdk_id, [])
        (tmp_path / f"other/states/{VM}.state").write_bytes(content)
        again = host_at(tmp_path / "other")
        with again.open_state(VM, adopt=True) as store:
            assert store.load() == BLOBS
        again.create_state(OTHER, "new", BLOBS).close()

    def test_holders_are_named(self, host: Host, other: Host, tmp_path: Path, directory: Path) -> None:
        """A host that has lost a key tells which hosts hold it."""
        kdk_id = host.providers.show("main").kdk_id
        hand_over(host, other, tmp_path / "x", kdk_id=kdk_id)
        document = json.loads((directory / "providers/main.provider").read_text())
        assert other.exchange.identity().host_id in json.dumps(document["hosts"])
        assert any("host " in holder for holder in host.providers.holders(bytes.fromhex(kdk_id)))

    def test_the_first_time(self, host: Host, other: Host, tmp_path: Path) -> None:
        """A package that nothing authenticates is refused until an operator has compared the key's id."""
        kdk_id = host.providers.show("main").kdk_id
        push(host, other.exchange.identity(), tmp_path / "p")
        for wrong in (None, bytes(16)):
            with pytest.raises(PackageRefused, match=kdk_id):
                other.exchange.receive(tmp_path / "p", kdk_id=wrong)
        assert other.providers.list() == []

    def test_forged(self, host: Host, other: Host, tmp_path: Path) -> None:
        """Whoever knows the host's public key cannot put another key, or an altered package, there."""
        kdk_id = host.providers.show("main").kdk_id
        hand_over(host, other, tmp_path / "x", kdk_id=kdk_id)
        stranger = host_at(tmp_path / "stranger")
        stranger.providers.init("main")
        push(stranger, other.exchange.identity(), tmp_path / "forged")
        with pytest.raises(ProviderExists, match=kdk_id):
            other.exchange.receive(
                tmp_path / "forged", kdk_id=bytes.fromhex(stranger.providers.show("main").kdk_id)
            )
        document = json.loads((tmp_path / "x.package").read_text())
        document["mac"] = "00" * 32
        (tmp_path / "forged").write_text(json.dumps(document))
        with pytest.raises(PackageRefused, match="does not come from"):
            other.exchange.receive(tmp_path / "forged", kdk_id=bytes.fromhex(kdk_id))

    @pytest.mark.parametrize(
        "field", ["provider", "current", "keys", "exported", "host", "to", "backups", "sealed", "format"]
    )
    def test_every_field_altered(self, host: Host, other: Host, tmp_path: Path, field: str) -> None:
        """Whatever is read in a package is authenticated."""
        kdk_id = bytes.fromhex(host.providers.show("main").kdk_id)
        push(host, other.exchange.identity(), tmp_path / "p")
        document = json.loads((tmp_path / "p").read_text())
        value = document[field]
        document[field] = (
            [*value, *value, 1] if isinstance(value, list) else value[:-1] + "0x"[value[-1] == "0"]
        )
        (tmp_path / "p").write_text(json.dumps(document))
        with pytest.raises(PackageRefused):
            other.exchange.receive(tmp_path / "p", kdk_id=kdk_id)
        assert other.providers.list() == []

    def test_for_somebody_else(self, host: Host, other: Host, tmp_path: Path) -> None:
        """A package opens on the host it is for, and nowhere else."""
        third = host_at(tmp_path / "third")
        identity = third.exchange.enroll()
        push(host, identity, tmp_path / "p")
        with pytest.raises(PackageRefused, match=identity.host_id):
            other.exchange.receive(tmp_path / "p")
        text = (tmp_path / "p").read_text().replace(identity.host_id, other.exchange.identity().host_id)
        (tmp_path / "p").write_text(text)
        with pytest.raises(PackageRefused):
            other.exchange.receive(tmp_path / "p")

    def test_acknowledgments(self, host: Host, other: Host, tmp_path: Path) -> None:
        """Only a host that was handed a key, and has it, acknowledges it."""
        kdk_id = host.providers.show("main").kdk_id
        push(host, other.exchange.identity(), tmp_path / "p")
        received = other.exchange.receive(tmp_path / "p", kdk_id=bytes.fromhex(kdk_id))
        document = json.loads(received.acknowledgment)
        ack = tmp_path / "ack"
        for change in ({"host_id": "00" * 16}, {"keys": [{"kdk_id": kdk_id, "mac": "00" * 32}]}, {"keys": 7}):
            ack.write_text(json.dumps(document | change))
            with pytest.raises(PackageRefused):
                host.exchange.acknowledge(ack)
        assert host.providers.show("main").hosts[0].kdk_ids == ()
        ack.write_bytes(received.acknowledgment)
        assert host.exchange.acknowledge(ack).kdk_ids == (bytes.fromhex(kdk_id),)

    def test_requirement(self, tmp_path: Path, other: Host) -> None:
        """A provider for hosts with a TPM is not put into a key file by a push either."""
        origin = host_at(tmp_path / "origin")
        origin.providers.init("main")
        rewrite(origin, "main", require_host_tpm=True)
        push(origin, other.exchange.identity(), tmp_path / "p")
        with pytest.raises(HostTpmRequired):
            other.exchange.receive(tmp_path / "p", kdk_id=bytes.fromhex(origin.providers.show("main").kdk_id))


@pytest.mark.slow
def test_rotation_waits_for_hosts(host: Host, other: Host, tmp_path: Path) -> None:
    """The successor is promoted when every host has it; no host is ever without a key it needs."""
    old = host.providers.show("main").kdk_id
    hand_over(host, other, tmp_path / "first", kdk_id=old)
    other.create_state(VM, "guest", BLOBS).close()
    new = host.rotations.begin("main")
    verify(host, "main", tmp_path / "both.backup")
    with pytest.raises(RotationRefused, match=other.exchange.identity().host_id):
        host.rotations.promote("main")
    hand_over(host, other, tmp_path / "second")
    assert other.providers.show("main").kdk_id == old
    host.rotations.promote("main")
    hand_over(host, other, tmp_path / "third")
    assert other.providers.show("main").kdk_id == new.hex()
    assert other.rekeying.rekey(other.rekeying.stale()).done == ["guest"]
    other.exchange.receive(tmp_path / "second.package")  # an old one changes nothing
    assert other.providers.show("main").kdk_id == new.hex()
    with host_at(tmp_path / "other").open_state(VM) as store:
        assert (store.load(), store.kdk_id) == (BLOBS, new)


def test_giving_a_host_up(host: Host, other: Host, tmp_path: Path) -> None:
    """An operator can go on without a host that does not answer."""
    hand_over(host, other, tmp_path / "first", kdk_id=host.providers.show("main").kdk_id)
    new = host.rotations.begin("main")
    verify(host, "main", tmp_path / "both.backup")
    host.rotations.promote("main", without=[other.exchange.identity().host_id])
    assert host.providers.show("main").kdk_id == new.hex()
    assert isinstance(other.exchange.identity(), Identity)


def test_the_document_is_enough(host: Host, other: Host, tmp_path: Path) -> None:
    """The acknowledgment and the ids are what FORMAT.md says, computed from it alone."""

    def fields(*parts: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)

    def expand(key: bytes, *parts: bytes) -> bytes:
        return hmac.digest(key, fields(*parts) + b"\1", "sha512")

    kdk_id = bytes.fromhex(host.providers.show("main").kdk_id)
    kdk = host.providers.key("main", kdk_id)
    identity = other.exchange.identity()
    assert identity.host_id == hashlib.sha512(fields(b"nvstore v1 host id", identity.public)).hexdigest()[:32]
    push(host, identity, tmp_path / "p")
    package = json.loads((tmp_path / "p").read_text())
    mac = package.pop("mac")
    text = json.dumps(package, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert mac == expand(kdk, b"nvstore v1 package mac", text)[:32].hex()
    shown = {name: value for name, value in package.items() if name not in {"macs", "sealed"}}
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert package["macs"] == {kdk_id.hex(): expand(kdk, b"nvstore v1 package shown", text)[:32].hex()}
    ack = json.loads(other.exchange.receive(tmp_path / "p", kdk_id=kdk_id).acknowledgment)
    expected = expand(kdk, b"nvstore v1 acknowledgment", kdk_id, identity.host_id.encode())[:32]
    assert ack["keys"] == [{"kdk_id": kdk_id.hex(), "mac": expected.hex()}]
    macs = ack.pop("macs")
    text = json.dumps(ack, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert ack["challenge"] == package["challenge"]
    assert macs == {kdk_id.hex(): expand(kdk, b"nvstore v1 whole acknowledgment", text)[:32].hex()}


def test_packages_of_an_earlier_version(host: Host, other: Host, tmp_path: Path) -> None:
    """Without MACs under each key, a package counts only from a host that has the same current key."""
    kdk_id = bytes.fromhex(host.providers.show("main").kdk_id)
    identity = other.exchange.identity()
    for old, successor in ((tmp_path / "one", False), (tmp_path / "two", True), (tmp_path / "three", True)):
        if successor and host.providers.show("main").successor is None:
            new = host.rotations.begin("main")
            verify(host, "main", tmp_path / "both")
        if old.name == "three":
            host.rotations.promote("main", without=[identity.host_id])
        push_as_earlier_version(host, identity, old)
        if old.name == "three":
            with pytest.raises(PackageRefused, match="update of vtpm"):
                other.exchange.receive(old)
        else:
            other.exchange.receive(old, kdk_id=kdk_id)
    assert other.providers.current("main") == kdk_id
    assert other.providers.show("main").keys == [kdk_id.hex(), new.hex()]
    other.providers.check_succession("main", kdk_id, new)


def push_as_earlier_version(origin: Host, to: Identity, out: Path) -> None:
    """Write a package as the version did that had no MACs but that under the current key."""
    kdks = {
        key: origin.providers.key("main", bytes.fromhex(key)) for key in origin.providers.show("main").keys
    }
    current = origin.providers.current("main").hex()
    shown = {
        "format": "nvstore provider package",
        "version": 1,
        "provider": "main",
        "current": current,
        "keys": [
            {"kdk_id": kdk_id, "epoch": epoch, "created": "2026-01-01T00:00:00Z"}
            for epoch, kdk_id in enumerate(kdks, 1)
        ],
        "exported": "2026-01-01T00:00:00Z",
        "host": "origin",
        "to": to.host_id,
        "backups": [],
    }
    public = X25519PublicKey.from_public_bytes(to.public)
    info = context(PACKAGE, canonical(shown))
    content = {**shown, "sealed": _SUITE.encrypt(b"".join(kdks.values()), public, info=info).hex()}
    mac = _package_mac(kdks[current], content)
    out.write_text(json.dumps({**content, "mac": mac.hex()}))
