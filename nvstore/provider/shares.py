"""
Shares of a recovery passphrase: t of n files open a backup, and each of them can be checked on its own.

The passphrase is not chosen but drawn: 32 random octets, in hexadecimal.
A share is a JSON object with its `index` and `value`, the `threshold`, and the `commitments` to all shares:

    commitment of a share   the first 32 octets of SHA-512(context("nvstore v1 share", index, value))
    set                     the first 16 octets of SHA-512(context("nvstore v1 share set", threshold,
                            commitment, commitment, …))

Values are uniformly random, so that a commitment tells nothing of them.
The backup names the set among its authenticated fields.
So who holds a share can prove at any time, alone and without the backup's secret, that it is still the share
which belongs to that backup.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from nvstore.document import BadDocument, pretty, read_document
from nvstore.files import Files, OsFiles, Reader, create_file, read_file
from nvstore.keys import KEY_SIZE, SHARE, SHARE_SET, Entropy, context
from nvstore.provider.shamir import combine, split
from nvstore.provider_errors import ShareRefused

FORMAT: Final = "nvstore recovery share"


@dataclass(frozen=True)
class Share:
    """One share; `value` is secret."""

    threshold: int
    index: int
    value: bytes
    commitments: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Share({self.index} of {self.count}, set {self.set_id})"

    @property
    def count(self) -> int:
        """Return how many shares there are."""
        return len(self.commitments)

    @property
    def set_id(self) -> str:
        """Return the id of the set to which it belongs."""
        content = context(SHARE_SET, bytes([self.threshold]), *self.commitments)
        return hashlib.sha512(content).digest()[:16].hex()

    def encode(self, provider: str) -> bytes:
        """Return the content of its file."""
        fields: dict[str, Any] = {
            "provider": provider,
            "set": self.set_id,
            "threshold": self.threshold,
            "index": self.index,
            "value": self.value.hex(),
            "commitments": [commitment.hex() for commitment in self.commitments],
        }
        return pretty(FORMAT, fields)

    @classmethod
    def decode(cls, octets: bytes, path: object) -> Self:
        """Return the share of a file, or raise ShareRefused; it fits its own commitments."""
        try:
            fields = read_document(octets, FORMAT)
            commitments = tuple(map(bytes.fromhex, fields["commitments"]))
            share = cls(
                int(fields["threshold"]), int(fields["index"]), bytes.fromhex(fields["value"]), commitments
            )
            set_id = str(fields["set"])
        except BadDocument as error:
            raise ShareRefused(path, str(error)) from None
        except (KeyError, TypeError, ValueError):
            raise ShareRefused(path, "fields are missing or malformed") from None
        if not 2 <= share.threshold <= len(commitments) <= 255 or not 1 <= share.index <= len(commitments):
            raise ShareRefused(path, "its numbers are impossible")
        commitment = commitment_of(share.index, share.value)
        if not hmac.compare_digest(commitment, commitments[share.index - 1]):
            raise ShareRefused(path, "its value is not the one that was committed to")
        if set_id != share.set_id:
            raise ShareRefused(path, "its commitments are not those of its set")
        return share


def save_share(directory: Path, provider: str, share: Share, files: Files | None = None) -> Path:
    """Write a share to a new file of this directory, for its owner alone; return where it is."""
    files = files or OsFiles()
    files.make_directory(directory.absolute())
    path = directory / f"{provider}-{share.set_id[:8]}-{share.index}.share"
    create_file(files, path, [share.encode(provider)]).close()
    files.flush_directory(directory)
    return path


def load_share(path: Path, files: Reader | None = None) -> Share:
    """Return the share of a file; ShareRefused if it is not what it should be."""
    return Share.decode(read_file(files or OsFiles(), path, secret=True), path)


def commitment_of(index: int, value: bytes) -> bytes:
    """Return the commitment to a share."""
    return hashlib.sha512(context(SHARE, bytes([index]), value)).digest()[:32]


def draw_passphrase(threshold: int, count: int, entropy: Entropy) -> tuple[bytes, list[Share]]:
    """Return a random passphrase, and the shares of it; ValueError if there cannot be so many."""
    secret = entropy(KEY_SIZE)
    values = split(secret, threshold, count, entropy)
    commitments = tuple(commitment_of(index, value) for index, value in values.items())
    shares = [Share(threshold, index, value, commitments) for index, value in values.items()]
    return secret.hex().encode(), shares


def recover_passphrase(shares: Sequence[Share]) -> bytes:
    """Return the passphrase of these shares; ShareRefused if they are too few or of several sets."""
    first = shares[0]
    for share in shares:
        if share.set_id != first.set_id:
            raise ShareRefused(f"share {share.index}", f"it is of the set {share.set_id}, not {first.set_id}")
    by_index = {share.index: share.value for share in shares}
    if len(by_index) < first.threshold:
        missing = f"{len(by_index)} of the {first.threshold} shares that are needed"
        raise ShareRefused(f"the set {first.set_id}", f"these are only {missing}")
    return combine(dict(sorted(by_index.items())[: first.threshold])).hex().encode()
