"""The daemon's alarms: what must not be forgotten is logged when it starts, and again every 24 hours."""

import asyncio
import logging
from concurrent.futures import Executor
from typing import Final

from nvstore import Host, NvstoreError

log = logging.getLogger(__name__)

INTERVAL: Final = 3600.0
"""Seconds between two looks at what is due; when an alarm is due again, the host knows."""


class Alarm:
    """Looks after the backups of a host's key providers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, executor: Executor, host: Host) -> None:
        self._loop = loop
        self._executor = executor
        self._host = host
        self._next: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Log what is due now, and look again in an hour; no TPM waits for the locks of the providers."""
        self._executor.submit(self._raise)
        self._next = self._loop.call_later(INTERVAL, self.look)

    def _raise(self) -> None:
        try:
            for warning in self._host.providers.raise_alarms():
                log.warning("alarm: %s", warning)
        except (NvstoreError, OSError) as error:
            log.error("the backups of key providers cannot be looked after: %s", error)  # noqa: TRY400 - no defect

    def close(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
