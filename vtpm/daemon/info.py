"""GET_INFO: the description of the TPM, in JSON, in the form that swtpm's clients read."""

import json
from collections.abc import Callable
from typing import Any, Final

from vtpm.spec.constants import TPM_SPEC_LEVEL, TPM_SPEC_VERSION


def specification() -> dict[str, Any]:
    """The edition of the library specification."""
    return {"family": "2.0", "level": TPM_SPEC_LEVEL, "revision": TPM_SPEC_VERSION}


PARTS: Final[dict[int, tuple[str, Callable[[], dict[str, Any]]]]] = {
    1: ("TPMSpecification", specification),
}
"""The parts by the bit that asks for each."""


def describe(flags: int) -> bytes:
    """The parts asked for."""
    parts = {name: part() for bit, (name, part) in PARTS.items() if flags & bit}
    return json.dumps(parts, separators=(",", ":")).encode()
