"""Part 1, "Access Interruptions": a command that cannot be made durable has not happened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands.nv_indices import INDEX, SELF, define
from tests.commands.test_any_command import populated, requests
from tests.scenarios import Client
from tests.sessions import start_session
from tests.state.rich import rich
from vtpm import Instant
from vtpm.commands import Command
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH, TPM_SU
from vtpm.state.checkpoint import Checkpoint
from vtpm.wire.error import TPM_RC

AUTH = b"secret"
SHUTDOWN = bytes.fromhex("80010000000c00000145")
PROTECTED = SELF.but(NO_DA=False)


def state_of(tpm: Client) -> dict[str, bytes]:
    """Everything that the TPM remembers."""
    return tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()


def attempt(tpm: Client, octets: bytes) -> dict[str, bytes | None]:
    """Execute a command and put everything back; the changes it would have made durable."""
    checkpoint = Checkpoint(tpm.tpm)
    changes = dict(tpm.tpm.execute(octets, now=Instant(tpm.now)).changes)
    checkpoint.put_back()
    return changes


@pytest.mark.slow
@given(st.lists(requests(), min_size=1, max_size=6))
def test_any_commands(commands: list[tuple[Command, bytes]]) -> None:
    """Whatever the command, the TPM is afterwards what it was, and executes it as if for the first time."""
    tpm = populated()
    for command, octets in commands:
        before = state_of(tpm)
        tries = tpm.tpm.lockout.failed_tries
        attempt(tpm, octets)
        if tpm.tpm.lockout.failed_tries == tries:
            assert state_of(tpm) == before, command.name
        assert tpm.tpm.changes() == {} or tpm.tpm.lockout.failed_tries > tries
        tpm.send(octets)


@pytest.mark.parametrize("kind", [TPM_SU.CLEAR, TPM_SU.STATE])
def test_shutdown(kind: TPM_SU) -> None:
    """A Shutdown is undone with all that it saves."""
    tpm = rich()
    before = state_of(tpm)
    changes = attempt(tpm, SHUTDOWN + kind.to_bytes(2))

    assert "permanent" in changes
    assert state_of(tpm) == before


def test_clear() -> None:
    """TPM2_Clear is undone with all that it flushes, and succeeds later."""
    tpm = populated()
    before = state_of(tpm)
    checkpoint = Checkpoint(tpm.tpm)
    assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS
    assert state_of(tpm) != before
    checkpoint.put_back()

    assert state_of(tpm) == before
    assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.SUCCESS


@pytest.mark.parametrize("kind", [TPM_SU.CLEAR, TPM_SU.STATE])
def test_startup(kind: TPM_SU) -> None:
    """A Startup that is undone can be sent again, and ends as it would have."""
    tpm = rich()
    assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
    tpm.tpm.power_on(Instant(tpm.now))
    before = state_of(tpm)
    checkpoint = Checkpoint(tpm.tpm)
    assert tpm.startup(startup_type=kind).rc == TPM_RC.SUCCESS
    checkpoint.put_back()

    assert state_of(tpm) == before
    assert tpm.startup(startup_type=kind).rc == TPM_RC.SUCCESS


def test_session_goes_on(tpm: Client) -> None:
    """The nonce of a session is the one that its owner knows: the same octets authorize the command again."""
    define(tpm, auth=AUTH)
    session = start_session(tpm)
    session.auth = AUTH
    checkpoint = Checkpoint(tpm.tpm)
    nonces = session.nonce_tpm, session.nonce_caller
    reply = tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session])
    assert reply.rc == TPM_RC.SUCCESS
    checkpoint.put_back()
    session.nonce_tpm, session.nonce_caller = nonces

    assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session]).rc == TPM_RC.SUCCESS


def test_sequence_goes_on(tpm: Client) -> None:
    """A running digest goes back to the octets that had arrived before."""
    started = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
    tpm.sequence_update(started, buffer=b"first")
    checkpoint = Checkpoint(tpm.tpm)
    tpm.sequence_update(started, buffer=b"never")
    checkpoint.put_back()
    done = tpm.sequence_complete(started, buffer=b"second", hierarchy=TPM_RH.NULL)

    assert (
        done.result == tpm.hash(data=b"firstsecond", hash_alg=TPM_ALG.SHA256, hierarchy=TPM_RH.NULL).out_hash
    )


class TestFailures:
    """Part 1, "Dictionary Attack Protection": no guess is free"""

    def test_kept(self, tpm: Client) -> None:
        """A failed authorization stays counted, and the count is written with what is written next."""
        define(tpm, PROTECTED, auth=AUTH)
        checkpoint = Checkpoint(tpm.tpm)
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0).rc == TPM_RC.AUTH_FAIL.session(1)
        checkpoint.put_back()

        assert tpm.tpm.lockout.failed_tries == 1
        assert set(tpm.tpm.changes()) == {"permanent"}

    def test_lockout_kept(self, tpm: Client) -> None:
        """So does the failure of lockoutAuth, which disables it."""
        tpm.tpm.lockout.auth_value = AUTH
        checkpoint = Checkpoint(tpm.tpm)
        assert tpm.clear(TPM_RH.LOCKOUT).rc == TPM_RC.AUTH_FAIL.session(1)
        checkpoint.put_back()

        assert not tpm.tpm.lockout.auth_enabled
        assert set(tpm.tpm.changes()) == {"permanent"}

    def test_pin_kept(self, tpm: Client) -> None:
        """So does a wrong PIN."""
        attributes = TPMA_NV(OWNERWRITE=True, AUTHREAD=True, NO_DA=True, TPM_NT=TPM_NT.PIN_FAIL)
        define(tpm, attributes, 8, auth=AUTH)
        limit = (0).to_bytes(4) + (3).to_bytes(4)
        assert tpm.nv_write(TPM_RH.OWNER, INDEX, data=limit, offset=0).rc == TPM_RC.SUCCESS
        checkpoint = Checkpoint(tpm.tpm)
        assert tpm.nv_read(INDEX, INDEX, size=8, offset=0).rc == TPM_RC.BAD_AUTH.session(1)
        checkpoint.put_back()

        assert tpm.tpm.nv[INDEX].pin == (1, 3)
        assert set(tpm.tpm.changes()) == {f"nv/{INDEX:08x}"}

    @pytest.mark.parametrize("auth", [AUTH, b"wrong"])
    def test_refused_unavailable(self, tpm: Client, auth: bytes) -> None:
        """While NV is unavailable, a protected entity cannot be used, be the authorization right or wrong."""
        define(tpm, PROTECTED, auth=AUTH)
        before = state_of(tpm)
        tpm.tpm.nv_available = False

        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[auth]).rc == TPM_RC.NV_UNAVAILABLE
        assert tpm.clear(TPM_RH.LOCKOUT, auths=[auth]).rc == TPM_RC.NV_UNAVAILABLE
        assert state_of(tpm) == before
        tpm.tpm.nv_available = True
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[AUTH]).rc == TPM_RC.SUCCESS


def test_clock_is_not_safe(tpm: Client) -> None:
    """Part 1, "Access Interruptions": Safe is NO while NV is unavailable."""
    assert tpm.clock_set(TPM_RH.OWNER, new_time=1 << 22).rc == TPM_RC.SUCCESS
    assert tpm.read_clock().current_time.clock_info.safe
    tpm.tpm.nv_available = False

    assert not tpm.read_clock().current_time.clock_info.safe


def test_light_commands(tpm: Client) -> None:
    """They need no checkpoint, but after a Shutdown, which the next command may take back."""
    random = bytes.fromhex("80010000000c0000017b0008")
    shutdown = SHUTDOWN + TPM_SU.STATE.to_bytes(2)

    assert tpm.tpm.checkpoint(random) is None
    assert tpm.tpm.checkpoint(b"\x80\x02" + bytes(4) + TPM_CC.PCR_Extend.to_bytes(4)) is None
    assert tpm.tpm.checkpoint(b"\x80\x02" + bytes(4) + TPM_CC.NV_Write.to_bytes(4)) is not None
    assert tpm.tpm.checkpoint(shutdown) is not None
    tpm.send(shutdown)
    assert tpm.tpm.checkpoint(random) is not None
