"""The keys that --key and --migration-key give (swtpm.8): keys or passphrases, in files or descriptors."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vtpm.compat.arguments import ArgumentError, key_source, number
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.file import key_of_file, key_of_passphrase

MAX_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    """A key, or the passphrase of one; `kdf` is how swtpm makes that key of the passphrase."""

    secret: bytes = field(repr=False)
    is_passphrase: bool
    kdf: str = "pbkdf2"

    @property
    def passphrase(self) -> bytes:
        """What seals this TPM's own state: of any secret, even a short one or one with line ends."""
        return hashlib.sha256(b"swtpm key\0" + self.secret).hexdigest().encode()

    def of_size(self, size: int) -> bytes:
        """Swtpm's key of 16 or 32 octets."""
        return key_of_passphrase(self.secret, size, kdf=self.kdf) if self.is_passphrase else self.secret


def read_key(option: str, values: Mapping[str, str]) -> Key | None:
    """The key that the values of an option name; None if there are none."""
    source = key_source(option, values)
    if source is None:
        return None
    kind, place = source
    name = f"{option} {kind}"
    if kind.endswith("fd"):
        octets = read_descriptor(name, number(option, kind, place))
    else:
        octets = read_file(name, Path(place))
        if values.get("remove", "false") != "false":
            Path(place).unlink()
    return key_of(name, octets, is_passphrase=kind.startswith("pwd"), kdf=values.get("kdf", "pbkdf2"))


def key_of(name: str, octets: bytes, *, is_passphrase: bool, kdf: str = "pbkdf2") -> Key:
    """A key from what was read; ArgumentError, which names the option, if it is none."""
    if is_passphrase:
        if not octets:
            raise ArgumentError(f"--{name}: the passphrase is empty")
        return Key(octets, is_passphrase=True, kdf=kdf)
    try:
        return Key(key_of_file(octets), is_passphrase=False)
    except ForeignStateError as error:
        raise ArgumentError(f"--{name}: {error}") from None


def read_file(name: str, path: Path) -> bytes:
    """A file, as swtpm reads it: who else may read it is the affair of whoever made it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArgumentError(f"--{name}={path}: {error.strerror}") from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise ArgumentError(f"--{name}={path}: a directory, where a file is needed")
        return read_descriptor(name, descriptor)
    finally:
        os.close(descriptor)


def read_descriptor(name: str, descriptor: int) -> bytes:
    """All that a descriptor gives: a secret may have line ends and zeros in it."""
    octets = bytearray()
    try:
        while part := os.read(descriptor, MAX_SECRET):
            octets += part
            if len(octets) > MAX_SECRET:
                raise ArgumentError(f"--{name}: more than {MAX_SECRET} octets")
    except OSError as error:
        raise ArgumentError(f"--{name}: {error.strerror}") from None
    return bytes(octets)
