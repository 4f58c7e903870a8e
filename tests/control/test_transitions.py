"""Which control request is legal when: vtpm/control/transitions.py."""

import pytest

from vtpm.control.messages import CMD, SetBufferSize
from vtpm.control.transitions import LEGAL, NEXT, Phase, is_legal, may_set_buffer_size, phase_after

WHILE_RUNNING = {
    CMD.GET_TPMESTABLISHED,
    CMD.RESET_TPMESTABLISHED,
    CMD.HASH_START,
    CMD.HASH_DATA,
    CMD.HASH_END,
    CMD.CANCEL_TPM_CMD,
    CMD.STORE_VOLATILE,
    CMD.GET_STATEBLOB,
}


def test_every_command_has_a_row() -> None:
    """The table leaves no command out."""
    assert set(LEGAL) == set(CMD)


@pytest.mark.parametrize("command", CMD)
def test_legality(command: CMD) -> None:
    """Some commands need a TPM that runs, SET_STATEBLOB one that does not."""
    assert is_legal(command, Phase.RUNNING) == (command is not CMD.SET_STATEBLOB)
    assert is_legal(command, Phase.STOPPED) == (command not in WHILE_RUNNING)
    assert is_legal(command, Phase.BEFORE_INIT) == is_legal(command, Phase.STOPPED)


@pytest.mark.parametrize("phase", [Phase.BEFORE_INIT, Phase.RUNNING, Phase.STOPPED])
def test_phases(phase: Phase) -> None:
    """INIT runs, STOP stops and SHUTDOWN ends a TPM's run, whatever it was; nothing else changes that."""
    assert phase_after(CMD.INIT, phase) is Phase.RUNNING
    assert phase_after(CMD.STOP, phase) is Phase.STOPPED
    assert phase_after(CMD.SHUTDOWN, phase) is Phase.BEFORE_INIT
    assert all(phase_after(command, phase) is phase for command in set(CMD) - set(NEXT))


@pytest.mark.parametrize(
    ("size", "phase", "legal"),
    [
        (0, Phase.RUNNING, True),
        (4096, Phase.RUNNING, False),
        (4096, Phase.STOPPED, True),
        (4096, Phase.BEFORE_INIT, True),
    ],
)
def test_buffer_size(size: int, phase: Phase, legal: bool) -> None:  # noqa: FBT001 - a column of the table
    """The buffer size can be asked for at any time, and changed only while the TPM is off."""
    assert may_set_buffer_size(SetBufferSize(size), phase) == legal
