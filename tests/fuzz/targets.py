"""All targets by name."""

from tests.fuzz.control import Channels
from tests.fuzz.engine import Engine
from tests.fuzz.foreign import ForeignStates
from tests.fuzz.saved import SavedBlobs
from tests.fuzz.stores import Stores
from tests.fuzz.structures import Structures
from tests.fuzz.target import Target
from tests.fuzz.traces import Captures

TARGETS: dict[str, type[Target]] = {
    kind.name: kind for kind in (Engine, Structures, Channels, SavedBlobs, ForeignStates, Stores, Captures)
}
