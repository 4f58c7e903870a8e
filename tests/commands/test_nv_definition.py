"""Part 3, clause 31: the definition of NV Indices."""

import hashlib
from dataclasses import replace

import pytest

from tests.commands.nv_indices import INDEX, OWNED, SELF, attributes_of, define, public_of
from tests.scenarios import Client, Password
from tests.sessions import CallerSession, start_session
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_NT, TPM_PT, TPM_RH, TPM_SE
from vtpm.spec.nv import TPMT_NV_PUBLIC_2
from vtpm.state.profile import DEFAULT, PROFILES
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

A = TPM_ALG
BAD_ATTRIBUTES = TPM_RC.ATTRIBUTES.parameter(2)
BAD_SIZE = TPM_RC.SIZE.parameter(2)
COUNTER = OWNED.but(TPM_NT=TPM_NT.COUNTER)
BITS = OWNED.but(TPM_NT=TPM_NT.BITS)
EXTEND = OWNED.but(TPM_NT=TPM_NT.EXTEND)
PIN_PASS = OWNED.but(TPM_NT=TPM_NT.PIN_PASS)
PIN_FAIL = OWNED.but(TPM_NT=TPM_NT.PIN_FAIL)
PLATFORM = SELF.but(PLATFORMCREATE=True)


def policy_for(code: TPM_CC, *, with_auth: bool = False) -> bytes:
    """A policy for one command, and with the authValue if that is said."""
    parts = bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + code.to_bytes(4, "big")
    policy = hashlib.sha256(parts).digest()
    if with_auth:
        policy = hashlib.sha256(policy + TPM_CC.PolicyAuthValue.to_bytes(4, "big")).digest()
    return policy


def session_for(tpm: Client, code: TPM_CC, *, auth: bytes = b"") -> CallerSession:
    """A session that has accumulated the policy for a command, with the authValue if there is one."""
    session = start_session(tpm, TPM_SE.POLICY)
    tpm.policy_command_code(session.handle, code=code)
    if auth:
        tpm.policy_auth_value(session.handle).check()
        session.auth, session.includes_auth = auth, True
    return session


