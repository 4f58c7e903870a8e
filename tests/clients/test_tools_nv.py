"""tpm2-tools 5.4: NV Indices (Part 3, clause 31)."""

import hashlib

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow

INDEX = "0x1500001"
ACCESS = "ownerread|ownerwrite|authread|authwrite"


def define(tools: Tools, options: str) -> None:
    """Define the Index of these tests."""
    tools(f"nvdefine -C o {options} {INDEX} -Q")


class TestOrdinary:
    """Part 3, 31.3 to 31.7 and 31.13: define, write, read, undefine"""

    @pytest.mark.parametrize("size", [1, 32, 768, 2000])
    def test_write_and_read(self, tools: Tools, size: int) -> None:
        """What was written is read, in as many parts as the buffer's size asks for."""
        define(tools, f"-s {size} -a '{ACCESS}'")
        tools.write("data", bytes(i % 251 for i in range(size)))
        tools(f"nvwrite -C o -i data {INDEX}")

        tools(f"nvread -C o -s {size} -o again {INDEX}")
        assert tools.read("again") == tools.read("data")

    def test_offset(self, tools: Tools) -> None:
        """A part is written and read at its offset."""
        define(tools, f"-s 8 -a '{ACCESS}'")
        tools(f"nvwrite -C o -i- {INDEX}", stdin=b"abcdefgh")
        tools(f"nvwrite -C o -i- --offset 2 {INDEX}", stdin=b"XY")

        assert tools(f"nvread -C o -s 4 --offset 1 {INDEX}") == "bXYe"

    def test_beyond_its_size(self, tools: Tools) -> None:
        """Data beyond the Index's size are refused, by the tool or by the TPM."""
        define(tools, f"-s 4 -a '{ACCESS}'")
        tools.write("data", b"12345")

        assert "ERROR" in tools.refused(f"nvwrite -C o -i data {INDEX}")

    def test_not_written(self, tools: Tools) -> None:
        """An Index that was never written is not read."""
        define(tools, f"-s 4 -a '{ACCESS}'")

        assert "NV Index is used before being initialized" in tools.refused(f"nvread -C o -s 4 {INDEX}")

    def test_auth(self, tools: Tools) -> None:
        """An Index's password is asked for."""
        define(tools, "-s 4 -a 'authread|authwrite' -p secret")
        tools.write("data", b"1234")
        tools(f"nvwrite -P secret -i data {INDEX}")

        assert tools(f"nvread -P secret -s 4 {INDEX}") == "1234"
        assert "authorization" in tools.refused(f"nvread -P wrong -s 4 {INDEX}")

    def test_twice(self, tools: Tools) -> None:
        """An Index is defined once."""
        define(tools, f"-s 4 -a '{ACCESS}'")

        assert "NV Index or persistent object already defined" in tools.refused(
            f"nvdefine -C o -s 4 -a '{ACCESS}' {INDEX}"
        )

    def test_undefine(self, tools: Tools) -> None:
        """An undefined Index is gone."""
        define(tools, f"-s 4 -a '{ACCESS}'")
        assert INDEX in tools("nvreadpublic")
        tools(f"nvundefine -C o {INDEX}")

        assert tools("nvreadpublic") == ""

    def test_public(self, tools: Tools) -> None:
        """The public area shows size and attributes, and that the Index was written."""
        define(tools, f"-s 4 -a '{ACCESS}'")
        assert "written" not in tools(f"nvreadpublic {INDEX}")
        tools(f"nvwrite -C o -i- {INDEX}", stdin=b"1234")

        public = tools(f"nvreadpublic {INDEX}")
        assert "size: 4" in public
        assert "written" in public


