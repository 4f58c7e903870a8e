"""
A key in a PKCS #11 token, which signs there and never leaves it.

It stands in a private key's place where certificates are built; what it cannot do, it refuses.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key

from vtpm.daemon.errors import OperatorError

CURVE: Final = "secp384r1"
_Module = Any
"""The module pkcs11, or an object of it: it is optional."""


class TokenError(OperatorError):
    """The token does not give or use the key; the text gives cause and remedy."""


@dataclass(frozen=True)
class TokenPlace:
    """Where a key is: the library of the token's maker, the token's label, the key's label, and the PIN."""

    module: str
    token: str
    label: str
    pin: str | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """All of it, for the vault."""
        return asdict(self)

    def __str__(self) -> str:
        return f"the key {self.label!r} in the token {self.token!r} ({self.module})"

    @contextmanager
    def session(self, *, writes: bool = False) -> Iterator[tuple[_Module, _Module]]:
        """A session with the token, logged in; the token's errors become TokenError."""
        try:
            import pkcs11  # noqa: PLC0415 - optional, and most hosts never need it
        except ImportError:
            raise TokenError(
                f"{self} needs python-pkcs11, which is not installed: install vtpm[pkcs11]"
            ) from None
        library = self._library()
        try:
            token = pkcs11.lib(library).get_token(token_label=self.token)
            with token.open(rw=writes, user_pin=self.pin) as opened:
                yield pkcs11, opened
        except pkcs11.NoSuchToken:
            raise TokenError(f"{self}: there is no such token; attach it, or correct its label") from None
        except pkcs11.NoSuchKey:
            raise TokenError(f"{self}: there is no such key; correct its label, or make one there") from None
        except pkcs11.MultipleObjectsReturned:
            raise TokenError(f"{self}: several keys have this label; give each a label of its own") from None
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked) as error:
            raise TokenError(
                f"{self}: the PIN is refused ({type(error).__name__}); give the right one before it is locked"
            ) from None
        except pkcs11.PKCS11Error as error:
            said = str(error) or type(error).__name__
            raise TokenError(f"{self}: {said}; see to the token, then try again") from None

    def _library(self) -> str:
        """The library's path without links, if nobody but root and this user can put another in its place."""
        if not Path(self.module).is_file():
            raise TokenError(f"{self}: there is no such library; name the library of the token's maker")
        library = Path(self.module).resolve()
        for path in (library, *library.parents):
            status = path.stat()
            sticky = path.is_dir() and status.st_mode & stat.S_ISVTX
            writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky
            if status.st_uid not in {0, os.geteuid()} or writable:
                raise TokenError(
                    f"{self}: others can write to {path}, so the library may be theirs; "
                    f"install it where root alone writes"
                )
        return str(library)

    def make_key(self) -> bool:
        """Make a key on P-384 there, unless there is one of this label; whether it was made."""
        with self.session(writes=True) as (pkcs11, session):
            wanted = {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
                pkcs11.Attribute.LABEL: self.label,
            }
            if any(True for _ in session.get_objects(wanted)):
                return False
            from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415 - as above

            curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(CURVE)}
            parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
            parameters.generate_keypair(
                store=True,
                label=self.label,
                capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            )
            return True

    def key(self) -> "EcTokenKey | RsaTokenKey":
        """The key, to sign with; TokenError if it is not there or of no kind that signs certificates."""
        public = load_der_public_key(self._public())
        if isinstance(public, ec.EllipticCurvePublicKey):
            return EcTokenKey(self, public)
        if isinstance(public, rsa.RSAPublicKey):
            return RsaTokenKey(self, public)
        raise TokenError(f"{self} is of a kind that signs no certificates; use one of EC or RSA")

    def _public(self) -> bytes:
        """The public key in DER."""
        with self.session() as (pkcs11, session):
            private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self.label)
            public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=self.label)
            from pkcs11.util import ec as of_ec  # noqa: PLC0415 - as above
            from pkcs11.util import rsa as of_rsa  # noqa: PLC0415

            encoders = {
                pkcs11.KeyType.EC: of_ec.encode_ec_public_key,
                pkcs11.KeyType.RSA: of_rsa.encode_rsa_public_key,
            }
            if private.key_type not in encoders:
                raise TokenError(f"{self} is of a kind that signs no certificates; use one of EC or RSA")
            octets: bytes = encoders[private.key_type](public)
            return octets

    def sign(self, data: bytes, mechanism: str) -> bytes:
        """What the key makes of the data by a mechanism."""
        with self.session() as (pkcs11, session):
            key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self.label)
            signature: bytes = key.sign(data, mechanism=pkcs11.Mechanism[mechanism])
            return signature


class _TokenKey:
    """What a private key is asked for and a token does not give."""

    def __init__(self, place: TokenPlace) -> None:
        self._place = place

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _refuse(self) -> NoReturn:
        raise TokenError(f"{self._place} only signs, and stays where it is")

    def private_numbers(self) -> NoReturn:
        """Refused."""
        self._refuse()

    def private_bytes(self, *_: object) -> NoReturn:
        """Refused."""
        self._refuse()


class EcTokenKey(_TokenKey, ec.EllipticCurvePrivateKey):
    """A key on an elliptic curve."""

    def __init__(self, place: TokenPlace, public: ec.EllipticCurvePublicKey) -> None:
        super().__init__(place)
        self._public = public

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve's order."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public key."""
        return self._public

    def exchange(self, algorithm: object, peer_public_key: object) -> NoReturn:
        """Refused."""
        del algorithm, peer_public_key
        self._refuse()

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # type: ignore[override]
        """An ECDSA signature with SHA-384, in DER; the digest is cut to the order (FIPS 186-5, 6.4.1)."""
        if not isinstance(signature_algorithm, ec.ECDSA) or not isinstance(
            signature_algorithm.algorithm, SHA384
        ):
            self._refuse()
        digest = hashlib.sha384(data).digest()[: (self.key_size + 7) // 8]
        raw = self._place.sign(digest, "ECDSA")
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


class RsaTokenKey(_TokenKey, rsa.RSAPrivateKey):
    """An RSA key."""

    def __init__(self, place: TokenPlace, public: rsa.RSAPublicKey) -> None:
        super().__init__(place)
        self._public = public

    @property
    def key_size(self) -> int:
        """Bits of the modulus."""
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """The public key."""
        return self._public

    def decrypt(self, ciphertext: object, padding: object) -> NoReturn:  # noqa: D102 - refused
        del ciphertext, padding
        self._refuse()

    def sign(self, data: bytes, padding: padding.AsymmetricPadding, algorithm: object) -> bytes:
        """A signature by RSASSA-PKCS1-v1_5 with SHA-384."""
        del padding
        if not isinstance(algorithm, SHA384):
            self._refuse()
        return self._place.sign(data, "SHA384_RSA_PKCS")
