"""
Many VMs in one process: a socket each, made when the state appears and removed when it goes.

A VM's state is opened at its first INIT: a state that cannot be opened stops its own VM and no other.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from nvstore import FileStore, Host, NameDiffers, NvstoreError, UnknownState
from vtpm.daemon.carried import Carried
from vtpm.daemon.device.changes import alteration
from vtpm.daemon.device.views import copy_of, shown
from vtpm.daemon.endpoint import Endpoint, passed_socket
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.guests import GuestRecord
from vtpm.daemon.handover import HostGate, ProviderForm, admit, change_custody, expect, is_expected
from vtpm.daemon.lane import DEFECT, Lane, complete, refuse
from vtpm.daemon.noting import changed
from vtpm.daemon.peer import Gate, Peers
from vtpm.daemon.process import Process
from vtpm.daemon.sockets import Access, SocketError, listen_unix, socket_path, unlink_socket
from vtpm.daemon.tap import device_for

log = logging.getLogger(__name__)

ENDS_WITHIN: Final = 5.0
"""Seconds in which a hypervisor that was killed has closed its connection."""

LOOKED_AGAIN: Final = 0.02


class SupervisorError(OperatorError):
    """The daemon refuses a request; the text gives cause and remedy."""


class Supervisor:
    """The endpoints of all VMs of a host; `passed` are sockets of VMs that whoever started this has made."""

    def __init__(
        self,
        process: Process,
        host: Host,
        run_dir: Path,
        access: Access,
        traces: Path | None = None,
        passed: Mapping[str, socket.socket] | None = None,
        peers: Peers = Peers.AUTO,
    ) -> None:
        self.record = GuestRecord(run_dir)
        self._process = process
        self._host = host
        self._run_dir = run_dir
        self._access = access
        self._traces = traces
        self._peers = peers
        self._passed = dict(passed or {})
        self._endpoints: dict[str, Endpoint] = {}
        self._vms: dict[str, UUID] = {}
        """Whose state each socket is of, by the names in the index."""
        self._foreign: set[str] = set()
        """The VMs whose sockets somebody else has made, and removes."""
        self._broken: set[str] = set()
        self._forgetting: set[asyncio.Task[None]] = set()
        self._is_paused = False

    def rescan(self) -> None:
        """Serve the VMs that have come, and forget those that have gone and are not in use."""
        if self._is_paused:  # whoever goes on will do it
            return
        present = self._host.uuids()
        for name in sorted(present.keys() - self._endpoints.keys()):
            self._serve(name)
        for name, endpoint in list(self._endpoints.items()):
            if self._vms.get(name) == present.get(name) or endpoint.device.is_running:
                continue
            is_another = name in present  # the index of this host had the name at another VM
            if is_another or not endpoint.is_in_use:
                task = self._process.loop.create_task(self._forget_and_follow(name, follow=is_another))
                self._forgetting.add(task)
                task.add_done_callback(self._forgetting.discard)

    async def _forget_and_follow(self, name: str, *, follow: bool) -> None:
        """Forget what is served under a name, and serve it again where another VM has the name."""
        await self._forget(name)
        if follow:
            self.rescan()

    def status(self) -> dict[str, dict[str, Any]]:
        """What the VMs do, by name."""
        return {
            name: {
                "socket": str(socket_path(self._run_dir, name)),
                "connected": endpoint.is_in_use,
                "process": self.record.process_of(name),
                "running": endpoint.device.is_running,
                "failed": endpoint.device.has_failed,
                "alarm": endpoint.device.alarm,
            }
            for name, endpoint in self._endpoints.items()
        }

    def guests(self) -> list[str]:
        """The VMs whose guests would lose their TPM with this process."""
        return sorted(name for name, endpoint in self._endpoints.items() if endpoint.has_guest)

    async def release(self, name: str) -> None:
        """Stop serving a VM, so that its state can be deleted; refused while a hypervisor is connected."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return
        if endpoint.is_in_use:
            raise SupervisorError(f"the VM {name} is in use; power it off first")
        await self._forget(name)

    async def rekey(self, name: str, *, deep: bool, provider: str | None) -> bool:
        """Rekey the state that a VM has open, between two of its commands; False if it has none open."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return False
        work = partial(endpoint.device.rekey, deep=deep, provider=provider)
        return await self._between_commands(endpoint, work) is True

    async def note(self, name: str, what: str, value: str) -> bool:
        """Change what is noted of a VM whose state is open here; False if it has none open."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return False
        return await self._between_commands(endpoint, partial(changed, self._host, name, what, value)) is True

    async def change(self, name: str, change: str, **arguments: Any) -> Any:
        """Make an operator's change to a TPM; what it gives, or None if the VM has none loaded here."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return None
        alter = alteration(change, **arguments)
        return await self._between_commands(endpoint, partial(endpoint.device.change, alter))

    async def expect(self, vm: str, name: str, **offered: Any) -> str:
        """Prepare for the TPM of a VM that comes with its run; where its socket is."""
        work = partial(expect, self._host, UUID(vm), name, **offered)
        await self._process.loop.run_in_executor(self._process.executor, work)
        self.rescan()
        return str(socket_path(self._run_dir, name))

    async def withdraw(self, name: str) -> bool:
        """Forget a TPM that was expected and has not come; was it so?"""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return False
        await self._end_of_use(name, endpoint)
        if not await self._between_commands(endpoint, partial(is_expected, self._host, name)):
            return False
        await self._forget(name)
        self._host.delete_state(name)
        return True

    async def custody(self, name: str, change: str, reason: str | None = None) -> bool:
        """Say who has the TPM of a VM, which nobody uses unless it is to be kept; False if it is not here."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return False
        if change == "keep" and endpoint.is_in_use:
            await self._between_commands(endpoint, endpoint.device.keep)
            return True
        await self._end_of_use(name, endpoint)
        await self._between_commands(endpoint, partial(change_custody, self._host, name, change, reason))
        return True

    async def admit(self, name: str, reason: str, **admitted: Any) -> bool:
        """Admit one arrival that would be refused, of a VM that nobody uses; False if it is not here."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return False
        await self._end_of_use(name, endpoint)
        await self._between_commands(endpoint, partial(admit, self._host, name, reason=reason, **admitted))
        return True

    async def _end_of_use(self, name: str, endpoint: Endpoint) -> None:
        """Wait for the end of a hypervisor that is known to have ended; SupervisorError if it has not."""
        deadline = self._process.loop.time() + ENDS_WITHIN
        while endpoint.is_in_use:
            if self._process.loop.time() > deadline:
                raise SupervisorError(f"the VM {name} is in use; power it off first")
            await asyncio.sleep(LOOKED_AGAIN)

    async def view(self, name: str, view: str) -> Any:
        """What a view shows of a running TPM; None if the VM is not running here."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return None
        copied = await self._at_rest(endpoint)
        if copied is None:
            return None
        look = partial(shown, view, *copied, restore=self._process.tpms.restore)
        return await self._process.loop.run_in_executor(self._process.executor, look)

    async def _between_commands(self, endpoint: Endpoint, work: Callable[[], Any]) -> Any:
        """The result of a change of the state that is no command, or what it raises for the operator."""
        ended = self._process.loop.create_future()

        def attempt() -> Any:
            try:
                return work()
            except (NvstoreError, OperatorError) as error:
                return error

        endpoint.lane.enter(partial(endpoint.lane.run, attempt, partial(complete, ended), on_thread=True))
        result = await ended
        if isinstance(result, (NvstoreError, OperatorError)):
            raise result
        if result is DEFECT:
            raise SupervisorError("this met a defect of the daemon, and may not be done; look into its log")
        return result

    async def _at_rest(self, endpoint: Endpoint) -> tuple[dict[str, bytes], int] | None:
        """A copy of a running TPM, taken between two commands; what goes wrong is nothing to the TPM."""
        copied: asyncio.Future[tuple[dict[str, bytes], int] | None] = self._process.loop.create_future()

        def step() -> None:
            try:
                complete(copied, endpoint.device.copied())
            except Exception as error:  # noqa: BLE001 - raised again below, where no TPM fails by it
                refuse(copied, error)

        endpoint.lane.enter(step)
        return await copied

    def open_states(self) -> list[str]:
        """The UUIDs of the states whose TPMs are loaded."""
        states = [endpoint.device.open_state for endpoint in self._endpoints.values()]
        return [state for state in states if state]

    async def pause(self) -> None:
        """
        Begin nothing for any VM, and wait for the commands under way; VMs whose TPM works wait first.

        What was read and not begun goes on with `proceed`, or with the process that takes over.
        May be canceled at any moment; `proceed` must follow then.
        """
        self.rescan()
        self._is_paused = True
        if self._forgetting:
            await asyncio.wait(self._forgetting)
        serving = set(self._endpoints.values())
        while working := {endpoint for endpoint in serving if endpoint.lane.is_busy}:
            for endpoint in working:
                endpoint.pause()
            for endpoint in working:
                await endpoint.lane.idle()
            serving -= working
        for endpoint in serving:
            endpoint.pause()

    def proceed(self) -> None:
        """Go on after `pause`, or after as much of it as there was."""
        self._is_paused = False
        for endpoint in self._endpoints.values():
            endpoint.proceed()

    def hand_over(self) -> list[Carried]:
        """What each VM has, while all is paused; SupervisorError if one cannot be handed over."""
        return [self._carried(name, endpoint) for name, endpoint in self._endpoints.items()]

    def prove(self, states: list[str]) -> None:
        """Open copies of states that another process has open; an error says why that cannot be."""
        for state in states:
            copy_of(self._host.read_state(state), None, self._process.tpms.restore)

    def go_on(self, carried: Carried) -> None:
        """Go on with a VM, paused, where another process has handed it over."""
        self._is_paused = True
        facts = carried.facts
        name = facts["name"]
        lock = carried.descriptors.get("lock")
        vm = name if lock is None else facts["device"]["stored"]["vm"]  # its name may have changed since
        endpoint = self._endpoint(name, passed_socket(carried, "listener"), self._host.show_state(vm).vm)
        endpoint.pause()
        endpoint.go_on(carried, None if lock is None else self._host.open_state(vm, lock=lock))
        if facts["is_foreign"]:
            self._foreign.add(name)

    def take_over(self) -> None:
        """Serve what was handed over, which the other process does no more."""
        for endpoint in self._endpoints.values():
            endpoint.device.take_over()
        self.proceed()

    def _carried(self, name: str, endpoint: Endpoint) -> Carried:
        try:
            carried = endpoint.hand_over()
        except OperatorError as error:
            raise SupervisorError(f"the VM {name} cannot be handed over: {error}") from None
        facts = {"name": name, "is_foreign": name in self._foreign, **carried.facts}
        return Carried(facts, carried.descriptors)

    async def close(self) -> None:
        """End every VM's run; what is noted of the guests that have a TPM stays."""
        self.record.end()
        for name in list(self._endpoints):
            await self._forget(name)

    def _serve(self, name: str) -> None:
        try:
            listener = self._listener(name)
        except SocketError as error:
            if name not in self._broken:
                log.error("%s is not served: %s", name, error)  # noqa: TRY400 - the operator's to mend
            self._broken.add(name)
            return
        self._broken.discard(name)
        self._endpoint(name, listener, self._host.show_state(name).vm)
        log.info("%s is served at %s", name, socket_path(self._run_dir, name))

    def _listener(self, name: str) -> socket.socket:
        passed = self._passed.pop(name, None)
        if passed is None:
            return listen_unix(socket_path(self._run_dir, name), self._access)
        self._foreign.add(name)
        return passed

    def _open(self, name: str, vm: UUID) -> FileStore:
        """
        Open the state that a socket is of; SupervisorError if its name is another VM's.

        The index of this host was wrong then, and is right by now: the sockets follow.
        """
        try:
            store = self._host.open_state(name)
        except (NameDiffers, UnknownState):
            self._process.loop.call_soon_threadsafe(self.rescan)
            raise
        if store.vm != vm:
            store.close()
            self._process.loop.call_soon_threadsafe(self.rescan)
            raise SupervisorError(f"the VM {name} is not {vm}, whose socket this was; connect again")
        return store

    def _endpoint(self, name: str, listener: socket.socket, vm: UUID) -> Endpoint:
        trace = None if self._traces is None else self._traces / f"{name}.pcapng"
        self._vms[name] = vm
        open_store = partial(self._open, name, vm)
        device = device_for(
            trace,
            name,
            self._process.tpms,
            open_store,
            is_encrypted=True,
            form=ProviderForm(self._host, vm),
            gate=HostGate(self._host, vm),
        )
        lane = Lane(self._process.loop, self._process.executor, device.fail, self._process.computers)
        endpoint = Endpoint(
            self._process.loop,
            device,
            lane,
            listener,
            gate=Gate(name, vm, self._peers, self._process.loop.time),
            others_wait=self._others_wait(name),
            ended=lambda _: self.record.went(name),
            begun=partial(self.record.came, name),
        )
        self._endpoints[name] = endpoint
        return endpoint

    def _others_wait(self, name: str) -> Callable[[], bool]:
        """Does another VM run, which a commit of this one would delay?"""

        def others_wait() -> bool:
            return any(endpoint.is_in_use for other, endpoint in self._endpoints.items() if other != name)

        return others_wait

    async def _forget(self, name: str) -> None:
        endpoint = self._endpoints.pop(name, None)
        if endpoint is None:
            return
        if name not in self._foreign:
            unlink_socket(socket_path(self._run_dir, name))
        self._foreign.discard(name)
        try:
            await endpoint.close()
        except (NvstoreError, OSError):
            log.exception("%s: its run did not end well", name)
