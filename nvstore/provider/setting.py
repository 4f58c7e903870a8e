"""What the parts of a host's key provider share: its files, keys, clock, and what it asks of the states."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from nvstore.audit import Audit
from nvstore.document import timestamp
from nvstore.files import Files
from nvstore.keys import Entropy
from nvstore.provider.files import ProviderFiles
from nvstore.provider.keyring import Keyring
from nvstore.seal.passphrase import Cost
from nvstore.seal.sealer import KeyFileSealer, PassphraseSealer, Sealer

Users = Callable[[Collection[bytes], str], list[str]]
"""Names the VMs of this host that need one of these keys, or are registered under a provider."""


class Setting(NamedTuple):
    """What the parts of a host's key provider share."""

    book: ProviderFiles
    ring: Keyring
    files: Files
    entropy: Entropy
    clock: Callable[[], float]
    audit: Audit
    users: Users
    key_directory: Path
    host_cost: Cost
    backup_cost: Cost

    def now(self) -> str:
        """Return the time as it is noted."""
        return timestamp(self.clock())

    def sealers(
        self, name: str, passphrase: bytes | None, key_file: Path | None, seals: Sequence[Sealer]
    ) -> list[Sealer]:
        """Return the seals that were asked for; without any, a key file in the host's directory of keys."""
        chosen = list(seals)
        if passphrase is not None:
            chosen.append(PassphraseSealer(passphrase, self.host_cost))
        if key_file is not None or not chosen:
            chosen.append(KeyFileSealer(key_file or self.key_directory / f"{name}.key"))
        return chosen
