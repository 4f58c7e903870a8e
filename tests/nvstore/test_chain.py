"""What authenticates a provider's file: each way of changing it without the keys is refused, or noticed."""

import hmac
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvstore import (
    Format,
    Host,
    HostTpmRequired,
    KeyMissing,
    KeyUncertified,
    NvstoreError,
    PackageRefused,
    ProviderAltered,
    TooExpensive,
    WrongPassphrase,
    examine,
)
from nvstore.doctor import Level
from nvstore.keys import kdk_id_of
from nvstore.provider import pkcs12
from nvstore.provider.backup import KeyEntry
from nvstore.provider.chain import mac_of, with_certificates
from nvstore.provider.der_cost import rounds_of
from nvstore.provider.pkcs12 import ROUNDS
from nvstore.provider.provider import read_provider
from nvstore.seal.sealer import KeyFileSealer
from tests.nvstore.conftest import BLOBS, OTHER, PASSPHRASE, VM, as_first_version, host_at, rewrite, verify

SEAL = b"what seals this host's keys"
PLANTED = bytes(range(32))


@pytest.fixture
def sealed(directory: Path, tmp_path: Path) -> Host:
    """A host whose key a passphrase seals, with a VM under it."""
    host = host_at(directory)
    host.providers.init("main", passphrase=SEAL)
    verify(host, "main", tmp_path / "main.backup")
    host.create_state(VM, "guest", BLOBS).close()
    return host


def file_of(directory: Path) -> Path:
    """The provider's file."""
    return directory / "providers/main.provider"


def change(directory: Path, **members: Any) -> None:
    """Write these members, as somebody who has the disk can."""
    path = file_of(directory)
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


def unlocked(directory: Path) -> Host:
    """The host after its next start."""
    host = host_at(directory)
    host.providers.unlock("main", SEAL)
    return host


def plant(directory: Path, *, mirror: bool, epoch: int = 2) -> None:
    """Put a key of another's choice, sealed by his key file, beside the real one, as the current one."""
    path, key_file = file_of(directory), directory / "keys/planted.key"
    host = host_at(directory.parent / "attacker")
    sealing = KeyFileSealer(key_file).make(host._files, bytes, "")
    entry = KeyEntry(kdk_id_of(PLANTED), epoch, "2026-01-01T00:00:00Z")
    seal = sealing.seal(bytes, "main", PLANTED, require_host_tpm=False)
    document = json.loads(path.read_text())
    (real,) = document["keys"]
    own = {**entry.to_json(), "seals": [seal]}
    if mirror:  # both have the same seals, of which each opens one
        own["seals"] = [seal, {**real["seals"][0], "box": "00" * 112}]
        real["seals"].append({**seal, "box": "00" * 112})
    document |= {"keys": [real, own], "current": entry.kdk_id.hex()}
    provider = read_provider(json.dumps(document).encode(), path)
    kdks = dict.fromkeys(provider.kdk_ids, PLANTED)
    document["mac"] = mac_of(provider, provider.signed, kdks).hex()
    path.write_text(json.dumps(document))


