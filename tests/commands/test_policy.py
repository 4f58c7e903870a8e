"""Part 3, clause 23: enhanced authorization: the conditions that a policy session accumulates."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, OWNED, SELF, define
from tests.commands.test_pcr import digests, selection
from tests.objects import SEALED, creation
from tests.scenarios import Client, Reply, reply_of, request_of
from tests.sessions import CallerSession, start_session
from vtpm.commands import COMMANDS
from vtpm.spec.attributes import TPMA_LOCALITY, TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_EO, TPM_PT, TPM_RH, TPM_SE, TPM_SU
from vtpm.state.profile import DEFAULT, SWTPM_COMPATIBLE, Profile
from vtpm.wire.error import TPM_RC

A = TPM_ALG
POLICY = TPMA_NV(POLICYREAD=True, POLICYWRITE=True, OWNERREAD=True, OWNERWRITE=True, NO_DA=True)
DIGEST = hashlib.sha256(b"something").digest()
OTHER = hashlib.sha256(b"something else").digest()


@pytest.fixture
def session(tpm: Client) -> CallerSession:
    """A policy session."""
    return start_session(tpm, TPM_SE.POLICY)


@pytest.fixture
def trial(tpm: Client) -> CallerSession:
    """A trial session."""
    return start_session(tpm, TPM_SE.TRIAL)


def digest_of(tpm: Client, session: CallerSession) -> bytes:
    """What a session has accumulated."""
    return bytes(tpm.policy_get_digest(session.handle).policy_digest)


def extended(code: TPM_CC, *parts: bytes, old: bytes = bytes(32)) -> bytes:
    """A policy digest after one more assertion."""
    return hashlib.sha256(old + code.to_bytes(4, "big") + b"".join(parts)).digest()


Send = Callable[[Client, CallerSession], Reply]


def policy_of(tpm: Client, *assertions: Send) -> bytes:
    """The policy that assertions make in a trial session."""
    session = start_session(tpm, TPM_SE.TRIAL)
    for send in assertions:
        assert send(tpm, session).rc == TPM_RC.SUCCESS
    policy = digest_of(tpm, session)
    tpm.tpm.flush_session(tpm.tpm.volatile.sessions[session.handle & 0xFFFFFF])
    return policy


def define_with(tpm: Client, *assertions: Send, auth: bytes = b"", attributes: TPMA_NV = POLICY) -> None:
    """Define an Index with the policy that assertions make, and write it."""
    assert define(tpm, attributes, policy=policy_of(tpm, *assertions), auth=auth) == TPM_RC.SUCCESS
    assert tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0).rc == TPM_RC.SUCCESS


def read_with(tpm: Client, session: CallerSession, locality: int = 0, size: int = 8) -> int:
    """Read the Index with a policy session."""
    reply = tpm.nv_read(INDEX, INDEX, size=size, offset=0, sessions=[session], locality=locality)
    if reply.rc == TPM_RC.SUCCESS:
        session.check(reply)
    return reply.rc


def asserting(command: str, **parameters: Any) -> Send:
    """An assertion to be sent."""
    return lambda tpm, session: getattr(tpm, command)(session.handle, **parameters)


def asserting_locality(bits: int) -> Send:
    """PolicyLocality, whose parameter is called like the locality that a command comes from."""
    given = {"locality": TPMA_LOCALITY(bits)}
    return lambda tpm, session: tpm.call(COMMANDS[TPM_CC.PolicyLocality], (session.handle,), [], [], 0, given)


FAIL = TPM_RC.POLICY_FAIL.session(1)


class TestUse:
    """Part 1, Policy Session: when a policy authorizes"""

    def test_satisfied(self, tpm: Client, session: CallerSession) -> None:
        """The session has what the entity asks for; with its use, it begins again."""
        command = asserting("policy_command_code", code=TPM_CC.NV_Read)
        define_with(tpm, command)
        command(tpm, session)

        assert read_with(tpm, session) == TPM_RC.SUCCESS
        assert digest_of(tpm, session) == bytes(32)
        assert read_with(tpm, session) == FAIL

    def test_time_begins_again(self, tpm: Client, session: CallerSession) -> None:
        """With its use the session has a new nonce, from which expirations count."""
        define_with(tpm)
        tpm.wait(1000)
        assert read_with(tpm, session) == TPM_RC.SUCCESS

        assert tpm.tpm.volatile.sessions[0].start_time == 1000

    def test_not_satisfied(self, tpm: Client, session: CallerSession) -> None:
        """A session that has accumulated anything else does not authorize."""
        define_with(tpm, asserting("policy_command_code", code=TPM_CC.NV_Read))

        assert read_with(tpm, session) == FAIL
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Read)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Read)
        assert read_with(tpm, session) == FAIL

    def test_other_hash(self, tpm: Client) -> None:
        """The hash of the session is that of the policy."""
        session = start_session(tpm, TPM_SE.POLICY, alg=A.SHA384)
        define(tpm, POLICY, policy=bytes(32))
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)

        assert read_with(tpm, session) == FAIL

    def test_trial(self, tpm: Client, trial: CallerSession) -> None:
        """23.1: a trial session computes a policy, and authorizes nothing."""
        define_with(tpm)

        assert read_with(tpm, trial) == TPM_RC.ATTRIBUTES.session(1)

    @pytest.mark.parametrize(
        "command",
        ["policy_auth_value", "policy_password", "policy_physical_presence", "policy_get_digest"],
    )
    def test_hmac_session(self, tpm: Client, command: str) -> None:
        """Only a policy session has a policy."""
        session = start_session(tpm)

        assert getattr(tpm, command)(session.handle).rc == TPM_RC.VALUE.handle(1)


class TestOr:
    """23.6"""

    @pytest.mark.parametrize("position", [0, 1, 7])
    def test_alternative(self, tpm: Client, session: CallerSession, position: int) -> None:
        """One of two to eight alternatives is what has been accumulated; the digest begins anew from all."""
        alternatives = [hashlib.sha256(bytes([n])).digest() for n in range(8)]
        alternatives[position] = bytes(32)

        assert tpm.policy_or(session.handle, p_hash_list=tuple(alternatives)).rc == TPM_RC.SUCCESS
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyOR, *alternatives)

    def test_none(self, tpm: Client, session: CallerSession, trial: CallerSession) -> None:
        """If it is none of them, the session stays as it was; a trial session takes any."""
        alternatives = (DIGEST, OTHER)

        assert tpm.policy_or(session.handle, p_hash_list=alternatives).rc == TPM_RC.VALUE.parameter(1)
        assert digest_of(tpm, session) == bytes(32)
        assert tpm.policy_or(trial.handle, p_hash_list=alternatives).rc == TPM_RC.SUCCESS

    def test_other_conditions_stay(self, tpm: Client, session: CallerSession) -> None:
        """What the alternative demanded of the command is still demanded."""
        read, write = (policy_of(tpm, asserting("policy_command_code", code=code)) for code in READ_OR_WRITE)
        either = asserting("policy_or", p_hash_list=(read, write))
        define_with(tpm, either)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Write)
        either(tpm, session)

        assert read_with(tpm, session) == TPM_RC.POLICY_CC.session(1)


READ_OR_WRITE = (TPM_CC.NV_Read, TPM_CC.NV_Write)


class TestPcr:
    """23.7"""

    ZERO = hashlib.sha256(bytes(64)).digest()
    TWO = (selection(A.SHA256, 0, 7),)

    def test_digest(self, tpm: Client, session: CallerSession) -> None:
        """The digest has the selection and the digest of the values."""
        reply = tpm.policy_pcr(session.handle, pcr_digest=b"", pcrs=self.TWO)

        assert reply.rc == TPM_RC.SUCCESS
        selected = bytes.fromhex("00000001000b03810000")
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyPCR, selected, self.ZERO)

    @pytest.mark.parametrize(
        ("wanted", "expected"), [(ZERO, TPM_RC.SUCCESS), (DIGEST, TPM_RC.VALUE.parameter(1)), (b"x", 0x1C4)]
    )
    def test_wanted(self, tpm: Client, session: CallerSession, wanted: bytes, expected: int) -> None:
        """The PCR must have the values that the caller expects."""
        assert tpm.policy_pcr(session.handle, pcr_digest=wanted, pcrs=self.TWO).rc == expected

    def test_trial(self, tpm: Client, trial: CallerSession) -> None:
        """A trial session takes the caller's digest."""
        tpm.policy_pcr(trial.handle, pcr_digest=DIGEST, pcrs=self.TWO)

        selected = bytes.fromhex("00000001000b03810000")
        assert digest_of(tpm, trial) == extended(TPM_CC.PolicyPCR, selected, DIGEST)

    def test_absent_pcr(self, tpm: Client, session: CallerSession, trial: CallerSession) -> None:
        """PCR that do not exist are left out of the selection, also of a trial session's."""
        pcrs = (selection(A.SHA256, 0, 7), selection(A.SHA3_256, 0))
        selected = bytes.fromhex("00000002000b03810000002703000000")
        for policy in (session, trial):
            tpm.policy_pcr(policy.handle, pcr_digest=b"", pcrs=pcrs).check()

            assert digest_of(tpm, policy) == extended(TPM_CC.PolicyPCR, selected, self.ZERO)

    def test_change(self, tpm: Client, session: CallerSession) -> None:
        """A change of PCR after PolicyPCR voids the session, until it is restarted."""
        assertion = asserting("policy_pcr", pcr_digest=b"", pcrs=(selection(A.SHA256, 8),))
        define_with(tpm, assertion)
        assertion(tpm, session)
        tpm.pcr_extend(0, digests=digests(b"event"))

        assert read_with(tpm, session) == TPM_RC.PCR_CHANGED
        assert assertion(tpm, session).rc == TPM_RC.PCR_CHANGED
        tpm.policy_restart(session.handle)
        assertion(tpm, session)
        assert read_with(tpm, session) == TPM_RC.SUCCESS

    def test_full_counter(self, tpm: Client, session: CallerSession) -> None:
        """A change that pcrUpdateCounter has no room for ends in failure mode, not in a policy that holds."""
        assertion = asserting("policy_pcr", pcr_digest=b"", pcrs=(selection(A.SHA256, 8),))
        define_with(tpm, assertion)
        tpm.tpm.reset.pcr_counter = 0xFFFFFFFF
        assertion(tpm, session)

        assert tpm.pcr_extend(0, digests=digests(b"event")).rc == TPM_RC.FAILURE
        assert read_with(tpm, session) == TPM_RC.FAILURE

    def test_change_that_does_not_count(self, tpm: Client, session: CallerSession) -> None:
        """Some PCR change without an effect on policies."""
        assertion = asserting("policy_pcr", pcr_digest=b"", pcrs=(selection(A.SHA256, 8),))
        define_with(tpm, assertion)
        assertion(tpm, session)
        tpm.pcr_extend(16, digests=digests(b"event"))

        assert read_with(tpm, session) == TPM_RC.SUCCESS


