"""Files of the store: each is read, or refused by the error that says what is wrong with it."""

import random
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from nvstore import Cost, Host, NvstoreError
from nvstore.files import OsFiles
from nvstore.keys import KeySource, Prf, kdk_id_of
from nvstore.provider.backup_file import open_backup
from nvstore.provider.exchange import read_identity
from nvstore.provider.provider import read_provider
from nvstore.provider.shares import Share, draw_passphrase
from nvstore.provider.status import status_of
from nvstore.provider_errors import KeyMissing, KeyUncertified
from nvstore.state.anchor import Anchored
from nvstore.state.blobs import Blobs, MalformedBlobs
from nvstore.state.bundle import is_under_passphrase, open_bundle
from nvstore.state.history import read_history, salvage
from nvstore.state.mark import MAGIC, PLACE, MarkFile
from nvstore.state.metadata import Metadata
from nvstore.state.place import StillFile
from nvstore.state.record import MAX_HEADER, Damaged, UnknownSuite, read_record
from nvstore.state.ring import read_ring
from nvstore.state.vm import Vm, read_vm
from tests.fuzz.target import Finding, Target

CHEAP = Cost(64, 1, 1)
VM = UUID(int=0x6C1F3D6E54D04D6A8F0E3B1D4A7C9E21)
PASSPHRASE = b"correct horse battery"
PATH = Path("input")
PAGE = 4096
RING_FIELDS = 36
CHEAP_ARGON = b'"memory_kib": 64, '
HEADER_SIZE = 12
"""Where a record says how long its header is."""