class TestPlantedKey:
    """A key that somebody else knows never protects anything."""

    @pytest.mark.usefixtures("sealed")
    @pytest.mark.parametrize("mirror", [False, True])
    @pytest.mark.parametrize("with_passphrase", [False, True])
    def test_refused(self, directory: Path, *, mirror: bool, with_passphrase: bool) -> None:
        """Beside a real key it is noticed by its seals, whichever of them is asked."""
        plant(directory, mirror=mirror)
        state = (directory / f"states/{VM}.state").read_bytes()
        again = host_at(directory)
        if with_passphrase:
            with pytest.raises(ProviderAltered):
                again.providers.unlock("main", SEAL)
        for use in (lambda: again.open_state(VM), lambda: again.providers.current("main")):
            with pytest.raises(ProviderAltered):
                use()
        with pytest.raises(ProviderAltered):
            again.create_state(OTHER, "other", BLOBS)
        with pytest.raises(ProviderAltered):
            again.vault.put("secret", b"s", provider="main")
        assert (directory / f"states/{VM}.state").read_bytes() == state

    @pytest.mark.usefixtures("sealed")
    def test_alone(self, directory: Path) -> None:
        """In the place of the real key, it opens no state that is there."""
        plant(directory, mirror=False)
        document = json.loads(file_of(directory).read_text())
        document["keys"] = document["keys"][1:]
        provider = read_provider(json.dumps(document).encode(), file_of(directory))
        mac = mac_of(provider, provider.signed, {provider.current: PLANTED})
        file_of(directory).write_text(json.dumps(document | {"mac": mac.hex()}))
        with pytest.raises(KeyMissing, match=kdk_id_of(PLANTED).hex()):
            host_at(directory).open_state(VM)

    def test_in_a_file_of_the_first_version(self, sealed: Host, directory: Path) -> None:
        """There, too, all keys have the same seals."""
        as_first_version(sealed, "main")
        document = json.loads(file_of(directory).read_text())
        seal = {"kind": "key-file", "path": str(directory / "keys/x.key"), "box": "00" * 112}
        planted = KeyEntry(kdk_id_of(PLANTED), 2, "2026-01-01T00:00:00Z")
        document["keys"].append({**planted.to_json(), "seal": seal})
        file_of(directory).write_text(json.dumps(document | {"current": planted.kdk_id.hex()}))
        with pytest.raises(ProviderAltered, match="other seals"):
            host_at(directory).providers.unlock("main", SEAL)

    def test_key_of_another_provider(self, host: Host, directory: Path) -> None:
        """A key of one provider of this host is not taken for one of another, boxes and all."""
        host.providers.init("spare", key_file=directory / "keys/main.key")
        spare = json.loads((directory / "providers/spare.provider").read_text())
        document = json.loads(file_of(directory).read_text())
        change(directory, keys=[*document["keys"], *spare["keys"]], current=spare["current"])
        with pytest.raises(ProviderAltered):
            host_at(directory).providers.current("main")


