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

    def __init__(
        self, what: str, wanted: bytes, found: bytes | None = None, holders: Sequence[str] = ()
    ) -> None:
        other = f"is {found.hex()}" if found else "does not open it"
        held = f": {', '.join(holders)}" if holders else ""
        super().__init__(
            f"{what} should hold the key {wanted.hex()}, and what is there {other}",
            f"put the right key back{held}",
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


class UnfitPassphrase(NvstoreError):
    """A passphrase that the format cannot have."""

    code = "unfit-passphrase"

    def __init__(self) -> None:
        super().__init__("a PKCS#12 file has a passphrase in UTF-8, and this is not", "choose another one")


class ProviderMissing(NvstoreError):
    """No provider of this name, or none at all."""

    code = "provider-missing"

    def __init__(self, name: str | None) -> None:
        what = f"provider {name!r}" if name else "default provider"
        super().__init__(f"this host has no {what}", "make one with init, or restore one from its backup")


class ProviderExists(NvstoreError):
    """The name is taken; a name belongs to one key."""

    code = "provider-exists"

    def __init__(
        self, name: str, kdk_id: bytes, wanted: bytes | None = None, holders: Sequence[str] = ()
    ) -> None:
        other = f", another one than {wanted.hex()}" if wanted else ""
        held = f" (held by {', '.join(holders)})" if holders else ""
        super().__init__(
            f"the provider {name!r} exists on this host with the key {kdk_id.hex()}{held}{other}",
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

    def __init__(self, what: str, others: Sequence[str] = ()) -> None:
        failed = f", and its other seals do not open: {'; '.join(others)}" if others else ""
        super().__init__(f"the key of {what} is sealed by a passphrase{failed}", "unlock it")


class ProviderInUse(NvstoreError):
    """States need this provider."""

    code = "provider-in-use"

    def __init__(self, name: str, states: Sequence[str]) -> None:
        super().__init__(
            f"provider {name!r} is needed by {', '.join(states)}",
            "rekey these VMs and move these secrets under another provider, or delete them",
        )


class ProviderDamaged(NvstoreError):
    """The provider's file on this host cannot be read."""

    code = "provider-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(
            f"the provider file {place} is damaged: {damage}", "restore the provider from its backup"
        )


class ProviderAltered(NvstoreError):
    """What a host keeps of a provider was changed by somebody who does not have its keys."""

    code = "provider-altered"

    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            f"the file of provider {name!r} was altered: {what}",
            "find out who could write it; then restore the provider from its backup"
            " (`vtpm provider restore FILE`), which keeps the altered file beside it",
        )


class KeyUncertified(NvstoreError):
    """A key that is no successor of the one that a state or secret is under."""

    code = "key-uncertified"

    def __init__(self, provider: str, before: bytes, after: bytes) -> None:
        super().__init__(
            f"the key {after.hex()}, current at provider {provider!r}, is no successor of {before.hex()},"
            " under which this is: the provider's file is an older copy, or another key was put into it",
            "restore the provider from its newest backup, or have it pushed again by a host that has"
            f" {before.hex()} or a later key",
        )


class BackupDamaged(NvstoreError):
    """A file is no backup, or does not authenticate."""

    code = "backup-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(
            f"{place} is no usable backup: {damage}",
            "use another copy; make a new backup while the key is here",
        )


class TooExpensive(NvstoreError):
    """A file that costs more to open than any that this program writes."""

    code = "too-expensive"

    def __init__(self, place: object, cost: str) -> None:
        super().__init__(
            f"to open {place} takes {cost}, more than any file that vtpm writes",
            "if you know who made it, open it with --allow-expensive",
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


class StepRefused(NvstoreError):
    """The provider's state does not allow this step."""

    code = "step-refused"

    def __init__(self, name: str, state: str, step: str, possible: Sequence[str]) -> None:
        super().__init__(
            f"provider {name!r} is {state}, and {step} is not possible then",
            f"possible now: {', '.join(possible) or 'nothing, its keys are destroyed'}",
        )


class ProviderNotActive(NvstoreError):
    """No new VM is made under this provider."""

    code = "provider-not-active"

    def __init__(self, name: str, state: str, reasons: Sequence[str]) -> None:
        why = f": {'; '.join(reasons)}" if reasons else ""
        super().__init__(
            f"provider {name!r} is {state}, and new VMs need an active one{why}",
            "activate it, or name another provider",
        )


class TooEarly(NvstoreError):
    """A deletion that cannot be undone waits."""

    code = "too-early"

    def __init__(self, name: str, what: str, when: str) -> None:
        super().__init__(f"the keys of provider {name!r} {what}", when)


class HostTpmRequired(NvstoreError):
    """A provider for hosts that seal its key with their TPM."""

    code = "host-tpm-required"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"provider {name!r} requires that hosts seal its key with their TPM, and no key file beside it",
            "seal it with the TPM of this host",
        )


