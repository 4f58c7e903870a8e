"""Part 3, clause 9: start-up; `tests/state/test_power.py` has what a start keeps."""

import pytest

from tests.scenarios import HEADER, Client
from tests.sessions import start_session
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_PT, TPM_RH, TPM_ST, TPM_SU
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.wire.error import TPM_RC

HCRTM_LOCALITY = 4
"""What PCR 0 begins with where hardware has measured first (Part 1, H-CRTM)."""


@pytest.fixture
def powered() -> Client:
    """A TPM after _TPM_Init."""
    return Client(start=False)


def measure(tpm: Client, octets: bytes = b"measured") -> None:
    """A measurement by hardware."""
    tpm.tpm.hash_start()
    tpm.tpm.hash_data(octets)
    tpm.tpm.hash_end()


class TestStartup:
    """9.3"""

    @pytest.mark.parametrize("locality", [1, 2, 4, 32, 255])
    def test_locality(self, powered: Client, locality: int) -> None:
        """Localities 0 and 3 start the TPM, no other does."""
        assert powered.startup(startup_type=TPM_SU.CLEAR, locality=locality).rc == TPM_RC.LOCALITY
        assert powered.startup(startup_type=TPM_SU.CLEAR, locality=3).rc == TPM_RC.SUCCESS

    def test_locality_first(self, powered: Client) -> None:
        """The locality is looked at before the type is; what saved state there is, after that."""
        assert powered.startup(startup_type=TPM_SU.STATE, locality=1).rc == TPM_RC.LOCALITY
        assert powered.startup(startup_type=TPM_SU.STATE, locality=3).rc == TPM_RC.VALUE.parameter(1)

    @pytest.mark.parametrize("startup_type", [2, 0xFFFF])
    def test_type(self, powered: Client, startup_type: int) -> None:
        """There are two types."""
        parameters = startup_type.to_bytes(2, "big")
        response = powered.send(HEADER.pack(TPM_ST.NO_SESSIONS, 12, TPM_CC.Startup) + parameters)

        assert HEADER.unpack(response)[2] == TPM_RC.VALUE.parameter(1)

    def test_first(self, powered: Client) -> None:
        """A new TPM has no state to go on from."""
        assert powered.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)

    def test_no_sessions(self, powered: Client) -> None:
        """Startup takes no sessions, not even to be audited."""
        area = bytes.fromhex("00000009 40000009 0000 01 0000")
        request = HEADER.pack(TPM_ST.SESSIONS, 12 + len(area), TPM_CC.Startup) + area + b"\0\0"

        assert HEADER.unpack(powered.send(request))[2] == TPM_RC.AUTH_CONTEXT

    @pytest.mark.parametrize(("first", "then"), [(0, 3), (3, 0)])
    def test_resume_from_another_locality(self, powered: Client, first: int, then: int) -> None:
        """A Resume comes from the locality that the TPM was started from."""
        powered.startup(startup_type=TPM_SU.CLEAR, locality=first)
        powered.shutdown(shutdown_type=TPM_SU.STATE)
        powered.lose_power()

        assert powered.startup(startup_type=TPM_SU.STATE, locality=then).rc == TPM_RC.LOCALITY
        assert powered.startup(startup_type=TPM_SU.STATE, locality=first).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("before", [False, True])
    def test_resume_with_another_root_of_trust(self, powered: Client, before: bool) -> None:  # noqa: FBT001
        """If hardware measured before the first start, it does so before a Resume; else TPM_RC_LOCALITY."""
        if before:
            measure(powered)
        powered.startup(startup_type=TPM_SU.CLEAR)
        values = [list(bank) for bank in powered.tpm.pcr.banks.values()]
        powered.shutdown(shutdown_type=TPM_SU.STATE)
        powered.lose_power()
        if not before:
            measure(powered)
        assert powered.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.LOCALITY
        powered.lose_power()
        if before:
            measure(powered)

        assert powered.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
        assert [bank[0] for bank in powered.tpm.pcr.banks.values()] == [bank[0] for bank in values]

    def test_locality_after_measurement(self, powered: Client) -> None:
        """Where hardware has measured, the locality of Startup does not matter."""
        measure(powered)
        powered.startup(startup_type=TPM_SU.CLEAR, locality=3)
        powered.shutdown(shutdown_type=TPM_SU.STATE)
        powered.lose_power()
        measure(powered)

        assert powered.startup(startup_type=TPM_SU.STATE, locality=0).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(
        ("blob", "startup_type"),
        [("reset", TPM_SU.STATE), ("clear", TPM_SU.STATE), ("reset", TPM_SU.CLEAR)],
    )
    def test_state_that_cannot_be_restored(self, tpm: Client, blob: str, startup_type: TPM_SU) -> None:
        """If a Resume or Restart cannot restore what was saved, the TPM enters failure mode."""
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        tpm.durable[blob] = tpm.durable[blob][:-1]
        tpm.lose_power()

        assert tpm.startup(startup_type=startup_type).rc == TPM_RC.FAILURE
        assert tpm.get_test_result().test_result == TPM_RC.FAILURE

    def test_reported_in_failure_mode(self, powered: Client) -> None:
        """9.2: a TPM in failure mode reports its result and capabilities before Startup."""
        powered.tpm.fail("for the test")

        assert powered.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.FAILURE
        assert powered.get_test_result().test_result == TPM_RC.FAILURE
        reply = powered.get_capability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.MANUFACTURER, property_count=1
        )
        assert reply.capability_data.data[0].property == TPM_PT.MANUFACTURER