class AnyKey:
    """A key source that has no key but one."""

    kdk = bytes(32)

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return the key, if it is that one."""
        if kdk_id != kdk_id_of(self.kdk):
            raise KeyMissing(kdk_id, provider, None, [])
        return self.kdk

    def current(self, provider: str) -> bytes:
        """Return its id."""
        del provider
        return kdk_id_of(self.kdk)

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """There is one key, which nothing follows."""
        if before != after:
            raise KeyUncertified(provider, before, after)

    def check_authenticated(self, provider: str, kdk_id: bytes) -> None:
        """The key lies in no file."""


KEYS: KeySource = AnyKey()


def mended(octets: bytes) -> bytes:
    """A record with the right checksum."""
    size = int.from_bytes(octets[HEADER_SIZE : HEADER_SIZE + 4])
    if 4 <= size <= min(len(octets), MAX_HEADER):
        return octets[: size - 4] + zlib.crc32(octets[: size - 4]).to_bytes(4) + octets[size:]
    return octets


def record(octets: bytes) -> None:
    """A record whose checksum is right."""
    octets = mended(octets)
    try:
        found = read_record(octets)
    except (Damaged, UnknownSuite) as error:
        raise Refused from error
    if not octets.startswith(found.octets) or len(found.link) != 48:
        raise Finding("a record is not what it was read from")


def ring(octets: bytes) -> None:
    """A whole file with the right checksums."""
    fields = octets[:RING_FIELDS]
    octets = fields + zlib.crc32(fields).to_bytes(4) + octets[RING_FIELDS + 4 :]
    octets = b"".join(mended(octets[at : at + PAGE]) for at in range(0, len(octets), PAGE))
    try:
        read_ring(octets[:PAGE])
    except Damaged as error:
        raise Refused from error
    salvage(StillFile(octets), PATH, VM).entries(None, KEYS)
    history = read_history(StillFile(octets), PATH, VM)
    history.entries(None, KEYS)
    history.newest(None, KEYS)


def blobs(octets: bytes) -> None:
    """The plaintext of a record."""
    try:
        found = Blobs.decode(octets)
    except MalformedBlobs as error:
        raise Refused from error
    if found.encode(len(octets)) != octets:
        raise Finding("blobs are encoded otherwise")


def metadata(octets: bytes) -> None:
    """What stands in front of the blobs."""
    try:
        found, end = Metadata.decode(octets, VM)
    except MalformedBlobs as error:
        raise Refused from error
    if found.encode() != octets[:end]:
        raise Finding("metadata are encoded otherwise")


def mark(octets: bytes) -> None:
    """The mark of a VM on its host, as it is and with the checksums that belong to it."""
    places = [bytearray(octets[at : at + PLACE]) for at in range(0, 3 * PLACE, PLACE)]
    for place in places:
        end = 216 if place.startswith(MAGIC) else 208
        if len(place) >= end + 4:
            place[end : end + 4] = zlib.crc32(place[:end]).to_bytes(4)
    for content in (b"".join(places), octets):
        found = MarkFile(OsFiles(), PATH, content)
        if found.lags not in {True, False}:
            raise Finding("it is not told whether the mark lags")
        found.authenticate(lambda _: None if octets[-1:] == b"\0" else Prf(bytes(32)))


def anchored(octets: bytes) -> None:
    """What a TPM remembers of a state."""
    if Anchored.decode(octets) is None:
        raise Refused


def bundle(octets: bytes) -> None:
    """An exported state."""
    is_under_passphrase(octets, PATH)
    open_bundle(octets, PATH, KEYS, PASSPHRASE if CHEAP_ARGON in octets else None)


def backup(octets: bytes) -> None:
    """A backup of a provider, unless it would take seconds to try the passphrase."""
    if CHEAP_ARGON in octets or b"argon2id" not in octets:
        open_backup(octets, PATH, PASSPHRASE)


def provider(octets: bytes) -> None:
    """A provider."""
    found = read_provider(octets, PATH)
    found.encode(found.mac)
    status_of(found, unlocked=False, default=False, groups=[], obstacles=[], now=0)


def vm(octets: bytes) -> None:
    """The registration of a VM."""
    read_vm(octets, PATH).encode()


def share(octets: bytes) -> None:
    """A share of a passphrase."""
    Share.decode(octets, PATH).encode("main")


def identity(octets: bytes) -> None:
    """The identity of a host."""
    read_identity(octets, PATH).encode()


class Refused(Exception):  # noqa: N818 - what happened to the input
    """An input was refused by an error that only the module that raises it knows."""


READERS: tuple[Callable[[bytes], None], ...] = (
    record, ring, blobs, mark, anchored, bundle, backup, provider, vm, share, identity, metadata,
)  # fmt: skip


class Stores(Target):
    """The first octet chooses the kind of file; the others are its content."""

    name = "store"
    words: ClassVar[tuple[bytes, ...]] = (
        b"null",
        b"true",
        b"-1",
        b"0",
        b"1e999",
        b"Infinity",
        b"NaN",
        b"[]",
        b"{}",
        b'""',
        b'"\\ud800"',
        b'"\\u0000"',
        b"9" * 40,
        b"[" * 9000,
    )

    def seeds(self) -> list[bytes]:
        """The files of a host that has one of each."""
        with tempfile.TemporaryDirectory() as name:
            found = self.files_of(Path(name))
        return [bytes([READERS.index(reader)]) + octets for reader, octets in found]

    def files_of(self, directory: Path) -> list[tuple[Callable[[bytes], None], bytes]]:
        """A host with a provider, a VM, a backup, bundles, and an identity."""
        host = Host(directory / "host", passphrase_cost=CHEAP, backup_cost=CHEAP)
        host.providers.init("main")
        host.providers.backup("main", directory / "main.backup", PASSPHRASE)
        host.providers.verify(directory / "main.backup", PASSPHRASE)
        contents = {"permanent": b"seed" * 16, "nv/01800001": b"\1" * 100}
        with host.create_state(VM, "guest", contents) as store:
            store.commit({"nv/01800001": b"\2" * 100})
        host.transfers.export(VM, directory / "plain.bundle")
        host.transfers.export(VM, directory / "secret.bundle", PASSPHRASE)
        entropy = random.Random(1).randbytes
        _, shares = draw_passphrase(2, 3, entropy)
        state = (directory / "host" / "states" / f"{VM}.state").read_bytes()
        found: list[tuple[Callable[[bytes], None], bytes]] = [
            (ring, state[: PAGE * 8]),
            (ring, state),
            (record, state[5 * PAGE : 9 * PAGE]),
            (record, state[9 * PAGE : 13 * PAGE]),
            (blobs, Blobs(contents).encode(512)),
            (metadata, Metadata(Vm(VM, "guest", "main", "2026-01-01T00:00:00Z"), 1).encode()),
            (backup, (directory / "main.backup").read_bytes()),
            (bundle, (directory / "plain.bundle").read_bytes()),
            (bundle, (directory / "secret.bundle").read_bytes()),
            (share, shares[0].encode("main")),
            (identity, host.exchange.enroll().encode()),
        ]
        kinds = {".mark": mark, ".provider": provider, ".vm": vm}
        paths = [path for path in (directory / "host").rglob("*") if path.suffix in kinds]
        assert {path.suffix for path in paths} == set(kinds)
        found += [(kinds[path.suffix], path.read_bytes()) for path in sorted(paths)]
        return found

    def check(self, octets: bytes) -> bool:
        """Read it."""
        reader = READERS[(octets[0] if octets else 0) % len(READERS)]
        try:
            reader(octets[1:])
        except (NvstoreError, Refused):
            return False
        return True
