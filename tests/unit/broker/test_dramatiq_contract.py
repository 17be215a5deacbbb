"""What ``worker/broker`` relies on in Dramatiq beyond its documentation, each by itself.

When one of these fails after an upgrade, the cure is in the module named in its docstring.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import dramatiq
import pytest
from dramatiq import Middleware
from dramatiq.common import iter_queue
from dramatiq.worker import Worker

from tests.unit.broker.fakes import QUEUE, FakeOrigin, NothingToTake, broker, message
from worker.broker.broker import PostmeterBroker, Source
from worker.broker.dispatch import LoopDispatcher
from worker.broker.intake import Intake
from worker.broker.launcher import WorkerProcess

if TYPE_CHECKING:
    from worker.broker.message import Taken


class Offers(NothingToTake):
    """A consumer with a few messages, which then ends or idles."""

    def __init__(self, *messages: Taken, error: BaseException | None = None) -> None:
        self.messages = list(messages)
        self.error = error
        self.acked: list[object] = []
        self.closed = 0

    def __next__(self) -> Any:
        """The next message, then the error, then nothing."""
        if self.messages:
            return self.messages.pop(0)
        if self.error is not None:
            raise self.error
        time.sleep(0.001)
        return None

    def ack(self, message: Any) -> None:
        """Note it."""
        self.acked.append(message.tag)

    def close(self) -> None:
        """Count."""
        self.closed += 1


class NotEvenAnException(BaseException):
    """Something that ``except Exception`` does not catch."""


class WorkQueue:
    """The least that stands in for ``Worker.work_queue``."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.got = threading.Event()

    def put(self, item: Any) -> None:
        """Note it."""
        self.items.append(item)
        self.got.set()

    def get_nowait(self) -> None:
        """Nothing waits.

        Raises:
            queue.Empty: always.
        """
        raise queue.Empty


async def _nothing(**_: Any) -> None:
    """Do nothing."""


def _worker(consumer: Offers) -> tuple[Worker, WorkQueue]:
    one = PostmeterBroker(
        {QUEUE: Source(prefetch=3, open=lambda _prefetch, _timeout: consumer)}, intake=Intake()
    )
    one.register(_nothing, actor_name="send", queue_name=QUEUE)
    worker = Worker(one, worker_threads=0, worker_timeout=10)
    work_queue = WorkQueue()
    worker.work_queue = cast("Any", work_queue)
    return worker, work_queue


def test_the_version_is_the_one_these_tests_were_written_for() -> None:
    """Everything below was read in 2.2.1; a newer one wants a look at its worker.py."""
    assert importlib.metadata.version("dramatiq") == "2.2.1"


def test_the_work_queue_can_be_replaced_before_the_start() -> None:
    """launcher.py: consumer threads put into whatever ``Worker.work_queue`` is when they start."""
    worker, work_queue = _worker(Offers(message(FakeOrigin(), tag=4)))
    worker.start()
    try:
        assert work_queue.got.wait(5.0)
    finally:
        worker.stop(timeout=5000)
    assert [item.message.tag for item in work_queue.items] == [4]
    assert worker.workers == []


def test_no_threads_mean_a_prefetch_of_zero() -> None:
    """broker.py: Dramatiq's own prefetch would be unlimited, so ours takes the source's."""
    given: list[tuple[int, int]] = []

    def open_consumer(prefetch: int, timeout_ms: int) -> NothingToTake:
        given.append((prefetch, timeout_ms))
        return NothingToTake()

    one = PostmeterBroker({QUEUE: Source(prefetch=3, open=open_consumer)}, intake=Intake())
    worker = Worker(one, worker_threads=0, worker_timeout=250)
    assert worker.queue_prefetch == 0
    one.consume(QUEUE, prefetch=worker.queue_prefetch, timeout=worker.worker_timeout)
    assert given == [(3, 250)]


def test_post_process_message_acks_on_the_current_consumer_with_hooks() -> None:
    """launcher.py: the ack goes through Dramatiq's hooks, in the thread that calls."""
    seen: list[str] = []

    class Acks(Middleware):
        def before_ack(self, broker: object, message: object) -> None:
            seen.append(f"before in {threading.current_thread().name}")

        def after_ack(self, broker: object, message: object) -> None:
            seen.append("after")

    consumer = Offers(message(FakeOrigin(), tag=9))
    worker, work_queue = _worker(consumer)
    worker.broker.add_middleware(Acks())
    worker.start()
    try:
        assert work_queue.got.wait(5.0)
        worker.consumers[QUEUE].post_process_message(work_queue.items[0].message)
    finally:
        worker.stop(timeout=5000)
    assert consumer.acked == [9]
    assert seen == [f"before in {threading.main_thread().name}", "after"]


def test_stopping_asks_the_work_queue_what_is_left_and_closes_the_consumers() -> None:
    """dispatch.py: ``get_nowait`` must raise Empty; launcher.py: consumers close at the end."""
    consumer = Offers()
    worker, _ = _worker(consumer)
    worker.start()
    worker.stop(timeout=5000)
    assert consumer.closed
    assert not worker.consumers[QUEUE].is_alive()

    async def drained() -> list[object]:
        dispatcher = LoopDispatcher(
            broker(),
            loop=asyncio.get_running_loop(),
            settle=lambda _: None,
            on_failure=lambda _message, _error: asyncio.sleep(0),
            on_ledger_unavailable=lambda _: None,
        )
        left: list[object] = list(cast("Any", iter_queue)(dispatcher))
        return left

    assert asyncio.run(drained()) == []


def test_a_consumer_that_raises_is_closed_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """consumer.py: the safety net under it, should it ever raise."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)
    made: list[Offers] = []
    again = threading.Event()

    def open_consumer(_prefetch: int, _timeout: int) -> Offers:
        made.append(Offers(error=None if made else RuntimeError("unexpected")))
        if len(made) == 2:
            again.set()
        return made[-1]

    one = PostmeterBroker({QUEUE: Source(prefetch=1, open=open_consumer)}, intake=Intake())
    one.register(_nothing, actor_name="send", queue_name=QUEUE)
    worker = Worker(one, worker_threads=0, worker_timeout=10)
    worker.start()
    try:
        assert again.wait(5.0)
    finally:
        worker.stop(timeout=5000)
    assert made[0].closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_consumer_thread_ends_the_process() -> None:
    """launcher.py: what even Dramatiq does not catch ends the thread, and with it the process."""

    async def scenario() -> int:
        consumer = Offers(error=NotEvenAnException())
        one = PostmeterBroker(
            {QUEUE: Source(prefetch=1, open=lambda _prefetch, _timeout: consumer)},
            intake=Intake(),
        )
        one.register(_nothing, actor_name="send", queue_name=QUEUE)
        process = WorkerProcess(
            one,
            on_failure=lambda _message, _error: asyncio.sleep(0),
            on_ledger_unavailable=lambda _: None,
            idle_timeout_ms=10,
        )
        return await asyncio.wait_for(process.run(), 10.0)

    assert asyncio.run(scenario()) == 1
