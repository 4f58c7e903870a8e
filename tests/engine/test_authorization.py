"""Part 1, "Authorizations and Acknowledgments", and Part 3, 5.5 to 5.9: what sessions prove and hide."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, SELF, define
from tests.keys import NULL_SIGNATURE_SCHEME, put_ecc, put_hmac, with_attributes
from tests.scenarios import BY_HANDLER, Client, Password, Reply, parameters_of, reply_of, request_of
from tests.sessions import AES_128, AES_256, HASHES, XOR_SHA256, CallerSession, start_session
from vtpm.commands import Command
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from vtpm.wire.error import TPM_RC

A = TPM_ALG
AUTH = b"secret"
PROTECTED = SELF.but(NO_DA=False)
SUCCESS = TPM_RC.SUCCESS
BAD_AUTH = TPM_RC.BAD_AUTH.session(1)
AUTH_FAIL = TPM_RC.AUTH_FAIL.session(1)
LOCKOUT = TPM_RH.LOCKOUT
POLICY_AUTH_VALUE = hashlib.sha256(bytes(32) + TPM_CC.PolicyAuthValue.to_bytes(4, "big")).digest()


def write(tpm: Client, *sessions: Any, data: bytes = b"12345678") -> Reply:
    """NV_Write of the Index, authorized by itself."""
    return tpm.nv_write(INDEX, INDEX, data=data, offset=0, sessions=sessions)


def read(tpm: Client, *sessions: Any) -> Reply:
    """NV_Read of the Index, authorized by itself."""
    return tpm.nv_read(INDEX, INDEX, size=8, offset=0, sessions=sessions)


def written(tpm: Client, attributes: TPMA_NV = SELF, auth: bytes = AUTH, policy: bytes = b"") -> None:
    """Define an Index and write it, as its owner or as itself."""
    assert define(tpm, attributes, auth=auth, policy=policy) == SUCCESS
    assert write(tpm, Password(auth)).rc == SUCCESS


def state_of(tpm: Client) -> dict[str, bytes]:
    """Everything that the TPM remembers."""
    return tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()


CONTINUED = TPMA_SESSION(continueSession=True)


@dataclass
class Other:
    """A session as the octets of somebody who knows none of its secrets."""

    handle: int
    nonce: bytes = bytes(16)
    attributes: TPMA_SESSION = CONTINUED
    hmac: bytes = b""

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:  # noqa: ARG002
        """The session's part of the authorization area."""
        head = self.handle.to_bytes(4, "big") + len(self.nonce).to_bytes(2, "big") + self.nonce
        return head + bytes([self.attributes]) + len(self.hmac).to_bytes(2, "big") + self.hmac


class TestPassword:
    """Part 1, Password Authorizations"""

    @pytest.mark.parametrize(
        ("auth", "given", "expected"),
        [
            (b"", b"", SUCCESS),
            (AUTH, AUTH, SUCCESS),
            (AUTH, AUTH + b"\0\0", SUCCESS),
            (AUTH + b"\0\0", AUTH, SUCCESS),
            (b"\0\0", b"", SUCCESS),
            (b"", b"\0", SUCCESS),
            (AUTH, b"", BAD_AUTH),
            (AUTH, AUTH[:-1], BAD_AUTH),
            (AUTH, b"\0" + AUTH, BAD_AUTH),
            (AUTH, AUTH + b"x", BAD_AUTH),
            (b"", b"x", BAD_AUTH),
        ],
    )
    def test_auth_value(self, tpm: Client, auth: bytes, given: bytes, expected: int) -> None:
        """The password is the authValue; trailing zeros are part of neither."""
        define(tpm, auth=auth)

        assert write(tpm, Password(given)).rc == expected

    def test_response(self, tpm: Client) -> None:
        """The response has an empty session, whose continueSession is always set."""
        define(tpm, auth=AUTH)

        for attributes in (TPMA_SESSION(), TPMA_SESSION(continueSession=True)):
            reply = write(tpm, Other(TPM_RH.TPM_RS_PW, b"", attributes, AUTH))
            assert reply.auths == [(b"", TPMA_SESSION(continueSession=True), b"")]

    def test_every_handle(self, tpm: Client) -> None:
        """Each handle that needs an authorization has one, and the code says which has failed."""
        define(tpm, auth=AUTH)
        tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[AUTH])
        tpm.tpm.owner.auth_value = b"owner"
        key = put_ecc(tpm, "sign", A.ECDSA)
        parameters: dict[str, Any] = {
            "qualifying_data": b"",
            "in_scheme": NULL_SIGNATURE_SCHEME,
            "size": 1,
            "offset": 0,
        }

        def certify(*sessions: Any) -> int:
            return tpm.nv_certify(key, INDEX, INDEX, sessions=sessions, **parameters).rc

        assert certify(Password(), Password(AUTH)) == SUCCESS
        assert certify(Password(), Password()) == TPM_RC.BAD_AUTH.session(2)
        assert certify(Password(b"x"), Password()) == BAD_AUTH
        assert certify(Password()) == TPM_RC.AUTH_MISSING
        assert certify(Password(), Password(AUTH), Password()) == TPM_RC.HANDLE.session(3)


