"""Part 3, clause 22: integrity collection (PCR)."""

import hashlib

import pytest

from tests.scenarios import Client
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_PT_PCR, TPM_RH, TPM_SU
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.state.profile import PC_CLIENT
from vtpm.wire.error import TPM_RC

A = TPM_ALG
BANKS = {A.SHA1: "sha1", A.SHA256: "sha256", A.SHA384: "sha384", A.SHA512: "sha512"}
DEBUG, APPLICATION, DYNAMIC = 16, 23, 17


def selection(alg: TPM_ALG, *indices: int) -> TPMS_PCR_SELECTION:
    """A selection of PCR of one bank."""
    bits = sum(1 << index for index in indices)
    return TPMS_PCR_SELECTION(alg, bits.to_bytes(3, "little"))


def value_of(tpm: Client, index: int, alg: TPM_ALG = A.SHA256) -> bytes:
    """The value of one PCR."""
    (value,) = tpm.pcr_read(pcr_selection_in=(selection(alg, index),)).pcr_values
    return bytes(value)


def counter_of(tpm: Client) -> int:
    """PcrUpdateCounter."""
    return int(tpm.pcr_read(pcr_selection_in=()).pcr_update_counter)


def digests(event: bytes, *banks: TPM_ALG) -> tuple[TPMT_HA, ...]:
    """The digests of an event, for each bank."""
    return tuple(TPMT_HA(alg, hashlib.new(BANKS[alg], event).digest()) for alg in banks or BANKS)


def extended(alg: TPM_ALG, old: bytes, event: bytes) -> bytes:
    """What a PCR holds after it is extended with an event's digest."""
    name = BANKS[alg]
    return hashlib.new(name, old + hashlib.new(name, event).digest()).digest()


class TestExtend:
    """22.2"""

    def test_every_bank(self, tpm: Client) -> None:
        """Each digest extends the PCR of its bank."""
        assert tpm.pcr_extend(APPLICATION, digests=digests(b"event")).rc == TPM_RC.SUCCESS

        for alg, name in BANKS.items():
            zero = bytes(hashlib.new(name).digest_size)
            assert value_of(tpm, APPLICATION, alg) == extended(alg, zero, b"event")

    def test_other_banks(self, tpm: Client) -> None:
        """Banks of which no digest is given stay as they are."""
        tpm.pcr_extend(0, digests=digests(b"event", A.SHA384))

        assert value_of(tpm, 0, A.SHA256) == bytes(32)
        assert value_of(tpm, 0, A.SHA384) == extended(A.SHA384, bytes(48), b"event")

    def test_one_bank_twice(self, tpm: Client) -> None:
        """Digests are extended in the order in which they are given."""
        first, second = digests(b"1", A.SHA256), digests(b"2", A.SHA256)
        tpm.pcr_extend(0, digests=first + second)

        assert value_of(tpm, 0) == extended(A.SHA256, extended(A.SHA256, bytes(32), b"1"), b"2")

    def test_null(self, tpm: Client) -> None:
        """TPM_RH_NULL is no PCR: nothing happens."""
        before = counter_of(tpm)

        assert tpm.pcr_extend(TPM_RH.NULL, digests=digests(b"event")).rc == TPM_RC.SUCCESS
        assert counter_of(tpm) == before

    def test_bank_that_is_not_allocated(self, tpm: Client) -> None:
        """A digest for a bank without the PCR is passed over."""
        assert tpm.pcr_extend(0, digests=(TPMT_HA(A.SHA3_256, bytes(32)),)).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("handle", [24, 0x00FFFFFF, 0x80000000, TPM_RH.OWNER])
    def test_no_pcr(self, tpm: Client, handle: int) -> None:
        """A handle that is no PCR's is TPM_RC_VALUE."""
        assert tpm.pcr_extend(handle, digests=()).rc == TPM_RC.VALUE.handle(1)

    @pytest.mark.parametrize(
        ("index", "localities"),
        [
            (0, {0, 1, 2, 3, 4}),
            (16, {0, 1, 2, 3, 4}),
            (17, {2, 3, 4}),
            (18, {2, 3, 4}),
            (19, {2, 3}),
            (20, {1, 2, 3}),
            (21, {2}),
            (22, {2}),
            (23, {0, 1, 2, 3, 4}),
        ],
    )
    def test_locality(self, tpm: Client, index: int, localities: set[int]) -> None:
        """Which localities may extend a PCR is the platform's to say; extended ones never may."""
        for locality in (0, 1, 2, 3, 4, 32, 255):
            reply = tpm.pcr_extend(index, digests=(), locality=locality)
            assert reply.rc == (TPM_RC.SUCCESS if locality in localities else TPM_RC.LOCALITY)

    @pytest.mark.parametrize(("index", "counted"), [(0, 4), (15, 4), (16, 0), (20, 4), (21, 0), (23, 0)])
    def test_update_counter(self, tpm: Client, index: int, counted: int) -> None:
        """22.1: an extension counts in each bank, but not for some PCR."""
        before = counter_of(tpm)
        tpm.pcr_extend(index, digests=digests(b"event"), locality=2)

        assert counter_of(tpm) == before + counted

    @pytest.mark.parametrize(("index", "counted"), [(16, 0), (20, 1), (21, 0)])
    def test_update_counter_at_a_reset(self, tpm: Client, index: int, counted: int) -> None:
        """22.1: a reset counts once, for all banks."""
        before = counter_of(tpm)
        assert tpm.pcr_reset(index, locality=2).rc == TPM_RC.SUCCESS

        assert counter_of(tpm) == before + counted

    def test_nothing_is_written(self, tpm: Client) -> None:
        """PCR are volatile."""
        tpm.pcr_extend(0, digests=digests(b"event"))

        assert tpm.changes == {}


