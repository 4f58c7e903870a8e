"""Part 1, "TPM Firmware-Limited and SVN-Limited Objects": hierarchies that depend on the firmware."""

from dataclasses import replace

import pytest

from tests.keys import NULL_SIGNATURE_SCHEME
from tests.objects import SIGN_ECC, STORAGE_ECC, STORAGE_RSA, created, creation, handle_of, primary, template
from tests.scenarios import Client
from vtpm.crypto.digest import digest
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_PT, TPM_RH
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.state import firmware
from vtpm.state.firmware import FIRMWARE_MAX_SVN, svn_secret
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

FIRMWARE = {
    TPM_RH.FW_OWNER: TPM_RH.OWNER,
    TPM_RH.FW_ENDORSEMENT: TPM_RH.ENDORSEMENT,
    TPM_RH.FW_PLATFORM: TPM_RH.PLATFORM,
    TPM_RH.FW_NULL: TPM_RH.NULL,
}
SVN = {
    TPM_RH.SVN_OWNER_BASE: TPM_RH.OWNER,
    TPM_RH.SVN_ENDORSEMENT_BASE: TPM_RH.ENDORSEMENT,
    TPM_RH.SVN_PLATFORM_BASE: TPM_RH.PLATFORM,
    TPM_RH.SVN_NULL_BASE: TPM_RH.NULL,
}
LIMITED = sorted(FIRMWARE | SVN)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firmware of the next version and a greater SVN."""
    monkeypatch.setattr(firmware, "FIRMWARE_VERSION", firmware.FIRMWARE_VERSION + 1)
    monkeypatch.setattr(firmware, "FIRMWARE_SVN", 3)


def with_attributes(octets: str, **changes: bool) -> TPMT_PUBLIC:
    """A template with other attributes."""
    public = template(octets)
    return replace(public, object_attributes=public.object_attributes.but(**changes))


def name_of_primary(tpm: Client, hierarchy: int, octets: str = STORAGE_ECC) -> bytes:
    """The Name of a primary key that is made and flushed."""
    reply = tpm.create_primary(hierarchy, **creation(octets))
    tpm.flush_context(flush_handle=handle_of(reply))
    name: bytes = reply.name
    return name


class TestSeeds:
    """41.6: seeds and proof values"""

    def test_distinct(self, tpm: Client) -> None:
        """Every limited hierarchy has primary keys of its own, the same ones every time."""
        handles = [*FIRMWARE, *SVN, *FIRMWARE.values()]
        names = [name_of_primary(tpm, handle) for handle in handles]

        assert len(set(names)) == len(handles)
        assert names == [name_of_primary(tpm, handle) for handle in handles]

    def test_power(self, tpm: Client) -> None:
        """They last as long as their base hierarchy's seed."""
        before = {handle: name_of_primary(tpm, handle) for handle in LIMITED}
        tpm.power_cycle(shutdown=None)
        after = {handle: name_of_primary(tpm, handle) for handle in LIMITED}

        changed = {handle for handle in LIMITED if before[handle] != after[handle]}
        assert changed == {TPM_RH.FW_NULL, TPM_RH.SVN_NULL_BASE}

    def test_clear(self, tpm: Client) -> None:
        """A new owner seed changes the owner's limited hierarchies; their loaded objects are gone."""
        before = {handle: name_of_primary(tpm, handle) for handle in LIMITED}
        items = {handle: primary(tpm, hierarchy=handle) for handle in LIMITED}

        assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS

        left = {handle for handle, item in items.items() if tpm.read_public(item).rc == TPM_RC.SUCCESS}
        bases = {TPM_RH.PLATFORM, TPM_RH.NULL}
        assert left == {handle for handle, base in (FIRMWARE | SVN).items() if base in bases}
        changed = {handle for handle in LIMITED if before[handle] != name_of_primary(tpm, handle)}
        assert changed == {TPM_RH.FW_OWNER, TPM_RH.SVN_OWNER_BASE}

    def test_newer_firmware(self, tpm: Client, request: pytest.FixtureRequest) -> None:
        """New firmware has other firmware-limited keys, but the same SVN-limited ones."""
        before = {handle: name_of_primary(tpm, handle) for handle in LIMITED}
        request.getfixturevalue("newer")
        after = {handle: name_of_primary(tpm, handle) for handle in LIMITED}

        assert {handle for handle in LIMITED if before[handle] != after[handle]} == set(FIRMWARE)

    @pytest.mark.usefixtures("newer")
    def test_svn(self, tpm: Client) -> None:
        """Each SVN up to the firmware's has a hierarchy, and no greater one."""
        names = {name_of_primary(tpm, TPM_RH.SVN_OWNER_BASE + svn) for svn in range(4)}
        given = creation(STORAGE_ECC)
        refused = [
            tpm.create_primary(TPM_RH.SVN_OWNER_BASE + 4, **given).rc,
            tpm.create_loaded(
                TPM_RH.SVN_OWNER_BASE + 4,
                in_sensitive=given["in_sensitive"],
                in_public=marshal(given["in_public"]),
            ).rc,
        ]

        assert len(names) == 4
        assert refused == [TPM_RC.SVN_LIMITED.handle(1)] * 2

    def test_svn_secrets(self) -> None:
        """The secret of an SVN follows from the next one's, and not the other way round."""
        root = bytes(range(64))

        for svn in (0, 7, FIRMWARE_MAX_SVN - 1):
            assert svn_secret(root, svn) == digest(TPM_ALG.SHA512, svn_secret(root, svn + 1))

    def test_of_another_tpm(self, tpm: Client) -> None:
        """The secrets are the TPM's own, even if another has the same seeds."""
        other = Client(seed=b"another")
        for handle in FIRMWARE.values():
            other.tpm.hierarchies[handle].seed = tpm.tpm.hierarchies[handle].seed

        assert name_of_primary(tpm, TPM_RH.OWNER) == name_of_primary(other, TPM_RH.OWNER)
        for handle in LIMITED:
            assert name_of_primary(tpm, handle) != name_of_primary(other, handle)