class SealFailed(NvstoreError):
    """What seals a key did not give it."""

    code = "seal-failed"

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(f"{what} does not give its key: {reason}", remedy)


class NoSealOpens(NvstoreError):
    """A key has several seals on this host, and none of them opens."""

    code = "no-seal-opens"

    def __init__(self, name: str, causes: Sequence[str]) -> None:
        super().__init__(
            f"no seal of provider {name!r} opens: {'; '.join(causes)}",
            "remove one of the causes, or restore the provider from its backup",
        )


class ExtraMissing(NvstoreError):
    """A package that only some need is not installed."""

    code = "extra-missing"

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed", f"install it: pip install 'vtpm[{extra}]'"
        )


class RotationRefused(NvstoreError):
    """A rotation cannot go on yet."""

    code = "rotation-refused"

    def __init__(self, name: str, reason: str, remedy: str) -> None:
        super().__init__(f"the rotation of provider {name!r} cannot go on: {reason}", remedy)


class KeyInUse(NvstoreError):
    """A key that something still needs is not destroyed."""

    code = "key-in-use"

    def __init__(self, kdk_id: bytes, users: Sequence[str]) -> None:
        super().__init__(
            f"the key {kdk_id.hex()} is needed by {', '.join(users)}",
            "rekey these VMs deeply first, and renew these secrets",
        )


class ShareRefused(NvstoreError):
    """A share of a recovery passphrase that cannot be used."""

    code = "share-refused"

    def __init__(self, what: object, why: str) -> None:
        super().__init__(f"{what} is no usable share: {why}", "use the shares that were made with the backup")


class DrillFailed(NvstoreError):
    """A backup does not open state that it should open."""

    code = "drill-failed"

    def __init__(self, path: object, failures: Sequence[str]) -> None:
        super().__init__(
            f"the backup {path} opens, but does not bring back {', '.join(failures)}",
            "see to these states first, then back the provider up anew and repeat the drill",
        )


class IdentityMissing(NvstoreError):
    """A host that cannot be handed anything."""

    code = "identity-missing"

    def __init__(self) -> None:
        super().__init__("this host has no identity to which a provider could be pushed", "enroll it first")


class IdentityExists(NvstoreError):
    """A host is enrolled once."""

    code = "identity-exists"

    def __init__(self, place: object) -> None:
        super().__init__(
            f"this host has an identity, at {place}", "use it, or remove it if its key is lost or was seen"
        )


class PackageRefused(NvstoreError):
    """A file between two hosts that is not what it should be."""

    code = "package-refused"

    def __init__(self, place: object, why: str, remedy: str) -> None:
        super().__init__(f"{place} is refused: {why}", remedy)


class SecretMissing(NvstoreError):
    """A secret of this host that is not there."""

    code = "secret-missing"

    def __init__(self, name: str, place: object) -> None:
        super().__init__(f"this host has no secret {name!r} at {place}", "put the file back from a backup")


class SecretDamaged(NvstoreError):
    """A file that is no secret."""

    code = "secret-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(f"the secret {place} is damaged: {damage}", "put the file back from a backup")


class SecretAltered(NvstoreError):
    """A secret that does not authenticate under its key."""

    code = "secret-altered"

    def __init__(self, place: object) -> None:
        super().__init__(
            f"the secret {place} was altered after it was written", "put the file back from a backup"
        )
