"""Part 3, clause 24: hierarchy commands."""

from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, SELF, define
from tests.crypto.published import content, label, vectors
from tests.objects import (
    SEALED,
    SIGN_ECC,
    STORAGE_ECC,
    created,
    creation,
    handle_of,
    primary,
    sensitive_of,
    template,
)
from tests.scenarios import Client
from tests.sessions import start_session
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.attributes import TPMA_STARTUP_CLEAR
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_PT, TPM_RH, TPM_SU
from vtpm.wire.error import TPM_RC

PRIMARIES = "crypto/primary-derivation"
SEEDS = {name: bytes.fromhex(octets) for name, octets in content(PRIMARIES)["seeds"].items()}
PREFIXES = {TPM_RH.ENDORSEMENT: "E", TPM_RH.OWNER: "S", TPM_RH.PLATFORM: "P"}
BASE = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM)


def with_recorded_seeds(tpm: Client, level: int = 1) -> Client:
    """Give a TPM the seeds and proofs of the recorded one."""
    for handle, prefix in PREFIXES.items():
        hierarchy = tpm.tpm.hierarchies[handle]
        hierarchy.seed = SEEDS[f"{prefix}PSeed"]
        hierarchy.proof = SEEDS[f"{prefix.lower()}hProof"]
        hierarchy.seed_level = level
    return tpm


def derive(tpm: Client, vector: dict[str, Any]) -> Any:
    """CreatePrimary of a vector."""
    given = creation(vector["template_TPMT_PUBLIC"])
    given["in_sensitive"] = TPMS_SENSITIVE_CREATE(
        user_auth=bytes.fromhex(vector["user_auth"]), data=bytes.fromhex(vector["sensitive_data"])
    )
    return tpm.create_primary(int(vector["hierarchy"], 16), **given)


def persist(tpm: Client, hierarchy: int, handle: int) -> None:
    """A persistent primary object of a hierarchy."""
    by = TPM_RH.PLATFORM if hierarchy == TPM_RH.PLATFORM else TPM_RH.OWNER
    item = primary(tpm, hierarchy=hierarchy)
    assert tpm.evict_control(by, item, persistent_handle=handle).rc == TPM_RC.SUCCESS
    tpm.flush_context(flush_handle=item)


def persistent(tpm: Client) -> tuple[int, ...]:
    """The handles of persistent objects, as GetCapability tells them."""
    reply = tpm.get_capability(capability=TPM_CAP.HANDLES, property=0x81000000, property_count=100)
    return tuple(reply.capability_data.data)


def name_of_primary(tpm: Client, hierarchy: int) -> bytes:
    """The Name of a primary key that is made and flushed."""
    reply = tpm.create_primary(hierarchy, **creation(STORAGE_ECC))
    tpm.flush_context(flush_handle=handle_of(reply))
    name: bytes = reply.name
    return name


