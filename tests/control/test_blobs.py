"""State blobs: vtpm/control/blobs.py."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.control import blobs
from vtpm.control.blobs import BlobError, pack, unpack
from vtpm.control.messages import PTM_BLOB_TYPE

STATE = {"permanent": b"seeds", "nv/01800001": b"", "object/81000001": bytes(3000)}
PERMANENT, VOLATILE = PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE


@given(
    st.dictionaries(st.text(max_size=30), st.binary(max_size=50), max_size=5),
    st.binary(min_size=32, max_size=32),
)
def test_round_trip(state: dict[str, bytes], companion: bytes) -> None:
    """What is packed is what is unpacked."""
    assert unpack(VOLATILE, pack(VOLATILE, state, companion)) == (state, companion)


def test_order_does_not_matter() -> None:
    """Equal states give equal blobs, so that the digest of a companion can be compared."""
    assert pack(PERMANENT, STATE) == pack(PERMANENT, dict(reversed(STATE.items())))


def test_kind() -> None:
    """A blob of one kind is not taken for another."""
    with pytest.raises(BlobError, match="not of the kind VOLATILE"):
        unpack(VOLATILE, pack(PERMANENT, STATE))


@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    """A blob that lost or changed octets is refused."""
    blob = pack(PERMANENT, STATE)
    if data.draw(st.booleans()):
        damaged = blob[: data.draw(st.integers(0, len(blob) - 1))]
    else:
        place = data.draw(st.integers(0, len(blob) - 1))
        damaged = blob[:place] + bytes([blob[place] ^ data.draw(st.integers(1, 255))]) + blob[place + 1 :]

    with pytest.raises(BlobError):
        unpack(PERMANENT, damaged)


def test_other_format() -> None:
    """The state of swtpm is refused by what it is, rather than called damaged."""
    with pytest.raises(BlobError, match="swtpm"):
        unpack(PERMANENT, bytes.fromhex("0201000a0004000005290004"))


def test_newer_version() -> None:
    """A blob of a newer version names both versions."""
    blob = bytearray(pack(PERMANENT, STATE)[: -blobs.DIGEST_SIZE])
    blob[len(blobs.IDENTIFIER) + 1] = 2

    with pytest.raises(BlobError, match="version 2, newer than 1"):
        unpack(PERMANENT, bytes(blob) + hashlib.sha256(blob).digest())


@given(st.binary(max_size=100))
def test_any_body(body: bytes) -> None:
    """Octets behind the right identifier and digest that are no blob are refused, too."""
    octets = blobs.IDENTIFIER + b"\0\1" + body

    with pytest.raises(BlobError):
        unpack(PERMANENT, octets + hashlib.sha256(octets).digest())
