"""Parts of a state that travel with a running VM: FORMAT.md, "Part of a state on its way"."""

import hmac
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvstore import (
    Host,
    KeyMissing,
    KeyUncertified,
    NvstoreError,
    StreamAltered,
    StreamDamaged,
    StreamKeyRefused,
    StreamOfOther,
)
from nvstore.state.stream import Part, is_sealed, open_part, seal_part
from tests.nvstore.conftest import OTHER, PASSPHRASE, VM, host_at, verify
from tests.nvstore.test_format import OneKey

CONTENT = b"what QEMU carries" * 100
KDK = bytes(range(32))


@pytest.fixture
def part(host: Host, state: Path) -> bytes:
    """A part of the state of a VM."""
    assert state.exists()
    return host.transfers.wrap(VM, CONTENT)


def expanded(key: bytes, size: int, *fields: bytes) -> bytes:
    """`expand`, as the document has it."""
    info = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return hmac.digest(key, info + b"\x01", "sha512")[:size]


class TestFormat:
    """FORMAT.md, section 7"""

    def test_document(self) -> None:
        """A part is what the document alone says."""
        kdk_id = OneKey(KDK).current("main")
        header = b"nvstream" + struct.pack(">H", 2) + kdk_id + VM.bytes + b"\x01\x04main"
        names = [b"nvstore v2 state stream" + suffix for suffix in (b"", b" key", b" salt")]
        key, salt_key = (expanded(KDK, 32, name, kdk_id, VM.bytes) for name in names[1:])
        content = b"\x06a-host" + CONTENT
        salt = expanded(salt_key, 32, header, content)
        both = expanded(key, 64, names[0], salt)
        sealed = AESGCM(both[:32]).encrypt(bytes(12), content, header)

        assert (
            seal_part(OneKey(KDK), "main", VM, Part(CONTENT, denies_reverts=True, origin="a-host"))
            == header + salt + both[32:] + sealed
        )

    def test_suite_1(self) -> None:
        """What an earlier version has sealed opens, and does not say where it is from."""
        kdk_id = OneKey(KDK).current("main")
        header = b"nvstream" + struct.pack(">H", 1) + kdk_id + VM.bytes + b"\x01\x04main"
        key = expanded(KDK, 32, b"nvstore v1 state stream key", kdk_id, VM.bytes)
        salt = bytes(range(32))
        both = expanded(key, 64, b"nvstore v1 state stream", salt)
        sealed = header + salt + both[32:] + AESGCM(both[:32]).encrypt(bytes(12), CONTENT, header)

        assert open_part(OneKey(KDK), VM, sealed) == Part(CONTENT, denies_reverts=True, kdk_id=kdk_id)
        with pytest.raises(StreamAltered):
            open_part(OneKey(KDK), VM, sealed[:9] + b"\x02" + sealed[10:])

    def test_equal(self, host: Host, part: bytes) -> None:
        """Equal content gives equal octets, other content other ones, and none of it shows."""
        assert host.transfers.wrap(VM, CONTENT) == part
        assert host.transfers.wrap(VM, CONTENT + b"!")[:100] != part[:100]
        assert CONTENT[:17] not in part
        assert is_sealed(part)


class TestElsewhere:
    """A part opens where its key is, and for its VM"""

    def test_same_provider(self, host: Host, part: bytes, tmp_path: Path) -> None:
        """Another host with that provider opens it; it needs no state of the VM."""
        other = host_at(tmp_path / "elsewhere")
        with pytest.raises(KeyMissing) as caught:
            other.transfers.unwrap(VM, part)
        assert caught.value.kdk_id == host.providers.current("main")

        other.providers.restore(tmp_path / "main.backup", PASSPHRASE)
        assert other.transfers.unwrap(VM, part).content == CONTENT

    def test_after_rotation(self, host: Host, part: bytes, tmp_path: Path) -> None:
        """One under an older key opens as long as that key is there."""
        host.rotations.begin("main")
        verify(host, "main", tmp_path / "second.backup")
        host.rotations.promote("main")

        assert host.transfers.wrap(VM, CONTENT) != part
        assert host.transfers.unwrap(VM, part).content == CONTENT

    def test_policy(self, host: Host, part: bytes) -> None:
        """It says whether its host lets anybody revert the VM."""
        assert host.transfers.unwrap(VM, part).denies_reverts is False
        host.set_policy(VM, reverts=False)
        assert host.transfers.unwrap(VM, host.transfers.wrap(VM, CONTENT)).denies_reverts is True

    def test_other_vm(self, host: Host, part: bytes) -> None:
        """It is no state of another VM."""
        with pytest.raises(StreamOfOther, match=f"is of VM {VM}, not of VM {OTHER}"):
            host.transfers.unwrap(OTHER, part)


class TestKeys:
    """The header names a key, and the state decides"""

    def test_other_provider(self, host: Host, part: bytes) -> None:
        """Whoever has the key of another provider of this host makes no state of this VM."""
        host.providers.init("theirs")
        forged = seal_part(host.providers, "theirs", VM, Part(b"made up", denies_reverts=False))
        renamed = seal_part(host.providers, "theirs", VM, Part(b"made up", denies_reverts=False)).replace(
            b"\x06theirs", b"\x04main"
        )
        for octets in (forged, renamed):
            with pytest.raises(StreamKeyRefused, match=f"vtpm rekey {VM} --provider theirs"):
                host.transfers.unwrap(VM, octets)
        assert host.transfers.unwrap(VM, part).content == CONTENT

    def test_successor(
        self, host: Host, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is under a successor opens before that is promoted; what no chain leads to does not."""
        assert state.exists()
        former = host.providers.current("main")
        host.rotations.begin("main")
        verify(host, "main", tmp_path / "second.backup")
        host.rotations.promote("main")
        part = host.transfers.wrap(VM, CONTENT)

        monkeypatch.setattr(host.providers, "current", lambda _provider: former)
        assert host.transfers.unwrap(VM, part).content == CONTENT
        monkeypatch.setattr(host.providers, "current", lambda _provider: bytes(16))
        with pytest.raises(KeyUncertified):
            host.transfers.unwrap(VM, part)


class TestDamage:
    """What is no part, or no longer one, is refused"""

    @pytest.mark.parametrize("size", [0, 7, 42, 46])
    def test_short(self, size: int) -> None:
        """A part that was cut short is not read."""
        with pytest.raises((StreamDamaged, StreamAltered)):
            open_part(
                OneKey(KDK),
                VM,
                seal_part(OneKey(KDK), "main", VM, Part(CONTENT, denies_reverts=False))[:size],
            )

    def test_any_octet(self) -> None:
        """Whatever octet changes, it does not open."""
        whole = seal_part(OneKey(KDK), "main", VM, Part(b"content", denies_reverts=False))
        for at in range(len(whole)):
            changed = bytearray(whole)
            changed[at] ^= 0x80
            with pytest.raises(NvstoreError):
                open_part(OneKey(KDK), VM, bytes(changed))
