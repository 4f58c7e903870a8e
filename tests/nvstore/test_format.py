"""FORMAT.md: vectors, an implementation written from the document alone, and files of earlier versions."""

import gzip
import hashlib
import hmac
import json
import shutil
import struct
import zlib
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from nvstore import CorruptState, ForeignState, KeyMissing, KeyUncertified, NvstoreError, SuiteRefused
from nvstore.keys import KeySource, context, expand, kdk_id_of
from nvstore.state.blobs import Blobs, MalformedBlobs
from nvstore.state.history import History, Slot
from nvstore.state.record import Damaged, UnknownSuite, read_record
from nvstore.state.ring import Ring
from tests.nvstore.conftest import PASSPHRASE, host_at
from tests.nvstore.vectors import DIRECTORY, Vector, read_vector, written

VECTORS = sorted(DIRECTORY.glob("*.txt"))
GOLDEN = Path(__file__).with_name("golden")


class OneKey:
    """A key source that has one key."""

    def __init__(self, kdk: bytes) -> None:
        self.kdk = kdk

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


def blobs_of(vector: Vector) -> dict[str, bytes]:
    """Read a record as the store does, without the host's mark."""
    keys: KeySource = OneKey(vector.kdk)
    try:
        record = read_record(vector.record)
    except Damaged as error:
        raise CorruptState("vector", str(error)) from None
    except UnknownSuite as error:
        raise SuiteRefused("vector", str(error)) from None
    if record.header.vm != vector.vm:
        raise ForeignState(vector.vm, str(record.header.vm))
    history = History(Path("vector"), vector.vm, Ring(vector.vm, 4096, 1), [Slot(0, record)])
    return history.decrypt(record, keys).as_dict()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    """Every vector gives its blobs or its error."""
    vector = read_vector(path.read_text(encoding="utf-8"))
    if vector.expect == "blobs":
        assert blobs_of(vector) == vector.blobs
    else:
        with pytest.raises(NvstoreError) as raised:
            blobs_of(vector)
        assert raised.value.code == vector.expect


def test_vectors_are_what_the_generator_writes() -> None:
    """The format has not changed: the same scenarios give the same octets."""
    assert {path.stem: path.read_text(encoding="utf-8") for path in VECTORS} == dict(written())


def independent(record: bytes, kdk: bytes) -> dict[str, bytes]:
    """Read a record with nothing but FORMAT.md."""

    def fields(*parts: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)

    def unbox(key: bytes, label: bytes, box: bytes, associated: bytes) -> bytes:
        k = hmac.digest(key, fields(label, box[:32]) + b"\1", "sha512")
        assert k[32:] == box[32:64]
        return AESGCM(k[:32]).decrypt(bytes(12), box[64:], associated)

    (size,) = struct.unpack_from(">I", record, 12)
    assert zlib.crc32(record[: size - 4]) == int.from_bytes(record[size - 4 : size])
    kdk_id = hmac.digest(kdk, fields(b"nvstore v1 kdk id") + b"\1", "sha512")[:16]
    assert kdk_id == record[88:104]
    provider = record[305 : 305 + record[304]]
    info = fields(b"nvstore v1 kek", provider, kdk_id, record[104:120], record[120:136])
    kek = hmac.digest(hmac.digest(record[160:192], kdk, "sha512"), info + b"\1", "sha512")[:32]
    dek = unbox(kek, b"nvstore v1 dek", record[192:304], fields(record[136:144], record[144:160]))
    plaintext = unbox(dek, b"nvstore v1 record", record[size:], record[:size])
    if record[8:10] == b"\0\2":
        n = int.from_bytes(plaintext[:4])
        assert json.loads(plaintext[4 : 4 + n])["name"] == "guest \u00e9"
        plaintext = plaintext[4 + n + 8 :]
    blobs, at = {}, 4
    for _ in range(int.from_bytes(plaintext[:4])):
        n = int.from_bytes(plaintext[at : at + 2])
        name, at = plaintext[at + 2 : at + 2 + n], at + 2 + n
        m = int.from_bytes(plaintext[at : at + 4])
        blobs[name.decode()], at = plaintext[at + 4 : at + 4 + m], at + 4 + m
    assert not any(plaintext[at:])
    return blobs


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_document_is_enough(path: Path) -> None:
    """An implementation from the document reads every good vector."""
    vector = read_vector(path.read_text(encoding="utf-8"))
    if vector.expect == "blobs":
        assert independent(vector.record, vector.kdk) == vector.blobs
    else:
        assert vector.blobs == {}