class TestDefineSpace:
    """31.3"""

    @pytest.mark.parametrize(
        ("attributes", "size", "expected"),
        [
            (OWNED, 0, TPM_RC.SUCCESS),
            (OWNED, 2048, TPM_RC.SUCCESS),
            (OWNED, 2049, BAD_SIZE),
            (OWNED.but(WRITEALL=True), 1024, TPM_RC.SUCCESS),
            (OWNED.but(WRITEALL=True), 1025, BAD_SIZE),
            (COUNTER, 8, TPM_RC.SUCCESS),
            (COUNTER, 7, BAD_SIZE),
            (BITS, 8, TPM_RC.SUCCESS),
            (BITS, 9, BAD_SIZE),
            (EXTEND, 32, TPM_RC.SUCCESS),
            (EXTEND, 20, BAD_SIZE),
            (PIN_PASS, 8, TPM_RC.SUCCESS),
            (PIN_PASS, 4, BAD_SIZE),
            (PIN_FAIL, 8, TPM_RC.SUCCESS),
            (PIN_FAIL, 16, BAD_SIZE),
        ],
    )
    def test_size(self, tpm: Client, attributes: TPMA_NV, size: int, expected: int) -> None:
        """The size fits the kind of Index."""
        body = marshal(public_of(attributes, size & 0x7FF))[:-2] + size.to_bytes(2, "big")
        area = bytes.fromhex("00000009400000090000010000") + b"\0\0" + len(body).to_bytes(2, "big") + body
        request = TPM_CC.NV_DefineSpace.to_bytes(4, "big") + TPM_RH.OWNER.to_bytes(4, "big") + area
        response = tpm.send(b"\x80\x02" + (6 + len(request)).to_bytes(4, "big") + request)

        assert int.from_bytes(response[6:10], "big") == expected

    @pytest.mark.parametrize(
        ("attributes", "expected"),
        [
            (OWNED.but(TPM_NT=3), BAD_ATTRIBUTES),
            (OWNED.but(TPM_NT=15), BAD_ATTRIBUTES),
            (OWNED.but(WRITTEN=True), BAD_ATTRIBUTES),
            (OWNED.but(WRITELOCKED=True), BAD_ATTRIBUTES),
            (OWNED.but(READLOCKED=True), BAD_ATTRIBUTES),
            (OWNED.but(OWNERREAD=False), BAD_ATTRIBUTES),
            (OWNED.but(OWNERWRITE=False), BAD_ATTRIBUTES),
            (OWNED.but(OWNERREAD=False, POLICYREAD=True), TPM_RC.SUCCESS),
            (OWNED.but(OWNERWRITE=False, PPWRITE=True), TPM_RC.SUCCESS),
            (OWNED.but(CLEAR_STCLEAR=True, WRITEDEFINE=True), BAD_ATTRIBUTES),
            (OWNED.but(POLICY_DELETE=True), BAD_ATTRIBUTES),
            (COUNTER.but(CLEAR_STCLEAR=True), BAD_ATTRIBUTES),
            (COUNTER.but(ORDERLY=True), TPM_RC.SUCCESS),
            (PIN_FAIL.but(NO_DA=False), BAD_ATTRIBUTES),
            (PIN_PASS.but(NO_DA=False), TPM_RC.SUCCESS),
            (PIN_FAIL.but(AUTHWRITE=True), BAD_ATTRIBUTES),
            (PIN_PASS.but(AUTHWRITE=True), BAD_ATTRIBUTES),
            (PIN_PASS.but(GLOBALLOCK=True), BAD_ATTRIBUTES),
            (PIN_PASS.but(WRITEDEFINE=True), BAD_ATTRIBUTES),
            (PIN_FAIL.but(WRITEDEFINE=True), BAD_ATTRIBUTES),
        ],
    )
    def test_attributes(self, tpm: Client, attributes: TPMA_NV, expected: int) -> None:
        """A new Index is neither written nor locked, and can be read and written in some way."""
        assert define(tpm, attributes) == expected

    @pytest.mark.parametrize(
        ("command", "attributes", "size"),
        [
            (TPM_CC.NV_Increment, COUNTER, 8),
            (TPM_CC.NV_SetBits, BITS, 8),
            (TPM_CC.NV_Extend, EXTEND, 32),
            (TPM_CC.PolicySecret, PIN_PASS, 8),
            (TPM_CC.PolicySecret, PIN_FAIL, 8),
            (TPM_CC.NV_UndefineSpaceSpecial, PLATFORM.but(POLICY_DELETE=True), 8),
        ],
    )
    def test_without_its_command(self, command: TPM_CC, attributes: TPMA_NV, size: int) -> None:
        """A TPM that lacks the command for a kind of Index, or for its deletion, does not define one."""
        tpm = Client(profile=replace(DEFAULT, commands=DEFAULT.commands - {command}))

        assert define(tpm, attributes, size) == BAD_ATTRIBUTES
        assert define(Client(), attributes, size) == TPM_RC.SUCCESS

    @pytest.mark.parametrize("bit", [8, 9, 20, 24])
    def test_reserved_attributes(self, tpm: Client, bit: int) -> None:
        """Reserved bits must be clear."""
        assert define(tpm, TPMA_NV(OWNED | 1 << bit)) == TPM_RC.RESERVED_BITS.parameter(2)

    @pytest.mark.parametrize("creator", [TPM_RH.OWNER, TPM_RH.PLATFORM])
    def test_creator(self, tpm: Client, creator: int) -> None:
        """PLATFORMCREATE says whose the Index is."""
        right = SELF.but(PLATFORMCREATE=creator == TPM_RH.PLATFORM)
        wrong = SELF.but(PLATFORMCREATE=creator == TPM_RH.OWNER)

        refused = tpm.nv_define_space(creator, auth=b"", public_info=public_of(wrong))
        assert refused.rc == TPM_RC.ATTRIBUTES.handle(1)
        accepted = tpm.nv_define_space(creator, auth=b"", public_info=public_of(right))
        assert accepted.rc == TPM_RC.SUCCESS

    def test_platform_without_nv(self, tpm: Client) -> None:
        """While phEnableNV is clear, the platform defines nothing."""
        tpm.tpm.clear.ph_enable_nv = False

        assert define(tpm, PLATFORM) == TPM_RC.HIERARCHY.handle(1)

    @pytest.mark.parametrize(
        ("auth", "expected"),
        [
            (b"a" * 32, TPM_RC.SUCCESS),
            (b"a" * 32 + bytes(8), TPM_RC.SUCCESS),
            (b"a" * 33, TPM_RC.SIZE.parameter(1)),
        ],
    )
    def test_auth(self, tpm: Client, auth: bytes, expected: int) -> None:
        """An authValue is no longer than the nameAlg's digest, without its trailing zeros."""
        assert define(tpm, auth=auth) == expected

    @pytest.mark.parametrize(("size", "expected"), [(0, 0), (32, 0), (20, BAD_SIZE), (33, BAD_SIZE)])
    def test_policy(self, tpm: Client, size: int, expected: int) -> None:
        """An authPolicy is as long as the nameAlg's digest, or empty."""
        assert define(tpm, policy=bytes(size)) == expected

    def test_twice(self, tpm: Client) -> None:
        """An Index is defined once."""
        define(tpm)

        assert define(tpm) == TPM_RC.NV_DEFINED

    @pytest.mark.parametrize("handle", [0x00000001, 0x02000000, 0x81000000])
    def test_no_index(self, tpm: Client, handle: int) -> None:
        """A handle of another type is no Index."""
        body = handle.to_bytes(4, "big") + marshal(public_of())[4:]
        area = bytes.fromhex("00000009400000090000010000") + b"\0\0" + len(body).to_bytes(2, "big") + body
        request = TPM_CC.NV_DefineSpace.to_bytes(4, "big") + TPM_RH.OWNER.to_bytes(4, "big") + area
        response = tpm.send(b"\x80\x02" + (6 + len(request)).to_bytes(4, "big") + request)

        assert int.from_bytes(response[6:10], "big") == TPM_RC.VALUE.parameter(2)

    @pytest.mark.parametrize("profile", PROFILES)
    def test_orderly_space(self, profile: str) -> None:
        """Orderly Indices have a memory of their own; TPM_RC_NV_SPACE, until one of them is deleted."""
        tpm = Client(profile=PROFILES[profile])
        counter = OWNED.but(TPM_NT=TPM_NT.COUNTER, ORDERLY=True)
        handle = 0x01000000
        while (code := define(tpm, counter, handle=handle)) == TPM_RC.SUCCESS:
            handle += 1
        assert code == TPM_RC.NV_SPACE
        assert handle - 0x01000000 == tpm.tpm.profile.orderly_capacity // (12 + 8)

        assert define(tpm, OWNED, handle=handle) == TPM_RC.SUCCESS
        tpm.power_cycle()
        assert define(tpm, counter, handle=handle + 1) == TPM_RC.NV_SPACE
        assert tpm.nv_undefine_space(TPM_RH.OWNER, handle - 1).rc == TPM_RC.SUCCESS
        assert define(tpm, counter, handle=handle + 1) == TPM_RC.SUCCESS

    @pytest.mark.parametrize(("size", "expected"), [(500, TPM_RC.SUCCESS), (501, TPM_RC.NV_SPACE)])
    def test_orderly_size(self, tpm: Client, size: int, expected: int) -> None:
        """A single Index takes its data and twelve octets."""
        assert define(tpm, OWNED.but(ORDERLY=True), size=size) == expected

    def test_space(self, tpm: Client) -> None:
        """When NV memory is used up, TPM_RC_NV_SPACE, also after a restart; what is deleted is free again."""
        handle = 0x01000000
        while (code := define(tpm, size=2048, handle=handle)) == TPM_RC.SUCCESS:
            handle += 1
        assert code == TPM_RC.NV_SPACE
        assert handle - 0x01000000 == tpm.tpm.profile.nv_capacity // (2048 + 96)

        tpm.power_cycle()
        assert define(tpm, size=2048, handle=handle) == TPM_RC.NV_SPACE
        tpm.nv_undefine_space(TPM_RH.OWNER, 0x01000000)
        assert define(tpm, size=2048, handle=handle) == TPM_RC.SUCCESS

    def test_durable(self, tpm: Client) -> None:
        """The Index outlives a loss of power."""
        define(tpm, auth=b"secret", policy=bytes(32))
        before = tpm.nv_read_public(INDEX)
        tpm.power_cycle(shutdown=None)

        after = tpm.nv_read_public(INDEX)
        assert (after.nv_public, after.nv_name) == (before.nv_public, before.nv_name)
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[b"secret"]).rc == TPM_RC.SUCCESS