class TestObjects:
    """41.3 and 41.4: objects"""

    @pytest.mark.parametrize("hierarchy", LIMITED)
    def test_creation_data(self, tpm: Client, hierarchy: int) -> None:
        """The creation data and the ticket name the limited hierarchy; the Qualified Name begins with it."""
        reply = tpm.create_primary(hierarchy, **creation(STORAGE_ECC))
        handle = hierarchy.to_bytes(4, "big")

        assert reply.creation_data.parent_name == reply.creation_data.parent_qualified_name == handle
        assert reply.creation_ticket.hierarchy == hierarchy
        qualified = tpm.read_public(handle_of(reply)).qualified_name
        assert qualified[2:] == digest(TPM_ALG.SHA256, handle, reply.name)
        certified = tpm.certify_creation(
            primary(tpm, SIGN_ECC),
            handle_of(reply),
            qualifying_data=b"",
            creation_hash=reply.creation_hash,
            in_scheme=NULL_SIGNATURE_SCHEME,
            ticket=reply.creation_ticket,
        )
        assert certified.rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("hierarchy", LIMITED)
    @pytest.mark.parametrize("attribute", ["firmwareLimited", "svnLimited"])
    def test_attributes(self, tpm: Client, hierarchy: int, attribute: str) -> None:
        """8.3: the attributes ask for a hierarchy and a parent that are limited in the same way."""
        public = with_attributes(STORAGE_ECC, **{attribute: True})
        fits = hierarchy in (FIRMWARE if attribute == "firmwareLimited" else SVN)
        refused = TPM_RC.ATTRIBUTES.parameter(2)

        reply = tpm.create_primary(hierarchy, **creation(public))

        assert reply.rc == (TPM_RC.SUCCESS if fits else refused)
        assert tpm.create_primary(TPM_RH.OWNER, **creation(public)).rc == refused
        child = creation(with_attributes(SIGN_ECC, **{attribute: True}))
        unlimited = primary(tpm, hierarchy=hierarchy)
        assert tpm.create(unlimited, **child).rc == refused
        if fits:
            assert tpm.create(handle_of(reply), **child).rc == TPM_RC.SUCCESS
            movable = with_attributes(SIGN_ECC, **{attribute: True, "fixedTPM": False, "fixedParent": False})
            assert tpm.create(handle_of(reply), **creation(movable)).rc == refused

    def test_child(self, tpm: Client, request: pytest.FixtureRequest) -> None:
        """A child of a firmware-limited key is lost to another firmware, with the parent's seed."""
        limited = creation(with_attributes(STORAGE_ECC, firmwareLimited=True))
        parent = handle_of(tpm.create_primary(TPM_RH.FW_OWNER, **limited))
        blob = created(tpm, parent, SIGN_ECC)
        assert tpm.load(parent, **blob).rc == TPM_RC.SUCCESS

        request.getfixturevalue("newer")

        parent = handle_of(tpm.create_primary(TPM_RH.FW_OWNER, **limited))
        assert tpm.load(parent, **blob).rc == TPM_RC.INTEGRITY.parameter(1)

    def test_context(self, tpm: Client, request: pytest.FixtureRequest) -> None:
        """A saved context names the limited hierarchy, and depends on the firmware, too."""
        context = tpm.context_save(primary(tpm, hierarchy=TPM_RH.FW_OWNER)).context
        assert context.hierarchy == TPM_RH.FW_OWNER
        assert tpm.context_load(context=context).rc == TPM_RC.SUCCESS

        request.getfixturevalue("newer")

        assert tpm.context_load(context=context).rc == TPM_RC.INTEGRITY.parameter(1)

    @pytest.mark.parametrize("hierarchy", LIMITED)
    def test_evict(self, tpm: Client, hierarchy: int) -> None:
        """41.5: nothing in a limited hierarchy can be made persistent."""
        item = primary(tpm, hierarchy=hierarchy)

        for auth, handle in ((TPM_RH.OWNER, 0x81000001), (TPM_RH.PLATFORM, 0x81800001)):
            refused = tpm.evict_control(auth, item, persistent_handle=handle).rc
            assert refused == TPM_RC.ATTRIBUTES.handle(2)

    def test_endorsement(self, tpm: Client) -> None:
        """A limited endorsement key's seedValue depends on the proofs, as an unlimited one's does."""
        before = name_of_primary(tpm, TPM_RH.FW_ENDORSEMENT, STORAGE_RSA)
        parent = primary(tpm, STORAGE_RSA, hierarchy=TPM_RH.FW_ENDORSEMENT)
        blob = created(tpm, parent, SIGN_ECC)

        tpm.clear(TPM_RH.LOCKOUT)

        assert name_of_primary(tpm, TPM_RH.FW_ENDORSEMENT, STORAGE_RSA) == before
        parent = primary(tpm, STORAGE_RSA, hierarchy=TPM_RH.FW_ENDORSEMENT)
        assert tpm.load(parent, **blob).rc == TPM_RC.INTEGRITY.parameter(1)


