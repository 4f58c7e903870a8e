"""
The course of a hand-over in the old process: its states, and what each event leads to.

`tests/models/replacement.pml` includes this table: what spin has looked at is what `Predecessor` does.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from vtpm.daemon.replacement.messages import ReplacementError


class Course(IntEnum):
    """How far a hand-over has come."""

    SERVING = 0
    """Guests are served; a new process may be loading."""
    PAUSING = 1
    """Guests wait; what the VMs have is being sent."""
    OFFERED = 2
    """All is sent; the new process loads it."""
    COMMITTED = 3
    """The new process may go on: nothing is executed here until it is known not to."""
    REPLACED = 4
    """The new process goes on."""


class Event(IntEnum):
    """What happens to a hand-over."""

    BEGUN = 0
    """The new process has opened copies of all states, and guests are asked to wait."""
    PASSED = 1
    """The last message about VMs was sent."""
    READIED = 2
    """The new process has loaded everything."""
    TOOK = 3
    """The new process has said that it goes on."""
    ENDED = 4
    """The new process has ended, or keeps to no protocol; after `go`: it has died, and had not taken over."""
    LATE = 5
    """Guests would wait for too long."""
    TERMINATED = 6
    """This process was told to end."""


AFTER: Final[Mapping[tuple[Course, Event], Course]] = {
    (Course.SERVING, Event.BEGUN): Course.PAUSING,
    (Course.SERVING, Event.ENDED): Course.SERVING,
    (Course.SERVING, Event.LATE): Course.SERVING,
    (Course.SERVING, Event.TERMINATED): Course.SERVING,
    (Course.PAUSING, Event.PASSED): Course.OFFERED,
    (Course.PAUSING, Event.ENDED): Course.SERVING,
    (Course.PAUSING, Event.LATE): Course.SERVING,
    (Course.PAUSING, Event.TERMINATED): Course.SERVING,
    (Course.OFFERED, Event.READIED): Course.COMMITTED,
    (Course.OFFERED, Event.ENDED): Course.SERVING,
    (Course.OFFERED, Event.LATE): Course.SERVING,
    (Course.OFFERED, Event.TERMINATED): Course.SERVING,
    (Course.COMMITTED, Event.TOOK): Course.REPLACED,
    (Course.COMMITTED, Event.ENDED): Course.SERVING,
}
"""What each event leads to; what is not here cannot happen."""


def course_after(course: Course, event: Event) -> Course:
    """Return the next state; ReplacementError where the event cannot happen."""
    try:
        return AFTER[course, event]
    except KeyError:
        raise ReplacementError(
            f"{event.name} cannot come at {course.name}; report this with the log"
        ) from None
