"""The keys that this process has unsealed: each seal is asked once, and the answer kept in memory alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from nvstore.document import canonical
from nvstore.errors import NvstoreError
from nvstore.files import Files
from nvstore.keys import Entropy
from nvstore.provider.provider import SealedKey
from nvstore.provider_errors import NoSealOpens, ProviderLocked
from nvstore.seal.sealer import Sealer, description_of, recover
from nvstore.seal.sealing_key import PASSPHRASE, SealingKey, unseal


class Keyring:
    """KDKs by their ids, and the sealing keys by which others can be opened or sealed."""

    def __init__(self, files: Files, entropy: Entropy) -> None:
        self._files, self._entropy = files, entropy
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

    def seal(self, sealing: Sequence[SealingKey], name: str, kdk: bytes) -> tuple[dict[str, Any], ...]:
        """Return a KDK in each of these seals."""
        return tuple(one.seal(self._entropy, name, kdk) for one in sealing)

    def sealing_of(self, name: str, key: SealedKey) -> list[SealingKey]:
        """Return the sealing keys of a key's seals, to seal another one in the same way."""
        return [self._recover(name, seal, None) for seal in key.seals]

    def kdk(self, name: str, key: SealedKey, passphrase: bytes | None = None) -> bytes:
        """
        Return the KDK of a provider, from any of its seals that opens.

        ProviderLocked: a passphrase is needed.
        """
        kdk_id = key.entry.kdk_id
        if kdk_id in self._kdks:
            return self._kdks[kdk_id]
        failures: list[NvstoreError] = []
        for seal in sorted(key.seals, key=lambda seal: (seal["kind"] == PASSPHRASE) is (passphrase is None)):
            try:
                kdk = unseal(self._recover(name, seal, passphrase), name, kdk_id, seal)
            except NvstoreError as error:
                self._sealing.pop(_label(seal), None)
                failures.append(error)
                if passphrase is not None and seal["kind"] == PASSPHRASE:
                    raise
                continue
            self._kdks[kdk_id] = kdk
            return kdk
        raise _failure(name, failures)

    def _recover(self, name: str, seal: Mapping[str, Any], passphrase: bytes | None) -> SealingKey:
        sealing = self._sealing.get(_label(seal))
        if sealing is None:
            sealing = recover(self._files, f"provider {name!r}", description_of(seal), passphrase)
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
