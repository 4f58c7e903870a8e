"""What libvirt was about when a run ended, as the file with the status of its domain says (`domstatus`)."""

from typing import Final

from vtpm.libvirt.elements import parse

OUTGOING: Final = "migration out"
INCOMING: Final = "migration in"

CONFIRMED: Final = frozenset({"confirm3", "confirm_resume"})
"""The phases of a migration in which the destination has said that the run goes on there."""

PAUSED: Final = ("paused", "migration")
"""The state, and its reason, of a run at its source, whose job libvirt 9.0 may have forgotten by then."""

WENT: Final = "went"
NEVER_CAME: Final = "never came"
ENDED: Final = "ended"


def end_of_run(status: bytes) -> str:
    """How a run has ended here: it `went` to another host, or `never came` from one, or else `ended`."""
    root = parse(status)
    job = root.first("job")
    if job is None:
        state = root.attributes.get("state"), root.attributes.get("reason")
        return WENT if state == PAUSED else ENDED
    kind, phase = job.attributes.get("async"), job.attributes.get("phase")
    if kind == OUTGOING and phase in CONFIRMED:
        return WENT
    return NEVER_CAME if kind == INCOMING else ENDED