class TestLocality:
    """23.8"""

    @pytest.mark.parametrize(
        ("wanted", "localities"),
        [(0x1F, {0, 1, 2, 3, 4}), (0x01, {0}), (0x18, {3, 4}), (0x20, {32}), (0xFF, {255})],
    )
    def test_use(self, tpm: Client, wanted: int, localities: set[int]) -> None:
        """The command must come from one of the localities."""
        assertion = asserting_locality(wanted)
        define_with(tpm, assertion)

        for locality in (0, 1, 2, 3, 4, 32, 255):
            session = start_session(tpm, TPM_SE.POLICY)
            assertion(tpm, session)
            expected = TPM_RC.SUCCESS if locality in localities else TPM_RC.LOCALITY
            assert read_with(tpm, session, locality) == expected

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            (0x1F, 0x01, TPM_RC.SUCCESS),
            (0x03, 0x06, TPM_RC.SUCCESS),
            (0x01, 0x02, TPM_RC.RANGE.parameter(1)),
            (0x01, 0x00, TPM_RC.RANGE.parameter(1)),
            (0x01, 0x20, TPM_RC.RANGE.parameter(1)),
            (0x20, 0x01, TPM_RC.RANGE.parameter(1)),
            (0x20, 0x20, TPM_RC.SUCCESS),
            (0x20, 0x21, TPM_RC.RANGE.parameter(1)),
        ],
    )
    def test_twice(self, tpm: Client, session: CallerSession, first: int, second: int, expected: int) -> None:
        """A second assertion narrows the first, but must leave a locality."""
        asserting_locality(first)(tpm, session)

        assert asserting_locality(second)(tpm, session).rc == expected

    def test_narrowed(self, tpm: Client, session: CallerSession) -> None:
        """Only the localities of both assertions remain."""
        both = [asserting_locality(bits) for bits in (0x03, 0x06)]
        define_with(tpm, *both)
        for assertion in both:
            assertion(tpm, session)

        assert read_with(tpm, session, 0) == TPM_RC.LOCALITY
        assert read_with(tpm, session, 1) == TPM_RC.SUCCESS