class TestGolden:
    """A host directory that version 1 wrote: later versions open it, and leave it here as it is."""

    def unpacked(self, tmp_path: Path) -> Path:
        """Lay out the directory as it was."""
        root = tmp_path / "host"
        shutil.copytree(GOLDEN / "v1", root)
        for packed in root.rglob("*.gz"):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
            packed.unlink()
        for path in [root, *root.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
        provider = root / "providers/main.provider"
        document = json.loads(provider.read_text())
        document["keys"][0]["seal"]["path"] = str(root / "keys/main.key")
        provider.write_text(json.dumps(document))
        return root

    def test_state(self, tmp_path: Path) -> None:
        """The state opens, says what it said, and can be continued."""
        host = host_at(self.unpacked(tmp_path))
        expected = json.loads((GOLDEN / "v1.json").read_text())
        with host.open_state("golden") as store:
            assert store.generation == expected["generation"]
            assert {n: hashlib.sha256(d).hexdigest() for n, d in store.load().items()} == expected["blobs"]
            store.commit({"new": b"1"})

    def test_backup(self, tmp_path: Path) -> None:
        """The backup opens and reproduces the id."""
        root = self.unpacked(tmp_path)
        report = host_at(root).providers.verify(root / "main.backup", PASSPHRASE)
        assert report.kdk_id == json.loads((GOLDEN / "v1.json").read_text())["kdk_id"]


class TestDerivation:
    """The derivations are those of RFC 5869."""

    @given(
        st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=80), max_size=4), st.integers(1, 64)
    )
    def test_expand(self, key: bytes, fields: list[bytes], size: int) -> None:
        """`expand` is HKDF-Expand with SHA-512."""
        assert expand(key, size, *fields) == HKDFExpand(SHA512(), size, context(*fields)).derive(key)

    def test_extract(self) -> None:
        """HKDF of the library extracts as the document says."""
        prk = hmac.digest(b"salt", b"key", "sha512")
        assert (
            HKDF(SHA512(), 32, b"salt", b"info").derive(b"key") == hmac.digest(prk, b"info\1", "sha512")[:32]
        )

    @given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
    def test_context_is_injective(self, one: list[bytes], other: list[bytes]) -> None:
        """Different fields never give the same octets."""
        assert (context(*one) == context(*other)) == (one == other)


class TestBlobs:
    """The plaintext of a record."""

    @given(
        st.dictionaries(
            st.text(min_size=1, max_size=20).filter(lambda s: s.isprintable()), st.binary(max_size=50)
        )
    )
    def test_round_trip(self, blobs: dict[str, bytes]) -> None:
        """Blobs decode to what was encoded, with any padding."""
        encoded = Blobs(blobs)
        for pad in (0, 1, 77):
            assert Blobs.decode(encoded.encode(encoded.size + pad)).as_dict() == blobs

    @given(st.binary(max_size=60))
    def test_any_octets(self, octets: bytes) -> None:
        """Octets that are no encoding are refused; those that are one encode to themselves."""
        try:
            blobs = Blobs.decode(octets)
        except MalformedBlobs:
            return
        assert blobs.encode(len(octets)) == octets

    @pytest.mark.parametrize(
        "octets",
        [
            b"",
            b"\0\0\0\1",
            b"\0\0\0\1" + b"\0\0" + b"\0\0\0\0",
            b"\0\0\0\1" + b"\0\1a" + b"\0\0\0\2x",
            b"\0\0\0\2" + b"\0\1b\0\0\0\0" + b"\0\1a\0\0\0\0",
            b"\0\0\0\2" + b"\0\1a\0\0\0\0" * 2,
            b"\0\0\0\0" + b"\0\1",
            b"\0\0\0\1" + b"\0\1\xff" + b"\0\0\0\0",
        ],
    )
    def test_malformed(self, octets: bytes) -> None:
        """Cut, unsorted, doubled, unpadded or misnamed blobs are refused."""
        with pytest.raises(MalformedBlobs):
            Blobs.decode(octets)


@given(st.binary(max_size=700))
def test_any_octets_are_no_record(octets: bytes) -> None:
    """Random octets are refused as damaged."""
    for content in (octets, b"nvrecord" + octets):
        with pytest.raises(Damaged):
            read_record(content)


def test_vm_octets() -> None:
    """The octets of a UUID stand in the order in which they are written."""
    assert UUID("00112233-4455-6677-8899-aabbccddeeff").bytes == bytes.fromhex(
        "00112233445566778899aabbccddeeff"
    )
