"""The vectors of `tests/vectors/libtpms`, and a TPM that has what they were recorded with."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.keys import put
from tests.profiles import EVERYTHING
from tests.scenarios import Client
from vtpm.spec.constants import TPM_RH
from vtpm.spec.objects import TPM2B_PUBLIC, TPM2B_SENSITIVE, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.wire.structure import unmarshal

DIRECTORY = Path(__file__).parent / "vectors" / "libtpms"

PROOFS = {
    TPM_RH.PLATFORM: hashlib.sha512(b"phProof").digest(),
    TPM_RH.OWNER: hashlib.sha512(b"shProof").digest(),
    TPM_RH.ENDORSEMENT: hashlib.sha512(b"ehProof").digest(),
}


def vectors(name: str) -> list[dict[str, Any]]:
    """The vectors of one file."""
    recorded: list[dict[str, Any]] = json.loads((DIRECTORY / name).read_text())["vectors"]
    return recorded


def by_name(name: str, *beginnings: str) -> dict[str, dict[str, Any]]:
    """The vectors of one file whose name begins with one of these, by name."""
    return {v["name"]: v for v in vectors(name) if v["name"].startswith(beginnings)}


def recorded_tpm() -> Client:
    """A TPM with the proofs of the recordings."""
    tpm = Client(profile=EVERYTHING)
    for handle, proof in PROOFS.items():
        tpm.tpm.hierarchies[handle].proof = proof
    return tpm


def put_areas(tpm: Client, public: bytes, private: bytes, hierarchy: int = TPM_RH.NULL) -> int:
    """Put an object into a handle from the octets of its areas."""
    area = unmarshal(TPMT_PUBLIC, public)
    sensitive = unmarshal(TPMT_SENSITIVE, private)
    return put(tpm, area, sensitive.sensitive, auth=sensitive.auth_value, hierarchy=hierarchy)


def put_external(tpm: Client, load_external: bytes) -> int:
    """Put an object into a handle from the octets of a LoadExternal command."""
    private_end = 12 + int.from_bytes(load_external[10:12], "big")
    sensitive = unmarshal(TPM2B_SENSITIVE, load_external[10:private_end])
    public = unmarshal(TPM2B_PUBLIC, load_external[private_end:-4])
    hierarchy = int.from_bytes(load_external[-4:], "big")
    return put(tpm, public, sensitive.sensitive if sensitive else None, hierarchy=hierarchy)