class TestEdited:
    """Every member of the file is authenticated."""

    @pytest.mark.parametrize(
        "members",
        [
            {"state": "disabled"},
            {"delete_after": "2020-01-01T00:00:00Z", "state": "pending-deletion"},
            {"hosts": [{"host_id": "00" * 16, "name": "x", "kdk_ids": [], "acknowledged": None}]},
            {"backups": []},
            {"default_for": []},
            {"require_host_tpm": True},
            {"sequence": 1},
            {"rotation": {"successor": "00" * 16, "begun": "2020-01-01T00:00:00Z", "promoted": None}},
            {"retired": [{"kdk_id": "00" * 16, "epoch": 1, "created": "x"}]},
            {"mac": "00" * 32},
            {"unknown": 1},
        ],
        ids=lambda members: next(iter(members)),
    )
    def test_refused(self, host: Host, directory: Path, members: dict[str, Any]) -> None:
        """Any change is named at the first use of a key, and before any step is taken on it."""
        host.create_state(VM, "guest", BLOBS).close()
        change(directory, **members)
        content = file_of(directory).read_bytes()
        again = host_at(directory)
        for use in (
            lambda: again.open_state(VM),
            lambda: again.steps.destroy("main"),
            lambda: again.steps.disable("main"),
            lambda: again.rotations.begin("main"),
            lambda: again.providers.backup("main", directory / "b", PASSPHRASE),
            lambda: again.create_state(OTHER, "other", BLOBS),
        ):
            with pytest.raises((ProviderAltered, HostTpmRequired)):
                use()
        assert file_of(directory).read_bytes() == content

    @pytest.mark.usefixtures("host")
    @pytest.mark.parametrize("version", [1, 2])
    def test_mac_removed(self, directory: Path, version: int) -> None:
        """A file that was authenticated does not pass for one of the first version."""
        document = json.loads(file_of(directory).read_text())
        del document["mac"]
        for key in document["keys"]:
            for seal in key["seals"]:
                seal.pop("binding")
        file_of(directory).write_text(json.dumps(document | {"version": version}))
        with pytest.raises(ProviderAltered):
            host_at(directory).providers.current("main")

    def test_current_set_back(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """A rotation is not undone by naming the older key current again."""
        older = host.providers.current("main")
        host.rotations.begin("main")
        verify(host, "main", tmp_path / "both")
        host.rotations.promote("main")
        change(directory, current=older.hex())
        with pytest.raises(ProviderAltered):
            host_at(directory).providers.current("main")

    @pytest.mark.usefixtures("host")
    def test_file_of_another_name(self, directory: Path) -> None:
        """A provider's file under another name is not that provider."""
        shutil.copy(file_of(directory), directory / "providers/copy.provider")
        with pytest.raises(ProviderAltered, match="'main'"):
            host_at(directory).providers.current("copy")


class TestSuccession:
    """What is under a key is written under it or a later one."""

    def test_rotation(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """The successor is certified by every key that was there; no older key by a newer one."""
        first = host.providers.current("main")
        second = host.rotations.begin("main")
        verify(host, "main", tmp_path / "two")
        host.rotations.promote("main")
        host.rotations.finish("main")
        third = host.rotations.begin("main")
        again = host_at(directory)
        for before, after in ((first, first), (first, second), (second, third), (first, third)):
            again.providers.check_succession("main", before, after)
        for before, after in ((second, first), (third, first), (first, bytes(16)), (bytes(16), third)):
            with pytest.raises(KeyUncertified, match=before.hex()):
                again.providers.check_succession("main", before, after)

    def test_chain_over_a_retired_key(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """A state under the first key may go under the third, also where the second is gone."""
        first = host.providers.current("main")
        second = host.rotations.begin("main")
        verify(host, "main", tmp_path / "two")
        host.rotations.promote("main")
        host.rotations.finish("main")
        third = host.rotations.begin("main")
        verify(host, "main", tmp_path / "three")
        host.rotations.promote("main")
        host.rotations.finish("main")
        host.rotations.retire("main", second)
        host_at(directory).providers.check_succession("main", first, third)

    def test_older_file_put_back(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """An older copy of the file, authentic as it is, is named where something is under a later key."""
        first = host.providers.current("main")
        second = host.rotations.begin("main")
        verify(host, "main", tmp_path / "two")
        copy = file_of(directory).read_bytes()
        host.rotations.promote("main")
        file_of(directory).write_bytes(copy)
        again = host_at(directory)
        assert again.providers.current("main") == first
        with pytest.raises(KeyUncertified):
            again.providers.check_succession("main", second, again.providers.current("main"))

    def test_forged_certificate(self, host: Host, directory: Path) -> None:
        """A certificate that an older key did not make is not overlooked, even in a file that has a MAC."""
        first = host.providers.current("main")
        host.rotations.begin("main")
        document = json.loads(file_of(directory).read_text())
        document["keys"][1]["certificates"] = {first.hex(): "00" * 32}
        rewrite(host, "main", keys=document["keys"])
        with pytest.raises(ProviderAltered, match="forged"):
            host_at(directory).providers.current("main")

    def test_first_version_is_told(self, host: Host, directory: Path) -> None:
        """What was written when files were authenticated can refuse one that is not."""
        kdk_id = host.providers.current("main")
        host.providers.check_authenticated("main", kdk_id)
        as_first_version(host, "main")
        again = host_at(directory)
        with pytest.raises(ProviderAltered, match="earlier version"):
            again.providers.check_authenticated("main", kdk_id)
        again.providers.current("main")
        again.providers.check_authenticated("main", kdk_id)


class TestDefault:
    """Which provider new VMs are made under is authenticated as well."""

    def test_file_of_defaults(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """What the file of defaults says is not taken against what the providers say."""
        host.providers.init("spare")
        verify(host, "spare", tmp_path / "spare.backup")
        path = directory / "providers/default"
        path.write_text(path.read_text().replace("main", "spare"))
        again = host_at(directory)
        assert again.providers.default == "main"
        with again.create_state(VM, "guest", BLOBS) as store:
            assert store.provider == "main"

    @pytest.mark.usefixtures("host")
    def test_planted_provider(self, directory: Path, tmp_path: Path) -> None:
        """A provider of somebody else's that calls itself the default is in the way of the real one."""
        attacker = host_at(tmp_path / "attacker")
        attacker.providers.init("evil")
        verify(attacker, "evil", tmp_path / "evil.backup")
        shutil.copy(tmp_path / "attacker/providers/evil.provider", directory / "providers")
        with pytest.raises(ProviderAltered, match="evil"):
            host_at(directory).create_state(VM, "guest", BLOBS)
        change(directory, default_for=[])
        with pytest.raises(ProviderAltered, match="main"):
            host_at(directory).create_state(VM, "guest", BLOBS)


class TestRestore:
    """A backup helps against whatever was done to the file, and never leads back."""

    def test_altered_file(self, sealed: Host, directory: Path, tmp_path: Path) -> None:
        """The altered file is kept beside, and the provider is what the backup says."""
        kdk_id = sealed.providers.show("main").kdk_id
        plant(directory, mirror=False)
        report = host_at(directory).providers.restore(
            tmp_path / "main.backup", PASSPHRASE, seal_passphrase=SEAL
        )
        assert any("main.altered-1" in warning for warning in report.warnings)
        again = unlocked(directory)
        assert again.providers.show("main").kdk_id == kdk_id
        again.open_state(VM).close()
        assert (directory / "providers/main.altered-1").exists()

    def test_older_backup(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """On a host with a later key, that one stays current; on an empty one, the operator is warned."""
        older = host.providers.current("main")
        newer = host.rotations.begin("main")
        verify(host, "main", tmp_path / "both")
        host.rotations.promote("main")
        report = host.providers.restore(tmp_path / "main.backup", PASSPHRASE)
        assert host_at(directory).providers.current("main") == newer
        assert any(newer.hex() in warning for warning in report.warnings)
        fresh = host_at(tmp_path / "fresh")
        report = fresh.providers.restore(tmp_path / "main.backup", PASSPHRASE)
        assert fresh.providers.current("main") == older
        assert any("compare" in warning for warning in report.warnings)

    def test_backup_of_before_the_promotion(self, host: Host, tmp_path: Path) -> None:
        """The key that was to follow is current where it is restored: the retired one does not come back."""
        newer = host.rotations.begin("main")
        verify(host, "main", tmp_path / "both")
        host.rotations.promote("main")
        fresh = host_at(tmp_path / "fresh")
        report = fresh.providers.restore(tmp_path / "both", PASSPHRASE)
        assert host_at(tmp_path / "fresh").providers.current("main") == newer
        assert any("was to follow" in warning for warning in report.warnings)


class TestKeyFiles:
    """A key file is removed when nothing needs it."""

    def test_shared(self, directory: Path) -> None:
        """One that seals another provider, or the identity, stays."""
        now = [1.7e9]
        host = Host(directory, clock=lambda: now[0])
        host.exchange.enroll()
        host.providers.init("a", key_file=directory / "keys/host.key")
        host.providers.init("b", key_file=directory / "keys/own.key")
        host.providers.init("c", key_file=directory / "keys/own.key")
        for name in ("a", "b", "c"):
            host.steps.schedule_deletion(name)
        now[0] += 8 * 86400
        host.steps.destroy("a")
        host.steps.destroy("b")
        assert sorted(path.name for path in (directory / "keys").iterdir()) == ["host.key", "own.key"]
        host_at(directory).exchange._private(*host_at(directory).exchange._read())
        host.steps.destroy("c")
        assert [path.name for path in (directory / "keys").iterdir()] == ["host.key"]

    def test_reserved_name(self, tmp_path: Path, host: Host) -> None:
        """No provider is called as the key file of the identity is."""
        for make in (
            lambda: host.providers.init("host"),
            lambda: host.providers.restore(tmp_path / "main.backup", PASSPHRASE, name="Host"),
        ):
            with pytest.raises(NvstoreError) as raised:
                make()
            assert raised.value.code in {"bad-name", "provider-exists"}


class TestHosts:
    """What comes from another host."""

    def two(self, host: Host, tmp_path: Path) -> tuple[Host, Host]:
        """Two other hosts that have the key of `main`."""
        others = host_at(tmp_path / "b"), host_at(tmp_path / "m")
        for at, other in zip(("b", "m"), others, strict=True):
            identity = other.exchange.enroll()
            host.exchange.push("main", identity, tmp_path / f"{at}.package", host_id=identity.host_id)
            kdk_id = host.providers.current("main")
            ack = other.exchange.receive(tmp_path / f"{at}.package", kdk_id=kdk_id).acknowledgment
            (tmp_path / f"{at}.ack").write_bytes(ack)
            host.exchange.acknowledge(tmp_path / f"{at}.ack")
        return others

    def test_former_host(self, host: Host, tmp_path: Path) -> None:
        """A host that has the old key alone, with a high epoch, does not undo a rotation elsewhere."""
        b, m = self.two(host, tmp_path)
        new = host.rotations.begin("main")
        verify(host, "main", tmp_path / "both")
        for step in ("pushed", "promoted"):
            if step == "promoted":
                host.rotations.promote(
                    "main", without=[i.host_id for i in (b.exchange.identity(), m.exchange.identity())]
                )
            host.exchange.push("main", b.exchange.identity(), tmp_path / step)
            b.exchange.receive(tmp_path / step)
        assert b.providers.current("main") == new
        document = json.loads((tmp_path / "m/providers/main.provider").read_text())
        document["keys"][0]["epoch"] = 99
        rewrite(m, "main", keys=document["keys"])
        identity = b.exchange.identity()
        m.exchange.push("main", identity, tmp_path / "forged", host_id=identity.host_id)
        with pytest.raises(PackageRefused, match=new.hex()):
            b.exchange.receive(tmp_path / "forged")
        assert host_at(tmp_path / "b").providers.current("main") == new

    def test_epoch_of_a_known_key(self, host: Host, tmp_path: Path) -> None:
        """The epoch that a sender gives a key that is here is not taken."""
        b, m = self.two(host, tmp_path)
        document = json.loads((tmp_path / "m/providers/main.provider").read_text())
        document["keys"][0]["epoch"] = 99
        rewrite(m, "main", keys=document["keys"])
        identity = b.exchange.identity()
        m.exchange.push("main", identity, tmp_path / "package", host_id=identity.host_id)
        b.exchange.receive(tmp_path / "package")
        assert [
            key["epoch"] for key in json.loads((tmp_path / "b/providers/main.provider").read_text())["keys"]
        ] == [1]

    def test_acknowledgments(self, host: Host, tmp_path: Path) -> None:
        """An empty, altered, older or replayed one is refused; none takes a key away."""
        b, _ = self.two(host, tmp_path)
        has = next(
            h for h in host.providers.show("main").hosts if h.host_id == b.exchange.identity().host_id
        ).kdk_ids
        host.exchange.push("main", b.exchange.identity(), tmp_path / "again")
        good = json.loads(b.exchange.receive(tmp_path / "again").acknowledgment)
        replayed = json.loads((tmp_path / "b.ack").read_text())
        old = {name: value for name, value in good.items() if name not in {"macs", "challenge"}}
        for forged in (
            good | {"keys": []},
            good | {"macs": {}},
            good | {"name": "x"},
            old,
            replayed,
            old | {"keys": []},
        ):
            (tmp_path / "ack").write_text(json.dumps(forged))
            with pytest.raises(PackageRefused):
                host.exchange.acknowledge(tmp_path / "ack")
        (tmp_path / "ack").write_text(json.dumps(good))
        assert host.exchange.acknowledge(tmp_path / "ack").kdk_ids == has
        with pytest.raises(PackageRefused, match="noted already"):
            host.exchange.acknowledge(tmp_path / "ack")

    def test_identity_exchanged(self, host: Host, tmp_path: Path) -> None:
        """Keys are not pushed to an identity that nobody has compared, whatever name it has."""
        self.two(host, tmp_path)
        stranger = host_at(tmp_path / "stranger").exchange.enroll()
        for host_id in (None, "00" * 16):
            with pytest.raises(PackageRefused, match=stranger.host_id):
                host.exchange.push("main", stranger, tmp_path / "p", host_id=host_id)
        assert not (tmp_path / "p").exists()


def test_a_certificate_is_for_one_epoch() -> None:
    """A key that gets another epoch is not certified any more."""
    entry = with_certificates(KeyEntry(bytes(16), 2, "now"), {b"\1" * 16: PLANTED})
    other = with_certificates(KeyEntry(bytes(16), 3, "now"), {b"\1" * 16: PLANTED})
    assert entry.certificates != other.certificates


class TestCost:
    """What a foreign file may cost before anybody knows that it opens."""

    @pytest.mark.parametrize("change", [{"memory_kib": 2 << 20}, {"iterations": 9}])
    def test_argon2id(self, host: Host, tmp_path: Path, change: dict[str, int]) -> None:
        """More memory or rounds than this program's files ask for are spent on an operator's word only."""
        path = tmp_path / "main.backup"
        document = json.loads(path.read_text())
        document["argon2id"] |= change
        path.write_text(json.dumps(document))
        with pytest.raises(TooExpensive, match="--allow-expensive"):
            host.providers.verify(path, PASSPHRASE)
        if "iterations" in change:
            with pytest.raises(WrongPassphrase):
                host.providers.verify(path, PASSPHRASE, allow_expensive=True)

    def test_pkcs12(self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """So are the rounds of PKCS#12, wherever in the file they stand."""
        long = b"a long enough passphrase"
        path = tmp_path / "p12"
        host.providers.backup("main", path, long, form=Format.PKCS12)
        octets = path.read_bytes()
        assert rounds_of(octets) == ROUNDS
        mine, huge = ROUNDS.to_bytes(3, "big"), (0x7FFFFF).to_bytes(3, "big")
        places = [i for i in range(len(octets)) if octets[i : i + 5] == b"\x02\x03" + mine]
        assert len(places) >= 2
        for place in places:
            raised = octets[: place + 2] + huge + octets[place + 5 :]
            assert rounds_of(raised) == 0x7FFFFF
        monkeypatch.setattr(pkcs12, "MAX_ROUNDS", ROUNDS - 1)
        with pytest.raises(TooExpensive, match=str(ROUNDS)):
            host.providers.open_backup(path, long)
        assert host.providers.open_backup(path, long, allow_expensive=True).provider == "main"

    @pytest.mark.parametrize(
        "octets", [b"\x30\x80\x00\x00", b"\x30\x02\x24\x00", b"\x30\x05\x04", b"\x30" * 50]
    )
    def test_not_der(self, octets: bytes) -> None:
        """What could hide its rounds is refused."""
        with pytest.raises(ValueError, match=r"DER|definite|deeply"):
            rounds_of(octets)

    def test_scrypt(self) -> None:
        """Its three parameters count together."""
        numbers = b"".join(bytes([2, len(n)]) + n for n in (b"\x40\x00", b"\x08", b"\x02"))
        assert rounds_of(b"\x30" + bytes([len(numbers) + 4]) + b"\x04\x02ss" + numbers) == 0x4000 * 8 * 2


class TestTold:
    """What a status says that an operator would not see otherwise."""

    def test_backup_of_before_the_promotion(self, host: Host, tmp_path: Path) -> None:
        """After a promotion, it says so until a backup was verified that names the new key as current."""
        host.rotations.begin("main")
        verify(host, "main", tmp_path / "both")
        host.rotations.promote("main")
        host.rotations.finish("main")
        assert "became current" in host.providers.show("main").warnings[0]
        verify(host, "main", tmp_path / "after")
        assert host.providers.show("main").warnings == []

    def test_what_hosts_lack(self, host: Host, tmp_path: Path) -> None:
        """Each host is named that has not acknowledged the current key, or the one that follows."""
        identity = host_at(tmp_path / "other").exchange.enroll()
        host.exchange.push("main", identity, tmp_path / "p", host_id=identity.host_id)
        new = host.rotations.begin("main")
        lacking = host.providers.show("main").lacking
        assert len(lacking) == 2
        assert all(identity.host_id in lack for lack in lacking)
        assert new.hex() in lacking[1]

    def test_unchecked(self, host: Host, directory: Path) -> None:
        """A status that no key has authenticated says so."""
        assert host.providers.show("main").authenticated
        again = host_at(directory)
        assert "  unchecked" in "\n".join(again.providers.show("main").lines())
        again.providers.check("main")
        assert "  unchecked" not in "\n".join(again.providers.show("main").lines())

    def test_doctor(self, host: Host, directory: Path) -> None:
        """A key file beside the data is a note, an altered file an error."""
        found = [f for f in examine(host).findings if f.subject == "provider main"]
        assert [(f.grade, "main.key" in f.problem) for f in found] == [("note", True)]
        change(directory, backups=[])
        found = [f for f in examine(host_at(directory)).findings if f.subject == "provider main"]
        assert any("altered" in f.problem for f in found if f.level is Level.ERROR)

    def test_what_a_new_seal_leaves(self, host: Host, directory: Path, tmp_path: Path) -> None:
        """The key file of the old seal is destroyed; one that lies elsewhere is named."""
        elsewhere = tmp_path / "elsewhere.key"
        assert host.providers.reseal("main", key_file=elsewhere).left_behind == []
        assert not (directory / "keys/main.key").exists()
        status = host.providers.reseal("main", passphrase=SEAL)
        assert status.left_behind == [str(elsewhere)]
        assert elsewhere.exists()
        host.providers.reseal("main")
        assert (directory / "keys/main.key").exists()
        host_at(directory).providers.check("main")

    def test_alarm_of_the_future(self, directory: Path) -> None:
        """A date that was moved on does not silence an alarm."""
        host = host_at(directory)
        host.providers.init("main")
        assert len(host.providers.raise_alarms()) == 1
        path = directory / "providers/alarms"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"raised": {"main": "9000-01-01T00:00:00Z"}})
        )
        assert len(host.providers.raise_alarms()) == 1


def test_host_that_requires_its_tpm(host: Host, directory: Path) -> None:
    """Where the host is told to use its TPM, no file decides otherwise."""
    host.create_state(VM, "guest", BLOBS).close()
    strict = Host(directory, require_host_tpm=True)
    with pytest.raises(HostTpmRequired):
        strict.open_state(VM)


def test_the_document_is_enough(host: Host, directory: Path) -> None:
    """FORMAT.md, 1 and 7: boxes, certificates and mac, computed from the document alone."""

    def fields(*parts: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)

    def expand(key: bytes, *parts: bytes) -> bytes:
        return hmac.digest(key, fields(*parts) + b"\1", "sha512")[:32]

    host.rotations.begin("main")
    document = json.loads(file_of(directory).read_text())
    mac, kdks = document.pop("mac"), {}
    for key in document["keys"]:
        (seal,) = key["seals"]
        octets, kdk_id = bytes.fromhex(seal["box"]), bytes.fromhex(key["kdk_id"])
        sealing = bytes.fromhex(Path(seal["path"]).read_text())
        k = hmac.digest(sealing, fields(b"nvstore v1 host seal", octets[:32]) + b"\1", "sha512")
        associated = fields(b"main", kdk_id, b"binding", b"\2", b"\0")
        kdks[key["kdk_id"]] = AESGCM(k[:32]).decrypt(bytes(12), octets[64:], associated)
    older, newer = document["keys"]
    parts = (
        bytes.fromhex(older["kdk_id"]),
        bytes.fromhex(newer["kdk_id"]),
        struct.pack(">Q", newer["epoch"]),
    )
    made = expand(kdks[older["kdk_id"]], b"nvstore v1 key certificate", *parts)
    assert newer["certificates"] == {older["kdk_id"]: made.hex()}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    label = b"nvstore v1 provider document"
    k = expand(kdks[document["current"]], label, *kdks.values())
    assert expand(k, label, text).hex() == mac