class TestCreatePrimary:
    """24.1"""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "vector", vectors(PRIMARIES), ids=lambda v: f"{label(v)}-{v['seed_compat_level']}"
    )
    def test_recorded(self, tpm: Client, vector: dict[str, Any]) -> None:
        """Seeds of swtpm give swtpm's primary objects, the first time and again."""
        with_recorded_seeds(tpm, vector["seed_compat_level"])

        first, second = derive(tpm, vector), derive(tpm, vector)

        assert vector["object_name"] == first.name.hex() == second.name.hex()
        item = handle_of(second)
        assert tpm.read_public(item).octets[12:].hex().startswith(vector["out_public"])
        assert first.out_public == second.out_public == template(vector["out_public"])
        ours = [sensitive_of(tpm, handle_of(reply)) for reply in (first, second)]
        assert ours[0] == ours[1]

    def test_creation_data(self, tpm: Client) -> None:
        """The creation data names the hierarchy and repeats outsideInfo."""
        given = creation(STORAGE_ECC) | {"outside_info": b"outside"}

        data = tpm.create_primary(TPM_RH.ENDORSEMENT, **given).creation_data

        assert data.outside_info == b"outside"
        assert data.parent_name_alg == TPM_ALG.NULL
        assert data.parent_name == data.parent_qualified_name == TPM_RH.ENDORSEMENT.to_bytes(4, "big")

    def test_sealed(self, tpm: Client) -> None:
        """Sealed data can be a primary object; its authValue opens it."""
        item = primary(tpm, SEALED, data=b"secret", auth=b"pw")

        assert tpm.unseal(item, auths=[b"pw"]).out_data == b"secret"
        assert tpm.unseal(item, auths=[b"wrong"]).rc == TPM_RC.AUTH_FAIL.session(1)

    def test_power(self, tpm: Client) -> None:
        """A loss of power changes no primary object, but the null hierarchy's."""
        before = [name_of_primary(tpm, handle) for handle in (*BASE, TPM_RH.NULL)]
        tpm.power_cycle(shutdown=None)
        after = [name_of_primary(tpm, handle) for handle in (*BASE, TPM_RH.NULL)]

        assert before[:3] == after[:3]
        assert before[3] != after[3]
        assert len(set(before)) == 4

    def test_slots(self, tpm: Client) -> None:
        """TPM_RC_OBJECT_MEMORY if every slot is taken."""
        for _ in range(tpm.tpm.profile.transient_slots):
            primary(tpm)

        assert tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).rc == TPM_RC.OBJECT_MEMORY

    @pytest.mark.parametrize(
        ("public", "data", "auth", "expected"),
        [
            # A signing key that also is restricted and decrypts
            ("0023000b00070072 0000 0006 0080 0043 0010 0003 0010 0000 0000", b"", b"", TPM_RC.ATTRIBUTES),
            # fixedTPM without fixedParent
            ("0023000b00040062 0000 0010 0018 000b 0003 0010 0000 0000", b"", b"", TPM_RC.ATTRIBUTES),
            # sealed data that the TPM would have to make up
            ("0008000b00000072 0000 0010 0000", b"", b"", TPM_RC.ATTRIBUTES),
            ("0008000b00000052 0000 0010 0000", b"", b"", TPM_RC.ATTRIBUTES),
            # a policy of the wrong size
            ("0008000b00000052 0001 00 0010 0000", b"x", b"", TPM_RC.SIZE),
            # a storage key without a symmetric algorithm
            ("0023000b00030472 0000 0010 0010 0003 0010 0000 0000", b"", b"", TPM_RC.SYMMETRIC),
            # a restricted signing key without a scheme
            ("0023000b00050072 0000 0010 0010 0003 0010 0000 0000", b"", b"", TPM_RC.SCHEME),
        ],
    )
    def test_templates(self, tpm: Client, public: str, data: bytes, auth: bytes, expected: int) -> None:
        """Part 2, 8.3: what cannot be made."""
        reply = tpm.create_primary(TPM_RH.OWNER, **creation(public, data=data, auth=auth))

        assert TPM_RC(expected).parameter(2) == reply.rc

    def test_auth_size(self, tpm: Client) -> None:
        """An authValue is not longer than a digest of the nameAlg, but for trailing zeros."""
        fits = creation(STORAGE_ECC, auth=b"x" * 32 + bytes(8))
        longer = creation(STORAGE_ECC, auth=b"x" * 33)

        assert tpm.create_primary(TPM_RH.OWNER, **fits).rc == TPM_RC.SUCCESS
        assert tpm.create_primary(TPM_RH.OWNER, **longer).rc == TPM_RC.SIZE.parameter(1)


