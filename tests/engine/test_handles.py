"""Part 3, 5.4: the handle area."""

from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, SELF, define
from tests.keys import NULL_SIGNATURE_SCHEME, put_hmac
from tests.objects import primary
from tests.scenarios import Client
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.wire.error import TPM_RC

OWNER, ENDORSEMENT, PLATFORM = TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM
TRANSIENT, SESSION = 0x80000007, 0x02000005
CERTIFIED: dict[str, Any] = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}
"""Parameters of attestations."""

PERSISTENT = {OWNER: 0x81000001, ENDORSEMENT: 0x81000002, PLATFORM: 0x81800001}
"""Persistent objects of the hierarchies."""


def disable(tpm: Client, enable: TPM_RH) -> None:
    """Disable a hierarchy, or the platform's NV Indices."""
    tpm.hierarchy_control(PLATFORM, enable=enable, state=False).check()


class TestValues:
    """5.4, 1: handles are well formed"""

    @pytest.mark.parametrize(
        ("handles", "expected"),
        [
            ((OWNER, TRANSIENT), TPM_RC.VALUE.handle(1)),
            ((TRANSIENT, OWNER), TPM_RC.VALUE.handle(2)),
            ((OWNER, OWNER), TPM_RC.VALUE.handle(1)),
            ((TRANSIENT, TRANSIENT), TPM_RC.REFERENCE_H0),
        ],
    )
    def test_before_the_entities(self, tpm: Client, handles: tuple[int, int], expected: int) -> None:
        """All handles are read before it is looked what the first one refers to."""
        assert tpm.certify(*handles, **CERTIFIED).rc == expected

    @pytest.mark.parametrize("index", [24, 31, 0x00FFFFFF])
    def test_pcr(self, tpm: Client, index: int) -> None:
        """6: a PCR that there is not."""
        assert tpm.pcr_reset(index).rc == TPM_RC.VALUE.handle(1)


class TestLoaded:
    """5.4, 2.1 and 4: transient objects and sessions are loaded; the code tells which is not"""

    @pytest.mark.parametrize(("position", "expected"), [(0, TPM_RC.REFERENCE_H0), (1, TPM_RC.REFERENCE_H1)])
    def test_object(self, tpm: Client, position: int, expected: int) -> None:
        """An object, by the number of its handle."""
        handles = [put_hmac(tpm), put_hmac(tpm)]
        handles[position] = TRANSIENT

        assert tpm.certify(*handles, **CERTIFIED).rc == expected

    def test_session(self, tpm: Client) -> None:
        """A session, here the third handle."""
        reply = tpm.get_session_audit_digest(ENDORSEMENT, put_hmac(tpm), SESSION, **CERTIFIED)

        assert reply.rc == TPM_RC.REFERENCE_H2

    def test_disabled_hierarchy(self, tpm: Client) -> None:
        """The objects of a hierarchy that is disabled are flushed."""
        key = primary(tpm, hierarchy=ENDORSEMENT)
        disable(tpm, ENDORSEMENT)

        assert tpm.read_public(key).rc == TPM_RC.REFERENCE_H0


class TestPersistent:
    """5.4, 2.2: a persistent object exists, and its hierarchy is enabled"""

    @pytest.fixture
    def kept(self, tpm: Client) -> Client:
        """A TPM with persistent objects of three hierarchies."""
        for hierarchy, handle in PERSISTENT.items():
            auth = PLATFORM if hierarchy is PLATFORM else OWNER
            item = primary(tpm, hierarchy=hierarchy)
            tpm.evict_control(auth, item, persistent_handle=handle).check()
            tpm.flush_context(flush_handle=item).check()
        return tpm

    @pytest.mark.parametrize(
        ("disabled", "missing"),
        [(OWNER, {OWNER, ENDORSEMENT}), (ENDORSEMENT, {ENDORSEMENT}), (PLATFORM, {PLATFORM})],
    )
    def test_hierarchy(self, kept: Client, disabled: TPM_RH, missing: set[TPM_RH]) -> None:
        """The hierarchy of its handle, and that of the object."""
        disable(kept, disabled)

        codes = {hierarchy: kept.read_public(handle).rc for hierarchy, handle in PERSISTENT.items()}

        expected = {
            hierarchy: TPM_RC.HANDLE.handle(1) if hierarchy in missing else TPM_RC.SUCCESS
            for hierarchy in PERSISTENT
        }
        assert codes == expected

    @pytest.mark.parametrize("handle", [0x81000003, 0x81FFFFFF])
    def test_missing(self, kept: Client, handle: int) -> None:
        """There is no such object."""
        assert kept.read_public(handle).rc == TPM_RC.HANDLE.handle(1)
        reply = kept.certify(PERSISTENT[OWNER], handle, **CERTIFIED)
        assert reply.rc == TPM_RC.HANDLE.handle(2)


