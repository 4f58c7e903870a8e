"""The life of a volume under BitLocker, replayed as the commands that Windows sends."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest

from tests.scenarios import Client
from tests.sessions import start_session
from tests.windows.bitlocker import (
    CAP_PCR,
    LOCKOUT_AUTH,
    LOCKOUT_RECOVERY,
    MAX_TRIES,
    RECOVERY_TIME,
    SECOND,
    STATE_PCR,
    VMK,
    Volume,
    cap,
    cold_boot,
    provision,
    sleep,
)
from tests.windows.made import NOW, boot, booted, made
from vtpm.manufacture.checklist import creation_of
from vtpm.manufacture.templates import EK, SRK_HANDLE
from vtpm.manufacture.windows import examine
from vtpm.manufacture.windows_keys import SEALED_TO
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_PT, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.structures import TPMT_HA
from vtpm.wire.error import TPM_RC

pytestmark = pytest.mark.slow

PIN, WRONG = b"1234567890", b"0000000000"

FAILED_PCR = TPM_RC.VALUE.parameter(1)
FAILED_PIN = TPM_RC.AUTH_FAIL.session(1)


@pytest.fixture(scope="module")
def new() -> dict[str, bytes]:
    """A TPM as `vtpm create` makes it."""
    return made()


@pytest.fixture
def tpm(new: dict[str, bytes]) -> Client:
    """The TPM of a guest in which Windows has booted for the first time."""
    client = booted(new)
    provision(client)
    return client


@pytest.fixture
def volume(tpm: Client) -> Volume:
    """A volume with a PIN, and the machine booted up to its boot manager."""
    protected = Volume(PIN)
    protected.protect(tpm)
    cold_boot(tpm)
    return protected


def tries(tpm: Client) -> int:
    """TPM_PT_LOCKOUT_COUNTER."""
    reply = tpm.get_capability(
        capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.LOCKOUT_COUNTER, property_count=1
    ).check()
    count: int = reply.capability_data.data[0].value
    return count


class TestPolicy:
    """What is public of sealed keys found on disks"""

    def test_digest(self, tpm: Client) -> None:
        """The authPolicy of a real volume's key is that of PolicyAuthValue and PolicyPCR, in this order."""
        trial = start_session(tpm, TPM_SE.TRIAL).handle
        state = bytes.fromhex("5ff59b8fb87c48dc436860eba270cca2224e7bb9f083edfe7891faede2b4de5a")
        tpm.policy_auth_value(trial).check()
        tpm.policy_pcr(trial, pcr_digest=state, pcrs=(SEALED_TO,)).check()

        assert tpm.policy_get_digest(trial).policy_digest == bytes.fromhex(
            "6fb5050c0a64e6ff2e0af18e9cd826408744b0f2084abca9c7cd7e7217deccf0"
        )

    def test_state(self, tpm: Client) -> None:
        """The digest that is computed while Windows runs is that of PCR 7 and an empty PCR 11."""
        volume = Volume()
        volume.protect(tpm)
        values = tpm.pcr_read(pcr_selection_in=(SEALED_TO,)).pcr_values

        assert values[1] == bytes(32)
        assert volume.state == sha256(b"".join(values)).digest()