class TestTypes:
    """Part 3, 31.8 to 31.10: counters, bit fields, extend Indices"""

    def test_counter(self, tools: Tools) -> None:
        """A counter goes up by one."""
        define(tools, f"-s 8 -a '{ACCESS}|nt=counter'")
        values = []
        for _ in range(3):
            tools(f"nvincrement -C o {INDEX}")
            tools(f"nvread -C o -o value {INDEX}")
            values.append(int.from_bytes(tools.read("value")))

        assert values == [values[0], values[0] + 1, values[0] + 2]

    def test_counter_after_another(self, tools: Tools) -> None:
        """A new counter begins above all values that an undefined one had."""
        define(tools, f"-s 8 -a '{ACCESS}|nt=counter'")
        for _ in range(5):
            tools(f"nvincrement -C o {INDEX}")
        tools(f"nvread -C o -o old {INDEX}")
        tools(f"nvundefine -C o {INDEX}")
        define(tools, f"-s 8 -a '{ACCESS}|nt=counter'")
        tools(f"nvincrement -C o {INDEX}")
        tools(f"nvread -C o -o new {INDEX}")

        assert int.from_bytes(tools.read("new")) > int.from_bytes(tools.read("old"))

    def test_bits(self, tools: Tools) -> None:
        """Bits are set and stay set."""
        define(tools, f"-s 8 -a '{ACCESS}|nt=bits'")
        tools(f"nvsetbits -C o -i 0x0f000000000000f0 {INDEX}")
        tools(f"nvsetbits -C o -i 0x1 {INDEX}")
        tools(f"nvread -C o -o value {INDEX}")

        assert tools.read("value") == bytes.fromhex("0f000000000000f1")

    def test_extend(self, tools: Tools) -> None:
        """An extend Index is a PCR of its own."""
        define(tools, f"-s 32 -a '{ACCESS}|nt=extend' -g sha256")
        tools(f"nvextend -C o -i- {INDEX}", stdin=b"data")
        tools(f"nvread -C o -o value {INDEX}")

        assert tools.read("value") == hashlib.sha256(bytes(32) + b"data").digest()


class TestLocks:
    """Part 3, 31.11 and 31.14: write and read locks"""

    def test_write_lock(self, tools: Tools) -> None:
        """A locked Index is not written until the next TPM Reset."""
        define(tools, f"-s 4 -a '{ACCESS}|write_stclear'")
        tools.write("data", b"1234")
        tools(f"nvwrite -C o -i data {INDEX}")
        tools(f"nvwritelock -C o {INDEX}")

        assert "NV access locked" in tools.refused(f"nvwrite -C o -i data {INDEX}")
        assert tools(f"nvread -C o {INDEX}") == "1234"

    def test_read_lock(self, tools: Tools) -> None:
        """A locked Index is not read until the next TPM Reset."""
        define(tools, f"-s 4 -a '{ACCESS}|read_stclear'")
        tools(f"nvwrite -C o -i- {INDEX}", stdin=b"1234")
        tools(f"nvreadlock -C o {INDEX}")

        assert "NV access locked" in tools.refused(f"nvread -C o {INDEX}")

    def test_global_lock(self, tools: Tools) -> None:
        """All Indices with the attribute are locked at once."""
        define(tools, f"-s 4 -a '{ACCESS}|globallock'")
        tools.write("data", b"1234")
        tools(f"nvwrite -C o -i data {INDEX}")
        tools("nvwritelock -C o --global")

        assert "NV access locked" in tools.refused(f"nvwrite -C o -i data {INDEX}")


def test_certify(tools: Tools) -> None:
    """Part 3, 31.16: the contents of an Index are attested with a signature that openssl accepts."""
    define(tools, f"-s 4 -a '{ACCESS}'")
    tools(f"nvwrite -C o -i- {INDEX}", stdin=b"1234")
    tools(
        "createprimary -C o -G rsa2048:rsassa-sha256:null -a 'sign|restricted|fixedtpm|fixedparent|"
        "sensitivedataorigin|userwithauth' -c key.ctx -Q"
    )
    signature = "-g sha256 -f plain -s rsassa -o signature --attestation attestation"
    tools(f"nvcertify -C key.ctx {signature} -c o --size 4 {INDEX}")
    tools("readpublic -c key.ctx -f pem -o key.pem -Q")

    tools.openssl("dgst -sha256 -verify key.pem -signature signature attestation")
    assert tools.read("attestation").endswith(b"\0\0\0\x041234")
