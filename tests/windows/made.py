"""TPMs as `vtpm create` makes them, for a guest that runs Windows."""

import os
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from tests.scenarios import Client
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.certificates import Authority, Model, Specification
from vtpm.manufacture.provision import provision
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.spec.structures import TPMT_HA
from vtpm.state.profile import DEFAULT, Profile

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AUTHORITY = Authority.make(ec.generate_private_key(ec.SECP384R1()), "test authority", 1, NOW)


class Certifier:
    """Signs what a TPM of `vtpm create` has."""

    def certify_ek(self, key: TPMT_PUBLIC) -> bytes:
        """An endorsement key's certificate."""
        model = Model("id:5654504D", "vtpm", "id:00010000")
        return AUTHORITY.certify_ek(key, "guest", model, Specification("2.0", 0, 185), 2, NOW)

    def certify_platform(self, key: TPMT_PUBLIC) -> bytes:
        """The platform's certificate."""
        return AUTHORITY.certify_platform(key, "guest", Model("A maker", "A model", "1"), 3, NOW)


def made(profile: Profile = DEFAULT, *, banks: tuple[TPM_ALG, ...] = (TPM_ALG.SHA256,)) -> dict[str, bytes]:
    """The blobs of a new TPM."""
    tpm = Tpm.manufacture(os.urandom, profile)
    provision(tpm, Certifier(), srk=True, banks=banks)
    return tpm.snapshot()


def booted(blobs: dict[str, bytes]) -> Client:
    """A guest's TPM after firmware has measured."""
    client = Client(start=False)
    client.durable = dict(blobs)
    client.lose_power()
    boot(client)
    return client


def boot(client: Client) -> None:
    """What firmware does before the boot manager: start the TPM, and measure into PCR 0 to 7."""
    client.startup(startup_type=TPM_SU.CLEAR).check()
    for number in range(8):
        measurement = TPMT_HA(TPM_ALG.SHA256, bytes([number]) * 32)
        client.pcr_extend(number, digests=(measurement,)).check()
