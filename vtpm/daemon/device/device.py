"""
One TPM with its stored state: what a control channel, a simulator's port or a hypervisor does to it.

Nothing here knows sockets.
A method that changes the state returns after the change is durable.
While the store cannot write, what would change the state ends in TPM_RC_NV_UNAVAILABLE and changes nothing.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, Final, NamedTuple

from nvstore import NvstoreError, Store
from vtpm.control.blobs import Form
from vtpm.control.frames import HEADER
from vtpm.control.messages import CMD, PTM_BLOB_TYPE, TPM_RESULT
from vtpm.control.transitions import Phase, phase_after
from vtpm.daemon.carried import Carried
from vtpm.daemon.clock import Clock, Entropy, entropy, monotonic, since_1970
from vtpm.daemon.device.bringup import Factory, Gate, Loader
from vtpm.daemon.device.custody import CUSTODY, Custody, Holding
from vtpm.daemon.device.durability import Durability, are_marks, is_derived
from vtpm.daemon.device.pace import Pace
from vtpm.daemon.device.sleep import asleep, awakened
from vtpm.daemon.device.stateblobs import IN_THE_CLEAR, SUSPENDED, GivenState, state_blob, suspended_blob
from vtpm.daemon.device.storage import Storage
from vtpm.daemon.errors import DeviceError, OperatorError
from vtpm.engine.cost import may_make_key
from vtpm.spec.constants import TPM_CC, TPM_ST, TPM_SU
from vtpm.state.checkpoint import Checkpoint
from vtpm.state.profile import DEFAULT, Profile
from vtpm.state.saved import SavedStateError
from vtpm.wire.error import TPM_RC

RUNNING: Final = Phase.RUNNING
"""What every command is asked: to find a member in an Enum costs as much as a function call."""

OPEN: Final = Gate()

MIN_BUFFER_SIZE: Final = 0xAF8
"""The smallest buffer in octets that can be set, the same as libtpms'."""

MAX_LOCALITY: Final = 4
CC_SET_LOCALITY: Final = 0x2000_1000
"""swtpm's vendor command (swtpm, src/swtpm/vtpm_proxy.h)."""

LAUNCH_LOCALITIES: Final = frozenset({3, 4})
"""The localities that may clear the established bit (PC Client Platform TPM Profile, TPM_ACCESS)."""


class Result(NamedTuple):
    """What the engine gives for a command."""

    response: bytes
    changes: Mapping[str, bytes | None]


def refusal(rc: TPM_RC = TPM_RC.FAILURE) -> bytes:
    """A response that is only a response code."""
    return HEADER.pack(TPM_ST.NO_SESSIONS, HEADER.size, rc)


def command_of(code: TPM_CC, argument: TPM_SU) -> bytes:
    """Startup or Shutdown."""
    return HEADER.pack(TPM_ST.NO_SESSIONS, HEADER.size + 2, code) + argument.to_bytes(2)


def code_of(octets: bytes) -> int:
    """The command code or response code in a header; 0 if the header is incomplete."""
    return int.from_bytes(octets[6:10])