class TestHmac:
    """Part 1, "Session-based Authorizations": a session that is neither bound nor salted"""

    @pytest.mark.parametrize("alg", HASHES)
    def test_rolling_nonces(self, tpm: Client, alg: TPM_ALG) -> None:
        """Each use has new nonces, and the response proves the authValue, too."""
        define(tpm, auth=AUTH)
        session = start_session(tpm, alg=alg)
        session.auth = AUTH

        nonces = set()
        for data in (b"1", b"2", b"3"):
            session.check(write(tpm, session, data=data))
            nonces.add(session.nonce_tpm)
        assert len(nonces) == 3

    def test_replay(self, tpm: Client) -> None:
        """The same octets are no proof again."""
        define(tpm, auth=AUTH)
        session = start_session(tpm)
        session.auth = AUTH
        command = BY_HANDLER["nv_write"]
        parameters = parameters_of(command, {"data": b"x", "offset": 0})
        area = session.octets(command, [tpm.name_of(INDEX)] * 2, parameters)
        request = request_of(command, [INDEX, INDEX], area, parameters)

        assert reply_of(command, tpm.send(request)).rc == SUCCESS
        assert reply_of(command, tpm.send(request)).rc == BAD_AUTH

    @pytest.mark.parametrize("change", ["handle", "parameter", "nonce", "attributes", "hmac"])
    def test_altered(self, tpm: Client, change: str) -> None:
        """Nothing of the command can be changed on its way: Names, parameters, nonces, attributes."""
        written(tpm)
        define(tpm, auth=AUTH, handle=INDEX + 1)
        session = start_session(tpm)
        session.auth = AUTH
        command = BY_HANDLER["nv_write"]
        parameters = parameters_of(command, {"data": b"x", "offset": 0})
        area = session.octets(command, [tpm.name_of(INDEX)] * 2, parameters)
        index = INDEX
        if change == "handle":
            index += 1
        elif change == "parameter":
            parameters = parameters_of(command, {"data": b"y", "offset": 0})
        elif change == "nonce":
            area = area[:6] + bytes([area[6] ^ 1]) + area[7:]
        elif change == "attributes":
            area = area[:22] + bytes([area[22] ^ TPMA_SESSION(continueSession=True)]) + area[23:]
        else:
            area = area[:-1] + bytes([area[-1] ^ 1])
        before = state_of(tpm)

        reply = reply_of(command, tpm.send(request_of(command, [index, index], area, parameters)))

        assert reply.rc == BAD_AUTH
        assert state_of(tpm) == before

    def test_failure_keeps_the_nonce(self, tpm: Client) -> None:
        """After a refusal the session goes on with the nonce that it had."""
        define(tpm, auth=AUTH)
        session = start_session(tpm)
        session.auth = b"wrong"
        assert write(tpm, session).rc == BAD_AUTH
        session.auth = AUTH
        assert tpm.nv_write(INDEX, INDEX, data=bytes(9), offset=0, sessions=[session]).rc == TPM_RC.NV_RANGE

        session.check(write(tpm, session))

    def test_end(self, tpm: Client) -> None:
        """Without continueSession, the session ends with a successful command, and only with one."""
        define(tpm, auth=AUTH)
        session = start_session(tpm)
        session.attributes = TPMA_SESSION()
        session.auth = b"wrong"
        assert write(tpm, session).rc == BAD_AUTH
        session.auth = AUTH

        session.check(write(tpm, session))
        assert write(tpm, session).rc == TPM_RC.REFERENCE_S0

    def test_no_key(self, tpm: Client) -> None:
        """Where the key is empty, the HMAC may be empty, too; then the response's is."""
        define(tpm)
        session = start_session(tpm)

        reply = write(tpm, session)
        assert reply.rc == SUCCESS
        assert reply.auths[0][2] == b""

    def test_hmac_of_an_empty_key(self, tpm: Client) -> None:
        """An HMAC with the empty key is as good, and answered in kind."""
        define(tpm)
        session = start_session(tpm)
        session.terse = False

        session.check(write(tpm, session))

    def test_empty_hmac(self, tpm: Client) -> None:
        """An empty HMAC does not stand for an authValue."""
        define(tpm, auth=AUTH)
        session = start_session(tpm)

        assert write(tpm, Other(session.handle)).rc == BAD_AUTH

    def test_new_auth_value(self, tpm: Client) -> None:
        """A command that changes the authValue is acknowledged with the new one."""
        tpm.tpm.owner.auth_value = b"old"
        session = start_session(tpm)
        session.auth = b"old"
        reply = tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=AUTH, sessions=[session])
        assert reply.rc == SUCCESS
        session.auth = AUTH

        session.check(reply)

    def test_second_session(self, tpm: Client) -> None:
        """Each authorization has its own session and HMAC."""
        written(tpm)
        key = put_ecc(tpm, "sign", A.ECDSA, auth=b"key")
        first, second = start_session(tpm), start_session(tpm, alg=A.SHA384)
        first.auth, second.auth = b"key", AUTH

        def certify() -> Reply:
            return tpm.nv_certify(
                key,
                INDEX,
                INDEX,
                sessions=[first, second],
                qualifying_data=b"",
                in_scheme=NULL_SIGNATURE_SCHEME,
                size=1,
                offset=0,
            )

        reply = certify()
        first.check(reply)
        second.check(reply, 1)
        second.auth = b"wrong"
        assert certify().rc == TPM_RC.BAD_AUTH.session(2)


