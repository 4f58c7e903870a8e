"""A TPM that serves local clients: what `vtpm simulator` runs as a process, and tests as a thread."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from nvstore import MemoryStore
from vtpm.control.mssim import PLATFORM_PORT, TPM_PORT
from vtpm.daemon.device.device import Device, command_of
from vtpm.daemon.directory import check_directory, opener
from vtpm.daemon.endpoint import Endpoint, Policy
from vtpm.daemon.lane import Lane
from vtpm.daemon.process import Process
from vtpm.daemon.simulator import DataPort, SimulatedMachine, SimulatorPort
from vtpm.daemon.tap import check_tap, device_for
from vtpm.spec.constants import TPM_CC, TPM_SU
from vtpm.state.profile import DEFAULT, Profile


class Ports:
    """The ports that lead to one TPM; `stop` is called when a client asks for the end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        device: Device,
        stop: Callable[[], None],
    ) -> None:
        self.device = device
        self.lane = Lane(loop, executor, device.fail)
        self._loop = loop
        self._stop = stop
        self._closers: list[Callable[[], None]] = []
        self._endpoint: Endpoint | None = None

    def serve_mssim(self, commands: socket.socket, platform: socket.socket) -> None:
        """Serve the TCG's protocol; the TPM has no power yet."""
        machine = SimulatedMachine(self.device, self.lane, self._stop)
        for listener, port in ((commands, TPM_PORT), (platform, PLATFORM_PORT)):
            self._closers.append(SimulatorPort(self._loop, listener, port, machine).close)

    def serve_swtpm(self, data: socket.socket, control: socket.socket, *, startup: bool = False) -> None:
        """Serve swtpm's protocol; the TPM has power, and is started if `startup`."""
        self._endpoint = Endpoint(
            self._loop,
            self.device,
            self.lane,
            control,
            policy=Policy(ends_with_control=False),
            others_wait=lambda: False,
            ended=self._control_ended,
        )
        self._closers.append(DataPort(self._loop, data, self._endpoint.serve_data).close)
        self.device.init()
        if startup:
            self.device.execute(command_of(TPM_CC.Startup, TPM_SU.CLEAR))

    async def close(self) -> None:
        """Serve nobody any more, and take the power away."""
        for close in self._closers:
            close()
        if self._endpoint is not None:
            await self._endpoint.close()
        await self.lane.idle()
        self.device.close()

    def _control_ended(self, shut_down: bool) -> None:  # noqa: FBT001 - a callback
        if shut_down:
            self._stop()


class Simulation(Ports):
    """One TPM, in memory or in a directory, of `profile` if it is new, and the process that serves it."""

    def __init__(
        self, state: Path | None = None, trace: Path | None = None, profile: Profile = DEFAULT
    ) -> None:
        self.process = Process(profile)
        if trace is not None:
            check_tap(trace)
        if state is not None:
            check_directory(state)
        memory = MemoryStore()
        open_store = opener(state) if state is not None else lambda: memory
        device = device_for(trace, "simulator", self.process.tpms, open_store, may_manufacture=True)
        super().__init__(self.process.loop, self.process.executor, device, self.process.stop)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until the process is told to stop; `ready` is called once commands are answered."""
        self.process.run(self.close, ready)
