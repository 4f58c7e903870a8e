"""Part 1, "Authorizations and Acknowledgments", and Part 3, 5.6: what sessions prove."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, SELF, define
from tests.commands.test_duplication import NO_INNER
from tests.engine.uses import AUTH, Other, read, write, written
from tests.keys import NULL_SIGNATURE_SCHEME, put_ecc, put_hmac, with_attributes
from tests.scenarios import BY_HANDLER, Client, Password, Reply, parameters_of, reply_of, request_of
from tests.sessions import HASHES, start_session
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH, TPM_SE
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC

A = TPM_ALG
PROTECTED = SELF.but(NO_DA=False)
SUCCESS = TPM_RC.SUCCESS
BAD_AUTH = TPM_RC.BAD_AUTH.session(1)
AUTH_FAIL = TPM_RC.AUTH_FAIL.session(1)
LOCKOUT = TPM_RH.LOCKOUT
POLICY_AUTH_VALUE = hashlib.sha256(bytes(32) + TPM_CC.PolicyAuthValue.to_bytes(4, "big")).digest()


def state_of(tpm: Client) -> dict[str, bytes]:
    """Everything that the TPM remembers."""
    return tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()


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

    def test_first_write(self, tpm: Client) -> None:
        """Part 3, 5.9: the response has the key of the command, though the Index has got another Name."""
        define(tpm, auth=AUTH)
        session = start_session(tpm, bind=INDEX, bind_auth=AUTH)
        session.includes_auth = False
        before = tpm.name_of(INDEX)
        session.check(write(tpm, session))
        assert before != tpm.name_of(INDEX)

        assert write(tpm, session).rc == BAD_AUTH
        session.includes_auth, session.auth = True, AUTH
        session.check(write(tpm, session))

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


class TestRoles:
    """Part 3, 5.6, 4 to 7: what a role asks of an object's authorization"""

    CODES = (TPM_RC.AUTH_TYPE, TPM_RC.AUTH_UNAVAILABLE, TPM_RC.POLICY_FAIL.session(1))
    USER, ADMIN, DUP = TPM_CC.HMAC, TPM_CC.ObjectChangeAuth, TPM_CC.Duplicate

    def use(self, tpm: Client, key: int, code: TPM_CC, session: Any) -> int:
        """Use the key in a role; gives the code of the authorization, SUCCESS if what follows it fails."""
        if code is self.USER:
            rc = tpm.mac(key, buffer=b"", in_scheme=A.SHA256, sessions=[session]).rc
        elif code is self.ADMIN:
            rc = tpm.object_change_auth(key, key, new_auth=b"", sessions=[session]).rc
        else:
            nothing: dict[str, Any] = {"encryption_key_in": b"", "symmetric_alg": NO_INNER}
            rc = tpm.duplicate(key, TPM_RH.NULL, sessions=[session], **nothing).rc
        return rc if rc in self.CODES else SUCCESS

    @pytest.mark.parametrize("user_with_auth", [False, True])
    @pytest.mark.parametrize("admin_with_policy", [False, True])
    @pytest.mark.parametrize("code", [USER, ADMIN, DUP], ids=["USER", "ADMIN", "DUP"])
    def test_matrix(
        self,
        tpm: Client,
        code: TPM_CC,
        *,
        user_with_auth: bool,
        admin_with_policy: bool,
    ) -> None:
        """By password and HMAC, by a policy that names the command, and by one that does not."""
        named = hashlib.sha256(
            bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + code.to_bytes(4, "big")
        ).digest()
        marks = {"userWithAuth": user_with_auth, "adminWithPolicy": admin_with_policy}
        found = {}
        for policy in (named, bytes(32)):
            key = put_hmac(tpm)
            item = tpm.tpm.volatile.objects[key]
            assert isinstance(item, Object)
            attributes = item.public.object_attributes.but(**marks)
            item.public = replace(item.public, object_attributes=attributes, auth_policy=policy)
            session = start_session(tpm, TPM_SE.POLICY)
            if policy is named:
                tpm.policy_command_code(session.handle, code=code).check()
            found[policy is named] = self.use(tpm, key, code, session)
            by_auth = [self.use(tpm, key, code, by) for by in (Password(), start_session(tpm))]
            tpm.tpm.volatile.sessions.clear()

        refused = TPM_RC.POLICY_FAIL.session(1)
        assert found == {True: SUCCESS, False: SUCCESS if code is self.USER else refused}
        expected: int = SUCCESS
        if code is self.DUP or (code is self.ADMIN and admin_with_policy):
            expected = TPM_RC.AUTH_TYPE
        elif code is self.USER and not user_with_auth:
            expected = TPM_RC.AUTH_UNAVAILABLE
        assert by_auth == [expected] * 2

    @pytest.mark.parametrize("code", [USER, ADMIN], ids=["USER", "ADMIN"])
    def test_public_part(self, tpm: Client, code: TPM_CC) -> None:
        """5.6, 1: without its sensitive area an object authorizes nothing, in whatever way."""
        key = put_hmac(tpm)
        item = tpm.tpm.volatile.objects[key]
        assert isinstance(item, Object)
        item.sensitive = None
        sessions = [Password(), start_session(tpm), start_session(tpm, TPM_SE.POLICY)]

        assert {self.use(tpm, key, code, session) for session in sessions} == {TPM_RC.AUTH_UNAVAILABLE}


