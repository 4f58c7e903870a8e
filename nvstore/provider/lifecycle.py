"""
The life of a key provider: its states, and the one table of steps between them.

    created → exported → verified → active ⇄ rotating
                             active → disabled → pending deletion → destroyed

`verified` becomes `active` by itself as soon as nothing stands in the way; what may stand there is that the
provider requires a TPM of its hosts and this host does not seal its key with one.
New VMs are made under a provider that is active or rotating.
VMs that are there keep working until the key is destroyed, so that they can be moved away in peace.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from nvstore.provider_errors import StepRefused

DAY: Final = 86400
MIN_DAYS_TO_DELETION: Final = 7


class State(StrEnum):
    """Where a provider is in its life."""

    CREATED = "created"
    EXPORTED = "exported"
    VERIFIED = "verified"
    ACTIVE = "active"
    ROTATING = "rotating"
    DISABLED = "disabled"
    PENDING_DELETION = "pending-deletion"
    DESTROYED = "destroyed"


class Step(StrEnum):
    """What is done with a provider."""

    EXPORT = "export"
    VERIFY = "verify"
    ACTIVATE = "activate"
    ROTATE = "rotate"
    PROMOTE = "promote"
    FINISH = "finish"
    ABANDON = "abandon"
    DISABLE = "disable"
    ENABLE = "enable"
    SCHEDULE_DELETION = "schedule-deletion"
    CANCEL_DELETION = "cancel-deletion"
    DESTROY = "destroy"


_S = State
TRANSITIONS: Final[Mapping[Step, Mapping[State, State]]] = {
    Step.EXPORT: {
        _S.CREATED: _S.EXPORTED,
        **{state: state for state in (_S.EXPORTED, _S.VERIFIED, _S.ACTIVE, _S.ROTATING, _S.DISABLED)},
    },
    Step.VERIFY: {
        _S.CREATED: _S.VERIFIED,  # the backup was made on another host
        _S.EXPORTED: _S.VERIFIED,
        **{state: state for state in (_S.VERIFIED, _S.ACTIVE, _S.ROTATING, _S.DISABLED, _S.PENDING_DELETION)},
    },
    Step.ACTIVATE: {_S.VERIFIED: _S.ACTIVE},
    Step.ROTATE: {_S.ACTIVE: _S.ROTATING},
    Step.PROMOTE: {_S.ROTATING: _S.ROTATING},
    Step.FINISH: {_S.ROTATING: _S.ACTIVE},
    Step.ABANDON: {_S.ROTATING: _S.ACTIVE},
    Step.DISABLE: {_S.VERIFIED: _S.DISABLED, _S.ACTIVE: _S.DISABLED},
    Step.ENABLE: {_S.DISABLED: _S.VERIFIED},
    Step.SCHEDULE_DELETION: dict.fromkeys(
        (_S.CREATED, _S.EXPORTED, _S.VERIFIED, _S.DISABLED), _S.PENDING_DELETION
    ),
    Step.CANCEL_DELETION: {_S.PENDING_DELETION: _S.DISABLED},
    Step.DESTROY: {_S.PENDING_DELETION: _S.DESTROYED},
}
"""For each step, the states in which it is allowed and the state that follows."""

USABLE: Final = frozenset({State.ACTIVE, State.ROTATING})
"""The states in which new VMs are made under a provider."""

UNPROVEN: Final = frozenset({State.CREATED, State.EXPORTED, State.VERIFIED})
"""The states before the first use, in which an operator may allow new VMs nevertheless."""


def state_after(step: Step, state: State, name: str) -> State:
    """Return the state that a step leads to, or raise StepRefused, which names what is possible."""
    after = TRANSITIONS[step].get(state)
    if after is None:
        possible = [other.value for other, allowed in TRANSITIONS.items() if state in allowed]
        raise StepRefused(name, state.value, step.value, possible)
    return after
