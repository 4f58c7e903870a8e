"""GET_INFO: what it says is what the TPM's profile has."""

import json

import pytest

from vtpm.daemon.info import describe
from vtpm.state.profile import DEFAULT, SWTPM_COMPATIBLE, Profile


@pytest.mark.parametrize("profile", [DEFAULT, SWTPM_COMPATIBLE], ids=lambda profile: profile.name)
def test_profile(profile: Profile) -> None:
    """Key sizes and revision; only the parts asked for."""
    parts = json.loads(describe(5, profile))

    assert parts["TPMFeatures"]["RSAKeySizes"] == list(profile.rsa_key_bits)
    assert parts["TPMFeatures"]["CamelliaKeySizes"] == list(profile.camellia_key_bits)
    assert parts["TPMSpecification"]["revision"] == profile.revision
    assert "TPMAttributes" not in parts
