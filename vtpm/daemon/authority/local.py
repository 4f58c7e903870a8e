"""
The local certificate authority of a host: a certificate in a directory, and a key under the key provider.

The key, or where it is in a PKCS #11 token and by which PIN, is a secret in the host's vault.
Only where there is no key provider, as beside programs in swtpm's place, it is a file that its owner reads,
which protects nothing from somebody who reads the directory.
Such a file is put under the provider, and removed, at the first use with one.
"""

import fcntl
import json
import logging
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from nvstore import Host
from nvstore.owned import acting_for
from vtpm.daemon.authority.token import TokenPlace
from vtpm.daemon.clock import entropy
from vtpm.daemon.errors import OperatorError
from vtpm.manufacture.certificates import Authority, AuthorityKey

KEY: Final = "authority.key"
CERTIFICATE: Final = "authority.pem"
NAME: Final = "vtpm local authority"
SECRET: Final = "authority"  # noqa: S105 - the name of the secret
OWN: Final = "vtpm/authority"
"""The user's own authority, within a directory of state."""

SWTPM_AUTHORITY: Final = Path("/var/lib/swtpm-localca")
"""What swtpm's packages make for the user that libvirt runs it as."""

SERIAL_SIZE: Final = 16
"""Octets of a serial number; RFC 5280, 4.1.2.2, allows 20."""

log = logging.getLogger(__name__)


class AuthorityError(OperatorError):
    """The local authority cannot be used; the text gives cause and remedy."""


def default_directory() -> Path:
    """
    Where the authority is: $VTPM_AUTHORITY_DIR, /var/lib/vtpm/authority for root, or the user's own.

    What libvirt runs as another user has the environment of root, and perhaps no home at all.
    So the user's own is the first that is there, or else can be made, below $XDG_STATE_HOME or $HOME,
    below the home that the system knows, and below the directory of swtpm's authority.
    AuthorityError: it can be made nowhere.
    """
    given = os.environ.get("VTPM_AUTHORITY_DIR")
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/vtpm/authority")
    candidates = [base / OWN for base in _bases_of_user()]
    for is_fit in (_is_made, _can_be_made):
        for candidate in candidates:
            if is_fit(candidate):
                return candidate
    raise AuthorityError(
        f"no local authority can be made in {' or '.join(map(str, candidates))}; "
        "set VTPM_AUTHORITY_DIR to a directory that this user may write to"
    )


def _bases_of_user() -> list[Path]:
    """Directories of state that may be this user's."""
    bases = [Path(given)] if (given := os.environ.get("XDG_STATE_HOME")) else []
    if home := os.environ.get("HOME"):
        bases.append(Path(home) / ".local/state")
    with suppress(KeyError):
        bases.append(Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".local/state")
    return [*(base for base in bases if base.is_absolute()), SWTPM_AUTHORITY]


def _is_made(directory: Path) -> bool:
    """Is there an authority, as far as this user may look?"""
    return any(os.access(directory / name, os.R_OK) for name in (KEY, CERTIFICATE))


def _can_be_made(directory: Path) -> bool:
    """May this user make a directory, or write to it if it is there?"""
    for place in (directory, *directory.parents):
        try:
            place.stat()
        except FileNotFoundError:
            continue
        except OSError:
            return False
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def own_home() -> Path:
    """The directory of this user: not what HOME says where that is another user's, as under libvirt."""
    home = os.environ.get("HOME", "")
    try:
        if home and Path(home).stat().st_uid == os.geteuid():
            return Path(home)
    except FileNotFoundError:
        return Path(home)
    except OSError:
        pass
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return Path(home or "/")


def serial_number() -> int:
    """A new serial number, which is positive."""
    return int.from_bytes(entropy(SERIAL_SIZE), "big") >> 1 | 1 << 8 * SERIAL_SIZE - 2


def host_beside(directory: Path) -> Host | None:
    """The host whose states lie beside an authority, if it has a key provider."""
    if not (directory.parent / "providers").is_dir():
        return None
    host = Host(directory.parent)
    return host if host.providers.list() else None


