"""
How a sealing key is made, and had again.

A seal is a key file, a passphrase, the host's TPM, the service manager's credentials, or a KMIP server.
A key file holds 64 hexadecimal digits and must be readable by its owner alone.
It can lie anywhere, so that the service manager may hand it over at start,
and a copy of the state directory alone opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nvstore.files import Files, read_file, replace_file
from nvstore.keys import KEY_SIZE, Entropy
from nvstore.provider_errors import (
    KeyFileDamaged,
    KeyFileMissing,
    ProviderLocked,
    SealFailed,
)
from nvstore.seal.passphrase import (
    SALT_SIZE,
    Cost,
    check_passphrase,
    describe_stretching,
    stretch,
    stretch_as_described,
)
from nvstore.seal.sealing_key import BINDING, KEY_FILE, PASSPHRASE, SealingKey


class Sealer(Protocol):
    """A new seal."""

    @property
    def kind(self) -> str:
        """Return the name of its kind."""
        ...

    def make(self, files: Files, entropy: Entropy, what: str) -> SealingKey:
        """Make it, for what these words describe."""
        ...


@dataclass(frozen=True)
class KeyFileSealer:
    """A key file, made if it is not there."""

    path: Path
    kind: str = KEY_FILE

    def make(self, files: Files, entropy: Entropy, what: str) -> SealingKey:  # noqa: D102 described by Sealer
        del what
        path = self.path.absolute()
        if not files.exists(path):
            replace_file(files, path, entropy(KEY_SIZE).hex().encode() + b"\n")
        return SealingKey({"kind": KEY_FILE, "path": str(path)}, _key_of_file(files, path))


@dataclass(frozen=True)
class PassphraseSealer:
    """A passphrase, stretched with Argon2id; each process must be given it once."""

    passphrase: bytes
    cost: Cost
    kind: str = PASSPHRASE

    def __repr__(self) -> str:
        return "PassphraseSealer()"

    def make(self, files: Files, entropy: Entropy, what: str) -> SealingKey:  # noqa: D102
        del files, what
        check_passphrase(self.passphrase)
        salt = entropy(SALT_SIZE)
        description = {"kind": PASSPHRASE, "argon2id": describe_stretching(salt, self.cost)}
        return SealingKey(description, stretch(self.passphrase, salt, self.cost))


def description_of(seal: Mapping[str, Any]) -> dict[str, Any]:
    """Return what describes the sealing key of a seal: all but the box and what it is bound to."""
    return {name: value for name, value in seal.items() if name not in {"box", BINDING}}


def recover(files: Files, what: str, description: Mapping[str, Any], passphrase: bytes | None) -> SealingKey:
    """Return the sealing key of a description, or raise the error that says why it is not to be had."""
    match description:
        case {"kind": "key-file", "path": str(path)}:
            key = _key_of_file(files, Path(path))
        case {"kind": "passphrase"}:
            if passphrase is None:
                raise ProviderLocked(what)
            key = stretch_as_described(passphrase, description.get("argon2id"), f"the seal of {what}")
        case {"kind": "tpm"}:
            from nvstore.seal.tpm import recover_from_tpm  # noqa: PLC0415 - most hosts never need it

            key = recover_from_tpm(description, what)
        case {"kind": "systemd-creds"}:
            from nvstore.seal.systemd import recover_from_systemd  # noqa: PLC0415

            key = recover_from_systemd(description, what)
        case {"kind": "kmip"}:
            from nvstore.seal.kmip import recover_from_kmip  # noqa: PLC0415

            key = recover_from_kmip(description, what)
        case _:
            raise SealFailed(
                f"the seal of {what}",
                f"its kind {description.get('kind')!r} is not known or not described as it should be",
                "use the version that wrote it, or restore from the backup",
            )
    return SealingKey(dict(description), key)


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
