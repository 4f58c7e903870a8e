"""Part 2 as its tables have it (tests/vectors/facts), and the program's declarations by the same names."""

import importlib
import json
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_origin

import vtpm.spec
from vtpm.wire.codec import Codec
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import codec_of

FACTS = Path(__file__).parents[1] / "vectors" / "facts"
CONSTANTS: dict[str, dict[str, Any]] = json.loads((FACTS / "constants.json").read_text())
STRUCTURES: dict[str, dict[str, Any]] = json.loads((FACTS / "structures.json").read_text())

MODULES: list[ModuleType] = [
    importlib.import_module(f"vtpm.spec.{module.name}") for module in pkgutil.iter_modules(vtpm.spec.__path__)
]

POST_QUANTUM = {"TPM_ALG_MLKEM", "TPM_ALG_MLDSA", "TPM_ALG_HASH_MLDSA"}
UNIMPLEMENTED = POST_QUANTUM | {
    "TPM_ALG_SHA256_192",
    "TPM_ALG_SHAKE256_192",
    "TPM_ALG_SHAKE256_256",
    "TPM_ALG_SHAKE256_512",
    "TPM_ALG_HKDF",
    "TPM_ALG_EDDSA",
    "TPM_ALG_HASH_EDDSA",
    "TPM_ECC_CURVE_25519",
    "TPM_ECC_CURVE_448",
}
"""Algorithms and curves of Part 2 that no TPM of this program has."""


def number(value: str | int) -> int:
    """A value as the tables write it."""
    return value if isinstance(value, int) else int(value, 0)


def snake(name: str) -> str:
    """Part 2's name of a field as an attribute: `objectAttributes` is `object_attributes`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def declared(name: str) -> Any:
    """What `vtpm.spec` declares under a name of Part 2; `None` if nothing."""
    return next((vars(module)[name] for module in MODULES if name in vars(module)), None)


def named_codecs() -> dict[str, Codec]:
    """Every TPM type of `vtpm.spec` by name, with its construct."""
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            is_type = get_origin(value) is Annotated or isinstance(getattr(value, "wire", None), Codec)
            if re.match(r"TPM[A-Z0-9]*_", name) and is_type:
                found[name] = codec_of(value)
    return dict(sorted(found.items()))


def structures() -> dict[str, Record]:
    """Every structure of `vtpm.spec` by name."""
    return {name: codec for name, codec in named_codecs().items() if isinstance(codec, Record)}
