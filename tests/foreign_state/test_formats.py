"""swtpm's state file and libtpms' permanent state, octet by octet, as swtpm 0.7.1 wrote them."""

import contextlib
import hashlib
import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm import Tpm
from vtpm.libtpms import file, linear
from vtpm.libtpms.command_set import LIBTPMS_0_9, bits_of, commands_of
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.form import Block
from vtpm.libtpms.importing import import_state, read_state
from vtpm.libtpms.objects import AnyObject, LoadedObject
from vtpm.libtpms.permanent import SeedLevels
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_CC, TPM_RH
from vtpm.state.profile import DEFAULT
from vtpm.wire.error import TpmError
from vtpm.wire.structure import marshal

VECTORS = Path(__file__).parents[1] / "vectors" / "libtpms" / "state-files.json"
FILES: dict[str, dict[str, Any]] = {item["name"]: item for item in json.loads(VECTORS.read_text())["files"]}


def octets_of(name: str) -> bytes:
    return bytes.fromhex(FILES[name]["file"])


def key_of(name: str) -> bytes | None:
    return bytes.fromhex(FILES[name]["key"]) if "key" in FILES[name] else None


def state_of(name: str) -> bytes:
    return file.unwrap(octets_of(name), key_of(name))


class TestFile:
    """The header and the tagged values around the state"""

    @pytest.mark.parametrize("name", FILES)
    def test_unwrap(self, name: str) -> None:
        """Plain and encrypted files give the state."""
        if "plaintext_sha256" in FILES[name]:
            assert hashlib.sha256(state_of(name)).hexdigest() == FILES[name]["plaintext_sha256"]
        assert file.is_encrypted(octets_of(name)) is ("key" in FILES[name])

    @pytest.mark.parametrize("name", FILES)
    def test_wrap(self, name: str) -> None:
        """Writing gives the same file, with the same initialization vector."""
        key = key_of(name)
        iv = b"" if key is None else octets_of(name)[-len(key) :]
        assert file.wrap(state_of(name), key, iv) == octets_of(name)

    def test_passphrase(self) -> None:
        """The default derivation of a key from a passphrase."""
        key = key_of("encrypted-6")
        assert file.key_of_passphrase(b"pass", 32) == key
        assert file.unwrap(octets_of("encrypted-6"), lambda size: file.key_of_passphrase(b"pass", size))
        assert file.key_of_passphrase(b"pass", 16, kdf="sha512") == hashlib.sha512(b"pass").digest()[:16]

    def test_key_file(self) -> None:
        """Binary, or hexadecimal with or without 0x."""
        key = bytes(range(16))
        assert file.key_of_file(key) == key
        assert file.key_of_file(key.hex().encode() + b"\n") == key
        assert file.key_of_file(b"0x" + key.hex().encode()) == key
        with pytest.raises(ForeignStateError, match="neither 16 or 32"):
            file.key_of_file(b"short")

    def test_wrong_key(self) -> None:
        """A wrong key, one of another size and none at all are told apart."""
        with pytest.raises(ForeignStateError, match="not the state's"):
            file.unwrap(octets_of("encrypted-5"), bytes(16))
        with pytest.raises(ForeignStateError, match="a key of 16 octets, not 32"):
            file.unwrap(octets_of("encrypted-5"), bytes(32))
        with pytest.raises(ForeignStateError, match="is encrypted"):
            file.unwrap(octets_of("encrypted-5"))

    @pytest.mark.parametrize("name", ["fixed-seeds", "encrypted-5"])
    def test_every_prefix(self, name: str) -> None:
        """A file cut short is refused, wherever it ends."""
        whole = octets_of(name)
        for end in range(0, len(whole), 7):
            with pytest.raises(ForeignStateError):
                file.unwrap(whole[:end], key_of(name))

    @given(st.binary(max_size=200), st.none() | st.binary(min_size=16, max_size=16))
    def test_any_octets(self, octets: bytes, key: bytes | None) -> None:
        """Whatever the octets are, the end is the state or a named error."""
        header = struct.pack(">BBHHI", 2, 1, 10, 0, 10 + len(octets))
        for content in (octets, header + octets):
            with contextlib.suppress(ForeignStateError):
                assert isinstance(file.unwrap(content, key), bytes)

    def test_state_blob(self) -> None:
        """GET_STATEBLOB puts the values into one of tag 4."""
        inner = octets_of("fixed-seeds")[10:]
        values = struct.pack(">HI", file.Tag.MIGRATION_DATA, len(inner)) + inner
        blob = struct.pack(">BBHHI", 2, 1, 10, file.Flag.MIGRATION_DATA, 10 + len(values)) + values
        assert file.unwrap(blob) == state_of("fixed-seeds")

    def test_linear(self) -> None:
        """The permanent state is the first entry of a linear file, the volatile one the second."""
        content = octets_of("fixed-seeds")
        header = linear.HEADER.pack(linear.MAGIC, 1, 0, linear.SIZE)
        header += linear.ENTRY.pack(4096, len(content), 8192) + linear.ENTRY.pack(12288, 3, 4)
        octets = header.ljust(4096, b"\0") + content.ljust(8192, b"\0") + b"run "
        assert linear.is_linear(octets)
        assert not linear.is_linear(content)
        assert [linear.state_in(octets, number) for number in range(3)] == [content, b"run", None]
        assert linear.end_of(octets) == len(octets)
        for end in (20, 5000):
            with pytest.raises(ForeignStateError, match="cut short"):
                linear.state_in(octets[:end], linear.PERMANENT)
        with pytest.raises(ForeignStateError, match="unknown version"):
            linear.state_in(linear.GUARD, linear.PERMANENT)


