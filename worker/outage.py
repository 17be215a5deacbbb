"""The ledger is away: nothing is taken in and nothing begins until it can be written again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.telemetry.logs import Logger

TRY_AGAIN_SECONDS = 0.5


class Outage:
    """Suspends the worker while the ledger is away, and resumes it by itself.

    Args:
        suspend: stop taking jobs, with the reason; called on the loop.
        resume: take jobs again; called on the loop.
        attempt: a write that shows whether the ledger is back; raises LedgerUnavailable.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        suspend: Callable[[str], None],
        resume: Callable[[], None],
        attempt: Callable[[], Awaitable[None]],
        log: Logger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._loop = loop
        self._suspend = suspend
        self._resume = resume
        self._attempt = attempt
        self._log = log
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self.reason = ""

    def begin(self, error: LedgerUnavailable) -> None:
        """Say that the ledger did not answer; from any thread, as often as it is noticed."""
        self._loop.call_soon_threadsafe(self._start, str(error))

    def _start(self, reason: str) -> None:
        if self._task is not None:
            return
        self.reason = reason
        self._log.error("the ledger is away: nothing is taken in or sent", reason=reason)
        self._suspend(reason)
        self._task = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while True:
            await self._sleep(TRY_AGAIN_SECONDS)
            try:
                await self._attempt()
            except LedgerUnavailable:
                continue
            except Exception:  # noqa: BLE001 - a wait that ended here would suspend it for good
                self._log.exception("the ledger cannot be tried")
                continue
            break
        self._task = None
        self.reason = ""
        self._log.info("the ledger is back: work goes on")
        self._resume()