class TestDefineSpace2:
    """31.17"""

    def test_index(self, tpm: Client) -> None:
        """The same Index as by NV_DefineSpace."""
        public = TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of(COUNTER))
        reply = tpm.nv_define_space2(TPM_RH.OWNER, auth=b"", public_info=public)

        assert reply.rc == TPM_RC.SUCCESS
        assert tpm.nv_read_public(INDEX).nv_public == public_of(COUNTER)

    def test_faulty(self, tpm: Client) -> None:
        """It is refused for the same reasons."""
        public = TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of(COUNTER, 7))

        assert tpm.nv_define_space2(TPM_RH.OWNER, auth=b"", public_info=public).rc == BAD_SIZE

    @pytest.mark.parametrize(
        ("kind", "handle", "wide", "expected"),
        [
            (0x11, 0x11000001, 8, TPM_RC.HANDLE.parameter(2)),
            (0x12, 0x12000001, 4, TPM_RC.VALUE.parameter(2)),
            (0x12, 0x01000001, 4, TPM_RC.HANDLE.parameter(2)),
            (0x01, 0x12000001, 4, TPM_RC.VALUE.parameter(2)),
            (0x02, 0x02000001, 4, TPM_RC.SELECTOR.parameter(2)),
        ],
    )
    def test_other_types(self, tpm: Client, kind: int, handle: int, wide: int, expected: int) -> None:
        """External and permanent NV is not there; other handle types have no Indices."""
        area = bytes([kind]) + handle.to_bytes(4, "big") + b"\0\x0b"
        area += OWNED.to_bytes(wide, "big") + b"\0\0" + b"\0\x08"
        body = TPM_RH.OWNER.to_bytes(4, "big") + bytes.fromhex("00000009400000090000010000")
        body += b"\0\0" + len(area).to_bytes(2, "big") + area
        head = b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + TPM_CC.NV_DefineSpace2.to_bytes(4, "big")

        assert int.from_bytes(tpm.send(head + body)[6:10], "big") == expected