class TestHierarchyControl:
    """24.2"""

    @pytest.mark.parametrize("hierarchy", [TPM_RH.OWNER, TPM_RH.ENDORSEMENT])
    def test_disable(self, tpm: Client, hierarchy: int) -> None:
        """Its objects are flushed, its persistent ones are out of reach; the platform enables it again."""
        persist(tpm, hierarchy, 0x81000001)
        item, other = primary(tpm, hierarchy=hierarchy), primary(tpm, hierarchy=TPM_RH.PLATFORM)

        assert tpm.hierarchy_control(hierarchy, enable=hierarchy, state=False).rc == TPM_RC.SUCCESS

        assert tpm.read_public(item).rc == TPM_RC.REFERENCE_H0
        assert tpm.read_public(other).rc == TPM_RC.SUCCESS
        assert tpm.read_public(0x81000001).rc == TPM_RC.HANDLE.handle(1)
        refused = tpm.create_primary(hierarchy, **creation(STORAGE_ECC)).rc
        assert refused == TPM_RC.HIERARCHY.handle(1)
        again = tpm.hierarchy_control(hierarchy, enable=hierarchy, state=True).rc
        assert again == TPM_RC.HIERARCHY.handle(1)
        assert tpm.hierarchy_control(TPM_RH.PLATFORM, enable=hierarchy, state=True).rc == TPM_RC.SUCCESS
        assert tpm.read_public(0x81000001).rc == TPM_RC.SUCCESS

    def test_platform(self, tpm: Client) -> None:
        """The platform hierarchy, once disabled, is back after the next start."""
        item = primary(tpm, hierarchy=TPM_RH.PLATFORM)
        control = {"enable": TPM_RH.PLATFORM, "state": False}

        assert tpm.hierarchy_control(TPM_RH.PLATFORM, **control).rc == TPM_RC.SUCCESS

        assert tpm.read_public(item).rc == TPM_RC.REFERENCE_H0
        assert tpm.hierarchy_control(TPM_RH.PLATFORM, **control).rc == TPM_RC.HIERARCHY.handle(1)
        tpm.power_cycle()
        assert tpm.hierarchy_control(TPM_RH.PLATFORM, **control).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("auth", "enable", "expected"),
        [
            (TPM_RH.OWNER, TPM_RH.OWNER, TPM_RC.SUCCESS),
            (TPM_RH.ENDORSEMENT, TPM_RH.ENDORSEMENT, TPM_RC.SUCCESS),
            (TPM_RH.PLATFORM, TPM_RH.PLATFORM, TPM_RC.SUCCESS),
            (TPM_RH.PLATFORM, TPM_RH.PLATFORM_NV, TPM_RC.SUCCESS),
            (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RC.AUTH_TYPE),
            (TPM_RH.ENDORSEMENT, TPM_RH.OWNER, TPM_RC.AUTH_TYPE),
            (TPM_RH.OWNER, TPM_RH.PLATFORM, TPM_RC.AUTH_TYPE),
            (TPM_RH.OWNER, TPM_RH.PLATFORM_NV, TPM_RC.AUTH_TYPE),
            (TPM_RH.PLATFORM, TPM_RH.LOCKOUT, TPM_RC.VALUE.parameter(1)),
        ],
    )
    @pytest.mark.parametrize("state", [False, True])
    def test_who(self, tpm: Client, auth: int, enable: int, expected: int, state: bool) -> None:  # noqa: FBT001 - a table's column
        """Each for itself, the platform for all; to enable what is enabled does nothing."""
        assert expected == tpm.hierarchy_control(auth, enable=enable, state=state).rc

    @pytest.mark.parametrize(
        ("shutdown", "startup", "expected"),
        [
            (TPM_SU.STATE, TPM_SU.STATE, TPM_RC.HIERARCHY.handle(1)),
            (TPM_SU.STATE, TPM_SU.CLEAR, TPM_RC.SUCCESS),
            (TPM_SU.CLEAR, TPM_SU.CLEAR, TPM_RC.SUCCESS),
        ],
    )
    def test_power(self, tpm: Client, shutdown: TPM_SU, startup: TPM_SU, expected: int) -> None:
        """A hierarchy stays disabled until the next TPM Reset or Restart."""
        tpm.hierarchy_control(TPM_RH.OWNER, enable=TPM_RH.OWNER, state=False)

        tpm.power_cycle(shutdown=shutdown, startup=startup)

        assert expected == tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).rc


class TestSetPrimaryPolicy:
    """24.3"""

    def test_size(self, tpm: Client) -> None:
        """The policy has the size of the hash, and none without a hash."""
        cases = [
            (bytes(32), TPM_ALG.SHA256, TPM_RC.SUCCESS),
            (b"", TPM_ALG.NULL, TPM_RC.SUCCESS),
            (bytes(20), TPM_ALG.SHA256, TPM_RC.SIZE.parameter(1)),
            (bytes(32), TPM_ALG.NULL, TPM_RC.SIZE.parameter(1)),
            (b"", TPM_ALG.SHA256, TPM_RC.SIZE.parameter(1)),
        ]
        for policy, alg, expected in cases:
            assert expected == tpm.set_primary_policy(TPM_RH.OWNER, auth_policy=policy, hash_alg=alg).rc

    @pytest.mark.parametrize("hierarchy", [TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.LOCKOUT])
    def test_durable(self, tpm: Client, hierarchy: int) -> None:
        """A policy lasts, but the platform's does not."""
        policy = {"auth_policy": bytes(range(32)), "hash_alg": TPM_ALG.SHA256}
        for handle in (hierarchy, TPM_RH.PLATFORM):
            assert tpm.set_primary_policy(handle, **policy).rc == TPM_RC.SUCCESS

        tpm.power_cycle()

        reply = tpm.get_capability(capability=TPM_CAP.AUTH_POLICIES, property=0x40000000, property_count=9)
        policies = {tagged.handle: tagged.policy_hash for tagged in reply.capability_data.data}
        assert policies[hierarchy].digest == bytes(range(32))
        assert policies.get(TPM_RH.PLATFORM) is None or policies[TPM_RH.PLATFORM].hash_alg is TPM_ALG.NULL


