"""Part 1, "Operational States", and Part 3, 9.3: what a power cycle keeps."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands.nv_indices import INDEX, OWNED, SELF, attributes_of, define
from tests.commands.test_any_command import populated, requests
from tests.keys import put_ecc
from tests.scenarios import Client, seeded
from tests.sessions import start_session
from vtpm import Instant, Tpm
from vtpm.commands import Command
from vtpm.spec.attributes import TPMA_NV, TPMA_STARTUP_CLEAR
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_HT, TPM_NT, TPM_PT, TPM_RH, TPM_SU
from vtpm.state import saved
from vtpm.state.nv import NvIndex
from vtpm.state.saved import nv_blob, save_nv
from vtpm.state.startup import TRANSITIONS, StartupKind
from vtpm.wire.error import TPM_RC

A = TPM_ALG
SUCCESS = TPM_RC.SUCCESS
NOW = (None, TPM_SU.CLEAR, TPM_SU.STATE)

RESET = (TPM_SU.CLEAR, TPM_SU.CLEAR)
DISORDERLY = (None, TPM_SU.CLEAR)
RESTART = (TPM_SU.STATE, TPM_SU.CLEAR)
RESUME = (TPM_SU.STATE, TPM_SU.STATE)
CYCLES: dict[str, tuple[TPM_SU | None, TPM_SU]] = {
    "Reset": RESET,
    "disorderly Reset": DISORDERLY,
    "Restart": RESTART,
    "Resume": RESUME,
}

any_cycle = pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)


def power_cycle(tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
    """One cycle, which must succeed."""
    shutdown, startup = cycle
    assert tpm.power_cycle(shutdown=shutdown, startup=startup).rc == SUCCESS


def property_of(tpm: Client, tag: TPM_PT) -> int:
    """One property."""
    reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=tag, property_count=1)
    return int(reply.capability_data.data[0].value)


def handles_of(tpm: Client, kind: TPM_HT) -> tuple[int, ...]:
    """The handles of a kind."""
    first = kind << 24
    reply = tpm.get_capability(capability=TPM_CAP.HANDLES, property=first, property_count=64)
    return tuple(reply.capability_data.data)


class TestTransitions:
    """Part 3, 9.3: what follows from the last Shutdown and this Startup"""

    @pytest.mark.parametrize("shutdown", NOW)
    @pytest.mark.parametrize("startup", [TPM_SU.CLEAR, TPM_SU.STATE])
    def test_pairs(self, tpm: Client, shutdown: TPM_SU | None, startup: TPM_SU) -> None:
        """A Startup(STATE) must follow a Shutdown(STATE); otherwise it can be tried again."""
        possible = startup == TPM_SU.CLEAR or shutdown == TPM_SU.STATE
        reply = tpm.power_cycle(shutdown=shutdown, startup=startup)

        assert possible is ((shutdown, startup) in TRANSITIONS)
        assert reply.rc == (SUCCESS if possible else TPM_RC.VALUE.parameter(1))
        if not possible:
            assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == SUCCESS

    @any_cycle
    def test_counters(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """Reset, restart and clear counts say what the cycle was."""
        power_cycle(tpm, RESTART)
        before = (tpm.tpm.permanent.reset_count, tpm.tpm.reset.restart_count, tpm.tpm.reset.clear_count)
        assert before == (1, 1, 1)
        power_cycle(tpm, cycle)

        kind = TRANSITIONS[cycle]
        found = (tpm.tpm.permanent.reset_count, tpm.tpm.reset.restart_count, tpm.tpm.reset.clear_count)
        assert (
            found
            == {
                StartupKind.RESET: (2, 0, 0),
                StartupKind.RESTART: (1, 2, 2),
                StartupKind.RESUME: (1, 2, 1),
            }[kind]
        )

    @pytest.mark.parametrize("shutdown", NOW)
    def test_orderly(self, tpm: Client, shutdown: TPM_SU | None) -> None:
        """TPMA_STARTUP_CLEAR says whether a Shutdown came before."""
        tpm.power_cycle(shutdown=shutdown)

        found = TPMA_STARTUP_CLEAR(property_of(tpm, TPM_PT.STARTUP_CLEAR))
        assert found.orderly is (shutdown is not None)

    def test_once(self, tpm: Client) -> None:
        """A Shutdown is good for one Startup."""
        power_cycle(tpm, RESUME)

        assert tpm.power_cycle(shutdown=None, startup=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)

    def test_last_one_counts(self, tpm: Client) -> None:
        """Of several the last one counts."""
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        assert tpm.power_cycle(shutdown=TPM_SU.CLEAR, startup=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)


Act = Callable[[Client], Any]
CHANGES: dict[str, Act] = {
    "PCR": lambda tpm: tpm.pcr_event(0, event_data=b"x"),
    "enable": lambda tpm: tpm.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.OWNER, state=False),
    "platformAuth": lambda tpm: tpm.hierarchy_change_auth(TPM_RH.PLATFORM, new_auth=b"x"),
    "saved context": lambda tpm: tpm.context_save(start_session(tpm).handle),
    "orderly Index": lambda tpm: tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0),
    "allocation": lambda tpm: tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=()),
}
NO_CHANGES: dict[str, Act] = {
    "random": lambda tpm: tpm.get_random(bytes_requested=8),
    "session": start_session,
    "read": lambda tpm: tpm.pcr_read(pcr_selection_in=()),
    "refusal": lambda tpm: tpm.nv_read(TPM_RH.OWNER, INDEX + 1, size=1, offset=0),
}


class TestAfterShutdown:
    """Part 3, 9.4: a Shutdown is nullified by a command that changes what it has saved"""

    @pytest.fixture(autouse=True)
    def _index(self, tpm: Client) -> None:
        define(tpm, OWNED.but(ORDERLY=True))

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_change(self, tpm: Client, change: Act) -> None:
        """What was saved is out of date, and must not come back."""
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        reply = change(tpm)
        assert getattr(reply, "rc", SUCCESS) == SUCCESS

        assert tpm.power_cycle(shutdown=None, startup=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)

    @pytest.mark.parametrize("act", NO_CHANGES.values(), ids=NO_CHANGES)
    def test_no_change(self, tpm: Client, act: Act) -> None:
        """Other commands leave it as it is."""
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        act(tpm)

        assert tpm.power_cycle(shutdown=None, startup=TPM_SU.STATE).rc == SUCCESS

    def test_protected_entity(self, tpm: Client) -> None:
        """The use of a protected entity nullifies it, so that a loss of power counts as a failure."""
        define(tpm, SELF.but(NO_DA=False), handle=INDEX + 1, auth=b"x")
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        wrong = tpm.nv_write(INDEX + 1, INDEX + 1, data=b"", offset=0, auths=[b"wrong"])
        assert wrong.rc == TPM_RC.AUTH_FAIL.session(1)
        tpm.lose_power()

        assert tpm.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == SUCCESS
        assert tpm.tpm.lockout.failed_tries == 2

    def test_time(self, tpm: Client) -> None:
        """So does time: Clock goes on, and failed authorizations are forgiven."""
        tpm.tpm.lockout.failed_tries = 1
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        tpm.wait(1 << 23)
        assert tpm.get_random(bytes_requested=8).rc == SUCCESS
        assert tpm.changes.keys() == {"orderly", "permanent"}

        assert tpm.power_cycle(shutdown=None, startup=TPM_SU.STATE).rc == SUCCESS
        assert tpm.tpm.lockout.failed_tries == 0
        assert tpm.tpm.clock.clock == 1 << 23


class TestHierarchies:
    """Part 3, 9.3: hierarchies"""

    @any_cycle
    def test_enables(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """All are enabled but after a Resume, which enables the platform alone."""
        for enable in (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM_NV, TPM_RH.PLATFORM):
            assert tpm.hierarchy_control(TPM_RH.PLATFORM, enable=enable, state=False).rc == SUCCESS
        power_cycle(tpm, cycle)

        found = TPMA_STARTUP_CLEAR(property_of(tpm, TPM_PT.STARTUP_CLEAR))
        kept = cycle == RESUME
        assert (found.phEnable, found.shEnable, found.ehEnable, found.phEnableNV) == (
            True,
            not kept,
            not kept,
            not kept,
        )

    @any_cycle
    def test_authorizations(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """The platform's authorization outlives a Resume only, those of the others everything."""
        for hierarchy in (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.LOCKOUT, TPM_RH.PLATFORM):
            policy = bytes([hierarchy & 0xFF]) * 32
            reply = tpm.set_primary_policy(hierarchy, auth_policy=policy, hash_alg=A.SHA256)
            assert reply.rc == SUCCESS
            assert tpm.hierarchy_change_auth(hierarchy, new_auth=b"x").rc == SUCCESS
        power_cycle(tpm, cycle)

        for entity in (tpm.tpm.owner, tpm.tpm.endorsement, tpm.tpm.lockout):
            assert (entity.auth_value, len(entity.auth_policy), entity.policy_alg) == (b"x", 32, A.SHA256)
        platform = tpm.tpm.platform
        found = (platform.auth_value, len(platform.auth_policy), platform.policy_alg)
        assert found == ((b"x", 32, A.SHA256) if cycle == RESUME else (b"", 0, A.NULL))

    @any_cycle
    def test_null(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """The null hierarchy's secrets are new after a Reset."""
        before = tpm.tpm.null.seed, tpm.tpm.null.proof
        power_cycle(tpm, cycle)

        assert ((tpm.tpm.null.seed, tpm.tpm.null.proof) == before) is (cycle in (RESTART, RESUME))


class TestVolatile:
    """Part 3, 9.3: objects, sessions, contexts"""

    @any_cycle
    def test_memory(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """Objects and sessions go with the power."""
        put_ecc(tpm, "sign", A.ECDSA)
        start_session(tpm)
        power_cycle(tpm, cycle)

        assert handles_of(tpm, TPM_HT.TRANSIENT) == handles_of(tpm, TPM_HT.LOADED_SESSION) == ()

    @any_cycle
    def test_saved_session(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """A saved session can be loaded again, unless there was a Reset."""
        session = start_session(tpm)
        context = tpm.context_save(session.handle).context
        power_cycle(tpm, cycle)

        kept = cycle in (RESTART, RESUME)
        assert handles_of(tpm, TPM_HT.SAVED_SESSION) == ((0x02000000,) if kept else ())
        assert (tpm.context_load(context=context).rc == SUCCESS) is kept

    @any_cycle
    def test_timers(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """Time begins again with a new epoch."""
        tpm.wait(1000)
        tpm.get_random(bytes_requested=1)
        epoch = tpm.tpm.clock.epoch
        power_cycle(tpm, cycle)

        assert tpm.tpm.clock.time == 0
        assert tpm.tpm.clock.epoch != epoch


LOCALITIES = {0: b"\0", 3: b"\3"}


class TestPcr:
    """Part 1, Initializing PCR"""

    @any_cycle
    def test_values(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """A Resume keeps PCR 0 to 15; others begin with zeros, PCR 17 to 22 with ones."""
        for index in (0, 7, 15, 16, 23):
            assert tpm.pcr_event(index, event_data=b"x").rc == SUCCESS
        before = {alg: list(bank) for alg, bank in tpm.tpm.pcr.banks.items()}
        power_cycle(tpm, cycle)

        for alg, bank in tpm.tpm.pcr.banks.items():
            size = len(bank[0])
            fresh = [bytes(size)] * 17 + [b"\xff" * size] * 6 + [bytes(size)]
            assert bank == (before[alg][:16] + fresh[16:] if cycle == RESUME else fresh)

    @pytest.mark.parametrize("locality", LOCALITIES)
    def test_locality(self, locality: int) -> None:
        """PCR 0 begins with the locality of the Startup."""
        tpm = Client(start=False)
        assert tpm.startup(startup_type=TPM_SU.CLEAR, locality=locality).rc == SUCCESS

        for bank in tpm.tpm.pcr.banks.values():
            assert bank[0] == LOCALITIES[locality].rjust(len(bank[0]), b"\0")
            assert bank[1] == bytes(len(bank[1]))

    @any_cycle
    def test_group_authorization(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """The authValue of a PCR outlives a Resume only, its policy everything."""
        assert tpm.pcr_set_auth_value(20, auth=b"x").rc == SUCCESS
        assert (
            tpm.pcr_set_auth_policy(TPM_RH.PLATFORM, auth_policy=bytes(32), hash_alg=A.SHA256, pcr_num=20).rc
            == SUCCESS
        )
        power_cycle(tpm, cycle)

        group = tpm.tpm.pcr_group
        assert group.auth_value == (b"x" if cycle == RESUME else b"")
        assert (group.auth_policy, group.policy_alg) == (bytes(32), A.SHA256)


class TestNv:
    """Part 3, 9.3: NV Indices"""

    @pytest.mark.parametrize(
        ("attributes", "unwritten_after"),
        [
            (OWNED, ()),
            (OWNED.but(ORDERLY=True), (RESET, DISORDERLY)),
            (OWNED.but(CLEAR_STCLEAR=True), (RESET, DISORDERLY, RESTART)),
            (OWNED.but(CLEAR_STCLEAR=True, ORDERLY=True), (RESET, DISORDERLY, RESTART)),
            (OWNED.but(TPM_NT=TPM_NT.BITS, ORDERLY=True), (RESET, DISORDERLY)),
            (OWNED.but(TPM_NT=TPM_NT.COUNTER, ORDERLY=True), ()),
            (OWNED.but(TPM_NT=TPM_NT.COUNTER), ()),
        ],
        ids=["lasting", "orderly", "clear", "orderly clear", "orderly bits", "orderly counter", "counter"],
    )
    @any_cycle
    def test_written(
        self,
        tpm: Client,
        cycle: tuple[TPM_SU | None, TPM_SU],
        attributes: TPMA_NV,
        unwritten_after: tuple[tuple[TPM_SU | None, TPM_SU], ...],
    ) -> None:
        """Which Indices are unwritten after which cycle."""
        assert define(tpm, attributes) == SUCCESS
        if attributes.TPM_NT == TPM_NT.COUNTER:
            reply = tpm.nv_increment(TPM_RH.OWNER, INDEX)
        elif attributes.TPM_NT == TPM_NT.BITS:
            reply = tpm.nv_set_bits(TPM_RH.OWNER, INDEX, bits=5)
        else:
            reply = tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)
        assert reply.rc == SUCCESS
        data = tpm.nv_read(TPM_RH.OWNER, INDEX, size=8, offset=0).data
        power_cycle(tpm, cycle)

        found = tpm.nv_read(TPM_RH.OWNER, INDEX, size=8, offset=0)
        assert found.rc == (TPM_RC.NV_UNINITIALIZED if cycle in unwritten_after else SUCCESS)
        if found.rc == SUCCESS and cycle != DISORDERLY:
            assert found.data == data

    def test_orderly_counter(self, tpm: Client) -> None:
        """After a loss of power an orderly counter goes on above any value that it can have had."""
        define(tpm, OWNED.but(TPM_NT=TPM_NT.COUNTER, ORDERLY=True))
        for _ in range(3):
            tpm.nv_increment(TPM_RH.OWNER, INDEX)
        last = tpm.tpm.nv[INDEX].number
        power_cycle(tpm, DISORDERLY)
        tpm.nv_increment(TPM_RH.OWNER, INDEX)

        assert tpm.tpm.nv[INDEX].number > last

    @pytest.mark.parametrize(
        ("defined", "written", "unlocked_after"),
        [
            (OWNED.but(WRITE_STCLEAR=True), True, (RESET, DISORDERLY, RESTART)),
            (OWNED.but(WRITEDEFINE=True), True, ()),
            (OWNED.but(WRITEDEFINE=True), False, (RESET, DISORDERLY, RESTART)),
            (OWNED.but(WRITE_STCLEAR=True, CLEAR_STCLEAR=True), True, (RESET, DISORDERLY, RESTART)),
            (OWNED.but(WRITEDEFINE=True, ORDERLY=True), True, ()),
        ],
        ids=["until start", "for good", "for good, but unwritten", "clear", "orderly"],
    )
    @any_cycle
    def test_write_lock(
        self,
        tpm: Client,
        cycle: tuple[TPM_SU | None, TPM_SU],
        defined: TPMA_NV,
        written: bool,  # noqa: FBT001
        unlocked_after: tuple[tuple[TPM_SU | None, TPM_SU], ...],
    ) -> None:
        """A write lock ends with a Startup(CLEAR), unless it is for good and the Index was written."""
        assert define(tpm, defined) == SUCCESS
        if written:
            tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)
        assert tpm.nv_write_lock(TPM_RH.OWNER, INDEX).rc == SUCCESS
        if defined.ORDERLY:
            # The lock of an orderly Index is in RAM until a Shutdown.
            tpm.shutdown(shutdown_type=TPM_SU.CLEAR)
        power_cycle(tpm, cycle)

        assert attributes_of(tpm).WRITELOCKED is (cycle not in unlocked_after)

    @pytest.mark.parametrize("shutdown", [TPM_SU.CLEAR, TPM_SU.STATE])
    def test_quiet_after_shutdown(
        self, tpm: Client, shutdown: TPM_SU, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a command costs after a Shutdown does not depend on how many orderly Indices there are."""
        for handle in range(INDEX, INDEX + 9):
            define(tpm, OWNED.but(ORDERLY=True), handle=handle)
            tpm.nv_write(TPM_RH.OWNER, handle, data=b"12345678", offset=0)
        tpm.shutdown(shutdown_type=shutdown).check()
        written: list[NvIndex] = []

        def noting(index: NvIndex) -> bytes:
            written.append(index)
            return save_nv(index)

        monkeypatch.setattr(saved, "save_nv", noting)
        for _ in range(3):
            assert tpm.read_clock().rc == SUCCESS
        assert written == []
        assert tpm.tpm.permanent.shutdown == shutdown

        tpm.nv_write(TPM_RH.OWNER, INDEX + 3, data=b"12345678", offset=0)
        assert written == []
        assert tpm.tpm.permanent.shutdown == shutdown
        tpm.nv_write(TPM_RH.OWNER, INDEX + 3, data=b"other", offset=0)
        assert {index.handle for index in written} == {INDEX + 3}
        assert tpm.tpm.permanent.shutdown is None

    @any_cycle
    def test_read_lock(self, tpm: Client, cycle: tuple[TPM_SU | None, TPM_SU]) -> None:
        """A read lock ends with a Startup(CLEAR)."""
        define(tpm, OWNED.but(READ_STCLEAR=True))
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)
        tpm.nv_read_lock(TPM_RH.OWNER, INDEX)
        power_cycle(tpm, cycle)

        assert attributes_of(tpm).READLOCKED is (cycle == RESUME)

    @pytest.mark.slow
    @given(st.lists(requests(), min_size=1, max_size=8), st.sampled_from(["moved", "cycled", "stays"]))
    def test_ahead(self, commands: list[tuple[Command, bytes]], then: str) -> None:
        """Whatever has happened: an orderly Index that differs from its blob is known to."""
        tpm = populated()
        for handle, kind in ((0x01500000, TPM_NT.ORDINARY), (0x01500001, TPM_NT.COUNTER)):
            define(tpm, OWNED.but(ORDERLY=True, TPM_NT=kind), handle=handle)
        tpm.nv_write(TPM_RH.OWNER, 0x01500000, data=b"ahead", offset=0)
        tpm.nv_increment(TPM_RH.OWNER, 0x01500001)
        for _, octets in commands:
            tpm.send(octets)
        if then == "moved":
            tpm.tpm = Tpm.restore(tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile(), seeded())
            tpm.tpm.resume(Instant(tpm.now))
        elif then == "cycled":
            tpm.lose_power()
            tpm.startup(startup_type=TPM_SU.CLEAR)

        different = {
            index.handle
            for index in tpm.tpm.nv.values()
            if index.attributes.ORDERLY and save_nv(index) != tpm.tpm.saved.get(nv_blob(index.handle))
        }
        assert different <= tpm.tpm.ahead
        assert {index.handle for index in tpm.tpm.indices_ahead()} == different

    def test_failed_writes(self, tpm: Client) -> None:
        """A refused write leaves nothing behind."""
        define(tpm, SELF, auth=b"x")
        before = tpm.tpm.snapshot()
        tpm.nv_write(INDEX, INDEX, data=b"y", offset=0)

        assert tpm.tpm.snapshot() == before
