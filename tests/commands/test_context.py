"""Part 3, clause 28: context management."""

from dataclasses import replace

import pytest

from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, created, creation, handle_of, primary, template
from tests.scenarios import Client, request_of
from tests.sessions import start_session
from vtpm.commands import COMMANDS, context_protection
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_CAP, TPM_CC, TPM_PT, TPM_RH, TPM_SE, TPM_SU
from vtpm.state.profile import DEFAULT, PROFILES
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

OWNER, PLATFORM = TPM_RH.OWNER, TPM_RH.PLATFORM
HANDLE, PLATFORM_HANDLE = 0x81000001, 0x81800001


def st_clear_primary(tpm: Client) -> int:
    """A primary key with stClear."""
    public = template(SIGN_ECC)
    attributes = public.object_attributes.but(stClear=True)
    return handle_of(tpm.create_primary(OWNER, **creation(replace(public, object_attributes=attributes))))


class TestContextOfObject:
    """28.2 ContextSave and 28.3 ContextLoad of an object"""

    def test_round(self, tpm: Client) -> None:
        """The object stays loaded; its context gives another one like it, as often as it is loaded."""
        item = primary(tpm, SEALED, data=b"secret", auth=b"pw")
        context = tpm.context_save(item).context

        handles = [tpm.context_load(context=context).loaded_handle for _ in range(2)]

        assert context.hierarchy == OWNER
        assert len({item, *handles}) == 3
        for handle in (item, *handles):
            assert tpm.unseal(handle, auths=[b"pw"]).out_data == b"secret"
            assert tpm.read_public(handle).octets == tpm.read_public(item).octets

    def test_as_parent(self, tpm: Client) -> None:
        """A key that comes back still loads its children."""
        parent = primary(tpm)
        blob, context = created(tpm, parent, SIGN_ECC), tpm.context_save(parent).context
        tpm.flush_context(flush_handle=parent)

        parent = tpm.context_load(context=context).loaded_handle

        assert tpm.load(parent, **blob).rc == TPM_RC.SUCCESS

    def test_contents_hidden(self, tpm: Client) -> None:
        """Two contexts of one object have nothing in common, and none shows a secret."""
        item = primary(tpm, SEALED, data=b"a secret of the owner")

        first, second = (tpm.context_save(item).context for _ in range(2))

        assert first.sequence != second.sequence
        assert b"secret" not in first.context_blob
        assert first.context_blob[66:] != second.context_blob[66:]

    @pytest.mark.parametrize(
        "change", ["sequence", "saved_handle", "hierarchy", "first", "nonce", "last", "short"]
    )
    def test_tampered(self, tpm: Client, change: str) -> None:
        """Every part of a context is protected."""
        context = tpm.context_save(primary(tpm)).context
        blob = context.context_blob
        changed, expected = {
            "sequence": (replace(context, sequence=context.sequence + 1), TPM_RC.INTEGRITY),
            "saved_handle": (replace(context, saved_handle=0x80000002), TPM_RC.INTEGRITY),
            "hierarchy": (replace(context, hierarchy=TPM_RH.ENDORSEMENT), TPM_RC.INTEGRITY),
            "first": (
                replace(context, context_blob=blob[:2] + bytes([blob[2] ^ 1]) + blob[3:]),
                TPM_RC.INTEGRITY,
            ),
            "nonce": (
                replace(context, context_blob=blob[:66] + bytes([blob[66] ^ 1]) + blob[67:]),
                TPM_RC.INTEGRITY,
            ),
            "last": (replace(context, context_blob=blob[:-1] + bytes([blob[-1] ^ 1])), TPM_RC.INTEGRITY),
            "short": (replace(context, context_blob=blob[:70]), TPM_RC.SIZE),
        }[change]

        assert tpm.context_load(context=changed).rc == expected.parameter(1)
        assert tpm.context_load(context=context).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("blob", "expected"),
        [
            ("", TPM_RC.INSUFFICIENT),
            ("00", TPM_RC.INSUFFICIENT),
            ("0040" + "00" * 63, TPM_RC.INSUFFICIENT),
            ("0041" + "00" * 80, TPM_RC.SIZE),
            ("0000" + "00" * 80, TPM_RC.SIZE.parameter(1)),
            ("0020" + "00" * 80, TPM_RC.SIZE.parameter(1)),
            ("0040" + "00" * 71, TPM_RC.SIZE.parameter(1)),
            ("0040" + "00" * 72, TPM_RC.INTEGRITY.parameter(1)),
        ],
    )
    def test_malformed(self, tpm: Client, blob: str, expected: int) -> None:
        """A blob that holds no integrity value, one of another size, or nothing that it could protect."""
        context = tpm.context_save(primary(tpm)).context

        assert tpm.context_load(context=replace(context, context_blob=bytes.fromhex(blob))).rc == expected

    def test_disabled(self, tpm: Client) -> None:
        """A context of a hierarchy that is disabled is not loaded."""
        context = tpm.context_save(primary(tpm)).context
        tpm.hierarchy_control(OWNER, enable=OWNER, state=False)

        assert tpm.context_load(context=context).rc == TPM_RC.HIERARCHY.parameter(1)

    def test_cleared(self, tpm: Client) -> None:
        """Clear makes the owner's contexts worthless."""
        context = tpm.context_save(primary(tpm)).context
        tpm.clear(TPM_RH.LOCKOUT)

        assert tpm.context_load(context=context).rc == TPM_RC.INTEGRITY.parameter(1)

    @pytest.mark.parametrize(
        ("shutdown", "startup", "ordinary", "st_clear"),
        [
            (TPM_SU.STATE, TPM_SU.STATE, True, True),
            (TPM_SU.STATE, TPM_SU.CLEAR, True, False),
            (TPM_SU.CLEAR, TPM_SU.CLEAR, False, False),
        ],
    )
    def test_power(
        self, tpm: Client, shutdown: TPM_SU, startup: TPM_SU, *, ordinary: bool, st_clear: bool
    ) -> None:
        """A context lasts until the next TPM Reset, that of an object with stClear until the next Restart."""
        contexts = [tpm.context_save(item).context for item in (primary(tpm), st_clear_primary(tpm))]

        tpm.power_cycle(shutdown=shutdown, startup=startup)

        loaded = [tpm.context_load(context=context).rc for context in contexts]
        lost = TPM_RC.INTEGRITY.parameter(1)
        assert loaded == [TPM_RC.SUCCESS if lasts else lost for lasts in (ordinary, st_clear)]

    def test_slots(self, tpm: Client) -> None:
        """TPM_RC_OBJECT_MEMORY if every slot is taken."""
        for _ in range(tpm.tpm.profile.transient_slots):
            context = tpm.context_save(primary(tpm)).context

        assert tpm.context_load(context=context).rc == TPM_RC.OBJECT_MEMORY

    @pytest.mark.parametrize("hierarchy", [0x40010000, 0x40010001, 0x40020000])
    def test_no_such_hierarchy(self, hierarchy: int) -> None:
        """A hierarchy that the profile does not have is no value of TPMI_RH_HIERARCHY; TPM_RC_VALUE."""
        tpm = Client(profile=PROFILES["swtpm-compatible"])
        context = replace(tpm.context_save(primary(tpm)).context, hierarchy=hierarchy)

        assert tpm.context_load(context=context).rc == TPM_RC.VALUE.parameter(1)

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize(("more", "expected"), [(0, TPM_RC.SUCCESS), (-1, TPM_RC.SIZE), (1, TPM_RC.SIZE)])
    def test_padded(self, profile: str, more: int, expected: int) -> None:
        """What pads a context to TPM_PT_MAX_OBJECT_CONTEXT is ignored, since Windows does so."""
        tpm = Client(profile=PROFILES[profile])
        tag = TPM_PT.MAX_OBJECT_CONTEXT
        reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=tag, property_count=1)
        size = reply.capability_data.data[0].value + more
        octets = marshal(tpm.context_save(primary(tpm)).context).ljust(size, b"\xa5")

        response = tpm.send(request_of(COMMANDS[TPM_CC.ContextLoad], (), b"", octets))

        assert int.from_bytes(response[6:10], "big") == expected

    def test_fingerprint(self, tpm: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """If an authentic context decrypts to something else, the TPM fails."""
        saved = tpm.context_save(primary(tpm)).context
        monkeypatch.setattr(context_protection, "cfb_decrypt", lambda *_: bytes(64))

        assert tpm.context_load(context=saved).rc == TPM_RC.FAILURE
        assert tpm.get_random(bytes_requested=1).rc == TPM_RC.FAILURE


class TestContextOfSession:
    """28.2 ContextSave and 28.3 ContextLoad of a session"""

    def test_once(self, tpm: Client) -> None:
        """A saved session is out of reach, comes back once under its handle, and goes on as it was."""
        session = start_session(tpm)
        context = tpm.context_save(session.handle).context

        assert tpm.context_save(session.handle).rc == TPM_RC.REFERENCE_H0
        assert tpm.context_load(context=context).loaded_handle == session.handle
        assert tpm.context_load(context=context).rc == TPM_RC.HANDLE.parameter(1)
        reply = tpm.hierarchy_change_auth(OWNER, sessions=[session], new_auth=b"")
        assert reply.rc == TPM_RC.SUCCESS

    def test_latest(self, tpm: Client) -> None:
        """Only the latest context of a session is worth anything."""
        session = start_session(tpm)
        old = tpm.context_save(session.handle).context
        tpm.context_load(context=old)
        new = tpm.context_save(session.handle).context

        assert tpm.context_load(context=old).rc == TPM_RC.HANDLE.parameter(1)
        assert tpm.context_load(context=new).rc == TPM_RC.SUCCESS

    def test_flushed(self, tpm: Client) -> None:
        """A session that was flushed while saved does not come back."""
        session = start_session(tpm)
        context = tpm.context_save(session.handle).context

        assert tpm.flush_context(flush_handle=session.handle).rc == TPM_RC.SUCCESS
        assert tpm.context_load(context=context).rc == TPM_RC.HANDLE.parameter(1)
        assert tpm.flush_context(flush_handle=session.handle).rc == TPM_RC.HANDLE.parameter(1)

    def test_policy(self, tpm: Client) -> None:
        """A policy session keeps its digest."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_auth_value(session.handle)
        before = tpm.policy_get_digest(session.handle).policy_digest
        context = tpm.context_save(session.handle).context

        tpm.context_load(context=context)

        assert tpm.policy_get_digest(session.handle).policy_digest == before != bytes(32)

    @pytest.mark.parametrize(
        ("shutdown", "startup", "expected"),
        [
            (TPM_SU.STATE, TPM_SU.STATE, TPM_RC.SUCCESS),
            (TPM_SU.STATE, TPM_SU.CLEAR, TPM_RC.SUCCESS),
            (TPM_SU.CLEAR, TPM_SU.CLEAR, TPM_RC.INTEGRITY.parameter(1)),
        ],
    )
    def test_power(self, tpm: Client, shutdown: TPM_SU, startup: TPM_SU, expected: int) -> None:
        """A saved session lasts until the next TPM Reset."""
        context = tpm.context_save(start_session(tpm).handle).context

        tpm.power_cycle(shutdown=shutdown, startup=startup)

        assert expected == tpm.context_load(context=context).rc

    def test_gap(self) -> None:
        """The oldest saved session must come back before its number is too far behind; a slot is kept."""
        tpm = Client(profile=replace(DEFAULT, context_gap=3, loaded_sessions=2))
        oldest = tpm.context_save(start_session(tpm).handle).context
        second = tpm.context_save(start_session(tpm).handle).context
        session = start_session(tpm).handle
        for _ in range(2):
            tpm.context_load(context=tpm.context_save(session).context)

        assert tpm.context_save(session).rc == TPM_RC.CONTEXT_GAP
        assert tpm.context_load(context=second).rc == TPM_RC.CONTEXT_GAP
        loaded = tpm.context_load(context=oldest).loaded_handle
        assert tpm.context_load(context=second).rc == TPM_RC.SESSION_MEMORY
        assert tpm.context_save(loaded).rc == TPM_RC.SUCCESS


class TestFlushContext:
    """28.4"""

    def test_object(self, tpm: Client) -> None:
        """The handle is free again."""
        item = primary(tpm)

        assert tpm.flush_context(flush_handle=item).rc == TPM_RC.SUCCESS
        assert tpm.read_public(item).rc == TPM_RC.REFERENCE_H0
        assert tpm.flush_context(flush_handle=item).rc == TPM_RC.HANDLE.parameter(1)
        assert primary(tpm) == item

    def test_session(self, tpm: Client) -> None:
        """A session ends."""
        session = start_session(tpm)

        assert tpm.flush_context(flush_handle=session.handle).rc == TPM_RC.SUCCESS
        reply = tpm.hierarchy_change_auth(OWNER, sessions=[session], new_auth=b"")
        assert reply.rc == TPM_RC.REFERENCE_S0

    @pytest.mark.parametrize("saved", [False, True])
    @pytest.mark.parametrize(("kind", "other"), [(TPM_SE.HMAC, 0x03000000), (TPM_SE.POLICY, 0x02000000)])
    def test_other_kind(self, tpm: Client, kind: TPM_SE, other: int, *, saved: bool) -> None:
        """A session is flushed by its number, whatever the handle says of its kind; saved ones, too."""
        session = start_session(tpm, kind).handle
        if saved:
            tpm.context_save(session).check()

        codes = [tpm.flush_context(flush_handle=other | session & 0xFFFFFF).rc for _ in range(2)]

        assert codes == [TPM_RC.SUCCESS, TPM_RC.HANDLE.parameter(1)]

    @pytest.mark.parametrize("handle", [OWNER, HANDLE, 0x01000001, 0])
    def test_others(self, tpm: Client, handle: int) -> None:
        """Nothing else is flushed."""
        assert tpm.flush_context(flush_handle=handle).rc == TPM_RC.VALUE.parameter(1)


class TestEvictControl:
    """28.5"""

    def test_durable(self, tpm: Client) -> None:
        """A persistent object is there after a loss of power, works as before, and then goes for good."""
        item = primary(tpm, auth=b"pw")
        blob = tpm.create(item, auths=[b"pw"], **creation(SEALED, data=b"secret"))
        public = tpm.read_public(item).octets
        assert tpm.evict_control(OWNER, item, persistent_handle=HANDLE).rc == TPM_RC.SUCCESS

        tpm.power_cycle(shutdown=None)

        assert tpm.read_public(HANDLE).octets == public
        given = {"in_private": blob.out_private, "in_public": blob.out_public}
        assert tpm.unseal(handle_of(tpm.load(HANDLE, auths=[b"pw"], **given))).out_data == b"secret"
        assert tpm.evict_control(OWNER, HANDLE, persistent_handle=HANDLE).rc == TPM_RC.SUCCESS
        assert tpm.read_public(HANDLE).rc == TPM_RC.HANDLE.handle(1)
        tpm.power_cycle(shutdown=None)
        assert tpm.read_public(HANDLE).rc == TPM_RC.HANDLE.handle(1)

    def test_transient_stays(self, tpm: Client) -> None:
        """The transient object is still there, under its own handle."""
        item = primary(tpm)
        tpm.evict_control(OWNER, item, persistent_handle=HANDLE)

        assert tpm.flush_context(flush_handle=item).rc == TPM_RC.SUCCESS
        assert tpm.read_public(HANDLE).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("auth", "hierarchy", "handle", "expected"),
        [
            (OWNER, OWNER, HANDLE, TPM_RC.SUCCESS),
            (OWNER, TPM_RH.ENDORSEMENT, 0x817FFFFF, TPM_RC.SUCCESS),
            (OWNER, OWNER, PLATFORM_HANDLE, TPM_RC.RANGE.parameter(1)),
            (OWNER, PLATFORM, HANDLE, TPM_RC.HIERARCHY.handle(2)),
            (OWNER, TPM_RH.NULL, HANDLE, TPM_RC.ATTRIBUTES.handle(2)),
            (PLATFORM, PLATFORM, PLATFORM_HANDLE, TPM_RC.SUCCESS),
            (PLATFORM, PLATFORM, HANDLE, TPM_RC.RANGE.parameter(1)),
            (PLATFORM, OWNER, PLATFORM_HANDLE, TPM_RC.HIERARCHY.handle(2)),
            (OWNER, OWNER, 0x80000000, TPM_RC.VALUE.parameter(1)),
            (TPM_RH.ENDORSEMENT, OWNER, HANDLE, TPM_RC.VALUE.handle(1)),
        ],
    )
    def test_who(self, tpm: Client, auth: int, hierarchy: int, handle: int, expected: int) -> None:
        """Owner and platform have a range each; neither persists the other's or temporary objects."""
        item = primary(tpm, hierarchy=hierarchy)

        assert expected == tpm.evict_control(auth, item, persistent_handle=handle).rc

    def test_taken(self, tpm: Client) -> None:
        """A handle has one object; a persistent one is named by its own handle."""
        item = primary(tpm)
        for handle in (HANDLE, HANDLE + 1):
            tpm.evict_control(OWNER, item, persistent_handle=handle)

        assert tpm.evict_control(OWNER, item, persistent_handle=HANDLE).rc == TPM_RC.NV_DEFINED
        other = tpm.evict_control(OWNER, HANDLE, persistent_handle=HANDLE + 1).rc
        assert other == TPM_RC.HANDLE.handle(2)

    def test_st_clear(self, tpm: Client) -> None:
        """An object with stClear is not made persistent."""
        item = st_clear_primary(tpm)
        assert tpm.read_public(item).out_public.object_attributes & TPMA_OBJECT(stClear=True)

        reply = tpm.evict_control(OWNER, item, persistent_handle=HANDLE)

        assert reply.rc == TPM_RC.ATTRIBUTES.handle(2)

    def test_public(self, tpm: Client) -> None:
        """A public area alone can be persistent, if its hierarchy is not the null one."""
        public = tpm.read_public(primary(tpm, SIGN_ECC)).out_public
        codes = {}
        for hierarchy in (TPM_RH.NULL, OWNER):
            reply = tpm.load_external(in_private=None, in_public=public, hierarchy=hierarchy)
            item = reply.object_handle
            codes[hierarchy] = tpm.evict_control(OWNER, item, persistent_handle=HANDLE).rc

        assert codes == {TPM_RH.NULL: TPM_RC.ATTRIBUTES.handle(2), OWNER: TPM_RC.SUCCESS}
        tpm.power_cycle(shutdown=None)
        reply = tpm.read_public(HANDLE)
        assert reply.out_public == public
        assert reply.qualified_name == reply.name

    def test_range(self, tpm: Client) -> None:
        """The owner does not delete from the platform's range."""
        item = primary(tpm, hierarchy=PLATFORM)
        tpm.evict_control(PLATFORM, item, persistent_handle=PLATFORM_HANDLE)

        refused = tpm.evict_control(OWNER, PLATFORM_HANDLE, persistent_handle=PLATFORM_HANDLE).rc

        assert refused == TPM_RC.RANGE.handle(2)

    def test_disabled(self, tpm: Client) -> None:
        """24.2: an object is gone while the owner or its own hierarchy is disabled, but can be evicted."""
        tpm.evict_control(OWNER, primary(tpm, hierarchy=TPM_RH.ENDORSEMENT), persistent_handle=HANDLE)
        codes = {}
        for hierarchy in (OWNER, TPM_RH.ENDORSEMENT):
            tpm.hierarchy_control(PLATFORM, enable=hierarchy, state=False)
            codes[hierarchy] = tpm.read_public(HANDLE).rc
            if hierarchy == OWNER:
                tpm.hierarchy_control(PLATFORM, enable=hierarchy, state=True)

        assert set(codes.values()) == {TPM_RC.HANDLE.handle(1)}
        assert tpm.evict_control(OWNER, HANDLE, persistent_handle=HANDLE).rc == TPM_RC.SUCCESS

    def test_space(self) -> None:
        """TPM_RC_NV_SPACE if NV memory is full of objects; what is deleted gives its room back."""
        tpm = Client(profile=replace(DEFAULT, nv_capacity=1000))
        item = primary(tpm)
        codes = [tpm.evict_control(OWNER, item, persistent_handle=HANDLE + n).rc for n in range(10)]

        assert codes == sorted(codes)
        assert {TPM_RC.SUCCESS, TPM_RC.NV_SPACE} == set(codes)
        tpm.evict_control(OWNER, HANDLE, persistent_handle=HANDLE)
        assert tpm.evict_control(OWNER, item, persistent_handle=HANDLE).rc == TPM_RC.SUCCESS

    def test_platform_deletes(self, tpm: Client) -> None:
        """The platform deletes the owner's objects."""
        tpm.evict_control(OWNER, primary(tpm), persistent_handle=HANDLE)

        assert tpm.evict_control(PLATFORM, HANDLE, persistent_handle=HANDLE).rc == TPM_RC.SUCCESS
        assert tpm.read_public(HANDLE).rc == TPM_RC.HANDLE.handle(1)

    def test_slots(self, tpm: Client) -> None:
        """TPM_RC_NV_SPACE if every persistent slot is taken."""
        item = primary(tpm, STORAGE_ECC)
        slots = tpm.tpm.profile.persistent_slots
        codes = [tpm.evict_control(OWNER, item, persistent_handle=HANDLE + n).rc for n in range(slots + 1)]

        assert codes == [TPM_RC.SUCCESS] * slots + [TPM_RC.NV_SPACE]
