"""Snapshots: a TPM that goes on elsewhere is the same TPM."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands.test_any_command import populated, requests
from tests.scenarios import Client, seeded
from tests.state.rich import rich
from vtpm import Instant, Tpm
from vtpm.commands import Command
from vtpm.crypto.drbg import RandomGenerator
from vtpm.spec.attributes import TPMA_STARTUP_CLEAR
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_PT, TPM_RH, TPM_SU
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.wire.error import TPM_RC


def moved(tpm: Client) -> Client:
    """The same TPM in another process, from what is durable and what was in RAM."""
    other = Client(start=False)
    other.durable = dict(tpm.durable)
    other.tpm = Tpm.restore(tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile(), seeded())
    other.tpm.resume(Instant(other.now), sole=True)
    other.tpm.physical_presence = tpm.tpm.physical_presence
    return other


def state_of(tpm: Client) -> dict[str, bytes]:
    """Everything that the TPM remembers."""
    return tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()


class TestMove:
    """Suspension and migration"""

    def test_everything(self) -> None:
        """Nothing is lost on the way."""
        tpm = rich()

        assert state_of(moved(tpm)) == state_of(tpm)

    def test_allocation(self, tpm: Client) -> None:
        """The banks are those of before, until the next start makes the ones that were asked for."""
        banks = (TPMS_PCR_SELECTION(TPM_ALG.SHA1, bytes(3)), TPMS_PCR_SELECTION(TPM_ALG.SHA384, bytes(3)))
        assert tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=banks).allocation_success
        other = moved(tpm)

        assert state_of(other) == state_of(tpm)
        assert set(other.tpm.pcr.banks) == {TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512}
        other.power_cycle()
        assert set(other.tpm.pcr.banks) == {TPM_ALG.SHA256, TPM_ALG.SHA512}

    def test_durable(self) -> None:
        """What is durable is the same as what a snapshot has of it."""
        tpm = rich()

        assert tpm.tpm.snapshot() == tpm.durable

    def test_before_startup(self) -> None:
        """A TPM that is not started yet moves, too."""
        tpm = Client(start=False)
        tpm.tpm.hash_start()
        tpm.tpm.hash_data(b"measured")
        other = moved(tpm)
        other.tpm.hash_end()
        tpm.tpm.hash_end()

        for one in (tpm, other):
            assert one.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
        assert other.tpm.pcr.banks == tpm.tpm.pcr.banks
        assert any(tpm.tpm.pcr.banks[alg][0] != bytes(size) for alg, size in tpm.tpm.pcr.sizes.items())

    def test_time(self, tpm: Client) -> None:
        """Time and Clock go on from where they were; the host's clock may begin anywhere."""
        tpm.wait(5000)
        before = tpm.read_clock().current_time
        other = moved(tpm)

        assert other.read_clock().current_time == before
        other.wait(10)
        assert other.read_clock().current_time.time == before.time + 10

    @pytest.mark.parametrize("shutdown", [None, TPM_SU.CLEAR])
    def test_orderly(self, tpm: Client, shutdown: TPM_SU | None) -> None:
        """How the run began is still known."""
        tpm.power_cycle(shutdown=shutdown)
        reply = moved(tpm).get_capability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.STARTUP_CLEAR, property_count=1
        )

        found = TPMA_STARTUP_CLEAR(reply.capability_data.data[0].value)
        assert found.orderly is (shutdown is not None)

    def test_failure_mode(self, tpm: Client) -> None:
        """A TPM in failure mode stays in it."""
        tpm.tpm.fail("a test")
        other = moved(tpm)

        assert other.get_random(bytes_requested=1).rc == TPM_RC.FAILURE
        assert other.tpm.volatile.failure == "a test"

    def test_power_loss_afterwards(self) -> None:
        """What power takes, it takes there, too: the durable state is what it was."""
        tpm = rich()
        other = moved(tpm)
        for one in (tpm, other):
            assert one.power_cycle(shutdown=None).rc == TPM_RC.SUCCESS

        assert other.tpm.snapshot() == tpm.tpm.snapshot()


@pytest.mark.slow
@given(st.lists(requests(), min_size=1, max_size=6))
def test_any_moment(commands: list[tuple[Command, bytes]]) -> None:
    """After every command the TPM could have moved: it answers the next one, and ends up, the same way."""
    tpm = populated()
    for number, (command, octets) in enumerate(commands):
        other = moved(tpm)
        assert state_of(other) == state_of(tpm)
        for one in (tpm, other):
            one.tpm.random = RandomGenerator(seeded(number.to_bytes(4, "big")))

        assert other.send(octets) == tpm.send(octets), command.name
        assert other.changes == tpm.changes, command.name
        assert state_of(other) == state_of(tpm), command.name
