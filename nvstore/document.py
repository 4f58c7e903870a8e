"""
JSON files: what people may read of a provider, a backup or a VM, with a version in each.

A sealed document has a box in its field `box`, whose associated data are all other fields in canonical form:
UTF-8, keys in ascending order, no spaces.
So nothing that people read in it can be changed unnoticed.
"""

# ruff: noqa: N818  an error is called by what is wrong

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

VERSION: Final = 1
LAST_SECOND: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

Document = dict[str, Any]


class BadDocument(ValueError):
    """A file that is not the document it should be; the text says why."""


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one encoding of a document that is authenticated."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(kind: str, fields: Mapping[str, Any], *, version: int = VERSION) -> bytes:
    """Return a document of this kind as it is written to a file."""
    document = {"format": kind, "version": version, **fields}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def read_json(octets: bytes) -> Any:
    """Return the value of a text in JSON, or raise BadDocument; no number has a fraction or an exponent."""
    try:
        value = json.loads(octets, parse_float=_refuse, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate could not be written again
    except RecursionError:
        msg = "it is nested too deeply"
        raise BadDocument(msg) from None
    except ValueError as error:
        msg = f"it is no JSON: {error}"
        raise BadDocument(msg) from None
    return value


def _refuse(number: str) -> None:
    msg = f"{number[:40]} is no whole number"
    raise ValueError(msg)


def read_document(octets: bytes, kind: str, *, newest: int = VERSION) -> Document:
    """Return the fields of a document of this kind, or raise BadDocument."""
    document = read_json(octets)
    if not isinstance(document, dict) or document.get("format") != kind:
        msg = f"it is no {kind}"
        raise BadDocument(msg)
    version = document.get("version")
    if type(version) is not int or not VERSION <= version <= newest:
        msg = f"it has version {version}, and this program reads up to version {newest}"
        raise BadDocument(msg)
    return document


def timestamp(seconds: float) -> str:
    """Return a point in time as people and programs read it: UTC, in seconds; the year 9999 is the last."""
    return datetime.fromtimestamp(min(int(seconds), LAST_SECOND), UTC).isoformat().replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return a timestamp in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def read_timestamp(text: object) -> str | None:
    """Return a timestamp as a document has it, or None where it has none; ValueError if it is malformed."""
    if text is None:
        return None
    if not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is None:
        msg = f"{text!r} is no timestamp"
        raise ValueError(msg)
    return text