class TestBound:
    """Part 1, Bound Sessions"""

    def test_other_use(self, tpm: Client) -> None:
        """With any other entity, the authValue of that one is part of the key, too."""
        define(tpm, auth=AUTH)
        tpm.tpm.owner.auth_value = b"owner"
        session = start_session(tpm, bind=TPM_RH.OWNER, bind_auth=b"owner")
        assert write(tpm, session).rc == BAD_AUTH
        session.auth = AUTH

        session.check(write(tpm, session))

    def test_use_without_authorization(self, tpm: Client) -> None:
        """The session key alone proves a session that only audits."""
        tpm.tpm.owner.auth_value = b"owner"
        session = start_session(tpm, bind=TPM_RH.OWNER, bind_auth=b"owner")
        session.attributes = TPMA_SESSION(audit=True, continueSession=True)
        session.authorizes = False

        session.check(tpm.get_random(bytes_requested=4, sessions=[session]))

    def test_changed_auth_value(self, tpm: Client) -> None:
        """A session is not bound any more to an entity whose authValue has changed."""
        session = start_session(tpm, bind=TPM_RH.OWNER)
        session.includes_auth = False
        session.check(tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=AUTH, sessions=[session]))

        assert tpm.clock_set(TPM_RH.OWNER, new_time=5, sessions=[session]).rc == BAD_AUTH
        session.includes_auth, session.auth = True, AUTH
        session.check(tpm.clock_set(TPM_RH.OWNER, new_time=5, sessions=[session]))

    def test_audit_unbinds(self, tpm: Client) -> None:
        """A session that begins to audit is not bound any more."""
        tpm.tpm.owner.auth_value = b"owner"
        session = start_session(tpm, bind=TPM_RH.OWNER, bind_auth=b"owner")
        session.includes_auth = False
        session.attributes = TPMA_SESSION(audit=True, continueSession=True)
        reply = tpm.clock_set(TPM_RH.OWNER, new_time=5, sessions=[session])
        session.check(reply)

        assert tpm.clock_set(TPM_RH.OWNER, new_time=6, sessions=[session]).rc == BAD_AUTH
        session.includes_auth, session.auth = True, b"owner"
        session.check(tpm.clock_set(TPM_RH.OWNER, new_time=6, sessions=[session]))