class TestReadPublic:
    """31.6 and 31.18"""

    def test_name(self, tpm: Client) -> None:
        """The Name is the digest of the public area, whose attributes change."""
        define(tpm)
        for _ in range(2):
            reply = tpm.nv_read_public(INDEX)
            assert reply.nv_name == b"\0\x0b" + hashlib.sha256(marshal(reply.nv_public)).digest()
            tpm.nv_write(INDEX, INDEX, data=b"x", offset=0)
        assert reply.nv_public.attributes == SELF.but(WRITTEN=True)

    def test_second_form(self, tpm: Client) -> None:
        """ReadPublic2 says the same of an Index."""
        define(tpm)
        reply = tpm.nv_read_public2(INDEX)

        assert reply.nv_public == TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of())
        assert reply.nv_name == tpm.nv_read_public(INDEX).nv_name

    def test_undefined(self, tpm: Client) -> None:
        """An Index that is not there is TPM_RC_HANDLE."""
        assert tpm.nv_read_public(INDEX).rc == TPM_RC.HANDLE.handle(1)
        assert tpm.nv_read_public2(INDEX).rc == TPM_RC.HANDLE.handle(1)

    @pytest.mark.parametrize("handle", [0x11000001, 0x12000001])
    def test_other_types(self, tpm: Client, handle: int) -> None:
        """There is no external and no permanent NV."""
        assert tpm.nv_read_public(handle).rc == TPM_RC.HANDLE.handle(1)
        assert tpm.nv_read_public2(handle).rc == TPM_RC.HANDLE.handle(1)

    @pytest.mark.parametrize("attributes", [SELF, PLATFORM])
    def test_disabled(self, tpm: Client, attributes: TPMA_NV) -> None:
        """While its hierarchy is disabled, an Index cannot be seen."""
        define(tpm, attributes)
        if attributes.PLATFORMCREATE:
            tpm.tpm.clear.ph_enable_nv = False
        else:
            tpm.tpm.owner.enabled = False

        assert tpm.nv_read_public(INDEX).rc == TPM_RC.HANDLE.handle(1)


