"""What lasts until power is lost: transient objects, loaded sessions and sequences."""

from dataclasses import dataclass, field

from vtpm.spec.constants import TPM_HT
from vtpm.state.hierarchy import base_of
from vtpm.state.launch import Launch
from vtpm.state.object import Object
from vtpm.state.sequence import Sequence
from vtpm.state.session import Session
from vtpm.wire.error import TPM_RC, TpmError

TRANSIENT_FIRST = TPM_HT.TRANSIENT << 24


@dataclass(slots=True, eq=False)
class Volatile:
    """The contents of the TPM's RAM."""

    transient_slots: int
    loaded_sessions: int
    objects: dict[int, Object | Sequence] = field(default_factory=dict)
    """Transient objects and sequences by handle."""
    sessions: dict[int, Session] = field(default_factory=dict)
    """Loaded sessions by the low 24 bits of their handle."""
    exclusive_session: int = 0
    """The handle of the exclusive audit session; 0 if there is none."""
    started: bool = False
    startup_locality: int = 0
    was_orderly: bool = False
    """Did an orderly shutdown precede this Startup (TPMA_STARTUP_CLEAR.orderly)?"""
    hcrtm: bool = False
    """Did an H-CRTM sequence precede Startup?"""
    failed: bool = False
    """Failure mode: only GetTestResult and GetCapability are executed."""
    failure: str = ""
    """What went wrong, for GetTestResult."""
    audit_restarted: bool = False
    """Has this command changed the hash of the command audit, so that the audit begins after it?"""
    launch: Launch | None = None
    """The measurement by hardware that is open."""
    pcr_reconfigured: bool = False
    """Has PCR_Allocate changed what the next Startup makes? Then Shutdown(STATE) is refused."""

    def add(self, item: Object | Sequence) -> int:
        """Give an object the lowest free transient handle; TPM_RC_OBJECT_MEMORY if every slot is taken."""
        for slot in range(self.transient_slots):
            handle = TRANSIENT_FIRST | slot
            if handle not in self.objects:
                item.handle = handle
                self.objects[handle] = item
                return handle
        raise TpmError(TPM_RC.OBJECT_MEMORY)

    def check_slot(self) -> None:
        """TPM_RC_OBJECT_MEMORY if every transient slot is taken: asked before costly work."""
        if len(self.objects) >= self.transient_slots:
            raise TpmError(TPM_RC.OBJECT_MEMORY)

    def flush(self, hierarchies: set[int]) -> None:
        """Flush the transient objects of these hierarchies and of their limited variants."""
        for handle, item in list(self.objects.items()):
            if isinstance(item, Object) and base_of(item.hierarchy) in hierarchies:
                del self.objects[handle]