class TestBoot:
    """Every boot, with and without a PIN"""

    @pytest.mark.parametrize("pin", [b"", PIN], ids=["TPM alone", "with PIN"])
    def test_cold_boots(self, tpm: Client, pin: bytes) -> None:
        """The key is there at every cold boot, and no more once PCR 11 is capped."""
        volume = Volume(pin)
        volume.protect(tpm)
        for _ in range(3):
            cold_boot(tpm)
            assert volume.unlock(tpm).out_data == VMK
            cap(tpm)
            assert volume.unlock(tpm).rc == FAILED_PCR
        assert tries(tpm) == 0

    def test_enabled_while_running(self, tpm: Client) -> None:
        """BitLocker can be turned on with PCR 11 capped: the digest was computed for the next boot."""
        cap(tpm)
        volume = Volume(PIN)
        volume.protect(tpm)
        assert volume.unlock(tpm).rc == FAILED_PCR
        cold_boot(tpm)

        assert volume.unlock(tpm).out_data == VMK

    def test_other_secure_boot(self, tpm: Client, volume: Volume) -> None:
        """Other Secure Boot variables: PolicyPCR refuses; without its digest, Unseal does."""
        tpm.pcr_extend(STATE_PCR, digests=(TPMT_HA(TPM_ALG.SHA256, b"another variable".ljust(32)),)).check()
        assert volume.unlock(tpm).rc == FAILED_PCR

        volume.state = b""
        assert volume.unlock(tpm).rc == TPM_RC.POLICY_FAIL.session(1)

    def test_policy_is_needed(self, tpm: Client, volume: Volume) -> None:
        """The PIN alone opens nothing."""
        item = tpm.load(SRK_HANDLE, **volume.stored).check().object_handle

        assert tpm.unseal(item, auths=[PIN]).rc == TPM_RC.AUTH_UNAVAILABLE

    def test_another_machine(self, tpm: Client, volume: Volume) -> None:
        """The disk in another machine: its TPM does not load the key."""
        assert volume.unlock(tpm).rc == 0
        other = booted(made())
        provision(other)

        assert volume.unlock(other).rc == TPM_RC.INTEGRITY.parameter(1)


class TestSleep:
    """Startup alternatives (Part 1)"""

    def test_resume(self, tpm: Client, volume: Volume) -> None:
        """After S3 the PCR are as they were, so the key stays out of reach."""
        assert volume.unlock(tpm).out_data == VMK
        cap(tpm)
        before = tpm.pcr_read(pcr_selection_in=(SEALED_TO,)).pcr_values
        for _ in range(2):
            sleep(tpm)
            assert tpm.pcr_read(pcr_selection_in=(SEALED_TO,)).pcr_values == before
            assert volume.unlock(tpm).rc == FAILED_PCR

    def test_hibernate(self, tpm: Client, volume: Volume) -> None:
        """Hibernation ends in a boot, which needs the key again."""
        cap(tpm)
        cold_boot(tpm)

        assert volume.unlock(tpm).out_data == VMK

    def test_power_lost_asleep(self, tpm: Client, volume: Volume) -> None:
        """A machine that lost power in S3 boots: firmware's Startup(CLEAR) is a restart, PCR begin anew."""
        cap(tpm)
        tpm.shutdown(shutdown_type=TPM_SU.STATE).check()
        tpm.lose_power()
        boot(tpm)

        assert volume.unlock(tpm).out_data == VMK


class TestWrongPin:
    """Part 1, "Dictionary Attack Protection", with Windows' parameters"""

    def test_lockout(self, tpm: Client, volume: Volume) -> None:
        """31 wrong PINs lock, for the right one as well; what needs no PIN still opens."""
        for count in range(MAX_TRIES):
            assert tries(tpm) == count
            assert volume.unlock(tpm, WRONG).rc == FAILED_PIN
        assert volume.unlock(tpm).rc == TPM_RC.LOCKOUT

        without = Volume()
        without.protect(tpm)
        assert without.unlock(tpm).out_data == VMK

    def test_right_pin_forgives_nothing(self, tpm: Client, volume: Volume) -> None:
        """The right PIN between wrong ones does not reset the count."""
        volume.unlock(tpm, WRONG)
        assert volume.unlock(tpm).out_data == VMK

        assert tries(tpm) == 1

    def test_self_heal(self, tpm: Client, volume: Volume) -> None:
        """Ten minutes of power give one try back, and no less will do."""
        for _ in range(MAX_TRIES):
            volume.unlock(tpm, WRONG)
        tpm.wait(RECOVERY_TIME * SECOND - 1)
        assert volume.unlock(tpm).rc == TPM_RC.LOCKOUT
        tpm.wait(1)

        assert volume.unlock(tpm).out_data == VMK
        assert tries(tpm) == MAX_TRIES - 1
        tpm.wait(RECOVERY_TIME * SECOND * (MAX_TRIES - 1))
        assert tries(tpm) == 0

    def test_reboots(self, tpm: Client, volume: Volume) -> None:
        """A lockout outlives cold boots, and time without power heals nothing."""
        for _ in range(MAX_TRIES):
            volume.unlock(tpm, WRONG)
        for _ in range(3):
            tpm.wait(RECOVERY_TIME * SECOND // 2)
            cold_boot(tpm)
            assert volume.unlock(tpm).rc == TPM_RC.LOCKOUT

    def test_power_cut(self, tpm: Client, volume: Volume) -> None:
        """Whoever takes the power after using the PIN's key gains nothing: that counts as a wrong PIN."""
        assert volume.unlock(tpm).out_data == VMK
        cold_boot(tpm, orderly=False)
        assert tries(tpm) == 1
        cold_boot(tpm, orderly=False)

        assert tries(tpm) == 1

    def test_reset(self, tpm: Client, volume: Volume) -> None:
        """Windows resets the lockout with the lockoutAuth that it keeps."""
        for _ in range(MAX_TRIES):
            volume.unlock(tpm, WRONG)
        tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[LOCKOUT_AUTH]).check()

        assert volume.unlock(tpm).out_data == VMK
        assert tries(tpm) == 0

    def test_wrong_lockout_auth(self, tpm: Client) -> None:
        """One wrong lockoutAuth disables it for a day, whatever is tried meanwhile."""
        assert tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[WRONG]).rc == FAILED_PIN
        tpm.wait(LOCKOUT_RECOVERY * SECOND - 1)
        assert tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[LOCKOUT_AUTH]).rc == TPM_RC.LOCKOUT
        tpm.wait(1)

        assert tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[LOCKOUT_AUTH]).rc == 0


