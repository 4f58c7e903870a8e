"""The keys that this process has unsealed: each seal is asked once, and the answer kept in memory alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from nvstore.document import canonical
from nvstore.errors import NvstoreError
from nvstore.files import Files
from nvstore.keys import Entropy
from nvstore.provider.provider import Provider, SealedKey
from nvstore.provider_errors import HostTpmRequired, NoSealOpens, ProviderAltered, ProviderLocked
from nvstore.seal.sealer import Sealer, description_of, recover
from nvstore.seal.sealing_key import BINDING, HOST_TPM, PASSPHRASE, Binding, SealingKey, unseal


class Keyring:
    """KDKs by their ids, and the sealing keys by which others can be opened or sealed."""

    def __init__(self, files: Files, entropy: Entropy, *, require_host_tpm: bool = False) -> None:
        """With `require_host_tpm`, no provider is opened but by a TPM, whatever the files say."""
        self._files, self._entropy = files, entropy
        self._require_host_tpm = require_host_tpm
        self._kdks: dict[bytes, bytes] = {}
        self._sealing: dict[bytes, SealingKey] = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._kdks)} keys)"

    def __contains__(self, kdk_id: bytes) -> bool:
        return kdk_id in self._kdks

    def __getitem__(self, kdk_id: bytes) -> bytes:
        return self._kdks[kdk_id]

    def put(self, kdk_id: bytes, kdk: bytes) -> None:
        """Remember a KDK."""
        self._kdks[kdk_id] = kdk

    def drop(self, kdk_id: bytes) -> None:
        """Forget a KDK."""
        self._kdks.pop(kdk_id, None)

    def clear(self) -> None:
        """Forget everything."""
        self._kdks.clear()
        self._sealing.clear()

    def make(self, sealers: Sequence[Sealer], name: str) -> list[SealingKey]:
        """Make new seals for a provider."""
        made = [sealer.make(self._files, self._entropy, f"provider {name!r}") for sealer in sealers]
        for sealing in made:
            self._remember(sealing)
        return made

    def seal(
        self, sealing: Sequence[SealingKey], name: str, kdk: bytes, *, require_host_tpm: bool
    ) -> tuple[dict[str, Any], ...]:
        """Return a KDK in each of these seals."""
        return tuple(one.seal(self._entropy, name, kdk, require_host_tpm=require_host_tpm) for one in sealing)

    def sealing_of(self, name: str, key: SealedKey) -> list[SealingKey]:
        """Return the sealing keys of a key's seals, to seal another one in the same way."""
        return [self._recover(name, description_of(seal), None) for seal in key.seals]

    def bound(self, provider: Provider, key: SealedKey, kdk: bytes) -> tuple[dict[str, Any], ...]:
        """Return the seals of a key, bound as this version binds them where the sealing key is at hand."""
        seals: list[dict[str, Any]] = []
        for seal in key.seals:
            sealing = None if BINDING in seal else self._sealing.get(_label(seal))
            required = provider.require_host_tpm
            seals += (
                [seal]
                if sealing is None
                else self.seal([sealing], provider.name, kdk, require_host_tpm=required)
            )
        return tuple(seals)

    def unsealed(
        self, provider: Provider, passphrase: bytes | None = None, *, recovery: bool = False
    ) -> dict[bytes, bytes]:
        """
        Return all KDKs of a provider, from any of its seals: one that opens some must open all.

        Nothing of this is remembered, since the provider's file is not authenticated yet; see `chain`.
        With `recovery`, the passphrase opens a provider that requires a TPM, to seal it with another TPM.
        ProviderLocked: a passphrase is needed.
        """
        known = {kdk_id: self._kdks[kdk_id] for kdk_id in provider.kdk_ids if kdk_id in self._kdks}
        if len(known) == len(provider.keys):
            return known
        failures: list[NvstoreError] = []
        descriptions = self._usable(provider, recovery=recovery)
        for description in sorted(
            descriptions, key=lambda d: (d["kind"] == PASSPHRASE) is (passphrase is None)
        ):
            try:
                return self._open_all(provider, self._recover(provider.name, description, passphrase))
            except ProviderAltered:
                raise
            except NvstoreError as error:
                self._sealing.pop(canonical(description), None)
                failures.append(error)
                if passphrase is not None and description["kind"] == PASSPHRASE:
                    raise
        raise _failure(provider.name, failures)

    def _usable(self, provider: Provider, *, recovery: bool) -> list[dict[str, Any]]:
        """Return the descriptions of the seals that may open a provider; they are the same for all keys."""
        current = provider.current_key
        descriptions = [description_of(seal) for seal in current.seals] if current else []
        for key in provider.keys:
            if {canonical(d) for d in descriptions} != {_label(seal) for seal in key.seals}:
                raise ProviderAltered(provider.name, f"the key {key.entry.kdk_id.hex()} has other seals")
        if not (provider.require_host_tpm or self._require_host_tpm):
            return descriptions
        kinds = {HOST_TPM, PASSPHRASE} if recovery else {HOST_TPM}
        usable = [description for description in descriptions if description["kind"] in kinds]
        if not usable:
            raise HostTpmRequired(provider.name)
        return usable

    def _open_all(self, provider: Provider, sealing: SealingKey) -> dict[bytes, bytes]:
        opened: dict[bytes, bytes] = {}
        failed: list[NvstoreError] = []
        label = canonical(sealing.description)
        for key in provider.keys:
            kdk_id = key.entry.kdk_id
            seal = next(seal for seal in key.seals if _label(seal) == label)
            bound = Binding(provider.name, kdk_id, provider.require_host_tpm, seal.get(BINDING, 1))
            try:
                opened[kdk_id] = unseal(sealing, bound, seal)
            except ProviderAltered:
                raise
            except NvstoreError as error:
                failed.append(error)
        if opened and failed:
            raise ProviderAltered(provider.name, f"a seal opens some of its keys only: {failed[0].cause}")
        if failed:
            raise failed[0]
        return opened

    def _recover(self, name: str, description: Mapping[str, Any], passphrase: bytes | None) -> SealingKey:
        sealing = self._sealing.get(canonical(description))
        if sealing is None:
            sealing = recover(self._files, f"provider {name!r}", description, passphrase)
            self._remember(sealing)
        return sealing

    def _remember(self, sealing: SealingKey) -> None:
        self._sealing[canonical(sealing.description)] = sealing


def _label(seal: Mapping[str, Any]) -> bytes:
    return canonical(description_of(seal))


def _failure(name: str, failures: Sequence[NvstoreError]) -> NvstoreError:
    """Return the error for a key that no seal gave: what a passphrase can help is told first."""
    if len(failures) == 1:
        return failures[0]
    causes = [error.cause for error in failures if not isinstance(error, ProviderLocked)]
    if len(causes) < len(failures):
        return ProviderLocked(f"provider {name!r}", causes)
    return NoSealOpens(name, causes)