class TestArea:
    """Part 3, 5.5: which sessions a command may have"""

    def test_most(self, tpm: Client) -> None:
        """Three at most."""
        sessions = [start_session(tpm) for _ in range(4)]
        for session in sessions:
            session.attributes = TPMA_SESSION(audit=True, continueSession=True)
            session.authorizes = False

        assert tpm.get_random(bytes_requested=4, sessions=sessions).rc == TPM_RC.ATTRIBUTES.session(2)
        password = Other(TPM_RH.TPM_RS_PW, b"")
        four = [password] * 4
        assert tpm.get_random(bytes_requested=4, sessions=four).rc == TPM_RC.SIZE.session(4)

    def test_idle(self, tpm: Client) -> None:
        """A session that does nothing at all is not accepted."""
        session = start_session(tpm)

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.ATTRIBUTES.session(1)

    def test_twice(self, tpm: Client) -> None:
        """A session is used once in a command."""
        define(tpm)
        session = start_session(tpm, symmetric=AES_128)
        again = Other(session.handle, attributes=TPMA_SESSION(decrypt=True))

        assert write(tpm, session, again).rc == TPM_RC.HANDLE.session(2)

    def test_kind(self, tpm: Client) -> None:
        """The type in the handle is that of the session."""
        define(tpm)
        hmac, policy = start_session(tpm), start_session(tpm, TPM_SE.POLICY)

        assert write(tpm, Other(hmac.handle | 0x01000000)).rc == TPM_RC.HANDLE.session(1)
        assert write(tpm, Other(policy.handle & ~0x01000000)).rc == TPM_RC.HANDLE.session(1)

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_not_loaded(self, tpm: Client, number: int) -> None:
        """A session that is not loaded has a code with its number."""
        define(tpm)
        loaded = [start_session(tpm, symmetric=AES_128) for _ in range(2)]
        loaded[1].attributes = TPMA_SESSION(decrypt=True)
        sessions: list[Any] = [*loaded[:number], Other(0x02000009)]

        assert write(tpm, *sessions).rc == TPM_RC.REFERENCE_S0 + number

    @pytest.mark.parametrize(
        ("command", "attribute", "expected"),
        [
            ("nv_write", "decrypt", SUCCESS),
            ("nv_write", "encrypt", TPM_RC.ATTRIBUTES.session(2)),
            ("nv_read", "encrypt", SUCCESS),
            ("nv_read", "decrypt", TPM_RC.ATTRIBUTES.session(2)),
        ],
    )
    def test_no_sized_buffer(self, tpm: Client, command: str, attribute: str, expected: int) -> None:
        """Only a first parameter that is a sized buffer is encrypted."""
        written(tpm, auth=b"")
        session = start_session(tpm, symmetric=AES_128)
        session.attributes = TPMA_SESSION(**{attribute: True})
        session.authorizes = False
        given = {"data": b"", "offset": 0} if command == "nv_write" else {"size": 0, "offset": 0}

        assert getattr(tpm, command)(INDEX, INDEX, sessions=[Password(), session], **given).rc == expected

    @pytest.mark.parametrize("attribute", ["decrypt", "encrypt"])
    def test_no_cipher(self, tpm: Client, attribute: str) -> None:
        """A session without a cipher neither encrypts nor decrypts."""
        written(tpm, auth=b"")
        session = start_session(tpm)
        session.attributes = TPMA_SESSION(**{attribute: True})
        send = write if attribute == "decrypt" else read

        assert send(tpm, session).rc == TPM_RC.SYMMETRIC.session(1)

    @pytest.mark.parametrize("attribute", ["decrypt", "encrypt", "audit"])
    def test_one_each(self, tpm: Client, attribute: str) -> None:
        """One session decrypts, one encrypts, one audits."""
        written(tpm, auth=b"")
        sessions = [start_session(tpm, symmetric=AES_128) for _ in range(2)]
        for session in sessions:
            session.attributes = TPMA_SESSION(**{attribute: True})
        send = read if attribute == "encrypt" else write

        assert send(tpm, *sessions).rc == TPM_RC.ATTRIBUTES.session(2)

    def test_policy_audit(self, tpm: Client) -> None:
        """A policy session does not audit."""
        session = start_session(tpm, TPM_SE.POLICY)
        session.attributes = TPMA_SESSION(audit=True)

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.ATTRIBUTES.session(1)

    def test_trial(self, tpm: Client) -> None:
        """A trial session has no place in an authorization area, not even to encrypt."""
        session = start_session(tpm, TPM_SE.TRIAL, symmetric=AES_128)
        session.attributes = TPMA_SESSION(encrypt=True)

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.ATTRIBUTES.session(1)


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