class TestHandles:
    """Part 2, 7.4"""

    @pytest.mark.parametrize("hierarchy", LIMITED)
    def test_authorization(self, tpm: Client, hierarchy: int) -> None:
        """The base hierarchy's authorization authorizes, and its enable enables."""
        base = (FIRMWARE | SVN)[TPM_RH(hierarchy)]
        if base == TPM_RH.NULL:
            assert tpm.create_primary(hierarchy, **creation(SIGN_ECC)).rc == TPM_RC.SUCCESS
            return
        tpm.hierarchy_change_auth(base, new_auth=b"pw")

        assert tpm.create_primary(hierarchy, **creation(SIGN_ECC)).rc == TPM_RC.BAD_AUTH.session(1)
        assert tpm.create_primary(hierarchy, auths=[b"pw"], **creation(SIGN_ECC)).rc == TPM_RC.SUCCESS
        tpm.hierarchy_control(base, auths=[b"pw"], enable=base, state=False)
        disabled = tpm.create_primary(hierarchy, auths=[b"pw"], **creation(SIGN_ECC)).rc
        assert disabled == TPM_RC.HIERARCHY.handle(1)

    def test_properties(self, tpm: Client) -> None:
        """6.13: the SVN, and the greatest one there can be."""
        reply = tpm.get_capability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.FIRMWARE_SVN, property_count=2
        )

        assert [pair.value for pair in reply.capability_data.data] == [
            firmware.FIRMWARE_SVN,
            FIRMWARE_MAX_SVN,
        ]