class TestEvent:
    """22.3"""

    @pytest.mark.parametrize("event", [b"", b"event", bytes(1024)], ids=len)
    def test_event(self, tpm: Client, event: bytes) -> None:
        """The event is digested for each possible bank, the digests are extended and returned."""
        reply = tpm.pcr_event(APPLICATION, event_data=event)

        assert reply.digests == digests(event)
        assert value_of(tpm, APPLICATION, A.SHA1) == extended(A.SHA1, bytes(20), event)

    def test_null(self, tpm: Client) -> None:
        """Without a PCR, only the digests are returned."""
        before = counter_of(tpm)

        assert tpm.pcr_event(TPM_RH.NULL, event_data=b"event").digests == digests(b"event")
        assert counter_of(tpm) == before

    def test_null_has_no_password(self, tpm: Client) -> None:
        """TPM_RH_NULL is authorized by an empty authValue, and no other."""
        reply = tpm.pcr_event(TPM_RH.NULL, event_data=b"event", auths=[b"x"])

        assert reply.rc == TPM_RC.BAD_AUTH.session(1)

    def test_locality(self, tpm: Client) -> None:
        """A locality that may not extend the PCR may not do so by an event."""
        assert tpm.pcr_event(DYNAMIC, event_data=b"event").rc == TPM_RC.LOCALITY

    def test_size(self, tpm: Client) -> None:
        """More than 1024 octets are too many."""
        head = bytes.fromhex("8002 00000420 0000013c 00000010 00000009 40000009 0000 01 0000 0401")
        octets = head.ljust(0x420, b"\0")

        assert int.from_bytes(tpm.send(octets)[6:], "big") == TPM_RC.SIZE.parameter(1)


