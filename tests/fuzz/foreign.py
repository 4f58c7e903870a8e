"""States of libtpms and swtpm: they become a TPM, or are refused by name."""

import json
from pathlib import Path

from tests.fuzz.target import Target
from tests.scenarios import Client, seeded
from tests.state.rich import keep_for_good
from vtpm import Tpm
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.exporting import export_state
from vtpm.libtpms.file import is_encrypted, is_state, key_of_file, unwrap, wrap
from vtpm.libtpms.importing import import_state
from vtpm.libtpms.linear import ENTRY, HEADER, MAGIC, PERMANENT, SIZE, is_linear, state_in
from vtpm.state.profile import SWTPM_COMPATIBLE

VECTORS = Path(__file__).parents[1] / "vectors" / "libtpms" / "state-files.json"
KEY = bytes(range(32))
IV = bytes(16)
PLAIN, FILE, LINEAR, KEY_FILE = range(4)


def linear_file(octets: bytes) -> bytes:
    """A linear file that holds this permanent state alone."""
    header = HEADER.pack(MAGIC, 1, 0, SIZE) + ENTRY.pack(SIZE, len(octets), len(octets))
    return header.ljust(SIZE, b"\0") + octets


class ForeignStates(Target):
    """The first octet says what the others are: a state, a file of swtpm, its linear form, a key."""

    name = "foreign"

    def seeds(self) -> list[bytes]:
        """States that swtpm wrote, and one of ours."""
        recorded = [bytes.fromhex(entry["file"]) for entry in json.loads(VECTORS.read_text())["files"]]
        files = [octets for octets in recorded if is_state(octets)]
        plain = [unwrap(octets) for octets in files if not is_encrypted(octets)]
        own = Client(profile=SWTPM_COMPATIBLE)
        keep_for_good(own)
        own.lose_power()
        plain.append(export_state(own.tpm.snapshot(), seeded()).state)
        files += [wrap(plain[0]), wrap(plain[0], KEY, IV), wrap(b"x", KEY[:16], IV)]
        return [
            *(bytes([PLAIN]) + octets for octets in plain),
            *(bytes([FILE]) + octets for octets in files),
            *(bytes([LINEAR]) + linear_file(octets) for octets in files[:1]),
            bytes([KEY_FILE]) + KEY,
            bytes([KEY_FILE]) + KEY.hex().encode(),
            bytes([KEY_FILE]) + b"0x" + KEY[:16].hex().encode(),
        ]

    def check(self, octets: bytes) -> bool:
        """Read it as far as it can be read."""
        kind, content = (octets[0] if octets else 0) % 4, octets[1:]
        try:
            if kind == KEY_FILE:
                return bool(key_of_file(content))
            if kind == LINEAR:
                content = (state_in(content, PERMANENT) if is_linear(content) else None) or b""
            if kind != PLAIN:
                is_encrypted(content)
                content = unwrap(content, lambda size: KEY[:size])
            imported = import_state(content, SWTPM_COMPATIBLE, seeded(b"imported"))
        except ForeignStateError:
            return False
        Tpm.restore(imported.blobs, seeded(b"restored"))
        return True
