"""
The caller's side of HMAC and policy sessions, written against Part 1 with the standard library's hashes.

It shares no code with the engine, so that each judges the other.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from vtpm.caller.caller import Caller
from vtpm.caller.messages import Reply
from vtpm.commands import Command
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE

NO_CIPHER = TPMT_SYM_DEF(algorithm=TPM_ALG.NULL, key_bits=0, mode=TPM_ALG.NULL)
AES_128 = TPMT_SYM_DEF(algorithm=TPM_ALG.AES, key_bits=128, mode=TPM_ALG.CFB)
AES_256 = TPMT_SYM_DEF(algorithm=TPM_ALG.AES, key_bits=256, mode=TPM_ALG.CFB)
XOR_SHA256 = TPMT_SYM_DEF(algorithm=TPM_ALG.XOR, key_bits=TPM_ALG.SHA256, mode=TPM_ALG.NULL)

HASHES = {
    TPM_ALG.SHA1: "sha1",
    TPM_ALG.SHA256: "sha256",
    TPM_ALG.SHA384: "sha384",
    TPM_ALG.SHA512: "sha512",
}


def kdf_a(alg: TPM_ALG, key: bytes, label: bytes, first: bytes, second: bytes, bits: int) -> bytes:
    """SP 800-108 in counter mode, as Part 1 has it."""
    octets = b""
    for counter in range(1, 1 << 32):
        message = struct.pack(">I", counter) + label + b"\0" + first + second + struct.pack(">I", bits)
        octets += hmac.digest(key, message, HASHES[alg])
        if len(octets) * 8 >= bits:
            break
    return octets[: bits // 8]


class ResponseError(Exception):
    """The HMAC of a response is not right."""

    def __str__(self) -> str:
        return "the response was not made by the TPM that the session is with, or was altered on its way"


@dataclass(repr=False)
class CallerSession:
    """
    A session as its owner keeps it; `auth` is the authValue of what it authorizes in the next command.

    Give it to a command in `sessions`, then the reply to `check`, which rolls the nonces.
    `symmetric` is the key size of AES-CFB in bits, 0 for XOR.
    """

    handle: int
    alg: TPM_ALG
    nonce_tpm: bytes
    nonce_caller: bytes
    session_key: bytes = b""
    symmetric: int = 128
    auth: bytes = b""
    includes_auth: bool = True
    """Is the authValue part of the HMAC key? Not in bound use, nor by a policy without PolicyAuthValue."""
    authorizes: bool = True
    attributes: TPMA_SESSION = field(default_factory=lambda: TPMA_SESSION(continueSession=True))
    password: bytes | None = None
    """For a policy session with PolicyPassword: sent in place of the HMAC."""
    other_nonces: bytes = b""
    """For the first session: the nonces of other sessions that decrypt or encrypt."""
    terse: bool = True
    """Is the HMAC left empty where its key is?"""
    rolls: int = 0
    """How often it was used."""
    _code: bytes = b""

    def __repr__(self) -> str:
        return f"<CallerSession 0x{self.handle:08X}>"

    @property
    def next_nonce(self) -> bytes:
        """The caller's nonce of the next use, which encrypts its first parameter."""
        return hashlib.sha256(self.nonce_caller + bytes([self.rolls & 0xFF])).digest()[:16]

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:
        """The session's part of the authorization area, with a fresh caller nonce."""
        self.nonce_caller = self.next_nonce
        self.rolls += 1
        self._code = command.code.to_bytes(4, "big")
        if self.password is not None:
            shown = self.password
        else:
            cp_hash = hashlib.new(HASHES[self.alg], self._code + b"".join(names) + parameters).digest()
            shown = self.hmac(cp_hash, self.nonce_caller, self.nonce_tpm, self.other_nonces)
        head = self.handle.to_bytes(4, "big") + len(self.nonce_caller).to_bytes(2, "big") + self.nonce_caller
        return head + bytes([self.attributes]) + len(shown).to_bytes(2, "big") + shown

    def hmac(
        self, p_hash: bytes, newer: bytes, older: bytes, other: bytes = b"", attributes: int | None = None
    ) -> bytes:
        """Part 1, "Session-based Authorizations"."""
        key = self.session_key + (self.auth if self.includes_auth and self.authorizes else b"")
        if self.terse and not key:
            return b""
        shown = self.attributes if attributes is None else attributes
        return hmac.digest(key, p_hash + newer + older + other + bytes([shown]), HASHES[self.alg])

    def check(self, reply: Reply, number: int = 0) -> None:
        """The response's HMAC must be right, else ResponseError; then the TPM's nonce is the new one."""
        nonce, attributes, shown = reply.auths[number]
        self.nonce_tpm = nonce
        expected = b""
        if self.password is None:
            rp_hash = hashlib.new(HASHES[self.alg], bytes(4) + self._code + reply.parameters).digest()
            expected = self.hmac(rp_hash, nonce, self.nonce_caller, attributes=attributes)
        if not hmac.compare_digest(shown, expected):
            raise ResponseError

    def crypt(self, octets: bytes, newer: bytes, older: bytes, *, encrypt: bool) -> bytes:
        """Encrypt or decrypt a parameter's contents."""
        key = self.session_key + (self.auth if self.authorizes else b"")
        if self.symmetric == 0:
            mask = kdf_a(self.alg, key, b"XOR", newer, older, len(octets) * 8)
            return bytes(a ^ b for a, b in zip(octets, mask, strict=True))
        material = kdf_a(self.alg, key, b"CFB", newer, older, self.symmetric + 128)
        cipher = Cipher(algorithms.AES(material[:-16]), CFB(material[-16:]))
        context = cipher.encryptor() if encrypt else cipher.decryptor()
        return context.update(octets) + context.finalize()


def start_session(
    tpm: Caller,
    kind: TPM_SE = TPM_SE.HMAC,
    *,
    alg: TPM_ALG = TPM_ALG.SHA256,
    symmetric: TPMT_SYM_DEF = NO_CIPHER,
    bind: int = TPM_RH.NULL,
    bind_auth: bytes = b"",
    tpm_key: int = TPM_RH.NULL,
    salt: bytes = b"",
    encrypted_salt: bytes = b"",
) -> CallerSession:
    """
    Start a session, and make its key as Part 1 has it.

    `bind_auth` is the authValue of `bind`; `encrypted_salt` is `salt`, encrypted for `tpm_key`.
    """
    nonce_caller = hashlib.sha256(b"nonce of the caller").digest()[:16]
    reply: Reply = tpm.start_auth_session(
        tpm_key,
        bind,
        nonce_caller=nonce_caller,
        encrypted_salt=encrypted_salt,
        session_type=kind,
        symmetric=symmetric,
        auth_hash=alg,
    )
    key = b""
    if bind != TPM_RH.NULL or salt:
        bits = 8 * hashlib.new(HASHES[alg]).digest_size
        key = kdf_a(alg, bind_auth + salt, b"ATH", reply.nonce_tpm, nonce_caller, bits)
    return CallerSession(
        handle=reply.session_handle,
        alg=alg,
        nonce_tpm=reply.nonce_tpm,
        nonce_caller=nonce_caller,
        session_key=key,
        symmetric=0 if symmetric.algorithm is TPM_ALG.XOR else symmetric.key_bits,
        includes_auth=kind is TPM_SE.HMAC,
    )
