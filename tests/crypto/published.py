"""The vectors of `tests/vectors/crypto`, and recordings beside them that cryptography alone explains."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vtpm.crypto.digest import digest
from vtpm.crypto.ecc import Point
from vtpm.spec.constants import TPM_ALG

VECTORS = Path(__file__).parents[1] / "vectors"


def content(name: str) -> Any:
    """The content of a file of vectors."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def vectors(name: str) -> list[dict[str, Any]]:
    """The vectors of a file."""
    found: list[dict[str, Any]] = content(name)["vectors"]
    return found


def label(vector: dict[str, Any]) -> str:
    """The name of a vector as a test's."""
    return str(vector.get("name") or vector.get("Name"))


def octets(vector: dict[str, Any], *names: str) -> list[bytes]:
    """Some of a vector's values."""
    return [bytes.fromhex(vector[name]) for name in names]


def dealing(*values: bytes) -> Callable[[int], bytes]:
    """A generator that gives these values, one a request, and refuses requests of another size."""
    left: Iterable[bytes] = iter(values)

    def generate(count: int) -> bytes:
        value = next(iter(left))
        assert len(value) == count
        return value

    return generate


def identified(identity: bytes, public: Point) -> bytes:
    """GM/T 0003.2, 5.5: the digest of a party's identity, the curve and the public key."""
    curve = public.curve
    numbers = (curve.a, curve.b, curve.g_x, curve.g_y, public.x, public.y)
    parts = [number.to_bytes(curve.size, "big") for number in numbers]
    return digest(TPM_ALG.SM3_256, (8 * len(identity)).to_bytes(2, "big"), identity, *parts)