class TestCommandCode:
    """23.11"""

    def test_other_command(self, tpm: Client, session: CallerSession) -> None:
        """The policy is for one command."""
        assertion = asserting("policy_command_code", code=TPM_CC.NV_Write)
        define_with(tpm, assertion)
        assertion(tpm, session)

        assert read_with(tpm, session) == TPM_RC.POLICY_CC.session(1)

    def test_twice(self, tpm: Client, session: CallerSession) -> None:
        """It can be said again, but not otherwise."""
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Read)

        assert tpm.policy_command_code(session.handle, code=TPM_CC.NV_Read).rc == TPM_RC.SUCCESS
        assert tpm.policy_command_code(session.handle, code=TPM_CC.NV_Write).rc == TPM_RC.VALUE.parameter(1)

    @pytest.mark.parametrize("code", [0, 0x123, 0x20000000, 0xFFFFFFFF])
    def test_unknown(self, tpm: Client, session: CallerSession, code: int) -> None:
        """The command must exist."""
        assert tpm.policy_command_code(session.handle, code=code).rc == TPM_RC.POLICY_CC.parameter(1)


class TestPhysicalPresence:
    """23.12"""

    def test_use(self, tpm: Client) -> None:
        """Somebody must be there when the command is executed."""
        assertion = asserting("policy_physical_presence")
        define_with(tpm, assertion)
        for present, expected in ((False, TPM_RC.PP.session(1)), (True, TPM_RC.SUCCESS)):
            session = start_session(tpm, TPM_SE.POLICY)
            assertion(tpm, session)
            tpm.tpm.physical_presence = present
            assert read_with(tpm, session) == expected


HASHED = {
    "policy_cp_hash": "cp_hash_a",
    "policy_name_hash": "name_hash",
    "policy_template": "template_hash",
    "policy_parameters": "p_hash",
}
"""The commands that bind a session to a hash, and their arguments."""