@dataclass(frozen=True)
class LocalAuthority:
    """The authority in a directory, with its key in the vault of a host, or in a file if there is none."""

    directory: Path
    host: Host | None
    provider: str | None = None
    """Under which a key is put that is not in the vault yet; the host's default one if none is named."""
    allow_unverified: bool = False
    """May that provider be one without a verified backup?"""

    @property
    def exists(self) -> bool:
        """Was it made?"""
        return (self.directory / CERTIFICATE).exists() or self._has_key()

    def open(self) -> Authority:
        """The authority, made if there is none; AuthorityError if it cannot be used."""
        with self._directory():
            key = self._key() if self.exists else self._make(NAME, None)
            if not (self.directory / CERTIFICATE).exists():  # power was lost while it was made
                self._certify(key, NAME)
            return Authority(key, self._certificates(key)[0])

    def make(self, name: str, token: TokenPlace | None, *, replace: bool = False) -> Authority:
        """A new authority of this name, with a key of its own or the one in a token."""
        with self._directory():
            if self.exists:
                if not replace:
                    raise AuthorityError(
                        f"{self.directory} has an authority; to give it up for a new one, replace it"
                    )
                self._keep_certificate()
            key = self._make(name, token)
            return Authority(key, self._certificates(key)[0])

    def move(self, provider: str) -> None:
        """Put the key, or the PIN of its token, under another provider."""
        with self._directory():
            if self.host is None or not self.exists:
                raise AuthorityError(f"{self.directory} has no authority; make one by `vtpm authority init`")
            self._key()  # one in a file is put into the vault first
            self.host.vault.move(SECRET, provider)

    def remove(self) -> None:
        """Give the authority up, and its key; the certificate is kept beside, for what it has signed."""
        with self._directory():
            if not self.exists:
                raise AuthorityError(f"{self.directory} has no authority; nothing is to be done")
            self._keep_certificate()
            if self.host is not None and self._is_sealed():
                self.host.vault.remove(SECRET)
            if (self.directory / KEY).exists():
                _destroy(self.directory / KEY)
            (self.directory / CERTIFICATE).unlink(missing_ok=True)
            _flush_directory(self.directory)

    def describe(self) -> dict[str, Any]:
        """What there is to know of it, and its certificates; no key is needed."""
        with self._directory():
            if not (self.directory / CERTIFICATE).exists():
                raise AuthorityError(
                    f"{self.directory} has no authority yet; it is made with the first TPM, or by "
                    "`vtpm authority init`"
                )
            certificates = self._read_certificates()
        status = self.host.vault.show(SECRET) if self._is_sealed() and self.host else None
        own = certificates[0]
        return {
            "subject": own.subject.rfc4514_string(),
            "issuer": own.issuer.rfc4514_string(),
            "serial": f"{own.serial_number:x}",
            "not_after": own.not_valid_after_utc.isoformat(),
            "provider": status and status.provider,
            "kdk_id": status and status.kdk_id,
            "key": f"secret {SECRET}" if status else str(self.directory / KEY),
            "certificate": "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates),
        }

    def seal(self) -> None:
        """Put a key that is in a file under the provider."""
        with self._directory():
            if self._is_sealed():
                raise AuthorityError("the authority's key is under a provider already; nothing is to be done")
            if not self._has_key():
                raise AuthorityError(f"{self.directory} has no {KEY}; nothing is to be done")
            self._key()

    def request(self, name: str | None) -> bytes:
        """A request (PKCS #10, PEM) that another authority certifies this one."""
        return self.open().request(name)

    def install(self, octets: bytes) -> x509.Certificate:
        """Take another authority's certificate of this one, and those above it, in PEM."""
        try:
            certificates = x509.load_pem_x509_certificates(octets)
        except ValueError as error:
            said = str(error).splitlines()[0].split(".")[0]
            raise AuthorityError(f"these are no certificates in PEM ({said}); give some in PEM") from None
        with self._directory():
            check_chain(certificates, self._key())
            _replace(
                self.directory / CERTIFICATE,
                b"".join(one.public_bytes(Encoding.PEM) for one in certificates),
                0o644,
            )
        return certificates[0]

    def _is_sealed(self) -> bool:
        return self.host is not None and SECRET in self.host.vault

    def _has_key(self) -> bool:
        return self._is_sealed() or (self.directory / KEY).exists()

    def _make(self, name: str, token: TokenPlace | None) -> AuthorityKey:
        """Make a key, keep it or where it is, then certify it."""
        key: AuthorityKey
        if token is not None:
            if self.host is None:
                raise AuthorityError(
                    "a key in a token needs a key provider, which keeps its PIN; make one first"
                )
            token.make_key()
            key = token.key()
            self._put({"kind": "pkcs11", **token.to_json()})
        else:
            key = ec.generate_private_key(ec.SECP384R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            if self.host is None:
                _replace(self.directory / KEY, pem, 0o600)
            else:
                self._put({"kind": "key", "pem": pem.decode()})
        if self.host is not None and (self.directory / KEY).exists():
            _destroy(self.directory / KEY)
        self._certify(key, name)
        return key

    def _put(self, kept: dict[str, Any]) -> None:
        assert self.host is not None
        self.host.vault.put(
            SECRET,
            json.dumps(kept).encode(),
            provider=self.provider,
            allow_unverified=self.allow_unverified,
        )

    def _certify(self, key: AuthorityKey, name: str) -> None:
        authority = Authority.make(key, name, serial_number(), datetime.now(UTC))
        _replace(self.directory / CERTIFICATE, authority.certificate.public_bytes(Encoding.PEM), 0o644)

    def _key(self) -> AuthorityKey:
        plain = self.directory / KEY
        if self.host is None:
            if not plain.exists():
                raise AuthorityError(
                    f"{self.directory} has a certificate and no {KEY}, and there is no key provider beside "
                    "it; restore what is missing from a backup, or name another directory in "
                    "VTPM_AUTHORITY_DIR"
                )
            return _loaded(plain.read_bytes(), plain)
        if plain.exists():
            self._migrate(self.host, plain)
        if SECRET not in self.host.vault:
            raise AuthorityError(
                f"{self.directory} has a certificate, and the key is neither in the vault of "
                f"{self.host.directory} nor in {KEY}; restore vault/{SECRET}.secret from a backup, or make "
                "a new authority by `vtpm authority init --replace`"
            )
        return self._kept(self.host)

    @staticmethod
    def _kept(host: Host) -> AuthorityKey:
        """The key that the vault has, or knows where to find."""
        kept = json.loads(host.vault.get(SECRET))
        if kept.pop("kind") == "pkcs11":
            return TokenPlace(**kept).key()
        return _loaded(kept["pem"].encode(), f"the secret {SECRET}")

    def _migrate(self, host: Host, plain: Path) -> None:
        """Put the key in a file under the provider; durable there before the file is gone."""
        pem = plain.read_bytes()
        key = _loaded(pem, plain)
        # both are there if power was lost in the middle of this, or the file was put back
        if SECRET in host.vault and self._kept(host).public_key() != key.public_key():
            raise AuthorityError(
                f"{plain} is not the key that the vault has; move the one away that is not that of "
                f"{CERTIFICATE}"
            )
        with host.audit.entry("authority-seal", path=plain) as facts:
            if SECRET not in host.vault:
                self._certificates(key)  # a key of another certificate is no key to keep
                self._put({"kind": "key", "pem": pem.decode()})
            facts["provider"] = host.vault.show(SECRET).provider
            _destroy(plain)
        log.warning(
            "%s: the authority's key is under provider %s now, and the file is removed; "
            "whoever has a copy of the file can still sign",
            plain,
            host.vault.show(SECRET).provider,
        )

    def _certificates(self, key: AuthorityKey) -> list[x509.Certificate]:
        """The certificate of this key, and those above it; none where it was not made yet."""
        if not (self.directory / CERTIFICATE).exists():
            return []
        certificates = self._read_certificates()
        if certificates[0].public_key() != key.public_key():
            raise AuthorityError(
                f"{self.directory}: {CERTIFICATE} is not that of the authority's key; restore both from a "
                "backup, or make a new authority by `vtpm authority init --replace`"
            )
        return certificates

    def _read_certificates(self) -> list[x509.Certificate]:
        path = self.directory / CERTIFICATE
        try:
            return x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError as error:
            raise AuthorityError(f"{path}: {error}; restore it from a backup") from None

    def _keep_certificate(self) -> None:
        """Keep the certificate of an authority that is given up: it still proves what it has signed."""
        if (self.directory / CERTIFICATE).exists():
            certificates = self._read_certificates()
            kept = self.directory / f"authority-{certificates[0].serial_number:x}.pem"
            _replace(kept, (self.directory / CERTIFICATE).read_bytes(), 0o644)

    @contextmanager
    def _directory(self) -> Iterator[None]:
        """The directory, made if it is missing, for one process at a time."""
        try:
            with acting_for(self.directory.parent):
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    yield
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise AuthorityError(
                f"{error.filename or self.directory}: {error.strerror}; let the user who creates TPMs write "
                "there, or name another directory in VTPM_AUTHORITY_DIR"
            ) from None


def check_chain(certificates: list[x509.Certificate], key: AuthorityKey) -> None:
    """Raise AuthorityError unless the first is an authority's, of this key, and the next signed each."""
    first = certificates[0]
    if first.public_key() != key.public_key():
        raise AuthorityError("the first certificate is not of this authority's key; make it from the request")
    try:
        is_authority = first.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise AuthorityError("the certificate is not one of an authority; sign it with CA:TRUE")
    for lower, upper in pairwise(certificates):
        try:
            lower.verify_directly_issued_by(upper)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it: the operator's to mend
            raise AuthorityError(
                f"{lower.subject.rfc4514_string()} is not signed by {upper.subject.rfc4514_string()}: "
                f"{error}; order the certificates from this authority's up to the root"
            ) from None


def _loaded(pem: bytes, place: object) -> AuthorityKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"{place}: {error}; restore it from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(f"{place}: it is of a kind that signs no certificates; use one of EC or RSA")
    return key


def _replace(path: Path, octets: bytes, mode: int) -> None:
    """Write a file that appears whole, durable on return."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(descriptor)
    beside.rename(path)
    _flush_directory(path.parent)


def _destroy(path: Path) -> None:
    """Overwrite a file and remove it; a disk may keep its old blocks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