class TestShutdown:
    """9.4"""

    @pytest.mark.parametrize("shutdown_type", TPM_SU)
    def test_goes_on(self, tpm: Client, shutdown_type: TPM_SU) -> None:
        """The TPM goes on accepting commands, another Shutdown among them."""
        assert tpm.shutdown(shutdown_type=shutdown_type).rc == TPM_RC.SUCCESS
        assert tpm.pcr_event(0, event_data=b"x").rc == TPM_RC.SUCCESS
        assert tpm.shutdown(shutdown_type=shutdown_type).rc == TPM_RC.SUCCESS

        tpm.lose_power()
        assert tpm.startup(startup_type=shutdown_type).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("locality", [0, 1, 4])
    def test_locality(self, tpm: Client, locality: int) -> None:
        """Any locality may ask for it."""
        assert tpm.shutdown(shutdown_type=TPM_SU.CLEAR, locality=locality).rc == TPM_RC.SUCCESS

    def test_audited(self, tpm: Client) -> None:
        """An audit session may watch it."""
        session = start_session(tpm)
        session.attributes, session.authorizes = TPMA_SESSION(audit=True), False

        session.check(tpm.shutdown(shutdown_type=TPM_SU.STATE, sessions=[session]))

    def test_reconfigured_pcr(self, tpm: Client) -> None:
        """After a change of the PCR allocation there is no state to resume."""
        banks = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\xff\xff\xff"),)
        assert tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=banks).allocation_success

        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.TYPE.parameter(1)
        assert tpm.shutdown(shutdown_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
        tpm.lose_power()
        tpm.startup(startup_type=TPM_SU.CLEAR)
        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(("room", "expected"), [(24, TPM_RC.SUCCESS), (23, TPM_RC.TYPE.parameter(1))])
    def test_full_pcr_counter(self, tpm: Client, room: int, expected: int) -> None:
        """A start changes PCR; where pcrUpdateCounter has no room for that, it must be a TPM Reset."""
        tpm.tpm.reset.pcr_counter = 0xFFFFFFFF - room

        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == expected
        assert tpm.power_cycle(shutdown=None if expected == 0 else TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
        assert tpm.get_random(bytes_requested=1).rc == TPM_RC.SUCCESS

    def test_durable(self, tpm: Client) -> None:
        """What it saves is durable before the response leaves."""
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR)
        assert tpm.changes.keys() == {"permanent", "orderly"}
        tpm.shutdown(shutdown_type=TPM_SU.STATE)

        assert tpm.changes.keys() == {"permanent", "orderly", "reset", "clear"}
