"""GET_INFO: the description of the TPM, in JSON, in the form that swtpm's clients read."""

import json
from collections.abc import Callable
from typing import Any, Final

from vtpm.commands.properties import MANUFACTURER, VENDOR_STRING
from vtpm.spec.constants import TPM_SPEC_LEVEL
from vtpm.state.firmware import FIRMWARE_VERSION
from vtpm.state.profile import Profile


def specification(profile: Profile) -> dict[str, Any]:
    """The edition of the library specification."""
    return {"family": "2.0", "level": TPM_SPEC_LEVEL, "revision": profile.revision}


def attributes(_: Profile) -> dict[str, Any]:
    """What the certificate of an endorsement key says of its TPM."""
    return {
        "manufacturer": f"id:{MANUFACTURER.hex().upper()}",
        "version": f"id:{FIRMWARE_VERSION >> 32:08X}",
        "model": VENDOR_STRING.rstrip(b"\0").decode(),
    }


def features(profile: Profile) -> dict[str, Any]:
    """The sizes of keys."""
    return {
        "RSAKeySizes": list(profile.rsa_key_bits),
        "CamelliaKeySizes": list(profile.camellia_key_bits),
    }


PARTS: Final[dict[int, tuple[str, Callable[[Profile], dict[str, Any]]]]] = {
    1: ("TPMSpecification", specification),
    2: ("TPMAttributes", attributes),
    4: ("TPMFeatures", features),
}
"""The parts by the bit that asks for each; others are left out, as by older versions of swtpm."""


def describe(flags: int, profile: Profile) -> bytes:
    """The parts asked for, of a TPM of a profile."""
    parts = {name: part(profile) for bit, (name, part) in PARTS.items() if flags & bit}
    return json.dumps(parts, separators=(",", ":")).encode()
