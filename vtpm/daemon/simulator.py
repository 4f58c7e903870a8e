"""A simulator's sockets, for clients of the TPM software stack: the TCG's protocol and swtpm's over TCP."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from nvstore import NvstoreError
from vtpm.control.mssim import (
    ACKNOWLEDGE,
    HANDSHAKE,
    PLATFORM_PORT,
    REFUSE,
    SIM,
    Argument,
    ProtocolError,
    Signal,
    SimulatorConnection,
    Sizes,
    sized,
)
from vtpm.daemon import nowait
from vtpm.daemon.conversation import READ_SIZE, Conversation
from vtpm.daemon.device.device import MAX_LOCALITY, Device, refusal
from vtpm.daemon.errors import DeviceError
from vtpm.daemon.lane import Defect, Lane

log = logging.getLogger(__name__)

EXTENDED_LOCALITY: Final = 32
"""The first extended locality (Part 2, TPMA_LOCALITY)."""

IS_POWERLESS: Final = b""
"""The response to a command while the power is off."""


class SimulatorPort:
    """One of the simulator's two ports, and its clients."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        port: Mapping[SIM, Argument],
        machine: "SimulatedMachine",
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._port = port
        self._machine = machine
        self._clients: set[SimulatorClient] = set()
        loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Serve nobody any more."""
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for client in list(self._clients):
            client.close()

    def forget(self, client: "SimulatorClient") -> None:
        """A client has gone."""
        self._clients.discard(client)

    def _accept(self) -> None:
        try:
            sock = nowait.accept(self._listener)
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients.add(
            SimulatorClient(self._loop, sock, SimulatorConnection(self._port), self, self._machine)
        )


class SimulatorClient(Conversation):
    """One connection to a port of the simulator."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        connection: SimulatorConnection,
        port: SimulatorPort,
        machine: "SimulatedMachine",
    ) -> None:
        super().__init__(loop, sock, machine.lane, patience=0)
        self._connection = connection
        self._port = port
        self._machine = machine

    def receive(self) -> bytes:
        """Octets from the socket."""
        return nowait.receive(self._sock, READ_SIZE)

    def feed(self, octets: bytes) -> None:
        """Take octets that have come."""
        self._connection.feed(octets)

    def take(self) -> Signal | ProtocolError | None:
        """The next signal that has come whole, or what is wrong with it."""
        try:
            return self._connection.take()
        except ProtocolError as error:
            return error

    def give_up(self) -> list[Signal]:
        """Nothing: a signal may take as long as its client likes."""
        return []

    @property
    def has_octets(self) -> bool:
        """Have octets come that are in no signal yet?"""
        return self._connection.has_octets

    @property
    def is_waiting(self) -> bool:
        """Is the rest of a signal to come in time?"""
        return False

    def begin(self, signal: Signal | ProtocolError) -> None:
        """Carry a signal out."""
        if isinstance(signal, ProtocolError):
            log.warning("a client of the simulator was disconnected: %s", signal)
            self.answer(REFUSE if self._connection.port is PLATFORM_PORT else b"")
            self.close()
            return
        if signal.code is SIM.SESSION_END:
            self.close()
            return
        if signal.code is SIM.STOP:
            self.close()
            self._machine.stop()
            return
        work = partial(self._machine.answer, signal)
        if signal.code is SIM.SEND_COMMAND and self._machine.device.is_costly(signal.data):
            self._lane.compute(work, self._reply, is_lengthy=self._machine.device.is_lengthy(signal.data))
        else:
            self._lane.run(work, self._reply, on_thread=False)

    def ended(self) -> None:
        """The connection is over."""
        self._sock.close()
        self._port.forget(self)

    def _reply(self, answer: bytes | Defect) -> None:
        self.answer(sized(refusal()) + ACKNOWLEDGE if isinstance(answer, Defect) else answer)


class SimulatedMachine:
    """The machine around the simulator's TPM: its power, its buttons and its bus."""

    def __init__(self, device: Device, lane: Lane, stop: Callable[[], Any]) -> None:
        self.device = device
        self.lane = lane
        self.stop = stop
        self._sizes = Sizes()

    def answer(self, signal: Signal) -> bytes:
        """Carry a signal out; the octets of its answer."""
        device, code = self.device, signal.code
        match code:
            case SIM.SEND_COMMAND:
                return sized(self._execute(signal)) + ACKNOWLEDGE
            case SIM.REMOTE_HANDSHAKE:
                return HANDSHAKE + ACKNOWLEDGE
            case SIM.GET_COMMAND_RESPONSE_SIZES:
                return self._sizes.take() + ACKNOWLEDGE
            case SIM.ACT_GET_SIGNALED:
                return bytes(4) + ACKNOWLEDGE  # a TPM without authenticated countdown timers
            case SIM.SIGNAL_POWER_ON | SIM.SIGNAL_RESET | SIM.SIGNAL_RESTART:
                self._power_on(again=code is not SIM.SIGNAL_POWER_ON)
            case SIM.SIGNAL_POWER_OFF:
                device.power_off(orderly=False)
            case SIM.SIGNAL_PHYS_PRES_ON | SIM.SIGNAL_PHYS_PRES_OFF:
                device.set_physical_presence(asserted=code is SIM.SIGNAL_PHYS_PRES_ON)
            case SIM.TEST_FAILURE_MODE:
                device.fail("the simulator's test of failure mode")
            case SIM.SIGNAL_HASH_START | SIM.SIGNAL_HASH_DATA | SIM.SIGNAL_HASH_END if device.is_running:
                self._hash(signal)
            case _:
                pass  # NV is always there, no keys are cached, commands are not canceled, no power to hash
        return ACKNOWLEDGE

    def _execute(self, signal: Signal) -> bytes:
        if not self.device.is_running:
            return IS_POWERLESS
        locality = signal.number
        if MAX_LOCALITY < locality < EXTENDED_LOCALITY:
            locality = 0
        response = self.device.execute(signal.data, locality)
        self._sizes.note(signal.data, response)
        return response

    def _power_on(self, *, again: bool) -> None:
        if self.device.is_running:
            if not again:
                return
            self.device.power_off(orderly=False)
        try:
            self.device.init()
        except (DeviceError, NvstoreError) as error:
            log.error("the TPM cannot be powered on: %s", error)  # noqa: TRY400 - the operator's to mend

    def _hash(self, signal: Signal) -> None:
        match signal.code:
            case SIM.SIGNAL_HASH_START:
                self.device.hash_start()
            case SIM.SIGNAL_HASH_DATA:
                self.device.hash_data(signal.data)
            case _:
                self.device.hash_end()


class DataPort:
    """swtpm's data port over TCP or a path: a client at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        serve: Callable[[socket.socket, Callable[[], None]], bool],
        disconnected: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._serve = serve
        self._disconnected = disconnected
        self._is_closed = False
        self._listen()

    def close(self) -> None:
        """Accept nobody any more."""
        self._is_closed = True
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock = nowait.accept(self._listener)
        except OSError:
            return
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._serve(sock, self._gone):
            self._loop.remove_reader(self._listener.fileno())
        else:
            sock.close()

    def _gone(self) -> None:
        self._listen()
        self._disconnected()