class TestHashes:
    """23.13, 23.14, 23.21 and 23.24: a policy for a command with given Names, parameters or template"""

    @pytest.mark.parametrize(("command", "argument"), HASHED.items())
    def test_size(self, tpm: Client, session: CallerSession, command: str, argument: str) -> None:
        """The hash is as long as the session's digest."""
        for size in (0, 20, 31, 33):
            reply = getattr(tpm, command)(session.handle, **{argument: bytes(size)})
            assert reply.rc == TPM_RC.SIZE.parameter(1)

    @pytest.mark.parametrize("first", HASHED)
    @pytest.mark.parametrize("second", HASHED)
    def test_one_of_them(self, tpm: Client, session: CallerSession, first: str, second: str) -> None:
        """A session has one hash; only cpHash and template can be given again, the same."""
        send = getattr(tpm, first)
        assert send(session.handle, **{HASHED[first]: DIGEST}).rc == TPM_RC.SUCCESS
        again = getattr(tpm, second)(session.handle, **{HASHED[second]: DIGEST})
        other = getattr(tpm, second)(session.handle, **{HASHED[second]: OTHER})

        repeats = first == second and first in ("policy_cp_hash", "policy_template")
        assert again.rc == (TPM_RC.SUCCESS if repeats else TPM_RC.CPHASH)
        templates = first == second == "policy_template"
        assert other.rc == (TPM_RC.VALUE.parameter(1) if templates else TPM_RC.CPHASH)

    def test_cp_hash(self, tpm: Client) -> None:
        """The Index's policy cannot have its own Name, so the owner's has it."""
        define(tpm, OWNED)
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)
        names = TPM_RH.OWNER.to_bytes(4, "big") + tpm.name_of(INDEX)
        cp_hash = hashlib.sha256(TPM_CC.NV_Read.to_bytes(4, "big") + names + b"\0\x08\0\0").digest()
        assertion = asserting("policy_cp_hash", cp_hash_a=cp_hash)
        tpm.tpm.owner.auth_policy, tpm.tpm.owner.policy_alg = policy_of(tpm, assertion), A.SHA256

        for size, expected in ((8, TPM_RC.SUCCESS), (7, FAIL)):
            session = start_session(tpm, TPM_SE.POLICY)
            assertion(tpm, session)
            reply = tpm.nv_read(TPM_RH.OWNER, INDEX, size=size, offset=0, sessions=[session])
            assert reply.rc == expected

    def test_name_hash(self, tpm: Client) -> None:
        """The Names must be right, the parameters may be any."""
        for handle in (INDEX, INDEX + 1):
            define(tpm, OWNED, handle=handle)
            tpm.nv_write(TPM_RH.OWNER, handle, data=b"12345678", offset=0)
        names = TPM_RH.OWNER.to_bytes(4, "big") + tpm.name_of(INDEX)
        assertion = asserting("policy_name_hash", name_hash=hashlib.sha256(names).digest())
        tpm.tpm.owner.auth_policy, tpm.tpm.owner.policy_alg = policy_of(tpm, assertion), A.SHA256

        for handle, size, expected in ((INDEX, 8, 0), (INDEX, 7, 0), (INDEX + 1, 8, FAIL)):
            session = start_session(tpm, TPM_SE.POLICY)
            assertion(tpm, session)
            reply = tpm.nv_read(TPM_RH.OWNER, handle, size=size, offset=0, sessions=[session])
            assert reply.rc == expected

    def test_parameters(self, tpm: Client) -> None:
        """The parameters must be right, whatever the Names are."""
        p_hash = hashlib.sha256(TPM_CC.NV_Read.to_bytes(4, "big") + b"\0\x08\0\0").digest()
        assertion = asserting("policy_parameters", p_hash=p_hash)
        define_with(tpm, assertion)

        for size, expected in ((8, TPM_RC.SUCCESS), (7, FAIL)):
            session = start_session(tpm, TPM_SE.POLICY)
            assertion(tpm, session)
            assert read_with(tpm, session, size=size) == expected

    @pytest.mark.parametrize("other", [False, True])
    def test_template(self, tpm: Client, session: CallerSession, other: bool) -> None:  # noqa: FBT001
        """The template must be right, whatever else the object is made with."""
        octets = bytes.fromhex(SEALED)
        if other:
            octets += b"x"
        assertion = asserting("policy_template", template_hash=hashlib.sha256(octets).digest())
        tpm.tpm.owner.auth_policy, tpm.tpm.owner.policy_alg = policy_of(tpm, assertion), A.SHA256
        assertion(tpm, session)

        reply = tpm.create_primary(TPM_RH.OWNER, sessions=[session], **creation(SEALED, b"sealed"))
        assert reply.rc == (FAIL if other else TPM_RC.SUCCESS)

    @pytest.mark.parametrize("parameters", [b"", b"\0", b"\0\x09x", b"\0\0", b"\0\0\0", b"\0\0\0\x05xxxx"])
    def test_no_template(self, tpm: Client, session: CallerSession, parameters: bytes) -> None:
        """Parameters that end before the template does have none."""
        assertion = asserting("policy_template", template_hash=hashlib.sha256(b"").digest())
        tpm.tpm.owner.auth_policy, tpm.tpm.owner.policy_alg = policy_of(tpm, assertion), A.SHA256
        assertion(tpm, session)
        command = COMMANDS[TPM_CC.CreatePrimary]
        area = session.octets(command, [tpm.name_of(TPM_RH.OWNER)], parameters)

        reply = reply_of(command, tpm.send(request_of(command, [TPM_RH.OWNER], area, parameters)))
        assert reply.rc == FAIL

    def test_template_of_other_command(self, tpm: Client, session: CallerSession) -> None:
        """A command that creates nothing has no template."""
        assertion = asserting("policy_template", template_hash=DIGEST)
        define_with(tpm, assertion)
        assertion(tpm, session)

        assert read_with(tpm, session) == FAIL


class TestDuplicationSelect:
    """23.15"""

    OBJECT, PARENT = b"\0\x0b" + DIGEST, b"\0\x0b" + OTHER

    @pytest.mark.parametrize(("include", "included"), [(1, OBJECT), (0, b"")])
    def test_digest(self, tpm: Client, session: CallerSession, include: int, included: bytes) -> None:
        """The object's Name is part of the policy if it is to be."""
        reply = tpm.policy_duplication_select(
            session.handle, object_name=self.OBJECT, new_parent_name=self.PARENT, include_object=bool(include)
        )

        assert reply.rc == TPM_RC.SUCCESS
        parts = (included, self.PARENT, bytes([include]))
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyDuplicationSelect, *parts)
        policy = tpm.tpm.volatile.sessions[0].the_policy
        assert policy.command_code == TPM_CC.Duplicate
        assert policy.bound_hash == hashlib.sha256(self.OBJECT + self.PARENT).digest()

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            (asserting("policy_cp_hash", cp_hash_a=DIGEST), TPM_RC.CPHASH),
            (asserting("policy_command_code", code=TPM_CC.NV_Read), TPM_RC.COMMAND_CODE),
        ],
    )
    def test_after_others(self, tpm: Client, session: CallerSession, before: Send, expected: int) -> None:
        """A session that is for another command, or has a hash already, is refused."""
        before(tpm, session)
        reply = tpm.policy_duplication_select(
            session.handle, object_name=b"", new_parent_name=self.PARENT, include_object=False
        )

        assert reply.rc == expected


