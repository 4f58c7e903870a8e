"""What the parts of a host's key provider share: its files, keys, clock, and what it asks of the states."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from nvstore.audit import Audit
from nvstore.document import BadDocument, read_document, timestamp
from nvstore.files import Files, read_file
from nvstore.keys import Entropy
from nvstore.provider.chain import Chain
from nvstore.provider.files import ProviderFiles
from nvstore.provider.keyring import Keyring
from nvstore.provider.provider import Provider
from nvstore.seal.passphrase import Cost
from nvstore.seal.sealer import KeyFileSealer, PassphraseSealer, Sealer
from nvstore.seal.sealing_key import KEY_FILE

IDENTITY_FILE: Final = "nvstore host identity"

Users = Callable[[Collection[bytes], str], list[str]]
"""Names the VMs of this host that need one of these keys, or are registered under a provider."""


class Setting(NamedTuple):
    """What the parts of a host's key provider share."""

    book: ProviderFiles
    ring: Keyring
    chain: Chain
    files: Files
    entropy: Entropy
    clock: Callable[[], float]
    audit: Audit
    users: Users
    key_directory: Path
    identity: Path
    """The file of this host's identity."""
    host_cost: Cost
    backup_cost: Cost

    def now(self) -> str:
        """Return the time as it is noted."""
        return timestamp(self.clock())

    def remove_key_files(self, former: Provider) -> list[Path]:
        """
        Overwrite and remove the key files that sealed a provider and seal nothing on this host any more.

        Return those that are left: others may need what is not in the host's directory of keys.
        """
        files = {Path(seal["path"]) for key in former.keys for seal in key.seals if seal["kind"] == KEY_FILE}
        unused = files - self._key_files_in_use()
        left = sorted(path for path in unused if path.parent != self.key_directory)
        for path in unused.difference(left):
            with suppress(FileNotFoundError):
                file = self.files.open(path)
                try:
                    file.write(0, [bytes(file.size())])
                    file.flush()
                finally:
                    file.close()
            self.files.remove(path)
        self.files.flush_directory(self.key_directory)
        return [path for path in left if self.files.exists(path)]

    def _key_files_in_use(self) -> set[Path]:
        keys = (key for provider in self.book.all() for key in provider.keys)
        seals = [seal for key in keys for seal in key.seals]
        with suppress(FileNotFoundError, BadDocument, KeyError):
            seals.append(read_document(read_file(self.files, self.identity), IDENTITY_FILE)["seal"])
        return {Path(seal["path"]) for seal in seals if seal.get("kind") == KEY_FILE}

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
