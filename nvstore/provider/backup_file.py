"""
The backup of a provider: one file that says what it is, and opens with a passphrase and nothing else.

It is a sealed document (see `document`) with the provider's name, the ids of its keys, when and where it was
made, and the parameters of Argon2id.
Its box holds the KDKs, 32 octets each, in the order in which `keys` lists their ids.
The second format, PKCS#12, is in `pkcs12`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Final

from nvstore import box
from nvstore.document import BadDocument, canonical, pretty, read_document
from nvstore.keys import PROVIDER_BACKUP, Entropy
from nvstore.provider.backup import Backup
from nvstore.provider_errors import BackupDamaged, WrongPassphrase
from nvstore.seal.passphrase import (
    SALT_SIZE,
    Cost,
    check_passphrase,
    describe_stretching,
    stretch,
    stretch_as_described,
)

FORMAT: Final = "nvstore provider backup"
DER_SEQUENCE: Final = b"\x30"
"""The first octet of every PKCS#12 file, and of no JSON object."""


class Format(StrEnum):
    """How a backup is written."""

    NVSTORE = "nvstore"
    PKCS12 = "pkcs12"


def write_backup(
    backup: Backup, passphrase: bytes, *, cost: Cost, entropy: Entropy, form: Format = Format.NVSTORE
) -> bytes:
    """Return the content of a backup file."""
    check_passphrase(passphrase)
    if form is Format.PKCS12:
        from nvstore.provider.pkcs12 import write_pkcs12  # noqa: PLC0415 - certificates are slow to import

        return write_pkcs12(backup, passphrase)
    salt = entropy(SALT_SIZE)
    fields = {**backup.fields(), "argon2id": describe_stretching(salt, cost)}
    shown = read_document(pretty(FORMAT, fields), FORMAT)
    key = stretch(passphrase, salt, cost)
    sealed = box.seal(key, PROVIDER_BACKUP, entropy(box.SALT_SIZE), backup.secret, canonical(shown))
    return pretty(FORMAT, {**fields, "box": sealed.hex()})


def open_backup(octets: bytes, path: Path, passphrase: bytes, *, allow_expensive: bool = False) -> Backup:
    """
    Open a backup, or raise BackupDamaged, TooExpensive or WrongPassphrase; every key in it reproduces its id.

    `allow_expensive` is for one that takes more memory or time than those that are written here.
    """
    if octets.startswith(DER_SEQUENCE):
        from nvstore.provider.pkcs12 import open_pkcs12  # noqa: PLC0415 - certificates are slow to import

        return open_pkcs12(octets, path, passphrase, allow_expensive=allow_expensive)
    try:
        document = read_document(octets, FORMAT)
        sealed = bytes.fromhex(document.pop("box"))
    except BadDocument as error:
        raise BackupDamaged(path, str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise BackupDamaged(path, "fields are missing or malformed") from None
    key = stretch_as_described(passphrase, document.get("argon2id"), path, allow_expensive=allow_expensive)
    try:
        secret = box.unseal(key, PROVIDER_BACKUP, sealed, canonical(document))
        return Backup.of(document, secret)
    except box.OtherKey:
        raise WrongPassphrase(path) from None
    except box.Tampered:
        raise BackupDamaged(path, "the passphrase is right, but the file was altered") from None
    except (KeyError, TypeError, ValueError) as error:
        raise BackupDamaged(path, str(error)) from None