class TestAuthValue:
    """23.17 and 23.18"""

    def test_auth_value(self, tpm: Client, session: CallerSession) -> None:
        """The authValue is part of the HMAC's key."""
        assertion = asserting("policy_auth_value")
        define_with(tpm, assertion, auth=b"secret")
        for auth, expected in ((b"wrong", TPM_RC.BAD_AUTH.session(1)), (b"secret", TPM_RC.SUCCESS)):
            tpm.policy_restart(session.handle)
            assertion(tpm, session)
            session.auth, session.includes_auth = auth, True
            assert read_with(tpm, session) == expected

    def test_password(self, tpm: Client, session: CallerSession) -> None:
        """The authValue is in the place of the HMAC; the response has none."""
        assertion = asserting("policy_password")
        define_with(tpm, assertion, auth=b"secret")
        for password, expected in ((b"wrong", TPM_RC.BAD_AUTH.session(1)), (b"secret", TPM_RC.SUCCESS)):
            tpm.policy_restart(session.handle)
            assertion(tpm, session)
            session.password = password
            assert read_with(tpm, session) == expected

    @pytest.mark.parametrize(
        "order", [("policy_password", "policy_auth_value"), ("policy_auth_value", "policy_password")]
    )
    def test_last_one_counts(self, tpm: Client, session: CallerSession, order: tuple[str, str]) -> None:
        """Of both, the last one says how the authValue is shown; the digest is the same."""
        for command in order:
            getattr(tpm, command)(session.handle)

        policy = tpm.tpm.volatile.sessions[0].the_policy
        assert (policy.auth_value_needed, policy.password_needed) == (
            order[1] == "policy_auth_value",
            order[1] == "policy_password",
        )
        once = extended(TPM_CC.PolicyAuthValue)
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyAuthValue, old=once)


class TestNvWritten:
    """23.20"""

    @pytest.mark.parametrize(("written_set", "expected"), [(1, TPM_RC.SUCCESS), (0, FAIL)])
    def test_use(self, tpm: Client, session: CallerSession, written_set: int, expected: int) -> None:
        """The Index that is authorized has been written, or has not."""
        assertion = asserting("policy_nv_written", written_set=bool(written_set))
        define_with(tpm, assertion)
        assertion(tpm, session)

        assert read_with(tpm, session) == expected

    def test_first_write(self, tpm: Client, session: CallerSession) -> None:
        """A policy by which an Index is written only once."""
        assertion = asserting("policy_nv_written", written_set=False)
        define(tpm, POLICY, policy=policy_of(tpm, assertion))
        for expected in (TPM_RC.SUCCESS, FAIL):
            tpm.policy_restart(session.handle)
            assertion(tpm, session)
            reply = tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session])
            assert reply.rc == expected
            if reply.rc == TPM_RC.SUCCESS:
                session.check(reply)

    def test_twice(self, tpm: Client, session: CallerSession) -> None:
        """It cannot be both."""
        tpm.policy_nv_written(session.handle, written_set=True)

        assert tpm.policy_nv_written(session.handle, written_set=True).rc == TPM_RC.SUCCESS
        assert tpm.policy_nv_written(session.handle, written_set=False).rc == TPM_RC.VALUE.parameter(1)

    def test_other_entity(self, tpm: Client, session: CallerSession) -> None:
        """Only an Index can have been written."""
        assertion = asserting("policy_nv_written", written_set=False)
        tpm.tpm.owner.auth_policy, tpm.tpm.owner.policy_alg = policy_of(tpm, assertion), A.SHA256
        assertion(tpm, session)

        assert tpm.nv_global_write_lock(TPM_RH.OWNER, sessions=[session]).rc == FAIL


OPERATIONS: list[tuple[TPM_EO, list[bool]]] = [
    (TPM_EO.EQ, [False, True, False]),
    (TPM_EO.NEQ, [True, False, True]),
    (TPM_EO.SIGNED_GT, [False, False, True]),
    (TPM_EO.UNSIGNED_GT, [True, False, True]),
    (TPM_EO.SIGNED_LT, [True, False, False]),
    (TPM_EO.UNSIGNED_LT, [False, False, False]),
    (TPM_EO.SIGNED_GE, [False, True, True]),
    (TPM_EO.UNSIGNED_GE, [True, True, True]),
    (TPM_EO.SIGNED_LE, [True, True, False]),
    (TPM_EO.UNSIGNED_LE, [False, True, False]),
    (TPM_EO.BITSET, [False, True, True]),
    (TPM_EO.BITCLEAR, [True, False, False]),
]
"""How 0xFF80, 0x0001 and 0x0003 compare with 0x0001."""


