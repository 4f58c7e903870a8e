"""Profiles: documents of them, what no TPM can do without, what a TPM of one has, and migration."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, OWNED, define
from tests.keys import put_ecc
from tests.profiles import EVERYTHING
from tests.scenarios import Client, seeded
from vtpm import Tpm
from vtpm.commands import COMMANDS
from vtpm.commands.selection import commands_of
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC_CURVE, TPM_NT, TPM_PT, TPM_RH, TPM_SU
from vtpm.spec.limits import MAX_LOADED_OBJECTS
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.state.migration import Migration, MigrationError
from vtpm.state.narrowed import narrowing_of
from vtpm.state.profile import ALL_COMMANDS, DEFAULT, PC_CLIENT, PROFILES, SWTPM_COMPATIBLE, Profile
from vtpm.state.profile_check import LIMITS, ProfileError, check_profile
from vtpm.state.profile_document import document_of, profile_from
from vtpm.state.saved import SavedStateError
from vtpm.state.saved_profile import load_profile, save_profile
from vtpm.wire.error import TPM_RC
from vtpm.wire.vocabulary import codec_of

README = Path(__file__).parents[2] / "README.md"
A = TPM_ALG
KEY = "sign fixedTPM fixedParent sensitiveDataOrigin"
EVERY = {**PROFILES, EVERYTHING.name: EVERYTHING}


@pytest.fixture(params=list(EVERY.values()), ids=list(EVERY))
def profile(request: pytest.FixtureRequest) -> Profile:
    """Each profile."""
    found: Profile = request.param
    return found


class TestProfiles:
    """The profiles of this program"""

    def test_valid(self, profile: Profile) -> None:
        """A TPM can have each of them."""
        check_profile(profile)

    def test_document(self, profile: Profile) -> None:
        """The document of a profile makes the same profile."""
        assert profile_from(document_of(profile)) == profile

    def test_saved(self, profile: Profile) -> None:
        """What is saved is read again."""
        assert load_profile(save_profile(profile)) == profile

    def test_saved_before_layouts(self) -> None:
        """
        What a profile does not say of PCR and orderly Indices is as it was, and it is saved as it was.

        PCR are those of libtpms, and orderly Indices may take all of NV memory.
        """
        for profile, version in ((DEFAULT, 1), (SWTPM_COMPATIBLE, 1), (PC_CLIENT, 2)):
            assert (profile.pcr_layout == "reference") is (version == 1)
            blob = save_profile(replace(profile, orderly_capacity=profile.nv_capacity))
            assert blob[:2] == bytes((0, version))
            assert load_profile(blob).orderly_capacity == profile.nv_capacity
            assert save_profile(profile)[:2] == b"\0\3"

    def test_saved_with_another_layout(self) -> None:
        """A layout that this program does not know is not read."""
        with pytest.raises(SavedStateError, match="pcr_layout: 'other' is refused"):
            load_profile(save_profile(replace(DEFAULT, pcr_layout="other")))

    def test_all_commands(self) -> None:
        """A profile chooses from the command table, and the default one has all of it."""
        assert set(COMMANDS) == ALL_COMMANDS == DEFAULT.commands

    def test_off_by_default(self) -> None:
        """RSA of 1024 bits and TDES are weak."""
        assert 1024 not in DEFAULT.rsa_key_bits
        assert A.TDES not in DEFAULT.algorithms

    def test_pc_client(self) -> None:
        """What the PC Client Platform TPM Profile requires is there, and what it forbids is not."""
        required = {
            *(A.RSA, A.HMAC, A.AES, A.MGF1, A.KEYEDHASH, A.XOR, A.SHA256, A.SHA384, A.SHA512, A.RSASSA),
            *(A.RSAPSS, A.OAEP, A.ECDSA, A.ECDH, A.ECC, A.SYMCIPHER, A.CFB),
        }
        assert required <= PC_CLIENT.algorithms
        assert A.TDES not in PC_CLIENT.algorithms
        assert {TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384} <= PC_CLIENT.curves
        assert (1024 in PC_CLIENT.rsa_key_bits, 3072 in PC_CLIENT.rsa_key_bits) == (False, True)
        assert PC_CLIENT.active_banks == (A.SHA256, A.SHA384)
        properties = dict(PC_CLIENT.reported)
        assert properties[TPM_PT.HR_PERSISTENT_MIN] <= PC_CLIENT.persistent_slots
        assert PC_CLIENT.transient_slots >= 3
        assert PC_CLIENT.loaded_sessions >= 3
        assert PC_CLIENT.active_sessions >= 64
        assert PC_CLIENT.nv_capacity >= 68 * 96 + 3834

    def test_shared(self) -> None:
        """TPMs of the same profile share its types and commands; what is whole is not made again."""
        one, other = (Tpm.manufacture(seeded(), load_profile(save_profile(DEFAULT))) for _ in range(2))

        assert one.commands is other.commands
        assert one.narrowing is other.narrowing
        assert commands_of(DEFAULT)[TPM_CC.GetRandom] is COMMANDS[TPM_CC.GetRandom]
        assert narrowing_of(replace(EVERYTHING, transient_slots=MAX_LOADED_OBJECTS)).of(
            TPMT_PUBLIC
        ) is codec_of(TPMT_PUBLIC)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": None}, "name: None is refused; it is a text of 1 to 64 characters"),
    "unknown field": ({"slots": 3}, "slots: the field is refused; allowed are active_banks, "),
    "unknown base": ({"base": "x"}, "base: 'x' is refused; allowed are default, pc-client, swtpm-compatible"),
    "unknown algorithm": ({"algorithms": ["MD5"]}, "algorithms: 'MD5' is refused; allowed are RSA, TDES"),
    "no list": ({"algorithms": "RSA"}, "algorithms: 'RSA' is refused; it is a list"),
    "required algorithm": (
        {"remove": {"algorithms": ["SHA256"]}},
        "algorithms: to leave out SHA256 is refused; a TPM cannot do without",
    ),
    "needed algorithm": (
        {"remove": {"algorithms": ["OAEP"]}},
        "algorithms: RSA without OAEP is refused; add OAEP or leave RSA out",
    ),
    "no asymmetric": (
        {"algorithms": ["SHA256", "HMAC", "KEYEDHASH", "SYMCIPHER", "AES", "CFB", "XOR", "KDF1_SP800_108"]},
        "algorithms: neither RSA nor ECC is refused",
    ),
    "required command": (
        {"remove": {"commands": ["PCR_Extend"]}},
        "commands: to leave out PCR_Extend is refused",
    ),
    "absent command": ({"add": {"commands": ["AC_Send"]}}, "add.commands: 'AC_Send' is refused"),
    "unknown change": ({"add": {"banks": []}}, "add.banks: the field is refused"),
    "no table": ({"add": 3}, "add: 3 is refused; it is a table"),
    "required curve": (
        {"remove": {"curves": ["NIST_P256"]}},
        "curves: to leave out NIST_P256 is refused",
    ),
    "key size": ({"rsa_key_bits": [2048, 512]}, "rsa_key_bits: 512 is refused; allowed are 1024, 2048"),
    "required key size": ({"rsa_key_bits": [3072]}, "rsa_key_bits: to leave out 2048 is refused"),
    "twice": ({"rsa_key_bits": [2048, 2048]}, "each may be named once"),
    "key size without algorithm": (
        {"tdes_key_bits": [128]},
        "tdes_key_bits: 128 is refused; none is allowed",
    ),
    "algorithm without key size": (
        {"add": {"algorithms": ["TDES"]}},
        "tdes_key_bits: no size is refused; TDES needs one of 128, 192",
    ),
    "bank": ({"pcr_banks": ["AES"]}, "pcr_banks: 'AES' is refused; allowed are SHA1"),
    "bank without hash": (
        {"remove": {"algorithms": ["SHA1"]}},
        "pcr_banks: SHA1 is refused; allowed are SHA256",
    ),
    "active bank": (
        {"pcr_banks": ["SHA256"]},
        "active_banks: SHA1, SHA384, SHA512 is refused; allowed are SHA256",
    ),
    "no active bank": ({"active_banks": []}, "active_banks: no bank is refused"),
    "layout": (
        {"pcr_layout": "other"},
        "pcr_layout: 'other' is refused; allowed are pc-client, reference",
    ),
    "layout that is no name": ({"pcr_layout": 1}, "pcr_layout: 1 is refused; it is a text"),
    "boolean": ({"transient_slots": True}, "transient_slots: True is refused; it is a number"),
    "sessions": (
        {"loaded_sessions": 16, "active_sessions": 8},
        "loaded_sessions: 16 is refused; no more than active_sessions",
    ),
    "property": ({"reported": {"X": 1}}, "reported: 'X' is refused; allowed are the names of TPM_PT"),
    "property value": ({"reported": {"YEAR": -1}}, "reported.YEAR: -1 is refused; it is a number"),
}


class TestDocuments:
    """Profiles of one's own"""

    @pytest.mark.parametrize("case", REFUSED)
    def test_refused(self, case: str) -> None:
        """The field, the value, and what is allowed."""
        document, message = REFUSED[case]

        with pytest.raises(ProfileError) as error:
            profile_from({"name": "own", **document})
        assert message in str(error.value)

    @pytest.mark.parametrize("limit", LIMITS)
    def test_limits(self, limit: str) -> None:
        """Every limit has a least and a largest value."""
        least, largest = min(LIMITS[limit]), max(LIMITS[limit])

        for value in (least - 1, largest + 1):
            with pytest.raises(ProfileError, match=f"^{limit}: {value} is refused; allowed are {least}"):
                profile_from({"name": "own", limit: value})

    def test_readme(self) -> None:
        """README's example is a profile."""
        blocks = re.findall(r"^```toml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
        documents = [tomllib.loads(block) for block in blocks if "base = " in block]

        assert documents
        for document in documents:
            assert profile_from(document).name == document["name"]

    def test_sets(self) -> None:
        """A set is replaced, or changed."""
        own = profile_from(
            {
                "name": "own",
                "base": "swtpm-compatible",
                "add": {"algorithms": ["SM4"]},
                "remove": {"commands": ["ECC_Parameters"], "algorithms": ["TDES"]},
                "tdes_key_bits": [],
            }
        )

        assert own.algorithms == SWTPM_COMPATIBLE.algorithms - {A.TDES} | {A.SM4}
        assert own.commands == SWTPM_COMPATIBLE.commands - {TPM_CC.ECC_Parameters}


def own(**document: Any) -> Client:
    """A TPM of a profile of one's own."""
    return Client(profile=profile_from({"name": "own", **document}))


class TestBehavior:
    """What a profile lacks was never implemented"""

    @pytest.mark.parametrize(
        ("removed", "parameters", "rc"),
        [
            ("SHA512", "0008 0005 000d", TPM_RC.HASH),
            ("CAMELLIA", "0025 0026 0080 0043", TPM_RC.SYMMETRIC),
            ("CTR", "0025 0006 0080 0040", TPM_RC.MODE),
            ("ECDAA", "0023 0010 001a 000b 0001 0003 0010", TPM_RC.SCHEME),
            ("RSAPSS", "0001 0010 0016 000b 0800 00000000", TPM_RC.VALUE),
            ("KDF2", "0023 0010 0010 0003 0021 000b", TPM_RC.KDF),
        ],
    )
    def test_algorithm(self, removed: str, parameters: str, rc: TPM_RC) -> None:
        """Part 2, 6.6.3: each type has its own response code; the capability does not show it."""
        alg, banks = TPM_ALG[removed], ["SHA256", "SHA384"]
        removal = {"algorithms": [removed]}
        sizes: dict[str, Any] = {"camellia_key_bits": []} if removed == "CAMELLIA" else {}
        tpm = own(remove=removal, pcr_banks=banks, active_banks=banks, **sizes)
        body = bytes.fromhex(parameters)
        request = (
            bytes.fromhex("8001") + (10 + len(body)).to_bytes(4, "big") + bytes.fromhex("0000018a") + body
        )

        assert int.from_bytes(tpm.send(request)[6:], "big") == rc.parameter(1)
        assert int.from_bytes(Client().send(request)[6:], "big") == TPM_RC.SUCCESS
        listed = tpm.get_capability(capability=TPM_CAP.ALGS, property=alg, property_count=1)
        assert [element.alg for element in listed.capability_data.data] != [alg]

    def test_curve(self) -> None:
        """TPM_RC_CURVE; TPM_CAP_ECC_CURVES and TPM_PT_LOADED_CURVES tell."""
        tpm = own(curves=["NIST_P256"])

        assert tpm.ecc_parameters(curve_id=TPM_ECC_CURVE.NIST_P384).rc == TPM_RC.CURVE.parameter(1)
        found = tpm.get_capability(capability=TPM_CAP.ECC_CURVES, property=0, property_count=9)
        assert found.capability_data.data == (TPM_ECC_CURVE.NIST_P256,)
        loaded = tpm.get_capability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.LOADED_CURVES, property_count=1
        )
        assert loaded.capability_data.data[0].value == 1

    def test_key_size(self) -> None:
        """TPMI_RSA_KEY_BITS is TPM_RC_VALUE, in every template and public area."""
        body = bytes.fromhex("0001 0010 0010 0c00 00000000")
        request = bytes.fromhex("8001 00000016 0000018a") + body

        assert int.from_bytes(own(rsa_key_bits=[2048]).send(request)[6:], "big") == TPM_RC.VALUE.parameter(1)

    def test_command(self) -> None:
        """TPM_RC_COMMAND_CODE; it can neither be audited nor be the subject of a policy."""
        tpm = own(remove={"commands": ["ClockSet"]})

        assert tpm.clock_set(TPM_RH.OWNER, new_time=1).rc == TPM_RC.COMMAND_CODE
        assert (
            tpm.set_command_code_audit_status(
                TPM_RH.OWNER, audit_alg=A.NULL, set_list=(TPM_CC.ClockSet,), clear_list=()
            ).rc
            == TPM_RC.SUCCESS
        )
        audited = tpm.get_capability(capability=TPM_CAP.AUDIT_COMMANDS, property=0, property_count=9)
        assert audited.capability_data.data == (TPM_CC.SetCommandCodeAuditStatus,)

    def test_nv_index_size(self) -> None:
        """TPM_RC_SIZE above the profile's limit."""
        tpm = own(nv_index_max=1024)

        assert define(tpm, OWNED, size=1025) == TPM_RC.SIZE.parameter(2)
        assert define(tpm, OWNED, size=1024) == TPM_RC.SUCCESS

    @pytest.mark.parametrize("capacity", [512, 1000])
    def test_orderly_capacity(self, capacity: int) -> None:
        """TPM_RC_NV_SPACE above the profile's limit."""
        tpm = own(orderly_capacity=capacity)

        assert define(tpm, OWNED.but(ORDERLY=True), size=capacity - 11) == TPM_RC.NV_SPACE
        assert define(tpm, OWNED.but(ORDERLY=True), size=capacity - 12) == TPM_RC.SUCCESS

    def test_more_than_capacity(self) -> None:
        """A TPM that has more orderly Indices than its profile allows keeps them all; it gets no more."""
        tpm = own(orderly_capacity=2000)
        counter = OWNED.but(TPM_NT=TPM_NT.COUNTER, ORDERLY=True)
        handles = range(0x01000000, 0x01000000 + 100)
        for handle in handles:
            assert define(tpm, counter, handle=handle) == TPM_RC.SUCCESS
            assert tpm.nv_increment(TPM_RH.OWNER, handle).rc == TPM_RC.SUCCESS
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR).check()
        tpm.durable["profile"] = save_profile(replace(tpm.tpm.profile, orderly_capacity=512))
        tpm.lose_power()
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS

        for handle in handles:
            assert tpm.nv_increment(TPM_RH.OWNER, handle).rc == TPM_RC.SUCCESS
            assert tpm.tpm.nv[handle].number == 2
        tpm.power_cycle()
        assert {tpm.tpm.nv[handle].number for handle in handles} == {2}
        assert define(tpm, counter, handle=handles[-1] + 1) == TPM_RC.NV_SPACE
        assert define(tpm, OWNED, handle=handles[-1] + 1) == TPM_RC.SUCCESS

    @pytest.mark.parametrize("slots", [3, 20, MAX_LOADED_OBJECTS])
    def test_transient_slots(self, slots: int) -> None:
        """Part 2, 9.3: the handles of transient objects reach as far as there are slots."""
        tpm = own(transient_slots=slots)
        for _ in range(slots):
            assert tpm.hash_sequence_start(auth=b"", hash_alg=A.SHA256).rc == TPM_RC.SUCCESS

        assert tpm.hash_sequence_start(auth=b"", hash_alg=A.SHA256).rc == TPM_RC.OBJECT_MEMORY
        assert tpm.read_public(0x80000000 + slots - 1).rc == TPM_RC.SEQUENCE
        assert tpm.read_public(0x80000000 + slots).rc == TPM_RC.VALUE.handle(1)

    def test_clock(self) -> None:
        """TPM_PT_CLOCK_UPDATE: how often Clock becomes durable."""
        tpm = own(clock_update=4096)
        tpm.wait(4096)
        tpm.get_random(bytes_requested=1)

        assert tpm.changes.keys() == {"orderly"}


