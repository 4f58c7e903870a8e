"""
How a KDK lies on a host: in a box that a key file or a passphrase opens.

A key file holds 64 hexadecimal digits and must be readable by its owner alone.
It can lie anywhere, so that the service manager may hand it over at start,
and a copy of the state directory alone opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvstore import box
from nvstore.errors import (
    NvstoreError,
)
from nvstore.files import Files, read_file, replace_file
from nvstore.keys import HOST_SEAL, KEY_SIZE, Entropy, context, kdk_id_of
from nvstore.passphrase import (
    SALT_SIZE,
    Cost,
    check_passphrase,
    describe_stretching,
    stretch,
    stretch_as_described,
)
from nvstore.provider_errors import (
    KeyFileDamaged,
    KeyFileMissing,
    ProviderLocked,
    WrongKey,
    WrongPassphrase,
)

KEY_FILE = "key-file"
PASSPHRASE = "passphrase"  # noqa: S105 the name of a kind of seal


@dataclass(frozen=True)
class Sealer:
    """What a KDK is to be sealed with on this host: a passphrase, or else a key file, made if need be."""

    key_file: Path
    passphrase: bytes | None
    cost: Cost

    def __repr__(self) -> str:
        return f"Sealer({PASSPHRASE if self.passphrase is not None else KEY_FILE})"

    def seal(self, files: Files, entropy: Entropy, name: str, kdk: bytes) -> dict[str, Any]:
        """Return the seal of a KDK as the provider's file keeps it."""
        if self.passphrase is not None:
            check_passphrase(self.passphrase)
            salt = entropy(SALT_SIZE)
            seal = {"kind": PASSPHRASE, "argon2id": describe_stretching(salt, self.cost)}
            key = stretch(self.passphrase, salt, self.cost)
        else:
            seal = {"kind": KEY_FILE, "path": str(self.key_file)}
            key = _key_of_new_file(files, entropy, self.key_file)
        sealed = box.seal(key, HOST_SEAL, entropy(box.SALT_SIZE), kdk, _associated(name, kdk_id_of(kdk)))
        return {**seal, "box": sealed.hex()}


def unseal(
    files: Files, name: str, kdk_id: bytes, seal: Mapping[str, Any], passphrase: bytes | None
) -> bytes:
    """Return the KDK that this seal keeps; it reproduces its id."""
    wrong: NvstoreError
    if seal["kind"] == KEY_FILE:
        key = _key_of_file(files, Path(seal["path"]))
        wrong = WrongKey(f"the key file {seal['path']} of provider {name!r}", kdk_id)
    elif passphrase is None:
        raise ProviderLocked(name)
    else:
        key = stretch_as_described(passphrase, seal.get("argon2id"), f"the seal of provider {name!r}")
        wrong = WrongPassphrase(f"provider {name!r}")
    try:
        kdk = box.unseal(key, HOST_SEAL, bytes.fromhex(seal["box"]), _associated(name, kdk_id))
    except box.BoxError:
        raise wrong from None
    if (found := kdk_id_of(kdk)) != kdk_id:
        raise WrongKey(f"provider {name!r}", kdk_id, found)
    return kdk


def _associated(name: str, kdk_id: bytes) -> bytes:
    return context(name.encode(), kdk_id)


def _key_of_new_file(files: Files, entropy: Entropy, path: Path) -> bytes:
    if files.exists(path):
        return _key_of_file(files, path)
    key = entropy(KEY_SIZE)
    replace_file(files, path, key.hex().encode() + b"\n")
    return key


def _key_of_file(files: Files, path: Path) -> bytes:
    try:
        octets = read_file(files, path, secret=True)
    except FileNotFoundError:
        raise KeyFileMissing(path) from None
    try:
        key = bytes.fromhex(octets.decode())
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise KeyFileDamaged(path)
    return key
