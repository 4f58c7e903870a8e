"""Part 3, clause 26: miscellaneous management functions."""

import pytest

from tests.scenarios import Client
from tests.sessions import start_session
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_PT, TPM_RH, TPM_SE
from vtpm.wire.error import TPM_RC

DEFAULT = {TPM_CC.PP_Commands}


@pytest.fixture(autouse=True)
def _present(tpm: Client) -> None:
    tpm.tpm.physical_presence = True


def needing_presence(tpm: Client) -> set[int]:
    """The commands that need physical presence."""
    reply = tpm.get_capability(capability=TPM_CAP.PP_COMMANDS, property=0, property_count=200)
    return set(reply.capability_data.data)


def set_presence(tpm: Client, *, needed: tuple[int, ...] = (), not_needed: tuple[int, ...] = ()) -> int:
    """PP_Commands; gives the response code."""
    return tpm.pp_commands(TPM_RH.PLATFORM, set_list=needed, clear_list=not_needed).rc


class TestPhysicalPresenceCommands:
    """26.2"""

    def test_needs_presence_itself(self, tpm: Client) -> None:
        """Nobody but somebody who is there changes the list."""
        tpm.tpm.physical_presence = False

        assert set_presence(tpm) == TPM_RC.PP.session(1)

    def test_set_and_clear(self, tpm: Client) -> None:
        """Commands are added, then others are taken off; the list is durable."""
        both = (TPM_CC.NV_DefineSpace, TPM_CC.ClockSet)
        assert set_presence(tpm, needed=both, not_needed=(TPM_CC.ClockSet,)) == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=None)

        assert needing_presence(tpm) == DEFAULT | {TPM_CC.NV_DefineSpace}

    def test_effect(self, tpm: Client) -> None:
        """The platform's authorization of such a command then needs presence; other hierarchies' does not."""
        set_presence(tpm, needed=(TPM_CC.ClockSet,))
        tpm.tpm.physical_presence = False

        assert tpm.clock_set(TPM_RH.PLATFORM, new_time=1).rc == TPM_RC.PP.session(1)
        assert tpm.clock_set(TPM_RH.OWNER, new_time=1).rc == TPM_RC.SUCCESS
        tpm.tpm.physical_presence = True
        assert tpm.clock_set(TPM_RH.PLATFORM, new_time=2).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("kind", [TPM_SE.HMAC, TPM_SE.POLICY])
    def test_effect_on_sessions(self, tpm: Client, kind: TPM_SE) -> None:
        """Presence is needed for every authorization of the platform, by HMAC or by policy."""
        set_presence(tpm, needed=(TPM_CC.ClockSet,))
        session = start_session(tpm, kind)
        if kind is TPM_SE.POLICY:
            trial = start_session(tpm, TPM_SE.TRIAL).handle
            tpm.policy_command_code(trial, code=TPM_CC.ClockSet).check()
            policy = tpm.policy_get_digest(trial).policy_digest
            tpm.set_primary_policy(TPM_RH.PLATFORM, auth_policy=policy, hash_alg=TPM_ALG.SHA256).check()
            tpm.policy_command_code(session.handle, code=TPM_CC.ClockSet).check()
        codes = []
        for presence in (False, True):
            tpm.tpm.physical_presence = presence
            codes.append(tpm.clock_set(TPM_RH.PLATFORM, new_time=1, sessions=[session]).rc)

        assert codes == [TPM_RC.PP.session(1), TPM_RC.SUCCESS]

    @pytest.mark.parametrize("code", [TPM_CC.NV_Write, 0x123, 0, 0xFFFFFFFF])
    def test_others(self, tpm: Client, code: int) -> None:
        """A command for which presence cannot be asked is passed over, and so is an unknown one."""
        assert set_presence(tpm, needed=(code,), not_needed=(code,)) == TPM_RC.SUCCESS
        assert needing_presence(tpm) == DEFAULT

    def test_itself(self, tpm: Client) -> None:
        """PP_Commands always needs presence."""
        set_presence(tpm, not_needed=(TPM_CC.PP_Commands,))

        assert needing_presence(tpm) == DEFAULT


class TestSetAlgorithmSet:
    """26.3"""

    def test_set(self, tpm: Client) -> None:
        """The platform's choice is reported, and durable."""
        assert tpm.set_algorithm_set(TPM_RH.PLATFORM, algorithm_set=0x12345678).rc == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=None)

        reply = tpm.get_capability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.ALGORITHM_SET, property_count=1
        )
        assert reply.capability_data.data[0].value == 0x12345678

    def test_whose_it_is(self, tpm: Client) -> None:
        """It is the platform's."""
        assert tpm.set_algorithm_set(TPM_RH.OWNER, algorithm_set=1).rc == TPM_RC.VALUE.handle(1)
