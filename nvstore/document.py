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

Document = dict[str, Any]


class BadDocument(ValueError):
    """A file that is not the document it should be; the text says why."""


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one encoding of a document that is authenticated."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return a document of this kind as it is written to a file."""
    return (
        json.dumps({"format": kind, "version": VERSION, **fields}, indent=2, ensure_ascii=False).encode()
        + b"\n"
    )


def read_document(octets: bytes, kind: str) -> Document:
    """Return the fields of a document of this kind, or raise BadDocument."""
    try:
        document = json.loads(octets)
    except ValueError as error:
        msg = f"it is no JSON: {error}"
        raise BadDocument(msg) from None
    if not isinstance(document, dict) or document.get("format") != kind:
        msg = f"it is no {kind}"
        raise BadDocument(msg)
    if document.get("version") != VERSION:
        msg = f"it has version {document.get('version')}, and this program reads version {VERSION}"
        raise BadDocument(msg)
    return document


def timestamp(seconds: float) -> str:
    """Return a point in time as people and programs read it: UTC, in seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return a timestamp in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()