def attributes(names: str) -> TPMA_SESSION:
    """Attributes by their names, and continueSession."""
    return TPMA_SESSION(continueSession=True, **dict.fromkeys(names.split(), True))


class TestEncryption:
    """Part 1, Session-based Encryption"""

    @pytest.mark.parametrize("alg", HASHES)
    @pytest.mark.parametrize("cipher", CIPHERS, ids=["AES-128", "AES-256", "XOR"])
    @pytest.mark.parametrize("bound", [False, True])
    def test_authorizing(self, tpm: Client, alg: TPM_ALG, cipher: TPMT_SYM_DEF, bound: bool) -> None:  # noqa: FBT001
        """A session that authorizes has the authValue in its encryption key, even where it is bound."""
        if cipher.algorithm is A.XOR:
            cipher = TPMT_SYM_DEF(algorithm=A.XOR, key_bits=alg, mode=A.NULL)
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


class TestPolicy:
    """Part 1, "Policy Session": beside the conditions, which have their own tests"""

    def test_not_for_everything(self, tpm: Client) -> None:
        """An entity without a policy is not authorized by one."""
        written(tpm)
        session = start_session(tpm, TPM_SE.POLICY)

        assert write(tpm, session).rc == TPM_RC.AUTH_UNAVAILABLE
        assert tpm.clock_set(TPM_RH.OWNER, new_time=9, sessions=[session]).rc == TPM_RC.AUTH_UNAVAILABLE

    def test_role(self, tpm: Client) -> None:
        """In the role ADMIN a policy must name the command; a password is no way in at all."""
        command = TPM_CC.NV_ChangeAuth.to_bytes(4, "big")
        policy = hashlib.sha256(bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + command).digest()
        written(tpm, policy=policy)

        def change(*sessions: Any) -> int:
            return tpm.nv_change_auth(INDEX, new_auth=b"new", sessions=sessions).rc

        session = start_session(tpm, TPM_SE.POLICY)
        assert change(Password(AUTH)) == TPM_RC.AUTH_TYPE
        assert change(session) == TPM_RC.POLICY_FAIL.session(1)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_ChangeAuth)
        assert change(session) == SUCCESS

    def test_role_without_command(self, tpm: Client) -> None:
        """So a policy that is satisfied, but names no command, does not authorize it."""
        written(tpm, policy=POLICY_AUTH_VALUE)
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_auth_value(session.handle)
        session.auth, session.includes_auth = AUTH, True

        reply = tpm.nv_change_auth(INDEX, new_auth=b"new", sessions=[session])
        assert reply.rc == TPM_RC.POLICY_FAIL.session(1)

    def test_deleted_entity(self, tpm: Client) -> None:
        """The response of a command that deletes the entity is acknowledged without its authValue."""
        code = TPM_CC.NV_UndefineSpaceSpecial.to_bytes(4, "big")
        digest = hashlib.sha256(bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + code).digest()
        digest = hashlib.sha256(digest + TPM_CC.PolicyAuthValue.to_bytes(4, "big")).digest()
        special = SELF.but(PLATFORMCREATE=True, POLICY_DELETE=True)
        assert define(tpm, special, auth=AUTH, policy=digest) == SUCCESS
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_UndefineSpaceSpecial)
        tpm.policy_auth_value(session.handle)
        session.auth, session.includes_auth, session.terse = AUTH, True, False

        reply = tpm.nv_undefine_space_special(INDEX, TPM_RH.PLATFORM, sessions=[session, Password()])

        assert reply.rc == SUCCESS
        session.auth = b""
        session.check(reply)

    def test_bound_and_salted(self, tpm: Client) -> None:
        """A policy session has a key, too, and proves it, but it is bound to nothing."""
        written(tpm, SELF.but(POLICYREAD=True), policy=POLICY_AUTH_VALUE)
        session = start_session(tpm, TPM_SE.POLICY, bind=INDEX, bind_auth=AUTH)
        tpm.policy_auth_value(session.handle)
        assert read(tpm, session).rc == BAD_AUTH
        session.auth, session.includes_auth = AUTH, True

        session.check(read(tpm, session))


