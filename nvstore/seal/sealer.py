"""
How a KDK lies on a host: in a box under the 32 octets that a seal gives.

A seal is a key file, a passphrase, the host's TPM, the service manager's credentials, or a KMIP server.
Each is described in the provider's file, without secrets, and gives its sealing key again: 32 octets.
A key file holds 64 hexadecimal digits and must be readable by its owner alone.
It can lie anywhere, so that the service manager may hand it over at start,
and a copy of the state directory alone opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from nvstore import box
from nvstore.files import Files, read_file, replace_file
from nvstore.keys import HOST_SEAL, KEY_SIZE, Entropy, context, kdk_id_of
from nvstore.provider_errors import (
    KeyFileDamaged,
    KeyFileMissing,
    ProviderLocked,
    SealFailed,
    WrongKey,
    WrongPassphrase,
)
from nvstore.seal.passphrase import (
    SALT_SIZE,
    Cost,
    check_passphrase,
    describe_stretching,
    stretch,
    stretch_as_described,
)

KEY_FILE: Final = "key-file"
PASSPHRASE: Final = "passphrase"  # noqa: S105 the name of a kind of seal
HOST_TPM: Final = "tpm"
SYSTEMD: Final = "systemd-creds"
KMIP: Final = "kmip"


class SealingKey(NamedTuple):
    """What a seal gives, and how it is told to give it again."""

    description: dict[str, Any]
    key: bytes

    def __repr__(self) -> str:
        return f"SealingKey({self.description['kind']})"

    def seal(self, entropy: Entropy, name: str, kdk: bytes) -> dict[str, Any]:
        """Return the seal of a KDK as the provider's file keeps it."""
        associated = _associated(name, kdk_id_of(kdk))
        sealed = box.seal(self.key, HOST_SEAL, entropy(box.SALT_SIZE), kdk, associated)
        return {**self.description, "box": sealed.hex()}


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
    """Return what describes the sealing key of a seal: all but the box."""
    return {name: value for name, value in seal.items() if name != "box"}


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


def unseal(sealing: SealingKey, name: str, kdk_id: bytes, seal: Mapping[str, Any]) -> bytes:
    """Return the KDK in a seal, which reproduces its id; WrongKey or WrongPassphrase if it does not open."""
    try:
        kdk = box.unseal(sealing.key, HOST_SEAL, bytes.fromhex(seal["box"]), _associated(name, kdk_id))
    except (box.BoxError, KeyError, ValueError):
        if seal["kind"] == PASSPHRASE:
            raise WrongPassphrase(f"provider {name!r}") from None
        source = f"the key file {seal['path']}" if seal["kind"] == KEY_FILE else f"the {seal['kind']} seal"
        raise WrongKey(f"{source} of provider {name!r}", kdk_id) from None
    if (found := kdk_id_of(kdk)) != kdk_id:
        raise WrongKey(f"provider {name!r}", kdk_id, found)
    return kdk


def _associated(name: str, kdk_id: bytes) -> bytes:
    return context(name.encode(), kdk_id)


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
