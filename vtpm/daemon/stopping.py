"""
Whether the daemon ends when it is asked to: not without a word while guests run, which would lose their TPMs.

A signal is refused, and says so, unless the operator has decided otherwise or sends it again,
or the host goes down.
"""

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Final

log = logging.getLogger(__name__)

AGAIN: Final = (0.5, 10.0)
"""Seconds after a refused signal, from and to, in which another one counts: a sooner one is a repetition."""

SETTLES_WITHIN: Final = 0.2
"""Seconds in which the connections of a hypervisor that has ended are seen to have ended."""

SHOWN: Final = 12
"""How many guests a message names."""

MANAGER: Final = Path("/run/systemd/system")
"""It is there where systemd is the host's first process (sd_booted(3))."""

ANSWERS_WITHIN: Final = 5.0


class StopGuard:
    """
    Decides for a daemon; `guests` are the VMs whose guests would lose their TPM, `end` ends it.

    `is_admitted`: the operator has said at its start that it ends in any case.
    `clock` counts seconds; without one, the loop does.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        guests: Callable[[], Sequence[str]],
        end: Callable[[], None],
        *,
        run_dir: Path,
        is_admitted: bool,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._guests = guests
        self._end = end
        self._run_dir = run_dir
        self._is_admitted = is_admitted
        self._clock = clock or loop.time
        self._refused_at: float | None = None

    def signaled(self, number: int) -> None:
        """A signal asks to end."""
        now, guests = self._clock(), self._guests()
        since = None if self._refused_at is None else now - self._refused_at
        if not guests or self._is_admitted or (since is not None and AGAIN[0] <= since <= AGAIN[1]):
            self.end()
            return
        if since is not None and since < AGAIN[0]:
            return
        self._refused_at = now
        self._loop.call_later(SETTLES_WITHIN, self._refuse, number)

    async def settled(self) -> Sequence[str]:
        """The guests, once those that have just ended are gone."""
        if self._guests():
            await asyncio.sleep(SETTLES_WITHIN)
        return self._guests()

    def _refuse(self, number: int) -> None:
        guests = self._guests()
        if not guests:
            self.end()
            return
        log.error(
            "%s is refused: %s; to end it nevertheless, send the signal again within %g s, or run "
            "`vtpm --run-dir %s stop --stop-guests`",
            Signals(number).name,
            self.refusal(guests),
            AGAIN[1],
            self._run_dir,
        )
        if number == SIGTERM and MANAGER.is_dir():
            asked = self._loop.run_in_executor(self._executor, is_host_stopping)
            asked.add_done_callback(self._told)

    def refusal(self, guests: Sequence[str]) -> str:
        """Why the daemon does not end, and what to do instead."""
        return (
            f"guests run, and would get no answers from their TPMs until each is powered off and on: "
            f"{listed(guests)}; to change to another version, run `vtpm serve --replace`; otherwise shut "
            "the guests down first"
        )

    def end(self) -> None:
        """End the daemon, and name the guests that lose their TPMs with it."""
        guests = self._guests()
        if guests:
            log.error("the daemon ends; guests that run without their TPM now: %s", ", ".join(guests))
        self._end()

    def _told(self, asked: "asyncio.Future[bool]") -> None:
        if not asked.cancelled() and asked.exception() is None and asked.result():
            log.warning("the host goes down")
            self.end()


def listed(names: Sequence[str]) -> str:
    """Names, as many as can be read."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def is_host_stopping() -> bool:
    """Does systemd take the host down?"""
    program = shutil.which("systemctl")
    if program is None:
        return False
    try:
        told = subprocess.run(  # noqa: S603 - a program of the host's, and no word from outside
            [program, "is-system-running"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWERS_WITHIN,
            check=False,
            env={"PATH": os.defpath},
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() == b"stopping"
