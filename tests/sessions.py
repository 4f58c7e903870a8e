"""The caller's side of sessions, as tests use it."""

from vtpm.testing.session import (
    AES_128,
    AES_256,
    HASHES,
    NO_CIPHER,
    XOR_SHA256,
    CallerSession,
    ResponseError,
    kdf_a,
    start_session,
)

__all__ = [
    "AES_128",
    "AES_256",
    "HASHES",
    "NO_CIPHER",
    "XOR_SHA256",
    "CallerSession",
    "ResponseError",
    "kdf_a",
    "start_session",
]
