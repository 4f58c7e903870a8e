"""The daemon: all VMs of a host in one process, which is what `vtpm serve` runs."""

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nvstore import Host, NvstoreError
from vtpm.daemon import nowait
from vtpm.daemon.admin import NAME, admin_path
from vtpm.daemon.admin_server import AdminServer
from vtpm.daemon.alarm import Alarm
from vtpm.daemon.carried import Carried
from vtpm.daemon.endpoint import passed_socket
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.peer import Peers
from vtpm.daemon.process import Process
from vtpm.daemon.replacement.messages import REQUEST, ReplacementError
from vtpm.daemon.replacement.predecessor import Predecessor
from vtpm.daemon.replacement.successor import Successor
from vtpm.daemon.sockets import Access, unlink_socket
from vtpm.daemon.stopping import StopGuard
from vtpm.daemon.supervisor import Supervisor, SupervisorError


class Server:
    """A host's daemon; `passed` are sockets by name that whoever started it listens at, and removes."""

    def __init__(
        self,
        host: Host,
        run_dir: Path,
        access: Access,
        traces: Path | None = None,
        passed: Mapping[str, socket.socket] | None = None,
        peers: Peers = Peers.AUTO,
        *,
        stop_guests: bool = False,
    ) -> None:
        self._process = Process()
        self._run_dir = run_dir
        vms = dict(passed or {})
        self._is_foreign = vms.pop(NAME, None) is not None
        self._supervisor = Supervisor(self._process, host, run_dir, access, traces, vms, peers)
        self._predecessor = Predecessor(
            self._process.loop, self._supervisor, lambda: self._admin, self._facts, self._process.stop
        )
        self._guard = StopGuard(
            self._process.loop,
            self._process.executor,
            self._supervisor.guests,
            self._process.stop,
            run_dir=run_dir,
            is_admitted=stop_guests,
        )
        self._alarm = Alarm(self._process.loop, self._process.executor, host)
        self._admin = AdminServer(
            self._process.loop,
            {
                "status": self._status,
                "rescan": self._rescan,
                "release": self._release,
                "rekey": self._rekey,
                "view": self._supervisor.view,
                "change": self._supervisor.change,
                "note": self._supervisor.note,
                "expect": self._supervisor.expect,
                "withdraw": self._supervisor.withdraw,
                "custody": self._supervisor.custody,
                "admit": self._supervisor.admit,
            },
            {REQUEST: self._predecessor.hand_over, "stop": self._stop},
            (OperatorError, NvstoreError),
        )

    def succeed(self, successor: Successor) -> socket.socket:
        """
        Take over from the daemon that runs; its own listening socket.

        An error says why that is not possible; that daemon goes on then, and this one must end.
        """
        self._supervisor.prove(successor.states)
        listener = None
        try:
            for carried in successor.begin():
                if "name" in carried.facts:
                    self._supervisor.go_on(carried)
                else:
                    listener = passed_socket(carried, "listener")
                    self._is_foreign = carried.facts["is_foreign"]
        except (KeyError, TypeError, ValueError):
            raise ReplacementError("what the daemon that runs handed over is not understood") from None
        self._process.hold_signals()
        successor.take()
        self._supervisor.take_over()
        assert listener is not None
        return listener

    def run(self, admin: socket.socket, ready: Callable[[int], None]) -> None:
        """Serve until a signal or another daemon ends it; `ready` is told how many VMs are served."""
        self._admin.start(admin)
        self._supervisor.rescan()

        def serving() -> None:
            self._process.loop.add_signal_handler(signal.SIGHUP, self._supervisor.rescan)
            self._alarm.look()
            self._supervisor.record.begin()
            ready(len(self._supervisor.status()))

        self._process.run(self._close, serving, self._guard.signaled)

    async def _close(self) -> None:
        await self._predecessor.end()
        self._alarm.close()
        if self._predecessor.is_replaced:  # the sockets, the TPMs and the record are the other one's
            await self._admin.close()
            return
        if not self._is_foreign:
            unlink_socket(admin_path(self._run_dir))
        await self._admin.close()
        await self._supervisor.close()

    def _facts(self) -> Carried:
        """What is left to hand over after the VMs."""
        return Carried({"is_foreign": self._is_foreign}, {"listener": self._admin.descriptor})

    async def _stop(self, sock: socket.socket, *, stop_guests: bool, process: int | None = None) -> None:
        """Answer a request to end, and do so; SupervisorError while guests run, unless that is meant."""
        guests = await self._guard.settled()
        is_meant = process in {None, os.getpid()}
        if self._predecessor.is_ongoing:
            raise SupervisorError("another daemon is about to take over from this one; try again after that")
        if is_meant and guests and not stop_guests:
            raise SupervisorError(
                f"the daemon goes on: {self._guard.refusal(guests)}; "
                "`vtpm stop --stop-guests` ends it in any case"
            )
        told = {"process": os.getpid(), "guests": guests, "ends": is_meant}
        line = json.dumps({"result": told}).encode() + b"\n"
        await nowait.send_later(self._process.loop, sock, line)
        if is_meant:
            self._guard.end()

    async def _status(self) -> dict[str, Any]:
        return self._supervisor.status()

    async def _rescan(self) -> int:
        self._supervisor.rescan()
        return len(self._supervisor.status())

    async def _release(self, name: str) -> None:
        await self._supervisor.release(name)

    async def _rekey(self, name: str, *, deep: bool, provider: str | None) -> bool:
        return await self._supervisor.rekey(name, deep=deep, provider=provider)