class TestChangeSeeds:
    """24.4 ChangePPS, 24.5 ChangeEPS"""

    @pytest.mark.parametrize(
        ("verb", "changed", "handle"),
        [
            ("change_pps", TPM_RH.PLATFORM, 0x81800001),
            ("change_eps", TPM_RH.ENDORSEMENT, 0x81000001),
        ],
    )
    def test_change(self, tpm: Client, verb: str, changed: int, handle: int) -> None:
        """For good, its primary objects are others, its persistent ones gone; no other hierarchy changes."""
        persist(tpm, changed, handle)
        persist(tpm, TPM_RH.OWNER, 0x81000002)
        before = {hierarchy: name_of_primary(tpm, hierarchy) for hierarchy in BASE}

        assert getattr(tpm, verb)(TPM_RH.PLATFORM).rc == TPM_RC.SUCCESS
        assert persistent(tpm) == (0x81000002,)
        tpm.power_cycle(shutdown=None)

        after = {hierarchy: name_of_primary(tpm, hierarchy) for hierarchy in BASE}
        assert {hierarchy for hierarchy in BASE if before[hierarchy] != after[hierarchy]} == {changed}
        assert persistent(tpm) == (0x81000002,)

    @pytest.mark.parametrize(
        ("verb", "changed", "auths"),
        [
            (
                "change_pps",
                TPM_RH.PLATFORM,
                {TPM_RH.OWNER: b"o", TPM_RH.ENDORSEMENT: b"e", TPM_RH.PLATFORM: b"p"},
            ),
            (
                "change_eps",
                TPM_RH.ENDORSEMENT,
                {TPM_RH.OWNER: b"o", TPM_RH.ENDORSEMENT: b"", TPM_RH.PLATFORM: b"p"},
            ),
        ],
    )
    def test_authorizations(self, tpm: Client, verb: str, changed: int, auths: dict[int, bytes]) -> None:
        """The policy of the hierarchy is empty again; its authValue, too, unless it is the platform's."""
        for hierarchy, auth in zip(BASE, (b"o", b"e", b"p"), strict=True):
            tpm.set_primary_policy(hierarchy, auth_policy=bytes(32), hash_alg=TPM_ALG.SHA256).check()
            tpm.hierarchy_change_auth(hierarchy, new_auth=auth).check()

        getattr(tpm, verb)(TPM_RH.PLATFORM, auths=[b"p"]).check()

        found = {each: tpm.tpm.hierarchies[each] for each in BASE}
        assert {each for each in BASE if found[each].auth_policy == b""} == {changed}
        assert {each for each in BASE if found[each].policy_alg is TPM_ALG.NULL} == {changed}
        for handle, auth in auths.items():
            assert tpm.hierarchy_change_auth(handle, new_auth=b"", auths=[auth]).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("verb", "changed"), [("change_pps", TPM_RH.PLATFORM), ("change_eps", TPM_RH.ENDORSEMENT)]
    )
    def test_contexts(self, tpm: Client, verb: str, changed: int) -> None:
        """Transient objects are flushed, and their contexts are worthless; those of others are not."""
        items = {hierarchy: primary(tpm, SIGN_ECC, hierarchy) for hierarchy in BASE}
        contexts = {hierarchy: tpm.context_save(item).context for hierarchy, item in items.items()}

        getattr(tpm, verb)(TPM_RH.PLATFORM).check()

        gone = {each for each in BASE if tpm.read_public(items[each]).rc == TPM_RC.REFERENCE_H0}
        worthless = {
            each
            for each in BASE
            if tpm.context_load(context=contexts[each]).rc == TPM_RC.INTEGRITY.parameter(1)
        }
        assert gone == worthless == {changed}

    def test_enable(self, tpm: Client) -> None:
        """24.5: ChangeEPS enables the endorsement hierarchy."""
        tpm.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.ENDORSEMENT, state=False).check()

        tpm.change_eps(TPM_RH.PLATFORM).check()

        assert tpm.tpm.endorsement.enabled

    def test_what_stays(self, tpm: Client) -> None:
        """24.4: ChangePPS leaves the platform its Indices, but ends the policy of its PCR (22.6)."""
        assert define(tpm, SELF.but(PLATFORMCREATE=True)) == TPM_RC.SUCCESS
        tpm.nv_write(INDEX, INDEX, data=b"12345678", offset=0).check()
        tpm.pcr_set_auth_policy(
            TPM_RH.PLATFORM, auth_policy=bytes(32), hash_alg=TPM_ALG.SHA256, pcr_num=20
        ).check()
        assert tpm.pcr_extend(20, digests=(), locality=2).rc == TPM_RC.AUTH_TYPE

        tpm.change_pps(TPM_RH.PLATFORM).check()

        assert tpm.nv_read(INDEX, INDEX, size=8, offset=0).data == b"12345678"
        assert tpm.pcr_extend(20, digests=(), locality=2).rc == TPM_RC.SUCCESS