class TestNv:
    """23.9"""

    def compare(
        self, tpm: Client, session: CallerSession, operand: bytes, offset: int = 0, **given: Any
    ) -> int:
        """PolicyNV with the authorization of the Index itself."""
        operation = given.get("operation", TPM_EO.EQ)
        auth = given.get("auth", INDEX)
        return tpm.policy_nv(
            auth, INDEX, session.handle, operand_b=operand, offset=offset, operation=operation
        ).rc

    @pytest.mark.parametrize(("operation", "expected"), OPERATIONS)
    def test_operations(
        self, tpm: Client, session: CallerSession, operation: TPM_EO, expected: list[bool]
    ) -> None:
        """Every comparison, signed and unsigned."""
        define(tpm, SELF)
        for data, holds in zip((b"\xff\x80", b"\0\1", b"\0\3"), expected, strict=True):
            tpm.nv_write(INDEX, INDEX, data=data, offset=3)
            code = self.compare(tpm, session, b"\0\1", 3, operation=operation)
            assert code == (TPM_RC.SUCCESS if holds else TPM_RC.POLICY)

    @pytest.mark.parametrize(
        ("profile", "expected"), [(DEFAULT, [False, True]), (SWTPM_COMPATIBLE, [True, False])]
    )
    def test_negative(self, profile: Profile, expected: list[bool]) -> None:
        """Of two negative values, an earlier revision takes the one of less magnitude for the lesser one."""
        tpm = Client(profile=profile)
        session = start_session(tpm, TPM_SE.POLICY)
        define(tpm, SELF)
        tpm.nv_write(INDEX, INDEX, data=b"\x81", offset=0)

        for operation, holds in zip((TPM_EO.SIGNED_GT, TPM_EO.SIGNED_LT), expected, strict=True):
            code = self.compare(tpm, session, b"\x82", operation=operation)
            assert code == (TPM_RC.SUCCESS if holds else TPM_RC.POLICY)

    @pytest.mark.parametrize("operand", [b"\x7f\x7e", b"\0\0"])
    def test_bits_clear(self, tpm: Client, session: CallerSession, operand: bytes) -> None:
        """BITCLEAR: none of the operand's bits is set."""
        define(tpm, SELF)
        tpm.nv_write(INDEX, INDEX, data=b"\x80\x81", offset=0)

        assert self.compare(tpm, session, operand, operation=TPM_EO.BITCLEAR) == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("operand", "offset", "expected"),
        [
            (b"", 8, TPM_RC.SUCCESS),
            (b"", 9, TPM_RC.VALUE.parameter(2)),
            (b"xx", 7, TPM_RC.SIZE.parameter(1)),
            (b"12345678", 0, TPM_RC.SUCCESS),
            (b"12345679", 0, TPM_RC.POLICY),
        ],
    )
    def test_range(
        self, tpm: Client, session: CallerSession, operand: bytes, offset: int, expected: int
    ) -> None:
        """The operand lies within the Index."""
        define(tpm, SELF)
        tpm.nv_write(INDEX, INDEX, data=b"12345678", offset=0)

        assert self.compare(tpm, session, operand, offset) == expected

    def test_digest(self, tpm: Client, session: CallerSession) -> None:
        """The policy has the arguments and the Name of the Index."""
        define(tpm, SELF)
        tpm.nv_write(INDEX, INDEX, data=b"12345678", offset=0)
        self.compare(tpm, session, b"23", 1)

        arguments = hashlib.sha256(b"23" + b"\0\1" + b"\0\0").digest()
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyNV, arguments, tpm.name_of(INDEX))

    @pytest.mark.parametrize(
        ("attributes", "auth", "expected"),
        [
            (SELF, TPM_RH.OWNER, TPM_RC.NV_AUTHORIZATION),
            (OWNED, INDEX, TPM_RC.AUTH_UNAVAILABLE),
            (OWNED, TPM_RH.OWNER, TPM_RC.SUCCESS),
        ],
    )
    def test_who_may_read(
        self, tpm: Client, session: CallerSession, attributes: TPMA_NV, auth: int, expected: int
    ) -> None:
        """Who may not read the Index may not compare it."""
        define(tpm, attributes)
        tpm.nv_write(INDEX if attributes == SELF else TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)

        assert self.compare(tpm, session, b"1", auth=auth) == expected

    def test_unwritten(self, tpm: Client, session: CallerSession, trial: CallerSession) -> None:
        """There is nothing to compare; a trial session does not compare."""
        define(tpm, SELF)

        assert self.compare(tpm, session, b"") == TPM_RC.NV_UNINITIALIZED
        assert self.compare(tpm, trial, b"x") == TPM_RC.SUCCESS


