"""The files in which a host keeps its providers, and what it notes of them: defaults, and alarms."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from nvstore.document import BadDocument, pretty, read_document, read_timestamp
from nvstore.errors import BadName
from nvstore.files import Files, read_file, replace_file
from nvstore.provider.provider import Provider, read_provider
from nvstore.provider_errors import ProviderAltered, ProviderDamaged, ProviderMissing

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX: Final = ".provider"
_DEFAULT: Final = "nvstore default provider"
RESERVED: Final = frozenset({"host"})
"""Names that no new provider gets; `keys/host.key` seals the identity of the host."""
_ALARMS: Final = "nvstore provider alarms"


def check_provider_name(name: str, what: str = "provider") -> None:
    """Raise BadName unless this can be the name of a provider, which is also the name of its file."""
    if not _NAME.fullmatch(name):
        raise BadName(what, name, "use up to 64 letters, digits, dots, hyphens and underscores")


def check_new_name(name: str) -> None:
    """Raise BadName unless a new provider can have this name: its key file must not be another thing's."""
    check_provider_name(name)
    if name.lower() in RESERVED:
        raise BadName("provider", name, "choose another: the key file of this host's identity has this name")


class ProviderFiles:
    """The directory of providers of one host."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._files = directory, files
        files.make_directory(directory)

    def __repr__(self) -> str:
        return f"ProviderFiles({str(self._directory)!r})"

    def names(self) -> Sequence[str]:
        """Return the names of all providers that are or were here."""
        names = self._files.entries(self._directory)
        return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]

    def all(self) -> list[Provider]:
        """Return all providers, by name."""
        return [self.read(name) for name in self.names()]

    def find(self, name: str) -> Provider | None:
        """Return a provider, or None if there is none of this name."""
        if not _NAME.fullmatch(name):
            return None
        path = self._path(name)
        try:
            provider = read_provider(read_file(self._files, path), path)
        except FileNotFoundError:
            return None
        if provider.name != name:
            raise ProviderAltered(name, f"it is the file of provider {provider.name!r}")
        return provider

    def read(self, name: str) -> Provider:
        """Return a provider, or raise ProviderMissing."""
        provider = self.find(name)
        if provider is None:
            raise ProviderMissing(name)
        return provider

    def with_key(self, kdk_id: bytes, likely: str = "") -> Provider | None:
        """Return the provider that has this key, whatever its name; the likely one is asked first."""
        named = self.find(likely)
        if named is not None and named.key(kdk_id):
            return named
        return next((provider for provider in self.all() if provider.key(kdk_id)), None)

    def holders(self, kdk_id: bytes) -> list[str]:
        """Return in words the backups and hosts that are known to hold a key."""
        return [holder for provider in self.all() for holder in provider.holders(kdk_id)]

    def write(self, provider: Provider, mac: bytes) -> None:
        """Write a provider's file, durable on return; within `exclusive`, and by `Chain.write` alone."""
        replace_file(self._files, self._path(provider.name), provider.encode(mac))

    def set_aside(self, name: str) -> Path | None:
        """Give the file of a provider, if there is one, another name, under which nothing looks for it."""
        path = self._path(name)
        for number in itertools.count(1):
            aside = self._directory / f"{name}.altered-{number}"
            if not self._files.exists(aside):
                break
        try:
            octets = read_file(self._files, path)
        except FileNotFoundError:
            return None
        replace_file(self._files, aside, octets)
        return aside

    def claims(self) -> dict[str, list[str]]:
        """
        Return for each group of VMs which providers say that they are its default; "" is the default of all.

        A provider's file says so itself, and is authenticated.
        What the file of defaults says counts only for providers whose files are of the first version.
        """
        claims: dict[str, list[str]] = {}
        providers = {provider.name: provider for provider in self.all()}
        for provider in providers.values():
            for group in (
                provider.default_for if provider.keys else ()
            ):  # without keys, nothing vouches for it
                claims.setdefault(group, []).append(provider.name)
        default, groups = self.noted_defaults()
        for group, name in {**groups, **({"": default} if default else {})}.items():
            noted = providers.get(name)
            if noted is not None and not noted.is_authenticated and name not in claims.get(group, []):
                claims.setdefault(group, []).append(name)
        return claims

    def defaults(self) -> tuple[str | None, dict[str, str]]:
        """Return the default provider, and those of groups of VMs; `claims` tells whether that is certain."""
        claims = {group: names[0] for group, names in self.claims().items()}
        return claims.pop("", None), claims

    def noted_defaults(self) -> tuple[str | None, dict[str, str]]:
        """Return what the file of defaults says, which nothing authenticates."""
        document = self._document("default", _DEFAULT)
        if document is None:
            return None, {}
        groups = document.get("groups", {})
        if not isinstance(document.get("name"), str | None) or not isinstance(groups, dict):
            raise ProviderDamaged(self._directory / "default", "fields are missing or malformed")
        return document.get("name"), {str(group): str(name) for group, name in groups.items()}

    def write_defaults(self, name: str | None, groups: Mapping[str, str]) -> None:
        """Write the defaults; within `exclusive`."""
        fields = {"name": name, **({"groups": dict(groups)} if groups else {})}
        replace_file(self._files, self._directory / "default", pretty(_DEFAULT, fields))

    def alarms(self) -> dict[str, str]:
        """Return when the last alarm of each provider was raised."""
        document = self._document("alarms", _ALARMS) or {}
        raised, found = document.get("raised", {}), {}
        for name, when in raised.items() if isinstance(raised, dict) else ():
            with suppress(ValueError):  # nothing authenticates it: one that cannot be read is raised again
                found[str(name)] = read_timestamp(when) or ""
        return {name: when for name, when in found.items() if when}

    def write_alarms(self, raised: Mapping[str, str]) -> None:
        """Write when the last alarms were raised; within `exclusive`."""
        replace_file(self._files, self._directory / "alarms", pretty(_ALARMS, {"raised": dict(raised)}))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from changing providers meanwhile."""
        lock = self._files.lock(self._directory / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()

    def _path(self, name: str) -> Path:
        return self._directory / (name + _SUFFIX)

    def _document(self, name: str, kind: str) -> dict[str, Any] | None:
        try:
            return read_document(read_file(self._files, self._directory / name), kind)
        except FileNotFoundError:
            return None
        except BadDocument as error:
            raise ProviderDamaged(self._directory / name, str(error)) from None
