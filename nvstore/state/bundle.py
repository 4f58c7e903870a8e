"""
The bundle of one VM: its whole state in one file, to be kept, tested and brought to another host.

It is a sealed document (see `document`): what people may read of it, and a box with the blobs.
The key of the box comes from a passphrase, and then nothing else is needed to open it;
or from the key of the state's provider, and then it opens wherever that provider is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from nvstore import box
from nvstore.document import BadDocument, Document, canonical, pretty, read_document
from nvstore.errors import BundleAltered, BundleDamaged, PassphraseNeeded
from nvstore.keys import BUNDLE_KEY, KEY_SIZE, STATE_BUNDLE, Entropy, KeySource, expand
from nvstore.provider_errors import BackupDamaged, WrongPassphrase
from nvstore.seal.passphrase import (
    SALT_SIZE,
    Cost,
    check_passphrase,
    describe_stretching,
    stretch,
    stretch_as_described,
)
from nvstore.state.blobs import Blobs, MalformedBlobs
from nvstore.state.ring import pages

FORMAT: Final = "nvstore state bundle"


@dataclass(frozen=True)
class Bundle:
    """The state of a VM at one generation, and where it came from."""

    vm: UUID
    name: str
    provider: str
    kdk_id: bytes
    incarnation: bytes
    generation: int
    exported: str
    host: str
    blobs: Mapping[str, bytes] = field(repr=False)

    def fields(self) -> dict[str, Any]:
        """Return what people may read of it."""
        return {
            "vm": str(self.vm),
            "name": self.name,
            "provider": self.provider,
            "kdk_id": self.kdk_id.hex(),
            "incarnation": self.incarnation.hex(),
            "generation": self.generation,
            "exported": self.exported,
            "host": self.host,
        }

    @classmethod
    def of(cls, fields: Document, blobs: Mapping[str, bytes]) -> Self:
        """Return a bundle from its two parts; KeyError, TypeError or ValueError if they are malformed."""
        return cls(
            UUID(str(fields["vm"])),
            str(fields["name"]),
            str(fields["provider"]),
            bytes.fromhex(fields["kdk_id"]),
            bytes.fromhex(fields["incarnation"]),
            int(fields["generation"]),
            str(fields["exported"]),
            str(fields["host"]),
            blobs,
        )


@dataclass(frozen=True)
class BundleReport:
    """What was found in a bundle; without its content."""

    path: str
    vm: str
    name: str
    provider: str
    kdk_id: str
    generation: int
    exported: str
    host: str
    protection: str
    """`passphrase` or `provider`."""
    blobs: int

    @classmethod
    def of(cls, path: Path, bundle: Bundle, *, by_passphrase: bool) -> Self:
        """Return the report on a bundle."""
        return cls(
            str(path),
            str(bundle.vm),
            bundle.name,
            bundle.provider,
            bundle.kdk_id.hex(),
            bundle.generation,
            bundle.exported,
            bundle.host,
            "passphrase" if by_passphrase else "provider",
            len(bundle.blobs),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return dict(vars(self))


def write_bundle(
    bundle: Bundle, keys: KeySource, passphrase: bytes | None, *, cost: Cost, entropy: Entropy
) -> bytes:
    """Return the content of a bundle file, under a passphrase or else under the provider's key."""
    fields = bundle.fields()
    if passphrase is None:
        key = _key_of(bundle.vm, bundle.provider, bundle.kdk_id, keys)
    else:
        check_passphrase(passphrase)
        salt = entropy(SALT_SIZE)
        fields["argon2id"] = describe_stretching(salt, cost)
        key = stretch(passphrase, salt, cost)
    shown = read_document(pretty(FORMAT, fields), FORMAT)
    blobs = Blobs(bundle.blobs)
    plaintext = blobs.encode(pages(blobs.size))
    sealed = box.seal(key, STATE_BUNDLE, entropy(box.SALT_SIZE), plaintext, canonical(shown))
    return pretty(FORMAT, {**fields, "box": sealed.hex()})


def is_under_passphrase(octets: bytes, path: Path) -> bool:
    """Tell whether a bundle needs a passphrase; BundleDamaged if it is none."""
    return "argon2id" in _document(octets, path)


def needed_by(octets: bytes, path: Path) -> str | None:
    """Return the id of the key that opens a bundle, None for a passphrase; BundleDamaged if it is none."""
    document = _document(octets, path)
    return None if "argon2id" in document else str(document.get("kdk_id"))


def open_bundle(octets: bytes, path: Path, keys: KeySource, passphrase: bytes | None) -> Bundle:
    """
    Open a bundle, or raise the error that says why not.

    KeyMissing names the provider's key that is not on this host.
    """
    document = _document(octets, path)
    try:
        sealed = bytes.fromhex(document.pop("box"))
        bundle = Bundle.of(document, {})
    except (KeyError, TypeError, ValueError):
        raise BundleDamaged(path, "fields are missing or malformed") from None
    if "argon2id" not in document:
        key = _key_of(bundle.vm, bundle.provider, bundle.kdk_id, keys)
    elif passphrase is None:
        raise PassphraseNeeded(path)
    else:
        try:
            key = stretch_as_described(passphrase, document["argon2id"], path)
        except BackupDamaged:
            raise BundleDamaged(path, "its parameters of Argon2id are impossible") from None
    try:
        plaintext = box.unseal(key, STATE_BUNDLE, sealed, canonical(document))
        return Bundle.of(document, Blobs.decode(plaintext).as_dict())
    except box.OtherKey:
        if "argon2id" in document:
            raise WrongPassphrase(path) from None
        raise BundleAltered(path) from None
    except box.Tampered:
        raise BundleAltered(path) from None
    except MalformedBlobs as error:
        raise BundleDamaged(path, str(error)) from None


def _document(octets: bytes, path: Path) -> Document:
    try:
        return read_document(octets, FORMAT)
    except BadDocument as error:
        raise BundleDamaged(path, str(error)) from None


def _key_of(vm: UUID, provider: str, kdk_id: bytes, keys: KeySource) -> bytes:
    return expand(keys.key(provider, kdk_id), KEY_SIZE, BUNDLE_KEY, kdk_id, vm.bytes)