class Device:
    """
    A TPM from before its first INIT to the end of its run; used by one thread at a time.

    `open_store` opens the stored state, or raises DeviceError; it is called at the first INIT.
    A store without state is an error, unless the device `may_manufacture`.
    `gate` is asked before a state that was given is used.
    """

    def __init__(
        self,
        name: str,
        tpms: Factory,
        open_store: Callable[[], Store],
        *,
        may_manufacture: bool = False,
        is_encrypted: bool = False,
        auto_shutdown: bool = True,
        allow_set_locality: bool = False,
        profile: Profile = DEFAULT,
        form: Form = IN_THE_CLEAR,
        releases_storage: bool = False,
        gate: Gate = OPEN,
        clock: Clock = monotonic,
        calendar: Callable[[], int] = since_1970,
        random: Entropy = entropy,
    ) -> None:
        self.name = name
        self.phase = Phase.BEFORE_INIT
        self.locality = 0
        self.buffer_size: int | None = None
        self.auto_shutdown = auto_shutdown
        self.is_encrypted = is_encrypted
        self._allow_set_locality = allow_set_locality
        self._storage = Storage(name, open_store, is_shared=releases_storage)
        self.form = form
        self._profile = profile
        self._clock = clock
        self._calendar = calendar
        self._loader = Loader(tpms, random, clock, calendar, may_manufacture, gate)
        self._tpm: Any = None
        self._suspended: bytes | None = None
        self._given = GivenState(name, form)
        self._custody = Custody()
        self._stored_custody = Custody()
        """The same as the store has it, until what waits is written."""
        self._begins = False
        """Does the next command begin a stretch (custody.py)?"""
        self._last_command = b""
        self._pace = Pace()
        self._is_suspended = False
        self._suspended_at = 0
        """Milliseconds since 1970 at the TPM's Time; from then on it is suspended, or goes on elsewhere."""
        self._checkpoint: Any = None
        """What the command that is under way goes back to if it cannot be made durable."""
        self._durability = Durability(name, self._storage.opened, clock)

    def __repr__(self) -> str:
        return f"<Device {self.name} {self.phase.name}>"

    @property
    def is_running(self) -> bool:
        """Is the TPM powered?"""
        return self.phase is RUNNING

    @property
    def has_failed(self) -> bool:
        """Is the TPM in failure mode?"""
        return self._tpm is not None and self._tpm.volatile.failed

    @property
    def alarm(self) -> str:
        """Why the store does not take changes; empty when it does."""
        return self._durability.alarm

    def init(self, *, delete_volatile: bool = False) -> None:
        """INIT: apply power, with the state that was given or stored; DeviceError if that cannot be used."""
        self.power_off()
        must_load = self._tpm is None or self.has_failed or self._suspended is not None or bool(self._given)
        if must_load:
            self._load(delete_volatile=delete_volatile)
        else:
            self.keep()
            self._tpm.power_on(self._clock())
        self._tpm.buffer_size = self.buffer_size
        self._last_command = b""
        self.phase = phase_after(CMD.INIT, self.phase)

    def stop(self) -> None:
        """STOP: power off."""
        self.power_off()
        self.phase = phase_after(CMD.STOP, self.phase)

    def power_off(self, *, orderly: bool = True) -> None:
        """Take the power away; if `orderly`, after the shutdown that the guest did not make."""
        if not self.is_running:
            return
        if (
            orderly
            and self.auto_shutdown
            and not self._is_suspended
            and not self._begins  # what came, and was not used here, may come again
            and not self._storage.is_released
            and code_of(self._last_command) != TPM_CC.Shutdown
        ):
            for kind in (TPM_SU.STATE, TPM_SU.CLEAR):
                rc = code_of(self.execute(command_of(TPM_CC.Shutdown, kind)))
                if rc in (TPM_RC.SUCCESS, TPM_RC.INITIALIZE):
                    break
        self.phase = phase_after(CMD.STOP, self.phase)

    def close(self) -> None:
        """End the run: power off, let go of the store; a later INIT begins anew."""
        try:
            self.power_off()
            self._durability.commit_deferred()
        finally:
            self._tpm, self._suspended, self._checkpoint = None, None, None
            self._given.clear()
            self._custody, self._begins = Custody(), False
            self._durability.end()
            self.locality, self.buffer_size = 0, None
            self.phase = Phase.BEFORE_INIT
            self._storage.close()

    def execute(self, request: bytes, locality: int | None = None) -> bytes:
        """The response to a command, after its changes are durable."""
        result = self.run(request, locality)
        return self.conclude(result) if result.changes else result.response

    def run(self, request: bytes, locality: int | None = None) -> Result:
        """Execute a command without making its changes durable: `conclude` must follow if there are some."""
        if self.phase is not RUNNING:
            return Result(refusal(), {})
        if self._allow_set_locality and code_of(request) == CC_SET_LOCALITY:
            return Result(self._set_locality(request), {})
        self._last_command = request
        self._is_suspended = False
        if self._storage.is_released:
            with suppress(DeviceError, NvstoreError):  # what the command changes is refused, then
                self.lock_storage()
        if self._begins:
            self._go_on()
        tpm, now = self._tpm, self._clock()
        if self._durability.alarm:
            self._durability.retry(now)
        self._checkpoint = tpm.checkpoint(request)
        begun = perf_counter()
        result: Result = tpm.execute(request, self.locality if locality is None else locality, now)
        self._pace.note(request, perf_counter() - begun)
        return result

    def _set_locality(self, request: bytes) -> bytes:
        """Swtpm's own command, by which a client without a control channel chooses its locality."""
        if len(request) <= HEADER.size:
            return refusal(TPM_RC.INSUFFICIENT)
        if request[HEADER.size] > MAX_LOCALITY:
            return refusal(TPM_RC.LOCALITY)
        self.locality = request[HEADER.size]
        return refusal(TPM_RC.SUCCESS)

    def conclude(self, result: Result) -> bytes:
        """
        Make the changes of a command durable and give its response.

        If they cannot be, the TPM goes back to what it was, and the response is TPM_RC_NV_UNAVAILABLE.
        What time has changed, what can be derived again, and the marks of a command that writes no NV,
        are no reason to refuse it; the count of a PIN Index is, which then stands.
        """
        durability = self._durability
        if durability.commit(result.changes):
            return result.response
        if is_derived(result.changes) or (self._checkpoint is None and are_marks(result.changes)):
            durability.defer(result.changes)
            return result.response
        if self._checkpoint is None:
            durability.defer(result.changes)
            return refusal(TPM_RC.NV_UNAVAILABLE)
        self._checkpoint.put_back()
        durability.defer(self._tpm.changes())
        return refusal(TPM_RC.NV_UNAVAILABLE)

    def keep(self) -> None:
        """Have a TPM that came with its run, which goes on here, belong to this host."""
        if self._tpm is not None and self._custody.holding is not Holding.HERE:
            self._go_on()

    def _go_on(self, *, at_once: bool = True) -> None:
        """Begin a stretch here: durable `at_once` if the store takes it, or with the next change."""
        self._begins = False
        before, self._custody = self._custody, self._custody.gone_on(self._storage.next_stretch)
        if self._custody == before:
            return
        if not self._durability.is_waiting(CUSTODY):
            self._stored_custody = before
        change = self._custody.blob()
        if not at_once or not self._durability.commit(change):
            self._durability.defer(change)

    def _custody_to_send(self) -> Custody:
        """Who has the TPM, as the store has it: no stretch that it may forget leaves this host."""
        self._durability.commit_deferred()
        return self._stored_custody if self._durability.is_waiting(CUSTODY) else self._custody

    def set_physical_presence(self, *, asserted: bool) -> None:
        """Assert or deassert physical presence."""
        if self._tpm is not None:
            self._tpm.physical_presence = asserted

    def is_costly(self, request: bytes) -> bool:
        """Will the command take long?"""
        return self.is_running and (self._pace.is_slow(request) or self._tpm.is_costly(request))

    def is_lengthy(self, request: bytes) -> bool:
        """Will the command, which is costly, take so long that other costly ones should not wait for it?"""
        return may_make_key(request)

    @property
    def established(self) -> bool:
        """The established bit."""
        return bool(self._tpm.established)

    def reset_established(self, locality: int) -> TPM_RESULT:
        """Clear the established bit."""
        if locality not in LAUNCH_LOCALITIES:
            return TPM_RESULT.BAD_LOCALITY
        self._tpm.established = False
        return TPM_RESULT.SUCCESS

    def hash_start(self) -> None:
        """_TPM_Hash_Start."""
        self._is_suspended = False
        if self._begins:
            self._go_on()
        self._tpm.hash_start()

    def hash_data(self, octets: bytes) -> None:
        """_TPM_Hash_Data."""
        self._tpm.hash_data(octets)

    def hash_end(self) -> TPM_RESULT:
        """_TPM_Hash_End."""
        self._tpm.hash_end()
        changes = self._tpm.changes()
        if self._durability.commit(changes):
            return TPM_RESULT.SUCCESS
        self._durability.defer(changes)
        return TPM_RESULT.FAIL

    @property
    def profile(self) -> Profile:
        """The TPM's profile; before the first INIT the one that a new TPM would have."""
        return self._profile if self._tpm is None else self._tpm.profile

    def maximum(self) -> int:
        """The largest buffer in octets that the TPM's profile allows."""
        return max(self.profile.max_command_size, self.profile.max_response_size)

    def set_buffer_size(self, size: int) -> int:
        """Set the largest command and response, within the limits; 0 changes nothing."""
        maximum = self.maximum()
        if size:
            self.buffer_size = max(MIN_BUFFER_SIZE, min(size, maximum))
        return self.buffer_size or maximum

    def state_blob(self, kind: PTM_BLOB_TYPE) -> bytes:
        """
        The state as a blob; empty for a kind that a TPM 2.0 does not have.

        The run may go on elsewhere, so that a loss of power before the next command is no shutdown here.
        """
        if kind is PTM_BLOB_TYPE.SAVESTATE:
            return b""
        self._suspend()
        custody = self._custody_to_send()
        self._begins = True
        return state_blob(self._tpm, kind, custody, self._suspended_at)

    def _suspend(self) -> None:
        """Note when the TPM was suspended, if it is not."""
        if not self._is_suspended:
            since = self._clock().milliseconds - self._tpm.clock.last
            self._is_suspended, self._suspended_at = True, self._calendar() - since

    def set_state_blob(self, kind: PTM_BLOB_TYPE, blob: bytes) -> None:
        """The state for the next INIT, which makes it durable; BlobError if it cannot be one."""
        self._given.put(kind, blob)

    def store_volatile(self) -> TPM_RESULT:
        """Make the volatile state durable; until the next command, a loss of power loses nothing."""
        self._suspend()
        blob = suspended_blob(self._tpm, self._suspended_at)
        if not self._durability.commit({**self._tpm.snapshot(), SUSPENDED: blob}):
            return TPM_RESULT.FAIL
        self._suspended, self._is_suspended = blob, True
        return TPM_RESULT.SUCCESS

    def lock_storage(self) -> None:
        """Open the store, which locks it; DeviceError if it cannot be, or is not what was released."""
        self._storage.lock()

    def release_storage(self) -> None:
        """Let another host have the store, if asked for, until a command or `lock_storage` takes it back."""
        self._storage.release(self._durability.commit_deferred)

    def rekey(self, *, deep: bool, provider: str | None) -> bool:
        """Write the stored state again under the current key of a provider; False if it is not open."""
        return self._storage.rekey(deep=deep, provider=provider)

    @property
    def open_state(self) -> str:
        """The UUID of the VM whose stored TPM is loaded; empty if none is."""
        return "" if self._tpm is None else self._storage.vm

    def copied(self) -> tuple[dict[str, bytes], int] | None:
        """The running TPM as blobs, and the milliseconds since its last command; None if it is off."""
        if not self.is_running:
            return None
        tpm = self._tpm
        return tpm.snapshot() | tpm.snapshot_volatile(), self._clock().milliseconds - tpm.clock.last

    def hand_over(self) -> Carried:
        """
        The TPM between two commands, its RAM included, for another process to go on with.

        DeviceError if what it has changed is not all in the store.
        """
        facts: dict[str, Any] = {
            "phase": self.phase.name,
            "locality": self.locality,
            "buffer_size": self.buffer_size,
            "last_command": self._last_command[: HEADER.size],
            "is_suspended": self._is_suspended,
            "suspended_at": self._suspended_at,
            "begins": self._begins,
            "given": self._given.blobs(),
            "given_by": self._given.ways(),
        }
        if self._tpm is not None:
            facts["tpm"] = self._settled()
        lent = self._storage.lend()
        return Carried({**facts, "stored": lent.facts}, lent.descriptors)

    def go_on(self, facts: Mapping[str, Any], store: Store | None) -> None:
        """Go on where `hand_over` was called, with the same store; DeviceError if that is not possible."""
        self.phase = Phase[facts["phase"]]
        self.locality, self.buffer_size = facts["locality"], facts["buffer_size"]
        self._last_command, self._is_suspended = facts["last_command"], facts["is_suspended"]
        self._suspended_at = facts.get("suspended_at", 0)
        self._begins = facts.get("begins", facts["is_suspended"])
        self._given.put_all(facts["given"], facts.get("given_by", {}))
        if store is None:
            return
        stored = self._storage.borrow(store, facts["stored"]["digest"])
        if "tpm" not in facts:
            return
        self._suspended = stored.pop(SUSPENDED, None)
        self._custody = self._stored_custody = Custody.taken_from(stored)
        try:
            self._tpm = awakened(self._loader, stored, facts["tpm"])
        except SavedStateError as error:
            raise DeviceError(f"{error}; use a version that reads what the running one writes") from None
        self._tpm.buffer_size = self.buffer_size
        self._durability.begin(self._tpm)
        self._durability.defer(self._tpm.changes())

    def take_over(self) -> None:
        """After `go_on`: the other process executes no more commands, and this one may."""
        self._storage.take_over()

    def _settled(self) -> dict[str, Any]:
        """The TPM's RAM, after all else is in the store."""
        tpm = self._tpm
        if not self._durability.settle(tpm.changes()):
            raise DeviceError(f"the store does not take changes: {self.alarm}; mend that first")
        return asleep(tpm)

    def change(self, alter: Callable[[Any], Any]) -> Any:
        """
        Make a change that is no command, and durable; what `alter` gives, or None if no TPM is loaded.

        DeviceError if the store does not take it; then nothing is changed, nor if `alter` raises.
        """
        tpm = self._tpm
        if tpm is None or self.has_failed:
            return None
        self._is_suspended = False
        if self._begins:
            self._go_on()
        checkpoint = Checkpoint(tpm)
        try:
            result = alter(tpm)
        except OperatorError:
            checkpoint.put_back()
            raise
        if not self._durability.commit(tpm.changes()):
            checkpoint.put_back()
            self._durability.defer(tpm.changes())
            raise DeviceError(f"the store does not take changes: {self._durability.alarm}; mend that first")
        return result

    def fail(self, reason: str) -> None:
        """Enter failure mode, until the next INIT goes back to what is durable."""
        if self._tpm is not None:
            self._tpm.fail(reason)

    def _load(self, *, delete_volatile: bool) -> None:
        """Bring the TPM up from blobs that were given, or else from the stored ones; durable on return."""
        self.lock_storage()
        store = self._storage.opened()
        here = self._storage.next_stretch
        loaded = self._loader.load(store.load(), self._given, here, delete_volatile=delete_volatile)
        if loaded.custody.holding is Holding.ARRIVED:
            self.form.arrived()
        if loaded.changes:
            store.commit(loaded.changes)
        self._tpm, self._suspended = loaded.tpm, loaded.suspended
        self._custody = self._stored_custody = loaded.custody
        self._is_suspended, self._begins = False, bool(self._given)
        self._given.clear()
        self._durability.begin(self._tpm)
        if not self._begins:
            self._go_on(at_once=False)
