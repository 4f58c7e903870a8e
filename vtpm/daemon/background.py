"""A TPM at ports of this machine, served by a thread of this process: no other program, and a clean end."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

from nvstore import MemoryStore
from vtpm.daemon.clock import Entropy
from vtpm.daemon.device.device import Device
from vtpm.daemon.simulation import Ports
from vtpm.daemon.sockets import listen_tcp_pair, port_of
from vtpm.engine.tpm import Tpm
from vtpm.state.profile import DEFAULT, Profile


class Model:
    """How TPMs of one profile come to be."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def manufacture(self, *, entropy: Entropy) -> Tpm:
        """A new TPM."""
        return Tpm.manufacture(entropy, self.profile)

    def restore(self, blobs: Mapping[str, bytes], entropy: Entropy) -> Tpm:
        """A TPM from its durable blobs."""
        return Tpm.restore(blobs, entropy)


class Background:
    """
    A context in which one TPM is served at four ports, the simulator's pair and swtpm's.

    The TPM has power, and has executed TPM2_Startup(CLEAR) if `startup`; its state is in memory.
    It is the one of these blobs, or a new one if there are none.
    """

    mssim_port: int
    swtpm_port: int

    def __init__(
        self,
        random: Entropy,
        *,
        profile: Profile = DEFAULT,
        startup: bool = True,
        blobs: Mapping[str, bytes] | None = None,
    ) -> None:
        store = MemoryStore(blobs or {})
        self.device = Device("background", Model(profile), lambda: store, may_manufacture=True, random=random)
        self._startup = startup
        self._thread = threading.Thread(target=self._run, name="tpm-server")
        self._ready = threading.Event()
        self._listeners: list[tuple[socket.socket, socket.socket]] = []
        self._end: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        self._listeners = [listen_tcp_pair(0), listen_tcp_pair(0)]
        self.mssim_port, self.swtpm_port = [port_of(first) for first, _ in self._listeners]
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # a client may have ended the loop already
            self._end()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="tpm") as executor:
            asyncio.run(self._serve(executor))

    async def _serve(self, executor: ThreadPoolExecutor) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._end = partial(loop.call_soon_threadsafe, stopping.set)
        ports = Ports(loop, executor, self.device, stopping.set)
        try:
            ports.serve_mssim(*self._listeners[0])
            ports.serve_swtpm(*self._listeners[1], startup=self._startup)
        finally:
            self._ready.set()
        await stopping.wait()
        await ports.close()
