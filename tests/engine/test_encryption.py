"""Part 1, "Session-based Encryption": the first parameter of commands and responses, hidden by sessions."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, SELF
from tests.engine.uses import AUTH, attributes, written
from tests.keys import put_hmac
from tests.scenarios import BY_HANDLER, Client, Reply, reply_of, request_of
from tests.sessions import AES_128, AES_256, HASHES, XOR_SHA256, CallerSession, start_session
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from vtpm.wire.error import TPM_RC

A = TPM_ALG
SUCCESS = TPM_RC.SUCCESS
BAD_AUTH = TPM_RC.BAD_AUTH.session(1)
CAMELLIA = TPMT_SYM_DEF(algorithm=A.CAMELLIA, key_bits=128, mode=A.CFB)
CIPHERS = [AES_128, AES_256, XOR_SHA256]


def roll(
    sessions: Iterable[CallerSession], command: str, handles: list[int], tpm: Client, plain: bytes
) -> Reply:
    """
    Send NV_Write or NV_Read, encrypting the first parameter as the sessions' attributes say.

    `plain` is the parameter area in the clear; the reply's parameters are in the clear, too.
    """
    sessions = list(sessions)
    entry, parameters = BY_HANDLER[command], plain
    for session in sessions:
        if session.attributes.decrypt:
            size = int.from_bytes(plain[:2], "big")
            hidden = session.crypt(plain[2 : 2 + size], session.next_nonce, session.nonce_tpm, encrypt=True)
            parameters = plain[:2] + hidden + plain[2 + size :]
    extra = [s.nonce_tpm for s in sessions[1:] if s.attributes.decrypt]
    extra += [s.nonce_tpm for s in sessions[1:] if s.attributes.encrypt and not s.attributes.decrypt]
    sessions[0].other_nonces = b"".join(extra) if sessions[0].authorizes else b""
    names = [tpm.name_of(handle) for handle in handles]
    area = b"".join(session.octets(entry, names, parameters) for session in sessions)
    reply = reply_of(entry, tpm.send(request_of(entry, handles, area, parameters)))
    if reply.rc != SUCCESS:
        return reply
    for number, session in enumerate(sessions):
        session.check(reply, number)
        if session.attributes.encrypt:
            size = int.from_bytes(reply.parameters[:2], "big")
            shown = session.crypt(
                reply.parameters[2 : 2 + size], session.nonce_tpm, session.nonce_caller, encrypt=False
            )
            reply.fields["shown"] = shown
    return reply


class TestEncryption:
    """Part 1, Session-based Encryption"""

    @pytest.mark.parametrize("alg", HASHES)
    @pytest.mark.parametrize("cipher", CIPHERS, ids=["AES-128", "AES-256", "XOR"])
    @pytest.mark.parametrize("bound", [False, True])
    def test_authorizing(self, tpm: Client, alg: TPM_ALG, cipher: TPMT_SYM_DEF, bound: bool) -> None:  # noqa: FBT001
        """A session that authorizes has the authValue in its encryption key, even where it is bound."""
        if cipher.algorithm is A.XOR:
            # The hash of the obfuscation is the session's, whatever the cipher names (18.2).
            other = A.SHA1 if alg is A.SHA256 else A.SHA256
            cipher = TPMT_SYM_DEF(algorithm=A.XOR, key_bits=other, mode=A.NULL)
        written(tpm)
        bind: dict[str, Any] = {"bind": INDEX, "bind_auth": AUTH} if bound else {}
        session = start_session(tpm, alg=alg, symmetric=cipher, **bind)
        session.auth, session.includes_auth = AUTH, not bound

        session.attributes = attributes("decrypt")
        roll([session], "nv_write", [INDEX, INDEX], tpm, b"\0\x05hello\0\0")
        session.attributes = attributes("encrypt")
        reply = roll([session], "nv_read", [INDEX, INDEX], tpm, b"\0\x05\0\0")

        assert reply.shown == b"hello"
        assert tpm.tpm.nv[INDEX].data[:5] == b"hello"

    @pytest.mark.parametrize("cipher", CIPHERS, ids=["AES-128", "AES-256", "XOR"])
    def test_separate(self, tpm: Client, cipher: TPMT_SYM_DEF) -> None:
        """A session that only hides has its session key alone; the first session's HMAC covers its nonce."""
        written(tpm)
        first = start_session(tpm)
        first.auth = AUTH
        tpm.tpm.owner.auth_value = b"owner"
        second = start_session(tpm, symmetric=cipher, bind=TPM_RH.OWNER, bind_auth=b"owner")
        second.authorizes = False

        second.attributes = attributes("decrypt")
        assert roll([first, second], "nv_write", [INDEX, INDEX], tpm, b"\0\x05hello\0\0").rc == SUCCESS
        second.attributes = attributes("encrypt")
        reply = roll([first, second], "nv_read", [INDEX, INDEX], tpm, b"\0\x05\0\0")

        assert reply.shown == b"hello"

    @pytest.mark.parametrize("split", [False, True])
    def test_both_ways(self, tpm: Client, split: bool) -> None:  # noqa: FBT001
        """One session encrypts both ways, or two do so with different ciphers."""
        sessions = [
            start_session(tpm, symmetric=cipher, bind=TPM_RH.OWNER) for cipher in (AES_128, XOR_SHA256)
        ]
        for session, names in zip(sessions, ("decrypt", "encrypt"), strict=True):
            session.authorizes = False
            session.attributes = attributes(names if split else "decrypt encrypt")
        data = b"to be hashed"
        plain = (
            len(data).to_bytes(2, "big") + data + A.SHA256.to_bytes(2, "big") + TPM_RH.NULL.to_bytes(4, "big")
        )

        reply = roll(sessions if split else sessions[:1], "hash", [], tpm, plain)

        assert reply.shown == hashlib.sha256(data).digest()

    def test_three(self, tpm: Client) -> None:
        """Authorization, decryption and encryption in sessions of their own: both nonces are covered."""
        key = put_hmac(tpm, b"key", auth=AUTH)
        first = start_session(tpm)
        first.auth = AUTH
        second = start_session(tpm, symmetric=AES_128, bind=TPM_RH.OWNER)
        third = start_session(tpm, symmetric=XOR_SHA256, bind=TPM_RH.OWNER)
        for session, names in ((second, "decrypt"), (third, "encrypt")):
            session.authorizes, session.attributes = False, attributes(names)

        reply = roll([first, second, third], "mac", [key], tpm, b"\0\x04data" + A.SHA256.to_bytes(2, "big"))

        assert reply.shown == hmac.digest(b"key", b"data", "sha256")

    def test_policy_session(self, tpm: Client) -> None:
        """A policy session encrypts with the authValue of what it authorizes, needed or not."""
        policy = hashlib.sha256(
            bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + TPM_CC.NV_Read.to_bytes(4, "big")
        ).digest()
        written(tpm, SELF.but(POLICYREAD=True), policy=policy)
        session = start_session(tpm, TPM_SE.POLICY, symmetric=AES_128)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Read)
        session.auth, session.attributes = AUTH, attributes("encrypt")

        assert roll([session], "nv_read", [INDEX, INDEX], tpm, b"\0\x08\0\0").shown == b"12345678"

    def test_altered_nonce(self, tpm: Client) -> None:
        """The other session's nonce is part of the first one's HMAC."""
        written(tpm)
        first, second = start_session(tpm), start_session(tpm, symmetric=AES_128)
        first.auth = AUTH
        second.authorizes, second.attributes = False, attributes("encrypt")

        assert tpm.nv_read(INDEX, INDEX, size=8, offset=0, sessions=[first, second]).rc == BAD_AUTH

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            (b"", TPM_RC.INSUFFICIENT.session(1)),
            (b"\0", TPM_RC.INSUFFICIENT.session(1)),
            (b"\0\x03xx", TPM_RC.SIZE.session(1)),
            (b"\0\x02xx", TPM_RC.INSUFFICIENT.parameter(2)),
            (b"\0\0\0\0", SUCCESS),
        ],
    )
    def test_size(self, tpm: Client, parameters: bytes, expected: int) -> None:
        """What is to be decrypted must be there; the size is not encrypted."""
        written(tpm, auth=b"")
        session = start_session(tpm, symmetric=AES_128)
        session.attributes = attributes("decrypt")
        command = BY_HANDLER["nv_write"]
        area = session.octets(command, [tpm.name_of(INDEX)] * 2, parameters)

        reply = reply_of(command, tpm.send(request_of(command, [INDEX, INDEX], area, parameters)))

        assert reply.rc == expected

    def test_other_cipher(self, tpm: Client) -> None:
        """What is encrypted with another key arrives as something else."""
        written(tpm, auth=b"")
        session = start_session(tpm, symmetric=CAMELLIA)
        session.attributes = attributes("decrypt")
        roll([session], "nv_write", [INDEX, INDEX], tpm, b"\0\x08" + bytes(8) + b"\0\0")

        assert tpm.tpm.nv[INDEX].data != bytes(8)


class TestAudited:
    """Part 1, "cpHash": audits see the first parameter as it was sent"""

    @pytest.mark.parametrize("audit_alg", [A.SHA256, A.SHA384])
    def test_command_audit(self, tpm: Client, audit_alg: TPM_ALG) -> None:
        """The command audit's hash is of the hidden parameters, whether or not it is that of the session."""
        tpm.tpm.permanent.audit_alg = audit_alg
        tpm.tpm.permanent.audited.add(TPM_CC.StirRandom)
        session = start_session(tpm, symmetric=AES_128, bind=TPM_RH.OWNER)
        session.authorizes = False
        session.attributes = attributes("decrypt")
        hidden = session.crypt(b"stir", session.next_nonce, session.nonce_tpm, encrypt=True)

        roll([session], "stir_random", [], tpm, b"\0\x04stir").check()

        alg, code = HASHES[audit_alg], TPM_CC.StirRandom.to_bytes(4, "big")
        sent = hashlib.new(alg, code + b"\0\x04" + hidden).digest()
        answered = hashlib.new(alg, bytes(4) + code).digest()
        expected = hashlib.new(alg, bytes(len(sent)) + sent + answered).digest()
        assert expected == tpm.tpm.reset.command_audit_digest
