"""What the parts of a daemon hand over to one that takes over: see vtpm/daemon/replacement."""

from typing import Any, NamedTuple


class Carried(NamedTuple):
    """What passes to another process: facts for JSON, and octets; descriptors by what they are."""

    facts: dict[str, Any]
    descriptors: dict[str, int]