class TestClear:
    """24.6"""

    def test_acknowledgment(self, tpm: Client) -> None:
        """The response is acknowledged with the authValue of lockout that there is now: none."""
        tpm.hierarchy_change_auth(TPM_RH.LOCKOUT, new_auth=b"old").check()
        session = start_session(tpm)
        session.auth = b"old"
        reply = tpm.clear(TPM_RH.LOCKOUT, sessions=[session])

        assert reply.rc == TPM_RC.SUCCESS
        session.auth, session.terse = b"", False
        session.check(reply)

    def test_clear(self, tpm: Client) -> None:
        """The owner's objects, Indices and authorizations are gone for good; the platform's stay."""
        for hierarchy, handle in zip(BASE, (0x81000001, 0x81000002, 0x81800001), strict=True):
            persist(tpm, hierarchy, handle)
        define(tpm)
        before = {hierarchy: name_of_primary(tpm, hierarchy) for hierarchy in BASE}
        for hierarchy in (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.LOCKOUT):
            tpm.hierarchy_change_auth(hierarchy, new_auth=b"auth")
        item, other = primary(tpm, hierarchy=TPM_RH.PLATFORM), primary(tpm, hierarchy=TPM_RH.NULL)

        assert tpm.clear(TPM_RH.LOCKOUT, auths=[b"auth"]).rc == TPM_RC.SUCCESS

        assert persistent(tpm) == (0x81800001,)
        assert tpm.read_public(item).rc == tpm.read_public(other).rc == TPM_RC.SUCCESS
        assert tpm.tpm.nv == {}
        tpm.power_cycle(shutdown=None)
        after = {hierarchy: name_of_primary(tpm, hierarchy) for hierarchy in BASE}
        assert {hierarchy for hierarchy in BASE if before[hierarchy] != after[hierarchy]} == {TPM_RH.OWNER}
        assert persistent(tpm) == (0x81800001,)
        assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS

    def test_counters(self, tpm: Client) -> None:
        """Clock and counts begin again, PCR count as changed, the limits of failures are the first ones."""
        tpm.power_cycle(shutdown=TPM_SU.STATE)
        tpm.wait(1000)
        tpm.dictionary_attack_parameters(
            TPM_RH.LOCKOUT, new_max_tries=9, new_recovery_time=8, lockout_recovery=7
        )
        before = tpm.pcr_read(pcr_selection_in=()).pcr_update_counter

        assert tpm.clear(TPM_RH.PLATFORM).rc == TPM_RC.SUCCESS

        info = tpm.read_clock().current_time.clock_info
        assert (info.clock, info.reset_count, info.restart_count, info.safe) == (0, 0, 0, True)
        assert tpm.pcr_read(pcr_selection_in=()).pcr_update_counter == before + 1
        lockout = tpm.tpm.lockout
        assert (lockout.max_tries, lockout.recovery_time, lockout.lockout_recovery) == (3, 1000, 1000)

    def test_contexts(self, tpm: Client) -> None:
        """Contexts of the owner's objects are worthless, those of the platform's objects are not."""
        contexts = {handle: tpm.context_save(primary(tpm, hierarchy=handle)).context for handle in BASE}

        tpm.clear(TPM_RH.LOCKOUT)

        codes = {handle: tpm.context_load(context=context).rc for handle, context in contexts.items()}
        integrity = TPM_RC.INTEGRITY.parameter(1)
        assert codes == dict(zip(BASE, (integrity, integrity, TPM_RC.SUCCESS), strict=True))

    def test_endorsement_key(self, tpm: Client) -> None:
        """An endorsement key has the same public area, but no longer loads what it protected."""
        parent = primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        blob, name = created(tpm, parent, SIGN_ECC), tpm.read_public(parent).name
        assert tpm.load(parent, **blob).rc == TPM_RC.SUCCESS

        tpm.clear(TPM_RH.PLATFORM)

        parent = primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        assert tpm.read_public(parent).name == name
        assert tpm.load(parent, **blob).rc == TPM_RC.INTEGRITY.parameter(1)

    def test_enables(self, tpm: Client) -> None:
        """The hierarchies are enabled."""
        tpm.hierarchy_control(TPM_RH.OWNER, enable=TPM_RH.OWNER, state=False)

        tpm.clear(TPM_RH.LOCKOUT)

        assert tpm.create_primary(TPM_RH.OWNER, **creation(SIGN_ECC)).rc == TPM_RC.SUCCESS

    def test_who(self, tpm: Client) -> None:
        """Lockout and the platform, not the owner."""
        assert tpm.clear(TPM_RH.OWNER).rc == TPM_RC.VALUE.handle(1)
        assert tpm.clear(TPM_RH.PLATFORM).rc == TPM_RC.SUCCESS


