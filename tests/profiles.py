"""Profiles for tests."""

from dataclasses import replace

from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import SYMMETRIC_KEY_BITS
from vtpm.spec.limits import RSA_KEY_BITS
from vtpm.state.profile import ALL_ALGORITHMS, DEFAULT

EVERYTHING = replace(
    DEFAULT,
    name="everything",
    algorithms=ALL_ALGORITHMS,
    rsa_key_bits=RSA_KEY_BITS,
    tdes_key_bits=SYMMETRIC_KEY_BITS[TPM_ALG.TDES],
)
"""Whatever this program can do, with what is off by default."""