class TestRead:
    """22.4"""

    def test_first_values(self, tpm: Client) -> None:
        """After TPM Reset: zeros; ones in the PCR of a dynamic launch."""
        for index in range(24):
            expected = bytes(32) if index < 17 or index == 23 else b"\xff" * 32
            assert value_of(tpm, index) == expected

    def test_eight_at_once(self, tpm: Client) -> None:
        """A response has eight values; the selection says which they are."""
        both = (selection(A.SHA1, *range(6)), selection(A.SHA256, *range(6)))
        reply = tpm.pcr_read(pcr_selection_in=both)

        assert reply.pcr_selection_out == (selection(A.SHA1, *range(6)), selection(A.SHA256, 0, 1))
        assert [len(value) for value in reply.pcr_values] == [20] * 6 + [32] * 2

    def test_after_the_eighth(self, tpm: Client) -> None:
        """Selections after the eighth value are empty."""
        both = (selection(A.SHA1, *range(24)), selection(A.SHA256, 0))
        reply = tpm.pcr_read(pcr_selection_in=both)

        assert reply.pcr_selection_out == (selection(A.SHA1, *range(8)), selection(A.SHA256))

    def test_order(self, tpm: Client) -> None:
        """The values are in the order of the selections, not of the banks."""
        tpm.pcr_extend(0, digests=digests(b"event"))
        both = (selection(A.SHA512, 0), selection(A.SHA1, 0), selection(A.SHA512, 0))
        reply = tpm.pcr_read(pcr_selection_in=both)

        assert [len(value) for value in reply.pcr_values] == [64, 20, 64]
        assert reply.pcr_values[0] == reply.pcr_values[2]

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            ("00000000", TPM_RC.SUCCESS),
            ("00000001 000b 03 010000", TPM_RC.SUCCESS),
            ("00000001 000b 02 0100", TPM_RC.VALUE.parameter(1)),
            ("00000001 000b 04 01000000", TPM_RC.VALUE.parameter(1)),
            ("00000001 0010 03 010000", TPM_RC.HASH.parameter(1)),
            ("00000001 000b 03 0100", TPM_RC.INSUFFICIENT.parameter(1)),
            ("00000011", TPM_RC.SIZE.parameter(1)),
        ],
    )
    def test_malformed(self, tpm: Client, octets: str, expected: int) -> None:
        """What a selection may be."""
        body = bytes.fromhex(octets)
        head = b"\x80\x01" + (10 + len(body)).to_bytes(4, "big") + b"\0\0\x01\x7e"

        assert int.from_bytes(tpm.send(head + body)[6:10], "big") == expected

    def test_bank_that_is_not_allocated(self, tpm: Client) -> None:
        """A bank without PCR has no values."""
        reply = tpm.pcr_read(pcr_selection_in=(selection(A.SHA3_256, 0),))

        assert reply.pcr_selection_out == (selection(A.SHA3_256),)
        assert reply.pcr_values == ()


class TestReset:
    """22.8"""

    @pytest.mark.parametrize(
        ("index", "localities"),
        [
            (0, set()),
            (15, set()),
            (16, {0, 1, 2, 3}),
            (17, set()),
            (20, {2}),
            (21, {2}),
            (22, {2}),
            (23, {0, 1, 2, 3}),
        ],
    )
    def test_locality(self, tpm: Client, index: int, localities: set[int]) -> None:
        """Which localities may reset a PCR is the platform's to say; locality 4 resets by a launch only."""
        for locality in (0, 1, 2, 3, 4, 32):
            reply = tpm.pcr_reset(index, locality=locality)
            assert reply.rc == (TPM_RC.SUCCESS if locality in localities else TPM_RC.LOCALITY)

    def test_every_bank(self, tpm: Client) -> None:
        """Zeros in every bank."""
        tpm.pcr_extend(DEBUG, digests=digests(b"event"))
        tpm.pcr_reset(DEBUG)

        assert value_of(tpm, DEBUG, A.SHA1) == bytes(20)
        assert value_of(tpm, DEBUG, A.SHA512) == bytes(64)