class TestCounterTimer:
    """23.10"""

    @pytest.mark.parametrize(
        ("operand", "offset", "operation", "expected"),
        [
            (5000, 0, TPM_EO.UNSIGNED_GE, TPM_RC.SUCCESS),
            (5001, 0, TPM_EO.UNSIGNED_GE, TPM_RC.POLICY),
            (5001, 8, TPM_EO.UNSIGNED_LT, TPM_RC.SUCCESS),
            (0, 17, TPM_EO.EQ, TPM_RC.POLICY),
            (0, 18, TPM_EO.EQ, TPM_RC.RANGE),
            (0, 26, TPM_EO.EQ, TPM_RC.VALUE.parameter(2)),
        ],
    )
    def test_time(
        self, tpm: Client, session: CallerSession, operand: int, offset: int, operation: TPM_EO, expected: int
    ) -> None:
        """Time at 0, Clock at 8, the counters and safe after them."""
        tpm.wait(5000)
        reply = tpm.policy_counter_timer(
            session.handle, operand_b=operand.to_bytes(8, "big"), offset=offset, operation=operation
        )

        assert reply.rc == expected

    def expire(self, tpm: Client, session: CallerSession, operand: bytes, offset: int = 0) -> int:
        """Time before the operand; gives the response code."""
        return tpm.policy_counter_timer(
            session.handle, operand_b=operand, offset=offset, operation=TPM_EO.UNSIGNED_LT
        ).rc

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [
            (0, TPM_RC.EXPIRED.parameter(1)),
            (2, TPM_RC.EXPIRED.parameter(1)),
            (3, TPM_RC.SUCCESS),
            (2_147_483_647, TPM_RC.SUCCESS),
            (2_147_483_648, TPM_RC.VALUE.parameter(1)),
        ],
    )
    def test_expiration(self, tpm: Client, seconds: int, expected: int) -> None:
        """Time as a whole before an operand: so many seconds after the session's nonce, not ever."""
        tpm.wait(100_000)
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.wait(2500)

        assert self.expire(tpm, session, seconds.to_bytes(8, "big")) == expected

    def test_expired(self, tpm: Client) -> None:
        """The earliest expiration counts; afterwards the policy authorizes nothing (TPM_RC_EXPIRED)."""
        operands = [seconds.to_bytes(8, "big") for seconds in (5, 3, 9)]
        given = [
            asserting("policy_counter_timer", operand_b=operand, offset=0, operation=TPM_EO.UNSIGNED_LT)
            for operand in operands
        ]
        define_with(tpm, *given)
        codes = []
        for waited in (3000, 3001):
            session = start_session(tpm, TPM_SE.POLICY)
            assert [send(tpm, session).rc for send in given] == [TPM_RC.SUCCESS] * 3
            tpm.wait(waited)
            codes.append(read_with(tpm, session))

        assert codes == [TPM_RC.SUCCESS, TPM_RC.EXPIRED.session(1)]

    def test_expiration_at_once(self, tpm: Client, session: CallerSession) -> None:
        """An expiration of no time is one, even if Time has not begun."""
        codes = [self.expire(tpm, session, bytes(8))]
        tpm.wait(2)
        codes.append(self.expire(tpm, session, bytes(8)))

        assert codes == [TPM_RC.SUCCESS, TPM_RC.EXPIRED.parameter(1)]
        assert tpm.tpm.volatile.sessions[0].the_policy.timeout == 1

    def test_after_a_power_cycle(self, tpm: Client, session: CallerSession) -> None:
        """The session's nonce is of a time that Time no longer counts from."""
        context = tpm.context_save(session.handle).context
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        tpm.context_load(context=context).check()

        assert self.expire(tpm, session, (9).to_bytes(8, "big")) == TPM_RC.EXPIRED.parameter(1)

    @pytest.mark.parametrize(
        ("operand", "offset"), [(b"\1" + bytes(6), 0), (b"\1" + bytes(7), 8), (b"\1" * 16, 0)]
    )
    def test_other_comparisons(
        self, tpm: Client, session: CallerSession, operand: bytes, offset: int
    ) -> None:
        """A part of Time, Clock, or more than Time is compared as it always was."""
        tpm.wait(5000)

        assert self.expire(tpm, session, operand, offset) == TPM_RC.SUCCESS
        assert self.expire(tpm, session, bytes(len(operand)), offset) == TPM_RC.POLICY
        assert tpm.tpm.volatile.sessions[0].the_policy.timeout == 0

    @pytest.mark.parametrize(("operand", "expected"), [(5001, TPM_RC.SUCCESS), (5000, TPM_RC.POLICY)])
    def test_older_revision(self, operand: int, expected: int) -> None:
        """Before revision 1.83, Time was compared like everything else."""
        tpm = Client(profile=SWTPM_COMPATIBLE)
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.wait(5000)

        assert self.expire(tpm, session, operand.to_bytes(8, "big")) == expected

    def test_digest(self, tpm: Client, trial: CallerSession) -> None:
        """The policy has the arguments; a trial session does not compare."""
        tpm.policy_counter_timer(trial.handle, operand_b=b"\xff" * 8, offset=0, operation=TPM_EO.EQ)

        arguments = hashlib.sha256(b"\xff" * 8 + b"\0\0" + b"\0\0").digest()
        assert digest_of(tpm, trial) == extended(TPM_CC.PolicyCounterTimer, arguments)