class TestDictionaryAttack:
    """Part 1, "Dictionary Attack Protection": which failures count"""

    @pytest.fixture(autouse=True)
    def _protected(self, tpm: Client) -> None:
        written(tpm, PROTECTED.but(POLICYREAD=True), policy=POLICY_AUTH_VALUE)

    def test_hmac(self, tpm: Client) -> None:
        """A wrong HMAC counts as a wrong password does."""
        session = start_session(tpm)
        session.auth = b"wrong"

        assert read(tpm, session).rc == AUTH_FAIL
        assert read(tpm, Password(b"wrong")).rc == AUTH_FAIL
        assert tpm.tpm.lockout.failed_tries == 2

    def test_locked_out(self, tpm: Client) -> None:
        """Nothing that needs the authValue is tried any more."""
        tpm.tpm.lockout.failed_tries = tpm.tpm.lockout.max_tries
        hmac_session, policy = start_session(tpm), start_session(tpm, TPM_SE.POLICY)
        tpm.policy_auth_value(policy.handle)
        policy.includes_auth = True

        for session in (hmac_session, policy):
            session.auth = AUTH
            assert read(tpm, session).rc == TPM_RC.LOCKOUT
        assert read(tpm, Password(AUTH)).rc == TPM_RC.LOCKOUT

    def test_policy_without_auth_value(self, tpm: Client) -> None:
        """A policy that needs no authValue works on."""
        tpm.tpm.owner.auth_policy, tpm.tpm.owner.policy_alg = bytes(32), A.SHA256
        tpm.tpm.lockout.auth_policy, tpm.tpm.lockout.policy_alg = bytes(32), A.SHA256
        tpm.tpm.lockout.failed_tries = tpm.tpm.lockout.max_tries
        tpm.tpm.lockout.auth_enabled = False
        session = start_session(tpm, TPM_SE.POLICY)

        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.LOCKOUT
        assert tpm.dictionary_attack_lock_reset(LOCKOUT, sessions=[session]).rc == SUCCESS
        assert tpm.tpm.lockout.failed_tries == 0

    def test_policy_with_auth_value(self, tpm: Client) -> None:
        """A policy that needs the authValue counts a wrong one."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_auth_value(session.handle)
        session.auth, session.includes_auth = b"wrong", True

        assert read(tpm, session).rc == AUTH_FAIL
        assert tpm.tpm.lockout.failed_tries == 1

    def test_policy_password(self, tpm: Client) -> None:
        """So does one with PolicyPassword, whose digest is the same."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_password(session.handle)
        session.password = b"wrong"

        assert read(tpm, session).rc == AUTH_FAIL
        tpm.policy_restart(session.handle)
        tpm.policy_password(session.handle)
        session.password = AUTH
        session.check(read(tpm, session))
        assert tpm.tpm.lockout.failed_tries == 1

    def test_other_policy(self, tpm: Client) -> None:
        """A policy that does not fit is no guess, and does not count."""
        session = start_session(tpm, TPM_SE.POLICY)

        assert read(tpm, session).rc == TPM_RC.POLICY_FAIL.session(1)
        assert tpm.tpm.lockout.failed_tries == 0

    def test_exempt(self, tpm: Client) -> None:
        """Hierarchies, PCR and whatever has noDA set are exempt, and lockout does not concern them."""
        define(tpm, SELF, handle=INDEX + 1)
        tpm.tpm.owner.auth_value = b"owner"
        tpm.tpm.lockout.failed_tries = tpm.tpm.lockout.max_tries
        wrong = Password(b"wrong")

        assert tpm.clock_set(TPM_RH.OWNER, new_time=9, sessions=[wrong]).rc == BAD_AUTH
        assert tpm.pcr_reset(16, sessions=[wrong]).rc == BAD_AUTH
        other = tpm.nv_write(INDEX + 1, INDEX + 1, data=b"", offset=0, sessions=[wrong])
        assert other.rc == BAD_AUTH
        assert tpm.clock_set(TPM_RH.OWNER, new_time=9, auths=[b"owner"]).rc == SUCCESS

    def test_objects(self, tpm: Client) -> None:
        """A key is protected unless noDA is set."""
        key = put_hmac(tpm, b"key", auth=AUTH)

        def use(auth: bytes) -> int:
            return tpm.mac(key, buffer=b"", in_scheme=A.SHA256, auths=[auth]).rc

        assert use(b"wrong") == BAD_AUTH
        with_attributes(tpm, key, noDA=False)
        assert use(b"wrong") == AUTH_FAIL
        assert use(AUTH) == SUCCESS

    def test_bound_session(self, tpm: Client) -> None:
        """A session bound to a protected entity is a way to guess its authValue, whatever it is used for."""
        session = start_session(tpm, bind=INDEX, bind_auth=b"guess")
        session.attributes = TPMA_SESSION(audit=True, continueSession=True)
        session.authorizes = False

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == AUTH_FAIL
        tpm.tpm.lockout.failed_tries = tpm.tpm.lockout.max_tries
        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.LOCKOUT

    def test_lockout_bound_session(self, tpm: Client) -> None:
        """A session bound to lockout disables lockoutAuth when it fails, and is then of no use itself."""
        tpm.tpm.lockout.auth_value = AUTH
        session = start_session(tpm, bind=LOCKOUT, bind_auth=b"guess")

        assert tpm.pcr_reset(16, sessions=[session]).rc == AUTH_FAIL
        assert not tpm.tpm.lockout.auth_enabled
        assert tpm.tpm.lockout.failed_tries == 0
        assert tpm.pcr_reset(16, sessions=[session]).rc == TPM_RC.LOCKOUT

    def test_durable_before_the_answer(self, tpm: Client) -> None:
        """The count is durable before the caller knows that the guess was wrong."""
        tpm.tpm.changes()
        read(tpm, Password(b"wrong"))

        assert "permanent" in tpm.changes
        tpm.lose_power()
        assert tpm.tpm.lockout.failed_tries == 1


