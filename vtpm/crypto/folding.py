"""
Whole blocks of a message folded into a midstate: by OpenSSL where it can be had, else in Python.

A sequence must be writable at any octet: by ContextSave, in a snapshot, in libtpms' form.
Neither `hashlib` nor `cryptography` gives out the state of a running digest.
A guest chooses how much it hashes, so what is kept to be folded at a saving would have no bound,
and the compression functions of `midstate` take 1 to 5 ms for each KiB, in which no other VM is served.
So OpenSSL does the folding, and its state is read after every part, which costs some microseconds.

The state of a digest of OpenSSL's own providers is out of reach.
But OpenSSL 1.1 and 3 let a program make a method of its own from the functions of an existing one
(EVP_MD_meth_new(3)); its contexts have memory of a size that the program names,
and EVP_MD_CTX_get0_md_data(3) gives that out.
The functions for SHA-1, SHA-2, SHA-3 and SM3 begin that memory with the words of the state.
OpenSSL does not promise this, so each algorithm is tried against `midstate` before its first use.
Where the words are elsewhere, or the functions are gone (OpenSSL 4, other libraries), Python folds.
A method without memory or without functions is refused before anything of it is called.

Other ways: the public structures of <openssl/sha.h> are without SHA-3 and SM3;
the memory of `hashlib`'s objects has another layout in each version of Python;
no package in use exports a state; and an extension in C would need a compiler wherever this is installed.
"""

import ctypes
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final

from vtpm.crypto.midstate import FAMILIES
from vtpm.spec.constants import TPM_ALG

Fold = Callable[[bytes, bytes], bytes]
"""From a state and whole blocks to the state after them."""

METHODS: Final = {
    TPM_ALG.SHA1: "EVP_sha1",
    TPM_ALG.SHA256: "EVP_sha256",
    TPM_ALG.SHA384: "EVP_sha384",
    TPM_ALG.SHA512: "EVP_sha512",
    TPM_ALG.SM3_256: "EVP_sm3",
    TPM_ALG.SHA3_256: "EVP_sha3_256",
    TPM_ALG.SHA3_384: "EVP_sha3_384",
    TPM_ALG.SHA3_512: "EVP_sha3_512",
}

MAJORS: Final = (1, 3)
"""The major versions of OpenSSL that have methods of a program's own."""

MEMORY: Final = 1024
"""Octets of a context's memory; SHA-3 with its buffer takes most, less than half of them."""

POINTER, SIZE, INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "OpenSSL_version_num": (ctypes.c_ulong,),
    "EVP_MD_meth_dup": (POINTER, POINTER),
    "EVP_MD_meth_get_init": (POINTER, POINTER),
    "EVP_MD_meth_get_update": (POINTER, POINTER),
    "EVP_MD_meth_get_app_datasize": (INT, POINTER),
    "EVP_MD_meth_set_app_datasize": (INT, POINTER, INT),
    "EVP_MD_CTX_new": (POINTER,),
    "EVP_MD_CTX_free": (None, POINTER),
    "EVP_DigestInit_ex": (INT, POINTER, POINTER, POINTER),
    "EVP_DigestUpdate": (INT, POINTER, ctypes.c_char_p, SIZE),
}
"""The result and the arguments of what is called."""

MEMORY_OF: Final = ("EVP_MD_CTX_get0_md_data", "EVP_MD_CTX_md_data")
"""The names of one function, in OpenSSL 3 and 1.1."""


class UnusableLibraryError(Exception):
    """A library does not have what is needed of OpenSSL."""


