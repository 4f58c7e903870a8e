import hashlib
import struct

import pytest

from examples.guest.ima_log import ImaLogError, Measurement, parse, replay


def sized(octets: bytes) -> bytes:
    """A field as the kernel writes it."""
    return struct.pack("<I", len(octets)) + octets


DATA = sized(b"sha256:\0" + b"d" * 32) + sized(b"/init\0")
DIGEST = hashlib.sha1(DATA).digest()
ENTRY = struct.pack("<I20s", 10, DIGEST) + sized(b"ima-ng") + sized(DATA)


class TestParse:
    """Documentation/security/IMA-templates"""

    def test_entry(self) -> None:
        """An entry has its PCR, digest, template and the fields of its data."""
        (measurement,) = parse(ENTRY)

        assert measurement == Measurement(10, DIGEST, "ima-ng", DATA)
        assert measurement.fields() == [b"sha256:\0" + b"d" * 32, b"/init\0"]

    @pytest.mark.parametrize("cut", [1, 40, 80, len(ENTRY) - 5])
    def test_truncated(self, cut: int) -> None:
        """A list that ends within an entry is refused."""
        with pytest.raises(ImaLogError, match="ends within"):
            list(parse(ENTRY + ENTRY[:-cut]))


class TestReplay:
    """What a kernel extends into each bank"""

    def test_known(self) -> None:
        """A bank whose hash the kernel knows gets that hash of the data."""
        expected = hashlib.sha256(bytes(32) + hashlib.sha256(DATA).digest()).digest()
        assert replay(parse(ENTRY), "sha256") == expected

    def test_unknown(self) -> None:
        """Another bank gets the SHA-1 digest with zeros behind it."""
        expected = hashlib.sha384(bytes(48) + DIGEST + bytes(28)).digest()
        assert replay(parse(ENTRY), "sha384", is_known=False) == expected

    def test_violation(self) -> None:
        """An entry that vouches for nothing is listed with zeros and extends ones."""
        violation = Measurement(10, bytes(20), "ima-ng", DATA)

        assert replay([violation], "sha1") == hashlib.sha1(bytes(20) + b"\xff" * 20).digest()
