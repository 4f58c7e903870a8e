"""
A seal by a KMIP server, the standard key provider: the sealing key is encrypted under a key that stays there.

The server is asked once by each process that opens the provider, which is once for each start of the host's
daemon, and never for a VM: what it decrypts opens every KDK of the provider.
Encryption is the server's, AES in CBC mode with PKCS#7 padding, which every server has;
the box around the KDK commits to the key, so that a wrong or altered answer does not open it.
"""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from nvstore.files import Files
from nvstore.keys import KEY_SIZE, Entropy
from nvstore.provider_errors import ExtraMissing, SealFailed
from nvstore.seal.sealing_key import KMIP, SealingKey

PORT: Final = 5696
LAST_PORT: Final = 65535
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
_REMEDY: Final = "make the server answer this host, or open the provider by another seal or its backup"
_Kmip = Any
"""The client of PyKMIP, or one of its modules: it is optional, and has no types."""


@dataclass(frozen=True)
class KmipServer:
    """Where a server is, and how this host proves to it who it is: files in PEM."""

    hostname: str
    certificate: str
    private_key: str
    ca: str
    port: int = PORT

    def check(self) -> None:
        """Raise ValueError unless it names a server and three files, as one that nobody altered does."""
        if not _HOSTNAME.fullmatch(str(self.hostname)) or not 0 < int(self.port) <= LAST_PORT:
            msg = "the server is not named by a host name or address and a port"
            raise ValueError(msg)
        for path in map(Path, map(str, (self.certificate, self.private_key, self.ca))):
            if not path.is_file():  # what is none might never end
                msg = f"{path} is no regular file"
                raise ValueError(msg)


@dataclass(frozen=True)
class KmipSealer:
    """A key of a KMIP server, made there if none is named."""

    server: KmipServer
    key_id: str | None = None
    kind: str = KMIP

    def make(self, files: Files, entropy: Entropy, what: str) -> SealingKey:  # noqa: D102 described by Sealer
        del files
        key = entropy(KEY_SIZE)
        with _client(self.server, what) as (enums, client):
            key_id = self.key_id or _new_key(enums, client)
            wrapped, iv = client.encrypt(key, uid=key_id, cryptographic_parameters=_parameters(enums))
        description = {
            "kind": KMIP,
            "server": asdict(self.server),
            "key_id": key_id,
            "iv": iv.hex(),
            "wrapped": wrapped.hex(),
        }
        return SealingKey(description, key)


def read_kmip_server(octets: bytes, path: object) -> KmipSealer:
    """Return the seal that a JSON file describes: the members of KmipServer, and perhaps a `key_id`."""
    try:
        fields = json.loads(octets)
        key_id = fields.pop("key_id", None)
        return KmipSealer(KmipServer(**fields), key_id)
    except (AttributeError, TypeError, ValueError):
        needed = "hostname, port, certificate, private_key and ca"
        raise SealFailed(f"the KMIP server in {path}", "it is not described", f"give {needed}") from None


def recover_from_kmip(description: Mapping[str, Any], what: str) -> bytes:
    """Return the sealing key, or raise SealFailed or ExtraMissing."""
    try:
        server, key_id = KmipServer(**description["server"]), str(description["key_id"])
        wrapped, iv = bytes.fromhex(description["wrapped"]), bytes.fromhex(description["iv"])
    except (KeyError, TypeError, ValueError):
        raise _failed(what, "its description is malformed") from None
    with _client(server, what) as (enums, client):
        return bytes(
            client.decrypt(
                wrapped, uid=key_id, cryptographic_parameters=_parameters(enums), iv_counter_nonce=iv
            )
        )


@contextmanager
def _client(server: KmipServer, what: str) -> Iterator[tuple[_Kmip, _Kmip]]:
    """Connect to the server; its errors, and those on the way, become SealFailed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyKMIP speaks to old and new versions of what it needs
        try:
            from kmip import enums  # noqa: PLC0415 - optional, and most hosts never need it
            from kmip.pie.client import ProxyKmipClient  # noqa: PLC0415
            from kmip.pie.exceptions import (  # noqa: PLC0415
                ClientConnectionFailure,
                KmipOperationFailure,
            )
        except ImportError:
            raise ExtraMissing("a seal by a KMIP server", "PyKMIP", "kmip") from None
        try:
            server.check()
            with ProxyKmipClient(
                hostname=server.hostname,
                port=server.port,
                cert=server.certificate,
                key=server.private_key,
                ca=server.ca,
                ssl_version="PROTOCOL_TLSv1_2",
            ) as client:
                yield enums, client
        except (KmipOperationFailure, ClientConnectionFailure, OSError, TypeError, ValueError) as error:
            raise _failed(what, f"{server.hostname}:{server.port}: {error}") from None


def _new_key(enums: _Kmip, client: _Kmip) -> str:
    masks = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
    key_id = client.create(enums.CryptographicAlgorithm.AES, 256, cryptographic_usage_mask=masks)
    client.activate(key_id)
    return str(key_id)


def _parameters(enums: _Kmip) -> dict[str, Any]:
    return {
        "block_cipher_mode": enums.BlockCipherMode.CBC,
        "padding_method": enums.PaddingMethod.PKCS5,
        "cryptographic_algorithm": enums.CryptographicAlgorithm.AES,
    }


def _failed(what: str, reason: str) -> SealFailed:
    return SealFailed(f"the KMIP server that seals the key of {what}", reason, _REMEDY)
