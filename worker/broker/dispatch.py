"""From Dramatiq's consumer threads straight to the event loop, without worker threads between.

Stands in for ``Worker.work_queue``. A worker thread per message would cost two hops between
threads; here the consumer's ``put`` schedules the actor's coroutine, and what is in flight is
bounded by what the sources hand out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from queue import Empty
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from worker.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dramatiq.broker import MessageProxy

    from worker.broker.broker import CoroutineActor, PostmeterBroker
    from worker.broker.message import Taken

    OnFailure = Callable[[Taken, Exception], Awaitable[None]]
    OnLedgerUnavailable = Callable[[LedgerUnavailable], None]

logger = logging.getLogger(__name__)


class WorkItem(Protocol):
    """What Dramatiq's consumer threads put: the message with its priority."""

    @property
    def message(self) -> MessageProxy:
        """The message to run."""


class LoopDispatcher:
    """Runs the actor of each message on the loop, then acknowledges.

    A message is acknowledged when its actor returned, or when ``on_failure`` has recorded what the
    actor raised. It stays unacknowledged, and comes again, when the ledger is away
    (``on_ledger_unavailable`` is told), when a middleware hook failed, when the failure could not
    be recorded, and when the run was cut short at shutdown.
    """

    def __init__(
        self,
        broker: PostmeterBroker,
        *,
        loop: asyncio.AbstractEventLoop,
        settle: Callable[[Taken], None],
        on_failure: OnFailure,
        on_ledger_unavailable: OnLedgerUnavailable,
    ) -> None:
        self._broker = broker
        self._loop = loop
        self._settle = settle
        self._on_failure = on_failure
        self._on_ledger_unavailable = on_ledger_unavailable
        self._arrived: deque[Taken] = deque()
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._hasten = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many messages are being worked on or about to be."""
        return len(self._tasks) + len(self._arrived)

    def put(self, item: WorkItem) -> None:
        """Schedule a message; called from consumer threads.

        What comes while the process drains is left unacknowledged.
        """
        message = cast("Taken", item.message)
        if self._broker.intake.draining:
            message.leave()
            return
        self._arrived.append(message)
        # One wake-up of the loop serves everything that arrives until it runs.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._start_arrived)

    def get_nowait(self) -> NoReturn:
        """Tell Dramatiq, which asks while it stops, that nothing waits here to be given back.

        Raises:
            queue.Empty: always.
        """
        raise Empty

    def hasten(self) -> None:
        """End ``drain`` now, as if its time had passed; on the loop."""
        self._hasten.set()

    async def drain(self, timeout_seconds: float) -> int:
        """Wait for what is in flight; after the time-out cancel it and wait for that too.

        Returns the number of messages that had to be cut short.
        """
        hastened = self._loop.create_task(self._hasten.wait())
        finished = self._loop.create_task(self._finished())
        await asyncio.wait(
            {hastened, finished}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        hastened.cancel()
        finished.cancel()
        cut = tuple(self._tasks)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return len(cut)

    async def _finished(self) -> None:
        while self.in_flight:
            # What arrived and has no task yet gets one in the loop's next round.
            await (asyncio.wait(self._tasks) if self._tasks else asyncio.sleep(0))

    def _start_arrived(self) -> None:
        self._scheduled = False
        while self._arrived:
            message = self._arrived.popleft()
            task = self._loop.create_task(self._run(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, message: Taken) -> None:
        """Run one message from its hooks to its acknowledgement; raises only cancellation."""
        if message.stale:
            return  # given back while it waited: another worker may have it already
        try:
            self._broker.emit_before("process_message", message)
        except Exception:
            logger.exception("a hook refused %s: it was not run and stays in its queue", message)
            message.leave()
            return
        error: BaseException | None = None
        try:
            actor = cast("CoroutineActor", self._broker.get_actor(message.actor_name))
            await actor.coroutine(**message.kwargs)
        except LedgerUnavailable as raised:
            error = raised
            self._leave_until_ledger_is_back(message, raised)
        except Exception as raised:  # noqa: BLE001 every failure is recorded, whatever it is
            error = raised
            await self._record(message, raised)
        except asyncio.CancelledError as raised:
            error = raised
            message.leave()
            raise
        else:
            self._settle(message)
        finally:
            self._broker.emit_after("process_message", message, exception=error)

    async def _record(self, message: Taken, error: Exception) -> None:
        """Let the failure be recorded, and acknowledge only then."""
        try:
            await self._on_failure(message, error)
        except LedgerUnavailable as raised:
            self._leave_until_ledger_is_back(message, raised)
        except Exception:
            logger.exception("the failure of %s could not be recorded: it comes again", message)
            message.leave()
        except asyncio.CancelledError:
            message.leave()
            raise
        else:
            self._settle(message)

    def _leave_until_ledger_is_back(self, message: Taken, error: LedgerUnavailable) -> None:
        message.leave()
        self._on_ledger_unavailable(error)
