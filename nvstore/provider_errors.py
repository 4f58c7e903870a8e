"""The named errors of key providers: keys, seals, backups, and what a provider's state forbids."""

# ruff: noqa: N818  an error is called by what is wrong

from collections.abc import Sequence

from nvstore.errors import NvstoreError


class KeyMissing(NvstoreError):
    """The key that a state needs is not on this host."""

    code = "key-missing"

    def __init__(self, kdk_id: bytes, provider: str, here: bytes | None, holders: Sequence[str]) -> None:
        namesake = f" (the provider {provider!r} of this host has another key, {here.hex()})" if here else ""
        known = (
            f"held by {', '.join(holders)}" if holders else "no backup or host that holds it is known here"
        )
        super().__init__(
            f"the key {kdk_id.hex()} of provider {provider!r} is not on this host{namesake}",
            f"restore that provider from a backup whose kdk_id is {kdk_id.hex()}: {known}",
        )
        self.kdk_id = kdk_id
        self.provider = provider


class WrongKey(NvstoreError):
    """A key was found where it should be, and it is not the one it should be."""

    code = "wrong-key"

    def __init__(self, what: str, wanted: bytes, found: bytes | None = None) -> None:
        other = f"is {found.hex()}" if found else "does not open it"
        super().__init__(
            f"{what} should hold the key {wanted.hex()}, and what is there {other}", "put the right key back"
        )


class KeyFileMissing(NvstoreError):
    """The key file that seals a provider is not there."""

    code = "key-file-missing"

    def __init__(self, path: object) -> None:
        super().__init__(
            f"the key file {path} is missing",
            "put it back, or restore the provider from its backup with a new key file",
        )


class KeyFileDamaged(NvstoreError):
    """The key file is not what it should be."""

    code = "key-file-damaged"

    def __init__(self, path: object) -> None:
        super().__init__(
            f"the key file {path} does not hold 64 hexadecimal digits", "put the right file back"
        )


class WrongPassphrase(NvstoreError):
    """The passphrase does not open the file."""

    code = "wrong-passphrase"

    def __init__(self, what: object) -> None:
        super().__init__(
            f"the passphrase does not open {what}", "give the passphrase that it was sealed with"
        )


class WeakPassphrase(NvstoreError):
    """A passphrase that protects nothing."""

    code = "weak-passphrase"

    def __init__(self, size: int, least: int) -> None:
        super().__init__(
            f"a passphrase of {size} octets protects nothing", f"use at least {least}, better six words"
        )


class ProviderMissing(NvstoreError):
    """No provider of this name, or none at all."""

    code = "provider-missing"

    def __init__(self, name: str | None) -> None:
        what = f"provider {name!r}" if name else "default provider"
        super().__init__(f"this host has no {what}", "make one with init, or restore one from its backup")


class ProviderExists(NvstoreError):
    """The name is taken; a name belongs to one key."""

    code = "provider-exists"

    def __init__(self, name: str, kdk_id: bytes, wanted: bytes | None = None) -> None:
        other = f", another one than {wanted.hex()}" if wanted else ""
        super().__init__(
            f"the provider {name!r} exists on this host with the key {kdk_id.hex()}{other}",
            "choose another name; never use a name again for another key",
        )


class ProviderUnverified(NvstoreError):
    """The only copy of the key may be on this host."""

    code = "provider-unverified"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no backup of provider {name!r} was ever verified: losing this host loses every VM under it",
            "make a backup and verify it, or say explicitly that an unverified provider is allowed",
        )


class ProviderLocked(NvstoreError):
    """The key is here, sealed by a passphrase that was not given yet."""

    code = "provider-locked"

    def __init__(self, name: str) -> None:
        super().__init__(f"the key of provider {name!r} is sealed by a passphrase", "unlock the provider")


class ProviderInUse(NvstoreError):
    """States need this provider."""

    code = "provider-in-use"

    def __init__(self, name: str, states: list[str]) -> None:
        super().__init__(
            f"provider {name!r} is needed by {', '.join(states)}",
            "move these states to another provider, or delete them",
        )


class ProviderDamaged(NvstoreError):
    """The provider's file on this host cannot be read."""

    code = "provider-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(
            f"the provider file {place} is damaged: {damage}", "restore the provider from its backup"
        )


class BackupDamaged(NvstoreError):
    """A file is no backup, or does not authenticate."""

    code = "backup-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(
            f"{place} is no usable backup: {damage}",
            "use another copy; make a new backup while the key is here",
        )


class BackupMissing(NvstoreError):
    """No file where the backup should be."""

    code = "backup-missing"

    def __init__(self, place: object) -> None:
        super().__init__(f"there is no backup {place}", "name the file of a backup")


class BackupExists(NvstoreError):
    """A backup is never overwritten."""

    code = "backup-exists"

    def __init__(self, place: object) -> None:
        super().__init__(f"{place} exists, and may be a backup that is still needed", "choose another file")
