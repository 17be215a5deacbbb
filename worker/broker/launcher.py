"""One worker process: Dramatiq's consumers around one event loop, from start to drained.

Touches Dramatiq where it is semi-private; ``tests/unit/broker/test_dramatiq_contract.py`` holds
each place, and requirements.txt pins the version.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any, cast

from dramatiq.worker import Worker

from worker.broker.dispatch import LoopDispatcher
from worker.supervisor import HASTEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.broker.broker import PostmeterBroker
    from worker.broker.dispatch import OnFailure, OnLedgerUnavailable
    from worker.broker.message import Taken

logger = logging.getLogger(__name__)

IDLE_TIMEOUT_MS = 500
WATCH_SECONDS = 0.5
#: For each of Dramatiq's two steps; both together stay below the supervisor's margin.
CLOSE_SECONDS = 2.0


class WorkerProcess:
    """Starts the consumers, watches them, and drains when asked to stop.

    Made and used on a running event loop. The order at the end: nothing new is taken, what is in
    flight is finished within the grace, then consumers send their last acknowledgements and close.
    """

    def __init__(
        self,
        broker: PostmeterBroker,
        *,
        on_failure: OnFailure,
        on_ledger_unavailable: OnLedgerUnavailable,
        grace_seconds: float = 30.0,
        idle_timeout_ms: int = IDLE_TIMEOUT_MS,
    ) -> None:
        self._broker = broker
        self._grace_seconds = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._stop_asked = asyncio.Event()
        self._worker = Worker(broker, worker_threads=0, worker_timeout=idle_timeout_ms)
        self.dispatcher = LoopDispatcher(
            broker,
            loop=self._loop,
            settle=self._settle,
            on_failure=on_failure,
            on_ledger_unavailable=on_ledger_unavailable,
        )
        self._worker.work_queue = cast("Any", self.dispatcher)

    async def run(self) -> int:
        """Work until asked to stop; 0 when everything ended well, 1 when a consumer died.

        A consumer thread that dies would leave its queue unread for ever, so the process ends and
        its supervisor starts another.
        """
        self.start()
        asked = self._loop.create_task(self._stop_asked.wait())
        died: tuple[str, ...] = ()
        while not asked.done() and not died:
            await asyncio.wait({asked}, timeout=WATCH_SECONDS)
            died = self.dead_consumers()
        asked.cancel()
        if died:
            logger.error("the consumer of %s died; this process ends", ", ".join(died))
        drained = await self.drain()
        return 0 if drained and not died else 1

    def start(self) -> None:
        """Start one consumer thread for each queue that has an actor."""
        self._broker.emit_after("process_boot")
        self._worker.start()

    def stop(self) -> None:
        """Ask ``run`` to drain and end; safe to call twice."""
        self._stop_asked.set()

    def hasten(self) -> None:
        """Ask ``run`` to end and cut short what is in flight."""
        self.stop()
        self.dispatcher.hasten()

    def dead_consumers(self) -> tuple[str, ...]:
        """The queues whose consumer thread has ended although nobody asked it to."""
        return tuple(
            name for name, thread in self._worker.consumers.items() if not thread.is_alive()
        )

    async def drain(self) -> bool:
        """Take nothing new, finish what is in flight, close; whether all of it went well."""
        self._broker.intake.drain()
        cut = await self.dispatcher.drain(self._grace_seconds)
        if cut:
            logger.warning("%d jobs were cut short: they did not end in time", cut)
        return await self._close_consumers()

    async def _close_consumers(self) -> bool:
        """Stop Dramatiq's threads; a connection that hangs is left to the end of the process."""
        closed = asyncio.Event()

        def stop() -> None:
            try:
                self._worker.stop(timeout=int(CLOSE_SECONDS * 1000))
            finally:
                self._loop.call_soon_threadsafe(closed.set)

        # Not the loop's executor: its threads are waited for, however long a connection hangs.
        threading.Thread(target=stop, name="close-consumers", daemon=True).start()
        try:
            await asyncio.wait_for(closed.wait(), 2 * CLOSE_SECONDS)
        except TimeoutError:
            logger.warning("a consumer did not close in %g s", 2 * CLOSE_SECONDS)
            return False
        return True

    def _settle(self, message: Taken) -> None:
        """Acknowledge through Dramatiq, so that its ``before_ack`` and ``after_ack`` hooks run."""
        self._worker.consumers[message.queue_name].post_process_message(message)


@contextlib.contextmanager
def signals(process: WorkerProcess) -> Iterator[None]:
    """Let SIGTERM stop the process, and ``HASTEN`` cut short what is in flight.

    SIGINT stops too, unless a supervisor had it ignored: a terminal sends it to every process, and
    the supervisor passes it on. On the main thread only.
    """
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: process.stop, HASTEN: process.hasten}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        handlers[signal.SIGINT] = process.stop
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
        # Its default would kill a process that is on its way out.
        signal.signal(HASTEN, signal.SIG_IGN)
