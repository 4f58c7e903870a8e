"""
Which request is legal when.

1. Everything about legality and the change of phase is in this file, and as much as possible in its tables.
2. This file knows no sockets, no store and no TPM.

A TPM begins before INIT, without state.
INIT makes it run, from any phase; STOP powers it off, and SHUTDOWN ends its run: the next one begins anew.
An illegal request is answered with TPM_BAD_ORDINAL and changes nothing.
"""

from enum import Enum, auto
from typing import Final

from vtpm.control.messages import CMD, SetBufferSize


class Phase(Enum):
    """The life of a TPM as the control channel sees it"""

    BEFORE_INIT = auto()
    RUNNING = auto()
    STOPPED = auto()


OFF: Final = frozenset({Phase.BEFORE_INIT, Phase.STOPPED})
ON: Final = frozenset({Phase.RUNNING})
ANY: Final = OFF | ON

LEGAL: Final = {
    CMD.GET_CAPABILITY: ANY,
    CMD.INIT: ANY,
    CMD.SHUTDOWN: ANY,
    CMD.GET_TPMESTABLISHED: ON,
    CMD.SET_LOCALITY: ANY,
    CMD.HASH_START: ON,
    CMD.HASH_DATA: ON,
    CMD.HASH_END: ON,
    CMD.CANCEL_TPM_CMD: ON,
    CMD.STORE_VOLATILE: ON,
    CMD.RESET_TPMESTABLISHED: ON,
    CMD.GET_STATEBLOB: ON,
    CMD.SET_STATEBLOB: OFF,
    CMD.STOP: ANY,
    CMD.GET_CONFIG: ANY,
    CMD.SET_DATAFD: ANY,
    CMD.SET_BUFFERSIZE: ANY,
    CMD.GET_INFO: ANY,
    CMD.LOCK_STORAGE: ANY,
}

NEXT: Final = {
    CMD.INIT: Phase.RUNNING,
    CMD.STOP: Phase.STOPPED,
    CMD.SHUTDOWN: Phase.BEFORE_INIT,
}
"""The phase after a command that succeeded; a command that is not here does not change it."""


def is_legal(command: int, phase: Phase) -> bool:
    """May this command be carried out now?"""
    return phase in LEGAL[CMD(command)]


def may_set_buffer_size(request: SetBufferSize, phase: Phase) -> bool:
    """Asking for the size is legal at any time, changing it only while the TPM is off."""
    return request.buffersize == 0 or phase in OFF


def phase_after(command: CMD, phase: Phase) -> Phase:
    """The phase after the command succeeded."""
    return NEXT.get(command, phase)