class TestUndefineSpace:
    """31.4"""

    def test_undefine(self, tpm: Client) -> None:
        """The Index is gone for good."""
        define(tpm)
        assert tpm.nv_undefine_space(TPM_RH.OWNER, INDEX).rc == TPM_RC.SUCCESS

        tpm.power_cycle(shutdown=None)
        assert tpm.nv_read_public(INDEX).rc == TPM_RC.HANDLE.handle(1)

    def test_whose_it_is(self, tpm: Client) -> None:
        """The owner does not delete what is the platform's; the platform deletes everything."""
        define(tpm, PLATFORM)
        define(tpm, OWNED, handle=INDEX + 1)

        assert tpm.nv_undefine_space(TPM_RH.OWNER, INDEX).rc == TPM_RC.NV_AUTHORIZATION
        assert tpm.nv_undefine_space(TPM_RH.PLATFORM, INDEX).rc == TPM_RC.SUCCESS
        assert tpm.nv_undefine_space(TPM_RH.PLATFORM, INDEX + 1).rc == TPM_RC.SUCCESS

    def test_policy_delete(self, tpm: Client) -> None:
        """Some Indices are deleted by NV_UndefineSpaceSpecial only."""
        define(tpm, PLATFORM.but(POLICY_DELETE=True))

        assert tpm.nv_undefine_space(TPM_RH.PLATFORM, INDEX).rc == TPM_RC.ATTRIBUTES.handle(2)

    def test_counter(self, tpm: Client) -> None:
        """A new counter goes on above the values of those deleted."""
        define(tpm, COUNTER)
        for _ in range(3):
            tpm.nv_increment(TPM_RH.OWNER, INDEX)
        tpm.nv_undefine_space(TPM_RH.OWNER, INDEX)
        tpm.power_cycle(shutdown=None)
        define(tpm, COUNTER, handle=INDEX + 1)
        tpm.nv_increment(TPM_RH.OWNER, INDEX + 1)

        reply = tpm.nv_read(TPM_RH.OWNER, INDEX + 1, size=8, offset=0)
        assert int.from_bytes(reply.data, "big") == 4

    def test_clear(self, tpm: Client) -> None:
        """So it does after Clear, which deletes the owner's Indices."""
        define(tpm, COUNTER)
        for _ in range(3):
            tpm.nv_increment(TPM_RH.OWNER, INDEX)
        assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS
        define(tpm, COUNTER)
        tpm.nv_increment(TPM_RH.OWNER, INDEX)

        reply = tpm.nv_read(TPM_RH.OWNER, INDEX, size=8, offset=0)
        assert int.from_bytes(reply.data, "big") == 4