class OpenSsl:
    """The functions of a libcrypto that folding needs; UnusableLibraryError if they are not there."""

    def __init__(self, library: ctypes.CDLL) -> None:
        try:
            for name, (result, *arguments) in PROTOTYPES.items():
                setattr(self, name, self._bound(library, name, result, arguments))
            found = next(name for name in MEMORY_OF if hasattr(library, name))
        except (AttributeError, StopIteration) as error:
            raise UnusableLibraryError(str(error)) from error
        self.memory_of = self._bound(library, found, POINTER, [POINTER])
        self._library = library
        major = self._call("OpenSSL_version_num") >> 28
        if major not in MAJORS:
            raise UnusableLibraryError(f"OpenSSL {major}")

    @staticmethod
    def _bound(library: ctypes.CDLL, name: str, result: Any, arguments: list[Any]) -> Any:
        # A second object for the same function, whose prototype is nobody else's.
        function = library[name]
        function.restype, function.argtypes = result, arguments
        return function

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(self, name)(*arguments)

    def method(self, alg: TPM_ALG) -> int:
        """A method whose contexts have memory of their own; UnusableLibraryError if there cannot be one."""
        try:
            find = self._bound(self._library, METHODS[alg], POINTER, [])
        except AttributeError as error:
            raise UnusableLibraryError(str(error)) from error
        original = find()
        copy = self._call("EVP_MD_meth_dup", original) if original else None
        if not copy:
            raise UnusableLibraryError(METHODS[alg])
        if self._call("EVP_MD_meth_get_app_datasize", copy) == 0:
            self._call("EVP_MD_meth_set_app_datasize", copy, MEMORY)
        parts = (self._call(f"EVP_MD_meth_get_{part}", copy) for part in ("init", "update"))
        if self._call("EVP_MD_meth_get_app_datasize", copy) < len(FAMILIES[alg].start()) or not all(parts):
            raise UnusableLibraryError(METHODS[alg])
        return int(copy)

    def fold(self, alg: TPM_ALG) -> Fold:
        """How this library folds, not yet tried; UnusableLibraryError if it cannot."""
        method, family = self.method(alg), FAMILIES[alg]
        stored = struct.Struct(family.form)
        native = struct.Struct("=" + family.form[1:])
        size, block = stored.size, family.block
        new, start, update, free = map(
            self.__dict__.__getitem__,
            ("EVP_MD_CTX_new", "EVP_DigestInit_ex", "EVP_DigestUpdate", "EVP_MD_CTX_free"),
        )
        memory_of = self.memory_of

        def fold(state: bytes, blocks: bytes) -> bytes:
            assert len(state) == size, "another algorithm's state"
            assert len(blocks) % block == 0, "OpenSSL would keep the rest to itself"
            # One context for each call: no two threads share it, and freeing it clears its memory.
            context = new()
            try:
                if not context or start(context, method, None) != 1:
                    raise MemoryError
                memory = memory_of(context)
                if not memory:
                    raise MemoryError
                ctypes.memmove(memory, native.pack(*stored.unpack(state)), size)
                if update(context, blocks, len(blocks)) != 1:
                    raise MemoryError
                return stored.pack(*native.unpack(ctypes.string_at(memory, size)))
            finally:
                free(context)

        return fold


def fold_in_python(alg: TPM_ALG) -> Fold:
    """How `midstate` folds: 1 to 5 ms for each KiB."""
    family = FAMILIES[alg]

    def fold(state: bytes, blocks: bytes) -> bytes:
        for begin in range(0, len(blocks), family.block):
            state = family.compress(state, blocks[begin : begin + family.block])
        return state

    return fold


def candidates() -> Iterator[ctypes.CDLL]:
    """The libcrypto that this Python's `hashlib` is linked with, then the one of the system."""
    with suppress(ImportError, OSError):
        import _hashlib  # noqa: PLC0415 - some builds of Python are without it

        yield ctypes.CDLL(getattr(_hashlib, "__file__", None))
    with suppress(OSError):
        yield ctypes.CDLL("libcrypto.so.3")


def usable() -> OpenSsl | None:
    """The first library that has what is needed."""
    for library in candidates():
        try:
            return OpenSsl(library)
        except UnusableLibraryError:
            continue
    return None


LIBRARY: Final = usable()
"""Loaded with the program, before it gives up privileges and sees no files any more."""


def agrees(alg: TPM_ALG, fold: Fold) -> bool:
    """Does it fold as `midstate` does, from the start and from a later state, one block and two?"""
    family, judge = FAMILIES[alg], fold_in_python(alg)
    blocks = bytes(range(256)) * 4
    one, two = blocks[: family.block], blocks[1 : 1 + 2 * family.block]
    state = judge(family.start(), one)
    return fold(family.start(), one) == state and fold(state, two) == judge(state, two)


@cache
def fast_fold(alg: TPM_ALG) -> Fold | None:
    """How OpenSSL folds; None where it cannot be had, or does not agree with `midstate`."""
    if LIBRARY is None:
        return None
    try:
        fold = LIBRARY.fold(alg)
        return fold if agrees(alg, fold) else None
    except (UnusableLibraryError, MemoryError):
        return None