class TestNv:
    """5.4, 3: an Index exists, its hierarchy is enabled, and no lock refuses the command"""

    PLATFORM_INDEX = 0x01400001

    def define_for_the_platform(self, tpm: Client) -> None:
        """An Index of the platform."""
        attributes = TPMA_NV(AUTHREAD=True, AUTHWRITE=True, NO_DA=True, PLATFORMCREATE=True)
        public = TPMS_NV_PUBLIC(self.PLATFORM_INDEX, TPM_ALG.SHA256, attributes, b"", 8)
        tpm.nv_define_space(PLATFORM, auth=b"", public_info=public).check()

    def test_missing(self, tpm: Client) -> None:
        """There is no such Index, by whichever handle."""
        define(tpm)

        assert tpm.nv_read_public(INDEX + 1).rc == TPM_RC.HANDLE.handle(1)
        assert tpm.nv_read(OWNER, INDEX + 1, size=1, offset=0).rc == TPM_RC.HANDLE.handle(2)

    @pytest.mark.parametrize(
        ("disabled", "codes"),
        [
            (OWNER, (TPM_RC.HANDLE.handle(1), TPM_RC.SUCCESS)),
            (TPM_RH.PLATFORM_NV, (TPM_RC.SUCCESS, TPM_RC.HANDLE.handle(1))),
            (PLATFORM, (TPM_RC.SUCCESS, TPM_RC.SUCCESS)),
        ],
    )
    def test_hierarchy(self, tpm: Client, disabled: TPM_RH, codes: tuple[int, int]) -> None:
        """The owner's, or the platform's, which has an enable for its Indices alone."""
        define(tpm)
        self.define_for_the_platform(tpm)

        disable(tpm, disabled)

        assert (tpm.nv_read_public(INDEX).rc, tpm.nv_read_public(self.PLATFORM_INDEX).rc) == codes

    def test_locks(self, tpm: Client) -> None:
        """A lock is found before a wrong authorization is."""
        define(tpm, SELF.but(WRITE_STCLEAR=True, READ_STCLEAR=True))
        tpm.nv_write(INDEX, INDEX, data=b"x", offset=0).check()
        wrong: dict[str, Any] = {"auths": [b"wrong"]}
        before = [
            tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, **wrong).rc,
            tpm.nv_read(INDEX, INDEX, size=1, offset=0, **wrong).rc,
        ]
        tpm.nv_write_lock(INDEX, INDEX).check()
        tpm.nv_read_lock(INDEX, INDEX).check()

        assert before == [TPM_RC.BAD_AUTH.session(1)] * 2
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, **wrong).rc == TPM_RC.NV_LOCKED
        assert tpm.nv_read(INDEX, INDEX, size=1, offset=0, **wrong).rc == TPM_RC.NV_LOCKED


class TestHierarchies:
    """5.4, 5: a hierarchy is enabled"""

    @pytest.mark.parametrize("hierarchy", [OWNER, ENDORSEMENT])
    def test_disabled(self, tpm: Client, hierarchy: TPM_RH) -> None:
        """By a handle that authorizes, whatever the authorization."""
        disable(tpm, hierarchy)

        reply = tpm.hierarchy_change_auth(hierarchy, new_auth=b"", auths=[b"wrong"])

        assert reply.rc == TPM_RC.HIERARCHY.handle(1)

    def test_lockout(self, tpm: Client) -> None:
        """Lockout is no hierarchy that could be disabled."""
        disable(tpm, OWNER)

        assert tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS
