"""Exchanges recorded from swtpm 0.7.1 with libtpms 0.9.2 (tests/vectors/swtpm)."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.scenarios import Client
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.state.object import Object
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.structure import unmarshal

VECTORS = Path(__file__).parent / "vectors" / "swtpm"

SEEDS: dict[int, tuple[bytes, bytes]] = {
    TPM_RH.ENDORSEMENT: (bytes(range(0x40)), b"ehProof"),
    TPM_RH.OWNER: (bytes(range(0x40, 0x80)), b"shProof"),
    TPM_RH.PLATFORM: (bytes(range(0x80, 0xC0)), b"phProof"),
}
"""Seeds of the recorded TPM; its proofs are the SHA-512 of these names."""

INDEX = 0x01500010
"""The Index that the recorded TPM has from the beginning: 8 octets with a value of 5."""


def vectors(name: str) -> Any:
    """The content of a file of vectors."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def code_of(response: bytes) -> int:
    """The response code."""
    return int.from_bytes(response[6:10], "big")


def recorded_client() -> Client:
    """A TPM like the recorded one after power-on: its seeds and limits, and an Index with a value."""
    tpm = Client(profile=SWTPM_COMPATIBLE)
    for handle, (seed, proof) in SEEDS.items():
        hierarchy = tpm.tpm.hierarchies[handle]
        hierarchy.seed, hierarchy.proof = seed, hashlib.sha512(proof).digest()
    public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, TPMA_NV(NO_DA=True, AUTHREAD=True, AUTHWRITE=True), b"", 8)
    tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public)
    tpm.nv_write(INDEX, INDEX, data=(5).to_bytes(8, "big"), offset=0)
    # It had lost its power after an authorization that is protected, which counts as a failed one.
    tpm.tpm.lockout.used = True
    tpm.keep(tpm.tpm.snapshot())
    tpm.lose_power()
    return tpm


def load(tpm: Client, handle: int, public: str, private: str = "") -> None:
    """Put an object into a slot, with its private part if there is one."""
    area = unmarshal(TPMT_PUBLIC, bytes.fromhex(public))
    sensitive = TPMT_SENSITIVE(area.type, b"", b"", bytes.fromhex(private)) if private else None
    item = Object(area, sensitive, TPM_RH.OWNER, qualified_name=b"", handle=handle)
    tpm.tpm.volatile.objects[handle] = item


def dealing(values: Iterable[str]) -> Callable[[int], bytes]:
    """A generator that gives recorded values in their order."""
    left = [bytes.fromhex(value) for value in values]

    def generate(octets: int) -> bytes:
        value = left.pop(0)
        assert len(value) == octets
        return value

    return generate
