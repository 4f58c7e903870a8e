"""
How a Python project tests against a TPM: the fixtures come with vtpm, nothing need be imported.

Run it with: pytest examples/test_with_a_tpm.py
"""

import subprocess

import pytest

from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.testing import Client, TpmServer

PCR_16 = TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\0\0\1")


def test_random(tpm: Client) -> None:
    """A command is a method; its answer has the fields that Part 3 names."""
    assert len(tpm.get_random(bytes_requested=16).random_bytes) == 16


def test_pcr(tpm: Client) -> None:
    """Handles go first, parameters by name."""
    tpm.pcr_extend(16, digests=(TPMT_HA(TPM_ALG.SHA256, bytes(32)),)).check()
    (value,) = tpm.pcr_read(pcr_selection_in=(PCR_16,)).pcr_values

    assert value != bytes(32)


def test_wrong_password(tpm: Client) -> None:
    """A refused command is an answer like any other: 0x9A2 is TPM_RC_BAD_AUTH of session 1."""
    tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"right").check()

    assert tpm.hierarchy_change_auth(TPM_RH.OWNER, auths=[b"wrong"], new_auth=b"").rc == 0x9A2


@pytest.mark.tpm(seed="example")
def test_same_octets_every_time(tpm: Client) -> None:
    """With a seed, the TPM is the same one in every run."""
    again = Client(seed=b"example").get_random(bytes_requested=8)

    assert tpm.get_random(bytes_requested=8).octets == again.octets


def test_other_programs(tpm_server: TpmServer) -> None:
    """A program that has a TPM of its own choice can be given this one."""
    command = ["tpm2_getrandom", "--tcti", tpm_server.swtpm, "--hex", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert len(bytes.fromhex(done.stdout)) == 8