def clear_by_firmware(tpm: Client) -> None:
    """Physical Presence Interface, operation 5: at the next boot, before platformAuth is given away."""
    tpm.shutdown(shutdown_type=TPM_SU.CLEAR).check()
    tpm.lose_power()
    tpm.startup(startup_type=TPM_SU.CLEAR).check()
    tpm.clear(TPM_RH.PLATFORM).check()
    tpm.shutdown(shutdown_type=TPM_SU.CLEAR).check()
    tpm.lose_power()
    boot(tpm)


def clear_by_windows(tpm: Client) -> None:
    """Clear-Tpm with the lockoutAuth that Windows keeps."""
    tpm.clear(TPM_RH.LOCKOUT, auths=[LOCKOUT_AUTH]).check()
    cold_boot(tpm)


@pytest.mark.parametrize("clear", [clear_by_firmware, clear_by_windows])
class TestClear:
    """Part 3, 24.6: TPM2_Clear by firmware or by Windows"""

    def test_volume_is_lost(self, tpm: Client, volume: Volume, clear: Callable[[Client], None]) -> None:
        """The sealed key is gone for good: only the recovery key helps."""
        clear(tpm)
        assert volume.unlock(tpm).rc == TPM_RC.HANDLE.handle(1)
        provision(tpm)
        assert volume.unlock(tpm).rc == TPM_RC.INTEGRITY.parameter(1)

        volume.protect(tpm)
        cold_boot(tpm)
        assert volume.unlock(tpm).out_data == VMK

    def test_what_remains(self, tpm: Client, clear: Callable[[Client], None]) -> None:
        """The endorsement key and its certificate stay; lockoutAuth and failed tries go."""
        before = tpm.read_public(EK.RSA_2048.value.handle).out_public
        volume = Volume(PIN)
        volume.protect(tpm)
        volume.unlock(tpm, WRONG)
        assert tries(tpm) == 1
        clear(tpm)

        made_again = tpm.create_primary(TPM_RH.ENDORSEMENT, **creation_of(EK.RSA_2048.value.template)).check()
        assert made_again.out_public == before
        assert tries(tpm) == 0
        assert tpm.dictionary_attack_lock_reset(TPM_RH.LOCKOUT).rc == 0

    def test_windows_is_content(self, tpm: Client, clear: Callable[[Client], None]) -> None:
        """Once it has taken the TPM over again, `vtpm check windows11` finds nothing wrong."""
        clear(tpm)
        provision(tpm)
        lines = examine(tpm.tpm, NOW + timedelta(days=1))

        assert [line["check"] for line in lines if line["verdict"] == "failed"] == []
        ready = next(line for line in lines if line["check"] == "ready")
        assert ready["found"] == "taken over already"


def test_cap_is_not_reset(tpm: Client) -> None:
    """No locality of a guest resets PCR 11."""
    cap(tpm)
    for locality in range(5):
        assert tpm.pcr_reset(CAP_PCR, locality=locality).rc == TPM_RC.LOCALITY