class TestUndefineSpaceSpecial:
    """31.5"""

    def test_by_policy(self, tpm: Client) -> None:
        """With its policy and the platform's authorization, the Index is deleted; the session is answered."""
        policy = policy_for(TPM_CC.NV_UndefineSpaceSpecial)
        define(tpm, PLATFORM.but(POLICY_DELETE=True), policy=policy, auth=b"secret")
        session = session_for(tpm, TPM_CC.NV_UndefineSpaceSpecial)

        reply = tpm.nv_undefine_space_special(INDEX, TPM_RH.PLATFORM, sessions=[session, Password()])

        assert reply.rc == TPM_RC.SUCCESS
        session.check(reply)
        assert tpm.nv_read_public(INDEX).rc == TPM_RC.HANDLE.handle(1)

    def test_acknowledgment(self, tpm: Client) -> None:
        """The authValue is gone with the Index, so that the response is acknowledged with none."""
        code = TPM_CC.NV_UndefineSpaceSpecial
        define(tpm, PLATFORM.but(POLICY_DELETE=True), policy=policy_for(code, with_auth=True), auth=b"old")
        session = session_for(tpm, code, auth=b"old")

        reply = tpm.nv_undefine_space_special(INDEX, TPM_RH.PLATFORM, sessions=[session, Password()])

        assert reply.rc == TPM_RC.SUCCESS
        session.auth, session.terse = b"", False
        session.check(reply)

    def test_undefined(self, tpm: Client) -> None:
        """An Index that is not there is TPM_RC_HANDLE."""
        assert tpm.nv_undefine_space_special(INDEX, TPM_RH.PLATFORM).rc == TPM_RC.HANDLE.handle(1)

    def test_without_policy(self, tpm: Client) -> None:
        """A password does not authorize the ADMIN role."""
        define(tpm, PLATFORM.but(POLICY_DELETE=True), policy=bytes(32))

        assert tpm.nv_undefine_space_special(INDEX, TPM_RH.PLATFORM).rc == TPM_RC.AUTH_TYPE

    def test_other_index(self, tpm: Client) -> None:
        """An Index without POLICY_DELETE is deleted otherwise."""
        policy = policy_for(TPM_CC.NV_UndefineSpaceSpecial)
        define(tpm, PLATFORM, policy=policy)
        session = session_for(tpm, TPM_CC.NV_UndefineSpaceSpecial)

        reply = tpm.nv_undefine_space_special(INDEX, TPM_RH.PLATFORM, sessions=[session, Password()])
        assert reply.rc == TPM_RC.ATTRIBUTES.handle(1)


class TestChangeAuth:
    """31.15"""

    def test_by_policy(self, tpm: Client) -> None:
        """The policy for the command lets the authValue be changed."""
        policy = policy_for(TPM_CC.NV_ChangeAuth)
        define(tpm, policy=policy, auth=b"old")
        session = session_for(tpm, TPM_CC.NV_ChangeAuth)

        reply = tpm.nv_change_auth(INDEX, new_auth=b"new\0", sessions=[session])

        assert reply.rc == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=None)
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[b"old"]).rc == TPM_RC.BAD_AUTH.session(
            1
        )
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[b"new"]).rc == TPM_RC.SUCCESS

    def test_acknowledgment(self, tpm: Client) -> None:
        """The response is acknowledged with the new authValue, if the policy needs one."""
        define(tpm, policy=policy_for(TPM_CC.NV_ChangeAuth, with_auth=True), auth=b"old")
        session = session_for(tpm, TPM_CC.NV_ChangeAuth, auth=b"old")

        reply = tpm.nv_change_auth(INDEX, new_auth=b"new", sessions=[session])

        assert reply.rc == TPM_RC.SUCCESS
        session.auth = b"new"
        session.check(reply)

    def test_size(self, tpm: Client) -> None:
        """The authValue is no longer than the nameAlg's digest."""
        policy = policy_for(TPM_CC.NV_ChangeAuth)
        define(tpm, policy=policy)
        session = session_for(tpm, TPM_CC.NV_ChangeAuth)

        reply = tpm.nv_change_auth(INDEX, new_auth=b"x" * 33, sessions=[session])
        assert reply.rc == TPM_RC.SIZE.parameter(1)

    def test_without_policy(self, tpm: Client) -> None:
        """The authValue alone does not authorize the ADMIN role."""
        define(tpm)

        assert tpm.nv_change_auth(INDEX, new_auth=b"").rc == TPM_RC.AUTH_TYPE


def test_counters_available(tpm: Client) -> None:
    """TPM_PT_NV_COUNTERS counts the counters among the Indices."""
    define(tpm, COUNTER)
    define(tpm, OWNED, handle=INDEX + 1)

    reply = tpm.get_capability(
        capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.NV_COUNTERS, property_count=1
    )
    assert reply.capability_data.data[0].value == 1
    assert attributes_of(tpm) == COUNTER