class TestMigration:
    """A TPM that is off gets another profile"""

    def migrated(self, tpm: Client, profile: Profile, *, allow_loss: bool = False) -> Migration:
        """Do it, and start the TPM again."""
        migration = Migration(Tpm.restore(tpm.durable, seeded()), profile)
        tpm.keep(migration.apply(allow_loss=allow_loss))
        tpm.lose_power()
        assert tpm.tpm.profile == profile
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
        return migration

    def test_orderly_indices(self) -> None:
        """Orderly Indices that the new profile has no memory for must go first."""
        tpm = own(orderly_capacity=1000)
        assert define(tpm, OWNED.but(ORDERLY=True), size=900) == TPM_RC.SUCCESS
        migration = Migration(Tpm.restore(tpm.durable, seeded()), DEFAULT)

        assert migration.obstacles == ["orderly NV Indices take 912 octets, and the profile has 512"]

    def test_nothing(self) -> None:
        """The same profile changes nothing."""
        migration = Migration(Tpm.restore(Client().durable, seeded()), DEFAULT)

        assert migration.changes == ()
        assert migration.apply() == {}

    def test_identity(self) -> None:
        """Seeds, objects and Indices stay."""
        tpm = Client()
        key = put_ecc(tpm, KEY, A.ECDSA)
        assert tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=0x81000001).rc == TPM_RC.SUCCESS
        assert define(tpm, OWNED) == TPM_RC.SUCCESS
        seeds = {handle: hierarchy.seed for handle, hierarchy in tpm.tpm.hierarchies.items()}
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR)

        migration = self.migrated(tpm, SWTPM_COMPATIBLE)

        assert "transient_slots: 16 becomes 3" in migration.changes
        assert "algorithms: with TDES" in migration.changes
        assert "algorithms: without SM3_256, SM4, SHA3_256, SHA3_384, SHA3_512" in migration.changes
        assert migration.losses == []
        assert all(tpm.tpm.hierarchies[h].seed == seed for h, seed in seeds.items() if h != TPM_RH.NULL)
        assert tpm.read_public(0x81000001).rc == tpm.nv_read_public(INDEX).rc == TPM_RC.SUCCESS

    def test_pcr_policy(self) -> None:
        """A profile whose PCR have no authorization has no place for the policy of a group of PCR."""
        tpm = Client()
        policy = {"auth_policy": bytes(32), "hash_alg": A.SHA256, "pcr_num": 20}
        tpm.pcr_set_auth_policy(TPM_RH.PLATFORM, **policy).check()
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR)
        profile = replace(DEFAULT, name="own", pcr_layout="pc-client")

        with pytest.raises(MigrationError, match="PCR policy"):
            self.migrated(tpm, profile)
        migration = self.migrated(tpm, profile, allow_loss=True)

        assert migration.changes == ("name: default becomes own", "pcr_layout: reference becomes pc-client")
        assert tpm.tpm.pcr_group.policy_alg is A.NULL
        assert tpm.pcr_reset(20, locality=3).rc == TPM_RC.SUCCESS

    def test_loss(self) -> None:
        """What the profile cannot keep is named, refused, and deleted only if that is allowed."""
        tpm = Client(profile=EVERYTHING)
        key = put_ecc(tpm, KEY, A.ECDSA, curve=TPM_ECC_CURVE.BN_P638)
        assert tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=0x81000001).rc == TPM_RC.SUCCESS
        assert define(tpm, OWNED, size=2000) == TPM_RC.SUCCESS
        policy = bytes(64)
        assert (
            tpm.set_primary_policy(TPM_RH.OWNER, auth_policy=policy, hash_alg=A.SHA512).rc == TPM_RC.SUCCESS
        )
        assert (
            tpm.set_command_code_audit_status(TPM_RH.OWNER, audit_alg=A.SHA512, set_list=(), clear_list=()).rc
            == TPM_RC.SUCCESS
        )
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        less = profile_from(
            {
                "name": "less",
                "remove": {"algorithms": ["SHA512"], "curves": ["BN_P638"]},
                "pcr_banks": ["SHA256"],
                "active_banks": ["SHA256"],
                "nv_index_max": 1024,
            }
        )
        before = dict(tpm.durable)

        with pytest.raises(MigrationError) as error:
            self.migrated(tpm, less)
        assert tpm.durable == before
        assert error.value.reasons == (
            "persistent object 0x81000001 (ECC)",
            f"NV Index {INDEX:#010x} (2000 octets)",
            *(f"PCR bank {bank}, and what is sealed to its values" for bank in ("SHA1", "SHA384", "SHA512")),
            "owner policy, which is of SHA512",
            "the command audit's choice of SHA512",
            "what Shutdown(STATE) has saved: the next start is a TPM Reset",
        )
        self.migrated(tpm, less, allow_loss=True)
        assert tpm.read_public(0x81000001).rc == TPM_RC.HANDLE.handle(1)
        assert tpm.nv_read_public(INDEX).rc == TPM_RC.HANDLE.handle(1)
        assert tpm.tpm.pcr.selected == {A.SHA256: 0xFFFFFF}
        assert tpm.tpm.owner.policy_alg is A.NULL
        assert "object/81000001" not in tpm.durable

    def test_last_bank(self) -> None:
        """A TPM always has the PCR that hardware measures into."""
        sha1 = {"pcr_banks": ["SHA1"], "active_banks": ["SHA1"]}
        tpm = own(**sha1)
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR)

        self.migrated(
            tpm,
            profile_from({"name": "other", "pcr_banks": ["SHA256"], "active_banks": ["SHA256"]}),
            allow_loss=True,
        )
        assert tpm.tpm.pcr.selected == {A.SHA256: 0xFFFFFF}

    def test_obstacle(self) -> None:
        """Which of too many objects must go is not for a program to choose."""
        tpm = Client()
        for number in range(3):
            key = put_ecc(tpm, KEY, A.ECDSA)
            assert (
                tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=0x81000001 + number).rc
                == TPM_RC.SUCCESS
            )
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR)

        with pytest.raises(MigrationError, match="3 persistent objects, and the profile has 2 slots"):
            self.migrated(tpm, replace(DEFAULT, name="few", persistent_slots=2), allow_loss=True)