class TestCapability:
    """23.23"""

    def compare(
        self,
        tpm: Client,
        session: CallerSession,
        capability: TPM_CAP,
        value: int,
        operand: bytes,
        offset: int = 0,
        operation: TPM_EO = TPM_EO.EQ,
    ) -> int:
        """TPM2_PolicyCapability"""
        return tpm.policy_capability(
            session.handle,
            operand_b=operand,
            offset=offset,
            operation=operation,
            capability=capability,
            property=value,
        ).rc

    @pytest.mark.parametrize(
        ("capability", "value", "octets"),
        [
            (TPM_CAP.ALGS, A.SHA256, "000b00000004"),
            (TPM_CAP.HANDLES, TPM_RH.OWNER, "40000001"),
            (TPM_CAP.HANDLES, 0x17, "00000017"),
            (TPM_CAP.HANDLES, 0x02000000, "02000000"),
            (TPM_CAP.COMMANDS, TPM_CC.NV_Write, "04400137"),
            (TPM_CAP.PP_COMMANDS, TPM_CC.PP_Commands, "0000012d"),
            (TPM_CAP.AUDIT_COMMANDS, TPM_CC.SetCommandCodeAuditStatus, "00000140"),
            (TPM_CAP.TPM_PROPERTIES, TPM_PT.REVISION, "00000102000000b9"),
            (TPM_CAP.PCR_PROPERTIES, 0, "0000000003ffff00"),
            (TPM_CAP.ECC_CURVES, 3, "0003"),
            (TPM_CAP.AUTH_POLICIES, TPM_RH.OWNER, "400000010010"),
        ],
    )
    def test_there(
        self, tpm: Client, session: CallerSession, capability: TPM_CAP, value: int, octets: str
    ) -> None:
        """A capability that is there compares as Table 184 has it."""
        assert self.compare(tpm, session, capability, value, bytes.fromhex(octets)) == TPM_RC.SUCCESS
        code = self.compare(tpm, session, capability, value, bytes.fromhex(octets), operation=TPM_EO.NEQ)
        assert code == TPM_RC.POLICY

    @pytest.mark.parametrize(
        ("capability", "value"),
        [
            (TPM_CAP.ALGS, 2),
            (TPM_CAP.ALGS, 0x1000B),
            (TPM_CAP.HANDLES, 0x01000000),
            (TPM_CAP.HANDLES, 0x03000000),
            (TPM_CAP.HANDLES, TPM_RH.OWNER - 1),
            (TPM_CAP.COMMANDS, 0x123),
            (TPM_CAP.PP_COMMANDS, TPM_CC.Clear),
            (TPM_CAP.TPM_PROPERTIES, 0x10),
            (TPM_CAP.ECC_CURVES, 0x4000),
        ],
    )
    def test_absent(self, tpm: Client, session: CallerSession, capability: TPM_CAP, value: int) -> None:
        """A capability that is not there satisfies only NEQ."""
        assert self.compare(tpm, session, capability, value, b"", operation=TPM_EO.EQ) == TPM_RC.POLICY
        assert self.compare(tpm, session, capability, value, b"", operation=TPM_EO.NEQ) == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("capability", "value", "operand", "offset", "expected"),
        [
            (TPM_CAP.PCRS, 0, b"", 0, TPM_RC.VALUE.parameter(4)),
            (TPM_CAP.VENDOR_PROPERTY, 0, b"", 0, TPM_RC.VALUE.parameter(4)),
            (TPM_CAP.HANDLES, 0x7F000000, b"", 0, TPM_RC.HANDLE.parameter(5)),
            (TPM_CAP.AUTH_POLICIES, 0, b"", 0, TPM_RC.VALUE.parameter(5)),
            (TPM_CAP.ECC_CURVES, 3, b"", 3, TPM_RC.VALUE.parameter(2)),
            (TPM_CAP.ECC_CURVES, 3, b"\0\3", 1, TPM_RC.SIZE.parameter(1)),
        ],
    )
    def test_faulty(
        self,
        tpm: Client,
        session: CallerSession,
        capability: TPM_CAP,
        value: int,
        operand: bytes,
        offset: int,
        expected: int,
    ) -> None:
        """What cannot be compared."""
        assert self.compare(tpm, session, capability, value, operand, offset) == expected

    def test_digest(self, tpm: Client, trial: CallerSession) -> None:
        """The policy has the arguments; a trial session does not compare."""
        code = self.compare(tpm, trial, TPM_CAP.TPM_PROPERTIES, TPM_PT.REVISION, b"x", 4, TPM_EO.BITSET)

        assert code == TPM_RC.SUCCESS
        arguments = hashlib.sha256(b"x" + bytes.fromhex("0004 000a 00000006 00000102")).digest()
        assert digest_of(tpm, trial) == extended(TPM_CC.PolicyCapability, arguments)


class TestTransportSpdm:
    """23.25"""

    NAME = b"\0\x0b" + DIGEST

    @pytest.mark.parametrize(("requester", "own"), [(b"", b""), (NAME, b""), (b"", NAME), (NAME, NAME)])
    def test_digest(self, tpm: Client, session: CallerSession, requester: bytes, own: bytes) -> None:
        """The policy has the Names of the keys, if there are any; no channel ever satisfies it here."""
        assertion = asserting("policy_transport_spdm", req_key_name=requester, tpm_key_name=own)
        define_with(tpm, assertion)
        assert assertion(tpm, session).rc == TPM_RC.SUCCESS

        named = len(requester).to_bytes(2, "big") + requester + len(own).to_bytes(2, "big") + own
        keys = hashlib.sha256(named).digest() if requester or own else b""
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyTransportSPDM, keys)
        assert read_with(tpm, session) == TPM_RC.CHANNEL.session(1)
        assert assertion(tpm, session).rc == TPM_RC.VALUE

    @pytest.mark.parametrize(
        ("name", "code"), [(b"x", TPM_RC.SIZE), (b"\0\x10" + DIGEST, TPM_RC.HASH), (NAME[:-1], TPM_RC.SIZE)]
    )
    def test_no_name(self, tpm: Client, session: CallerSession, name: bytes, code: TPM_RC) -> None:
        """A Name is a hash algorithm and its digest."""
        first = tpm.policy_transport_spdm(session.handle, req_key_name=name, tpm_key_name=b"")
        second = tpm.policy_transport_spdm(session.handle, req_key_name=b"", tpm_key_name=name)

        assert (first.rc, second.rc) == (code.parameter(1), code.parameter(2))


class TestPolicyGetDigest:
    """23.19"""

    @pytest.mark.parametrize("kind", [TPM_SE.POLICY, TPM_SE.TRIAL])
    def test_changes_nothing(self, tpm: Client, kind: TPM_SE) -> None:
        """The digest is read, again and again, of sessions of both kinds."""
        session = start_session(tpm, kind).handle
        before = tpm.policy_get_digest(session).policy_digest
        tpm.policy_command_code(session, code=TPM_CC.Unseal).check()

        digests = [tpm.policy_get_digest(session).policy_digest for _ in range(2)]

        assert before == bytes(32)
        assert digests[0] == digests[1] != before

    def test_other_handles(self, tpm: Client) -> None:
        """An HMAC session has no policy (TPM_RC_VALUE); one that is not loaded is TPM_RC_REFERENCE_H0."""
        codes = [
            tpm.policy_get_digest(handle).rc
            for handle in (start_session(tpm).handle, TPM_RH.OWNER, 0x03000005)
        ]

        assert codes == [TPM_RC.VALUE.handle(1)] * 2 + [TPM_RC.REFERENCE_H0]