class TestPinByPolicy:
    """Part 1, 34.2.6 and 34.2.8: the authValue of a PIN Index, asked for by a policy"""

    KINDS = (TPM_NT.PIN_PASS, TPM_NT.PIN_FAIL)
    MOST = 0xFFFFFFFF

    def define_pin(self, tpm: Client, kind: TPM_NT, count: int, limit: int) -> None:
        """A PIN Index whose policy is PolicyAuthValue; a limit of 0 leaves it unwritten."""
        kinds = TPMA_NV(
            TPM_NT=kind, OWNERREAD=True, OWNERWRITE=True, POLICYREAD=True, POLICYWRITE=True, NO_DA=True
        )
        assert define(tpm, kinds, auth=AUTH, policy=POLICY_AUTH_VALUE) == SUCCESS
        if limit:
            data = count.to_bytes(4, "big") + limit.to_bytes(4, "big")
            tpm.nv_write(TPM_RH.OWNER, INDEX, data=data, offset=0).check()

    def use(self, tpm: Client, auth: bytes, *, writes: bool = False) -> int:
        """Read or write the Index by its policy."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_auth_value(session.handle).check()
        session.auth, session.includes_auth = auth, True
        rc = (write if writes else read)(tpm, session).rc
        tpm.flush_context(flush_handle=session.handle)
        return rc

    def count(self, tpm: Client) -> int:
        """The PIN count."""
        data = tpm.nv_read(TPM_RH.OWNER, INDEX, size=8, offset=0).data
        return int.from_bytes(data[:4], "big")

    def test_pass(self, tpm: Client) -> None:
        """Each success counts, until the limit is reached."""
        self.define_pin(tpm, TPM_NT.PIN_PASS, 0, 2)

        assert self.use(tpm, b"wrong") == BAD_AUTH
        assert [self.use(tpm, AUTH) for _ in range(3)] == [SUCCESS, SUCCESS, TPM_RC.AUTH_UNAVAILABLE]
        assert self.count(tpm) == 2

    def test_fail(self, tpm: Client) -> None:
        """Each failure counts, until the limit is reached; a success forgives them."""
        self.define_pin(tpm, TPM_NT.PIN_FAIL, 0, 2)

        assert [self.use(tpm, auth) for auth in (b"wrong", AUTH, b"wrong", b"wrong")] == [
            BAD_AUTH,
            SUCCESS,
            BAD_AUTH,
            BAD_AUTH,
        ]
        assert self.use(tpm, AUTH) == TPM_RC.AUTH_UNAVAILABLE
        assert self.count(tpm) == 2

    @pytest.mark.parametrize("kind", KINDS)
    def test_first_write(self, tpm: Client, kind: TPM_NT) -> None:
        """Neither PolicyAuthValue nor PolicyPassword can be part of the policy of the first write."""
        self.define_pin(tpm, kind, 0, 0)

        assert self.use(tpm, AUTH, writes=True) == TPM_RC.AUTH_UNAVAILABLE

    @pytest.mark.parametrize("kind", KINDS)
    def test_greatest_count(self, tpm: Client, kind: TPM_NT) -> None:
        """A count never goes beyond the limit, so it never overflows."""
        self.define_pin(tpm, kind, self.MOST, self.MOST)

        assert [self.use(tpm, auth) for auth in (b"wrong", AUTH)] == [TPM_RC.AUTH_UNAVAILABLE] * 2
        assert self.count(tpm) == self.MOST


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