class TestExclusiveAudit:
    """Part 1, Exclusive Audit Session"""

    def random(self, tpm: Client, session: CallerSession, names: str = "audit") -> Reply:
        """An audited command."""
        session.attributes, session.authorizes = attributes(names), False
        reply = tpm.get_random(bytes_requested=4, sessions=[session])
        if reply.rc == SUCCESS:
            session.check(reply)
        return reply

    def is_exclusive(self, reply: Reply) -> bool:
        """Does the response say that the session is the exclusive one?"""
        return TPMA_SESSION(reply.auths[0][1]).auditExclusive

    def test_first_use(self, tpm: Client) -> None:
        """A session is exclusive from its first audit until a command without its audit."""
        session = start_session(tpm)
        assert self.is_exclusive(self.random(tpm, session))
        assert self.is_exclusive(self.random(tpm, session))
        tpm.get_random(bytes_requested=1)

        assert not self.is_exclusive(self.random(tpm, session))
        assert not self.is_exclusive(self.random(tpm, session))

    def test_other_session(self, tpm: Client) -> None:
        """The first audit of another session makes that one exclusive."""
        first, second = start_session(tpm), start_session(tpm)
        self.random(tpm, first)
        assert self.is_exclusive(self.random(tpm, second))
        assert not self.is_exclusive(self.random(tpm, first))

        assert not self.is_exclusive(self.random(tpm, second))

    def test_demanded(self, tpm: Client) -> None:
        """The caller can ask for a command to be executed only while its session is exclusive."""
        session = start_session(tpm)
        assert self.random(tpm, session, "audit auditExclusive").rc == SUCCESS
        assert self.random(tpm, session, "audit auditExclusive").rc == SUCCESS
        tpm.get_random(bytes_requested=1)

        assert self.random(tpm, session, "audit auditExclusive").rc == TPM_RC.EXCLUSIVE
        assert self.random(tpm, session, "audit").rc == SUCCESS

    def test_reset(self, tpm: Client) -> None:
        """A reset begins a new digest, and makes the session exclusive again."""
        session = start_session(tpm)
        self.random(tpm, session)
        tpm.get_random(bytes_requested=1)
        reply = self.random(tpm, session, "audit auditReset auditExclusive")

        assert self.is_exclusive(reply)
        cp_hash = hashlib.sha256(TPM_CC.GetRandom.to_bytes(4, "big") + b"\0\x04").digest()
        rp_hash = hashlib.sha256(bytes(4) + TPM_CC.GetRandom.to_bytes(4, "big") + reply.parameters).digest()
        found = tpm.tpm.volatile.sessions[session.handle & 0xFFFFFF].audit_digest
        assert found == hashlib.sha256(bytes(32) + cp_hash + rp_hash).digest()

    def test_commands_without_sessions(self, tpm: Client) -> None:
        """Commands that cannot have an audit session leave exclusivity alone; refused ones do, too."""
        session, other = start_session(tpm), start_session(tpm)
        self.random(tpm, session)
        tpm.flush_context(flush_handle=other.handle)
        tpm.nv_read(TPM_RH.OWNER, INDEX, size=1, offset=0)

        assert self.is_exclusive(self.random(tpm, session))

    def test_end(self, tpm: Client) -> None:
        """When the session ends, none is exclusive, not even a later one with its handle."""
        session = start_session(tpm)
        self.random(tpm, session)
        tpm.flush_context(flush_handle=session.handle)

        assert tpm.tpm.volatile.exclusive_session == 0


class TestPhysicalPresence:
    """Part 3, 26.2: who must be there"""

    @pytest.mark.parametrize("hierarchy", [TPM_RH.PLATFORM, TPM_RH.FW_PLATFORM, TPM_RH.SVN_PLATFORM_BASE])
    def test_platform(self, tpm: Client, hierarchy: int) -> None:
        """The platform's authorization needs presence, by whatever name the hierarchy is called."""
        tpm.tpm.permanent.physical_presence.add(TPM_CC.CreatePrimary)
        command = BY_HANDLER["create_primary"]
        octets = request_of(command, [hierarchy], Password().octets(command, [], b""), b"")

        assert reply_of(command, tpm.send(octets)).rc == TPM_RC.PP.session(1)
        tpm.tpm.physical_presence = True
        assert reply_of(command, tpm.send(octets)).rc == TPM_RC.INSUFFICIENT.parameter(1)
