"""
The vault: secrets of a host's own, each in a file of its own under the key of a provider.

A secret is a sealed document (see `document`), bound to its name and to the key:
it opens on every host that has both, and nothing else about it tells what it is for.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from nvstore import box
from nvstore.audit import Audit
from nvstore.document import BadDocument, canonical, pretty, read_document, timestamp
from nvstore.errors import NvstoreError
from nvstore.files import Files, read_file, replace_file
from nvstore.keys import KEY_SIZE, SECRET, SECRET_KEY, Entropy, KeySource, check_succession, expand
from nvstore.provider.files import check_provider_name
from nvstore.provider.providers import Providers
from nvstore.provider_errors import SecretAltered, SecretDamaged, SecretMissing

FORMAT: Final = "nvstore secret"
_SUFFIX: Final = ".secret"


@dataclass(frozen=True)
class SecretStatus:
    """A secret, without what it is; no key is needed to tell this."""

    name: str
    provider: str
    kdk_id: str
    written: str

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return dict(vars(self))


class _Sealed(NamedTuple):
    """The file of a secret, as it was read."""

    fields: dict[str, Any]
    status: SecretStatus
    box: bytes

    @classmethod
    def read(cls, octets: bytes, path: Path) -> Self:
        try:
            fields = read_document(octets, FORMAT)
            sealed = bytes.fromhex(fields.pop("box"))
            bytes.fromhex(fields["kdk_id"])
            told = (str(fields[name]) for name in ("name", "provider", "kdk_id", "written"))
            return cls(fields, SecretStatus(*told), sealed)
        except BadDocument as error:
            raise SecretDamaged(path, str(error)) from None
        except (KeyError, TypeError, ValueError):
            raise SecretDamaged(path, "fields are missing or malformed") from None


class Vault:
    """The secrets of one host; `Host.vault`."""

    def __init__(
        self,
        directory: Path,
        files: Files,
        entropy: Entropy,
        clock: Callable[[], float],
        audit: Audit,
        providers: Providers,
    ) -> None:
        """Make the directory if it is missing."""
        self._directory, self._files = directory, files
        self._entropy, self._clock = entropy, clock
        self._audit, self._providers = audit, providers
        files.make_directory(directory)

    def __repr__(self) -> str:
        return f"Vault({str(self._directory)!r})"

    def __contains__(self, name: str) -> bool:
        return self._files.exists(self._path(name))

    def names(self) -> list[str]:
        """Return the names of all secrets."""
        entries = self._files.entries(self._directory)
        return [name.removesuffix(_SUFFIX) for name in entries if name.endswith(_SUFFIX)]

    def show(self, name: str) -> SecretStatus:
        """Return what can be told of a secret without a key, or raise SecretMissing or SecretDamaged."""
        return self._read(name).status

    def get(self, name: str) -> bytes:
        """
        Return a secret, or raise the error that says why it is not to be had.

        KeyMissing, ProviderLocked: its provider's key is not at hand.
        """
        return self._open(name, self._providers)

    def open_with(self, name: str, keys: KeySource) -> bytes:
        """Return a secret as `get` does, with the keys of somebody else, as a drill has them."""
        return self._open(name, keys)

    def put(
        self, name: str, secret: bytes, *, provider: str | None = None, allow_unverified: bool = False
    ) -> SecretStatus:
        """
        Keep a secret in place of what has its name, under a provider that new states may be made under.

        ProviderUnverified until a backup of the provider was verified, unless `allow_unverified` is given.
        """
        check_provider_name(name, "secret")
        with self._audit.entry("secret-put", secret=name, provider=provider) as facts, self._exclusive():
            chosen = self._providers.choose(provider, allow_unverified=allow_unverified)
            facts |= {"provider": chosen, "kdk_id": self._write(name, secret, chosen)}
        return self.show(name)

    def move(self, name: str, provider: str) -> SecretStatus:
        """Put a secret under the current key of another provider, or of its own."""
        with self._audit.entry("secret-move", secret=name, provider=provider) as facts, self._exclusive():
            chosen = self._providers.choose(provider, allow_unverified=False)
            facts["kdk_id"] = self._carry(name, chosen)
        return self.show(name)

    def renew(self, provider: str | None = None) -> list[str]:
        """Put the secrets that `stale` names under the current key of their provider; their names."""
        renewed = self.stale(provider)
        for name in renewed:
            with self._audit.entry("secret-renew", secret=name) as facts, self._exclusive():
                of = self.show(name).provider
                facts |= {"provider": of, "kdk_id": self._carry(name, of)}
        return renewed

    def remove(self, name: str) -> None:
        """Destroy a secret; its octets may stay on the disk, and open as long as the key is somewhere."""
        with self._audit.entry("secret-remove", secret=name), self._exclusive():
            self.show(name)
            self._files.remove(self._path(name))
            self._files.flush_directory(self._directory)

    def stale(self, provider: str | None = None) -> list[str]:
        """Return the secrets that are not under the current key of their provider: of one, or of all."""
        current = {status.name: status.kdk_id for status in self._providers.list() if status.keys}
        return [
            secret.name
            for secret in map(self.show, self.names())
            if provider in {None, secret.provider}
            and secret.provider in current
            and current[secret.provider] != secret.kdk_id
        ]

    def users_of(self, kdk_ids: Collection[bytes]) -> list[str]:
        """Return in words the secrets that need one of these keys; what cannot be read needs none."""
        users = []
        for name in self.names():
            with suppress(NvstoreError):
                if bytes.fromhex(self.show(name).kdk_id) in kdk_ids:
                    users.append(f"the secret {name!r} of this host")
        return users

    def _read(self, name: str) -> _Sealed:
        path = self._path(name)
        try:
            sealed = _Sealed.read(read_file(self._files, path, secret=True), path)
        except FileNotFoundError:
            raise SecretMissing(name, path) from None
        if sealed.status.name != name:
            raise SecretDamaged(path, f"it is the secret {sealed.status.name!r}")
        return sealed

    def _open(self, name: str, keys: KeySource) -> bytes:
        sealed = self._read(name)
        kdk_id = bytes.fromhex(sealed.status.kdk_id)
        key = _key_of(keys.key(sealed.status.provider, kdk_id), kdk_id, name)
        try:
            return box.unseal(key, SECRET, sealed.box, canonical(sealed.fields))
        except box.BoxError:
            raise SecretAltered(self._path(name)) from None

    def _carry(self, name: str, provider: str) -> str:
        """Write a secret as `_write` does; KeyUncertified if its provider has no successor of its key."""
        secret, status = self.get(name), self.show(name)
        if status.provider == provider:
            after = self._providers.current(provider)
            check_succession(self._providers, provider, bytes.fromhex(status.kdk_id), after)
        return self._write(name, secret, provider)

    def _write(self, name: str, secret: bytes, provider: str) -> str:
        """Write a secret under the current key of a provider; the key's id."""
        kdk_id = self._providers.current(provider)
        key = _key_of(self._providers.key(provider, kdk_id), kdk_id, name)
        fields = {
            "name": name,
            "provider": provider,
            "kdk_id": kdk_id.hex(),
            "written": timestamp(self._clock()),
        }
        shown = read_document(pretty(FORMAT, fields), FORMAT)
        sealed = box.seal(key, SECRET, self._entropy(box.SALT_SIZE), secret, canonical(shown))
        replace_file(self._files, self._path(name), pretty(FORMAT, {**fields, "box": sealed.hex()}))
        return kdk_id.hex()

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from writing secrets meanwhile."""
        lock = self._files.lock(self._directory / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()


def _key_of(kdk: bytes, kdk_id: bytes, name: str) -> bytes:
    return expand(kdk, KEY_SIZE, SECRET_KEY, kdk_id, name.encode())