class TestClearControl:
    """24.7"""

    def test_disable(self, tpm: Client) -> None:
        """Lockout disables Clear, for good; only the platform enables it again."""
        assert tpm.clear_control(TPM_RH.LOCKOUT, disable=True).rc == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=None)

        for auth in (TPM_RH.LOCKOUT, TPM_RH.PLATFORM):
            assert tpm.clear(auth).rc == TPM_RC.DISABLED
        assert tpm.clear_control(TPM_RH.LOCKOUT, disable=False).rc == TPM_RC.AUTH_FAIL
        assert tpm.clear_control(TPM_RH.PLATFORM, disable=False).rc == TPM_RC.SUCCESS
        assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS


class TestHierarchyChangeAuth:
    """24.8"""

    @pytest.mark.parametrize("hierarchy", [TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.LOCKOUT])
    def test_durable(self, tpm: Client, hierarchy: int) -> None:
        """The old authValue is worthless at once, and after a loss of power."""
        assert tpm.hierarchy_change_auth(hierarchy, new_auth=b"new\0\0").rc == TPM_RC.SUCCESS
        tpm.power_cycle()

        assert tpm.hierarchy_change_auth(hierarchy, auths=[b"new"], new_auth=b"").rc == TPM_RC.SUCCESS
        assert tpm.hierarchy_change_auth(hierarchy, auths=[b"new"], new_auth=b"").rc in (
            TPM_RC.AUTH_FAIL.session(1),
            TPM_RC.BAD_AUTH.session(1),
        )

    def test_platform(self, tpm: Client) -> None:
        """The platform's authValue is empty after the next start."""
        assert tpm.hierarchy_change_auth(TPM_RH.PLATFORM, new_auth=b"new").rc == TPM_RC.SUCCESS
        assert tpm.clear(TPM_RH.PLATFORM).rc == TPM_RC.BAD_AUTH.session(1)
        tpm.power_cycle()

        assert tpm.clear(TPM_RH.PLATFORM).rc == TPM_RC.SUCCESS

    def test_session(self, tpm: Client) -> None:
        """The response is acknowledged with the new authValue."""
        session = start_session(tpm)
        reply = tpm.hierarchy_change_auth(TPM_RH.OWNER, sessions=[session], new_auth=b"new")

        session.auth = b"new"
        session.check(reply)

    def test_size(self, tpm: Client) -> None:
        """Not longer than the largest digest."""
        assert tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"x" * 65).rc == TPM_RC.SIZE.parameter(1)
        assert tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"x" * 64).rc == TPM_RC.SUCCESS