class TestPcClient:
    """PC Client Platform TPM Profile 1.07: PCR attributes, in the profile that has them"""

    @pytest.fixture
    def tpm(self) -> Client:
        """A TPM of the profile."""
        return Client(profile=PC_CLIENT)

    @pytest.mark.parametrize("index", [20, 21, 22])
    def test_reset(self, tpm: Client, index: int) -> None:
        """Localities 2 and 3 reset the PCR of a dynamic OS."""
        found = {locality: tpm.pcr_reset(index, locality=locality).rc for locality in (0, 1, 2, 3, 4)}

        no, yes = TPM_RC.LOCALITY, TPM_RC.SUCCESS
        assert found == {0: no, 1: no, 2: yes, 3: yes, 4: no}

    @pytest.mark.parametrize("index", range(24))
    def test_no_groups(self, tpm: Client, index: int) -> None:
        """No PCR has an authValue or an authPolicy."""
        policy = tpm.pcr_set_auth_policy(
            TPM_RH.PLATFORM, auth_policy=bytes(32), hash_alg=A.SHA256, pcr_num=index
        )

        assert tpm.pcr_set_auth_value(index, auth=b"x").rc == TPM_RC.VALUE
        assert policy.rc == TPM_RC.VALUE.parameter(3)

    def test_reported(self, tpm: Client) -> None:
        """The capabilities say so."""
        reply = tpm.get_capability(capability=TPM_CAP.PCR_PROPERTIES, property=0, property_count=64)
        found = {TPM_PT_PCR(element.tag): element.pcr_select for element in reply.capability_data.data}

        assert found.keys() == set(TPM_PT_PCR)
        assert found[TPM_PT_PCR.POLICY] == found[TPM_PT_PCR.AUTH] == bytes(3)
        assert found[TPM_PT_PCR.RESET_L2] == found[TPM_PT_PCR.RESET_L3] == bytes.fromhex("0000f1")
        assert found[TPM_PT_PCR.RESET_L4] == bytes.fromhex("00007e")
        assert found[TPM_PT_PCR.NO_INCREMENT] == bytes.fromhex("0000e1")

    def test_kept(self, tpm: Client) -> None:
        """The TPM stays one of the profile."""
        tpm.power_cycle()

        assert tpm.pcr_reset(20, locality=3).rc == TPM_RC.SUCCESS


class TestAllocate:
    """22.5"""

    def test_after_the_next_start(self, tpm: Client) -> None:
        """Banks that are named get their PCR with the next _TPM_Init; others keep theirs."""
        everything = tuple(range(24))
        wanted = (selection(A.SHA1), selection(A.SHA512, *everything[:20]))
        reply = tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=wanted)

        assert (reply.allocation_success, reply.max_pcr) == (True, 24)
        assert reply.size_needed == 24 * (32 + 48) + 20 * 64
        assert reply.size_available == 24 * (20 + 32 + 48 + 64)
        assert value_of(tpm, 0, A.SHA1) == bytes(20)

        tpm.power_cycle()
        banks = tpm.get_capability(capability=TPM_CAP.PCRS, property=0, property_count=8)
        assert banks.capability_data.data == (
            selection(A.SHA1),
            selection(A.SHA256, *everything),
            selection(A.SHA384, *everything),
            selection(A.SHA512, *everything[:20]),
        )
        read = tpm.pcr_read(pcr_selection_in=(selection(A.SHA1, 0), selection(A.SHA512, 19, 20)))
        assert read.pcr_selection_out == (selection(A.SHA1), selection(A.SHA512, 19))
        digested = tpm.pcr_event(20, event_data=b"", locality=2).digests
        assert [value.hash_alg for value in digested] == [A.SHA1, A.SHA256, A.SHA384, A.SHA512]

    def test_overwritten(self, tpm: Client) -> None:
        """Of several requests before the next _TPM_Init, the last one counts."""
        tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=(selection(A.SHA1),))
        tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=(selection(A.SHA512),))
        tpm.power_cycle()

        read = tpm.pcr_read(pcr_selection_in=(selection(A.SHA1, 0), selection(A.SHA512, 0)))
        assert read.pcr_selection_out == (selection(A.SHA1, 0), selection(A.SHA512))

    def test_no_resume(self, tpm: Client) -> None:
        """The PCR of before cannot be resumed, so Shutdown(STATE) is refused until the next start."""
        tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=(selection(A.SHA1),))

        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.TYPE.parameter(1)
        tpm.power_cycle()
        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("missing", [0, 17])
    def test_roots_of_trust(self, tpm: Client, missing: int) -> None:
        """PCR 0 and the PCR of a dynamic launch must remain in some bank."""
        without = [index for index in range(24) if index != missing]
        wanted = tuple(selection(alg, *without) for alg in BANKS)

        assert tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=wanted).rc == TPM_RC.PCR

    def test_bank_that_cannot_be(self, tpm: Client) -> None:
        """A hash that the profile has no bank for is TPM_RC_HASH."""
        wanted = (selection(A.SHA3_256, 0),)

        assert tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=wanted).rc == TPM_RC.HASH.parameter(1)

    def test_whose_it_is(self, tpm: Client) -> None:
        """Only the platform allocates PCR."""
        assert tpm.pcr_allocate(TPM_RH.OWNER, pcr_allocation=()).rc == TPM_RC.VALUE.handle(1)


