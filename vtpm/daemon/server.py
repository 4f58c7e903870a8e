"""The daemon: all VMs of a host in one process, which is what `vtpm serve` runs."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvstore import Host, NvstoreError
from vtpm.daemon.admin import AdminServer, admin_path
from vtpm.daemon.alarm import Alarm
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.process import Process
from vtpm.daemon.sockets import Access, unlink_socket
from vtpm.daemon.supervisor import Supervisor


class Server:
    """A host's daemon."""

    def __init__(self, host: Host, run_dir: Path, access: Access, traces: Path | None = None) -> None:
        self._process = Process()
        self._run_dir = run_dir
        self._supervisor = Supervisor(self._process, host, run_dir, access, traces)
        self._alarm = Alarm(self._process.loop, self._process.executor, host)
        self._admin = AdminServer(
            {
                "status": self._status,
                "rescan": self._rescan,
                "release": self._release,
                "rekey": self._rekey,
                "view": self._supervisor.view,
                "change": self._supervisor.change,
                "expect": self._supervisor.expect,
                "withdraw": self._supervisor.withdraw,
                "custody": self._supervisor.custody,
            },
            (OperatorError, NvstoreError),
        )

    def run(self, admin: socket.socket, ready: Callable[[int], None]) -> None:
        """Serve until a signal ends it; `ready` is told how many VMs are served."""
        self._process.loop.run_until_complete(self._admin.start(admin))
        self._supervisor.rescan()

        def serving() -> None:
            self._process.loop.add_signal_handler(signal.SIGHUP, self._supervisor.rescan)
            self._alarm.look()
            ready(len(self._supervisor.status()))

        self._process.run(self._close, serving)

    async def _close(self) -> None:
        unlink_socket(admin_path(self._run_dir))
        self._alarm.close()
        await self._admin.close()
        await self._supervisor.close()

    async def _status(self) -> dict[str, Any]:
        return self._supervisor.status()

    async def _rescan(self) -> int:
        self._supervisor.rescan()
        return len(self._supervisor.status())

    async def _release(self, name: str) -> None:
        await self._supervisor.release(name)

    async def _rekey(self, name: str, *, deep: bool, provider: str | None) -> bool:
        return await self._supervisor.rekey(name, deep=deep, provider=provider)