class TestPermanent:
    """libtpms' permanent state"""

    @pytest.mark.parametrize("name", FILES)
    def test_round_trip(self, name: str) -> None:
        """Every octet is read, and written again."""
        state = state_of(name)
        assert marshal(read_state(state)) == state

    def test_every_prefix(self) -> None:
        """A state cut short is refused, wherever it ends."""
        state = state_of("rich-permanent")
        for end in range(0, len(state), 13):
            with pytest.raises(ForeignStateError):
                read_state(state[:end])

    @given(st.data())
    def test_flipped_bits(self, data: st.DataObject) -> None:
        """A state with a changed octet is read or refused, and never an exception of another kind."""
        state = bytearray(state_of("rich-permanent"))
        state[data.draw(st.integers(0, len(state) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        with contextlib.suppress(ForeignStateError):
            assert "permanent" in import_state(bytes(state), DEFAULT, os.urandom).blobs

    def test_shutdown_of_unknown_kind(self) -> None:
        """A state that was left by no kind of shutdown that there is, is refused."""
        state = read_state(state_of("rich-permanent"))
        unknown = replace(state, data=replace(state.data, orderly_state=0x3F80), suspended=None)
        with pytest.raises(ForeignStateError, match="unknown kind 16256"):
            import_state(marshal(unknown), DEFAULT, os.urandom)

    def test_bank_of_unknown_algorithm(self) -> None:
        """Saved PCR of an algorithm without a name belong to no bank, and are left."""
        state = read_state(state_of("rich-permanent"))
        assert state.suspended is not None
        clear = state.suspended.clear
        banks = tuple(replace(bank, alg=0x7FFF) for bank in clear.pcr_save.banks)
        unknown = replace(clear, pcr_save=replace(clear.pcr_save, banks=banks))
        changed = replace(state, suspended=replace(state.suspended, clear=unknown))
        assert "clear" in import_state(marshal(changed), DEFAULT, os.urandom).blobs

    def test_live_attributes_with_reserved_bits(self) -> None:
        """The live attributes of an orderly Index are an attribute word like any other."""
        state = read_state(state_of("rich-permanent"))
        (live, *others) = state.orderly_ram.entries
        entries = (replace(live, attributes=TPMA_NV(1 << 24)), *others)
        with pytest.raises(ForeignStateError, match="RESERVED_BITS"):
            read_state(marshal(replace(state, orderly_ram=replace(state.orderly_ram, entries=entries))))

    def test_command_sets(self) -> None:
        """Version 4 counts the commands of libtpms 0.9, version 5 the codes."""
        assert len(LIBTPMS_0_9) == 110
        chosen = {TPM_CC.PP_Commands, TPM_CC.SetCommandCodeAuditStatus, TPM_CC.PolicyTemplate}
        assert commands_of(bits_of(chosen), 4) == chosen
        assert commands_of(bytes.fromhex("0001"), 5) == {0x127}

    def test_older_version(self) -> None:
        """What libtpms 0.6 did not have yet is absent, and its seeds are of the first derivation."""
        state = read_state(state_of("rich-permanent"))
        allocated = state.data.allocated
        assert allocated is not None
        entries = tuple(
            replace(entry, item=replace(entry.item, item=replace(entry.item.item, version=2, level=None)))
            if isinstance(entry.item, AnyObject) and isinstance(entry.item.item, LoadedObject)
            else entry
            for entry in state.nvram.entries
        )
        older = replace(
            state,
            constants=replace(state.constants, version=2),
            data=replace(state.data, version=3, allocated=replace(allocated, levels=None)),
            nvram=replace(state.nvram, entries=entries),
        )
        imported = import_state(marshal(older), DEFAULT, os.urandom)
        assert Tpm.restore(imported.blobs, os.urandom).owner.seed_level == 0
        assert imported.blobs.keys() == import_state(marshal(state), DEFAULT, os.urandom).blobs.keys()

    def test_room(self) -> None:
        """Where an older version left room, nothing in it is no content."""
        assert Block(SeedLevels, may_be_empty=True).parse(b"\x01\0\0") is None
        with pytest.raises(TpmError):
            Block(SeedLevels).parse(b"\x01\0\0")

    def test_newer_version(self) -> None:
        """A later version is refused if its header says that older readers do not cope."""
        state = state_of("fixed-seeds")
        with pytest.raises(ForeignStateError, match=r"libtpms 0\.6 to 0\.11"):
            read_state(struct.pack(">HIH", 9, 0xAB364723, 9) + state[8:])

    def test_seeds(self) -> None:
        """The seeds are those that the file was made with."""
        data = read_state(state_of("fixed-seeds")).data
        assert data.ep_seed == bytes(range(64))
        assert data.sp_seed == bytes(range(0x40, 0x80))
        assert data.pp_seed == bytes(range(0x80, 0xC0))
        assert data.ph_proof == hashlib.sha512(b"phProof").digest()
        assert "rawseed" not in repr(data)
        assert data.ep_seed.hex() not in repr(data)

    def test_owner(self) -> None:
        """Objects belong to the hierarchy that their attributes name."""
        imported = import_state(state_of("rich-permanent"), DEFAULT, os.urandom)
        assert set(imported.blobs) >= {"object/81000001", "object/81000002", "nv/01500004", "reset", "clear"}
        assert TPM_RH.OWNER.to_bytes(4, "big") in imported.blobs["object/81000001"]