class TestDisabled:
    """24.2 and 24.3: neither the authValue nor the policy of a disabled hierarchy authorizes anything"""

    @pytest.mark.parametrize("hierarchy", BASE)
    def test_policy(self, tpm: Client, hierarchy: int) -> None:
        """SetPrimaryPolicy and HierarchyChangeAuth of a disabled hierarchy; TPM_RC_HIERARCHY."""
        tpm.hierarchy_control(TPM_RH.PLATFORM, enable=hierarchy, state=False).check()

        codes = [
            tpm.set_primary_policy(hierarchy, auth_policy=b"", hash_alg=TPM_ALG.NULL).rc,
            tpm.hierarchy_change_auth(hierarchy, new_auth=b"").rc,
        ]

        assert codes == [TPM_RC.HIERARCHY.handle(1)] * 2

    @pytest.mark.parametrize(("platform", "enable"), [(False, TPM_RH.OWNER), (True, TPM_RH.PLATFORM_NV)])
    def test_indices(self, tpm: Client, enable: int, *, platform: bool) -> None:
        """An Index cannot be operated upon while what it was defined for is disabled; TPM_RC_HANDLE."""
        define(tpm, SELF.but(PLATFORMCREATE=platform))
        codes = []
        for state in (False, True):
            tpm.hierarchy_control(TPM_RH.PLATFORM, enable=enable, state=state).check()
            codes += [
                tpm.nv_write(INDEX, INDEX, data=b"x", offset=0).rc,
                tpm.nv_read_public(INDEX).rc,
                tpm.nv_undefine_space(TPM_RH.PLATFORM, INDEX).rc,
            ]

        handles = [1, 1, 2]
        assert codes == [TPM_RC.HANDLE.handle(number) for number in handles] + [TPM_RC.SUCCESS] * 3


class TestReadOnlyControl:
    """24.9"""

    def test_read_only(self, tpm: Client) -> None:
        """Nothing permanent changes, and no key is made, until the platform ends it."""
        assert tpm.read_only_control(TPM_RH.PLATFORM, state=True).rc == TPM_RC.SUCCESS

        assert tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).rc == TPM_RC.READ_ONLY
        assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.READ_ONLY
        assert tpm.get_random(bytes_requested=4).rc == TPM_RC.SUCCESS
        assert tpm.read_only_control(TPM_RH.PLATFORM, state=False).rc == TPM_RC.SUCCESS
        assert tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("shutdown", "startup", "stays"),
        [
            (TPM_SU.STATE, TPM_SU.STATE, True),
            (TPM_SU.STATE, TPM_SU.CLEAR, False),
            (TPM_SU.CLEAR, TPM_SU.CLEAR, False),
            (None, TPM_SU.CLEAR, False),
        ],
    )
    def test_until_a_restart(
        self, tpm: Client, shutdown: TPM_SU | None, startup: TPM_SU, *, stays: bool
    ) -> None:
        """Part 1, 42.2: a Resume keeps the mode, a Restart or a Reset ends it; GetCapability reports it."""
        tpm.read_only_control(TPM_RH.PLATFORM, state=True).check()
        tpm.power_cycle(shutdown=shutdown, startup=startup)

        reply = tpm.get_capability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.STARTUP_CLEAR, property_count=1
        )
        assert TPMA_STARTUP_CLEAR(reply.capability_data.data[0].value).readOnly is stays
        assert tpm.clear(TPM_RH.LOCKOUT).rc == (TPM_RC.READ_ONLY if stays else TPM_RC.SUCCESS)

    def test_dictionary_attack(self, tpm: Client) -> None:
        """Part 1, 42.3: failures are counted and forgiven, but their limits stay."""
        tpm.hierarchy_change_auth(TPM_RH.LOCKOUT, new_auth=b"lockout").check()
        item = primary(tpm, SEALED, data=b"secret", auth=b"pw")
        tpm.read_only_control(TPM_RH.PLATFORM, state=True).check()

        assert tpm.unseal(item, auths=[b"no"]).rc == TPM_RC.AUTH_FAIL.session(1)
        assert tpm.tpm.lockout.failed_tries == 1
        assert tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[b"lockout"]).rc == TPM_RC.SUCCESS
        assert tpm.tpm.lockout.failed_tries == 0
        parameters = {"new_max_tries": 9, "new_recovery_time": 9, "lockout_recovery": 9}
        for auth in (b"no", b"lockout"):
            reply = tpm.dictionary_attack_parameters(TPM_RH.LOCKOUT, **parameters, auths=[auth])
            assert reply.rc == TPM_RC.READ_ONLY