class TestAuthorization:
    """22.6 and 22.7"""

    def test_auth_value(self, tpm: Client) -> None:
        """PCR 20 to 22 share an authValue, which the next Startup(CLEAR) empties."""
        assert tpm.pcr_set_auth_value(20, auth=b"secret\0\0").rc == TPM_RC.SUCCESS

        assert tpm.pcr_reset(21, locality=2).rc == TPM_RC.BAD_AUTH.session(1)
        assert tpm.pcr_reset(21, locality=2, auths=[b"secret"]).rc == TPM_RC.SUCCESS
        assert tpm.pcr_reset(16).rc == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        assert tpm.pcr_reset(22, locality=2, auths=[b"secret"]).rc == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.CLEAR)
        assert tpm.pcr_reset(22, locality=2).rc == TPM_RC.SUCCESS

    def test_no_auth_value(self, tpm: Client) -> None:
        """A PCR of no group has no authValue."""
        assert tpm.pcr_set_auth_value(16, auth=b"secret").rc == TPM_RC.VALUE

    def set_policy(self, tpm: Client, policy: bytes, alg: TPM_ALG, index: int) -> int:
        """Set the authPolicy of a PCR's group; gives the response code."""
        return tpm.pcr_set_auth_policy(TPM_RH.PLATFORM, auth_policy=policy, hash_alg=alg, pcr_num=index).rc

    def test_policy(self, tpm: Client) -> None:
        """A PCR with a policy is not authorized by its authValue; the policy outlives all start-ups."""
        assert self.set_policy(tpm, bytes(32), A.SHA256, 20) == TPM_RC.SUCCESS

        assert tpm.pcr_reset(21, locality=2).rc == TPM_RC.AUTH_TYPE
        tpm.power_cycle()
        assert tpm.pcr_reset(21, locality=2).rc == TPM_RC.AUTH_TYPE
        assert self.set_policy(tpm, b"", A.NULL, 22) == TPM_RC.SUCCESS
        assert tpm.pcr_reset(21, locality=2).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("policy", "alg", "index", "expected"),
        [
            (bytes(31), A.SHA256, 20, TPM_RC.SIZE.parameter(1)),
            (b"", A.SHA256, 20, TPM_RC.SIZE.parameter(1)),
            (bytes(32), A.NULL, 20, TPM_RC.SIZE.parameter(1)),
            (bytes(32), A.SHA256, 16, TPM_RC.VALUE.parameter(3)),
        ],
    )
    def test_bad_policy(self, tpm: Client, policy: bytes, alg: TPM_ALG, index: int, expected: int) -> None:
        """A policy is as long as its hash, and for a PCR that has one."""
        assert self.set_policy(tpm, policy, alg, index) == expected


class TestLifetime:
    """Part 1, Initializing PCR"""

    def test_resume(self, tpm: Client) -> None:
        """A resume keeps the static PCR, and gives the others their first values."""
        tpm.pcr_extend(0, digests=digests(b"event"))
        tpm.pcr_extend(DEBUG, digests=digests(b"event"))
        before, count = value_of(tpm, 0), counter_of(tpm)

        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)

        assert (value_of(tpm, 0), value_of(tpm, DEBUG)) == (before, bytes(32))
        assert counter_of(tpm) == count + 4, "PCR 17 to 20 have changed, too"

    def test_restart(self, tpm: Client) -> None:
        """A restart begins with new PCR, and goes on counting their changes."""
        tpm.pcr_extend(0, digests=digests(b"event"))
        count = counter_of(tpm)

        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.CLEAR)

        assert value_of(tpm, 0) == bytes(32)
        assert counter_of(tpm) == count + 20

    def test_startup_locality(self) -> None:
        """PCR 0 begins with the locality of Startup."""
        tpm = Client(start=False)
        tpm.startup(startup_type=TPM_SU.CLEAR, locality=3)

        assert value_of(tpm, 0) == bytes(31) + b"\x03"
