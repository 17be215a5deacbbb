"""The embedded inbox as a source: the same worker, the same promises, no RabbitMQ."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from producers.inbox import Inbox
from tests.integration.broker.harness import Bench, Ran, started, until
from worker.broker.broker import PostmeterBroker
from worker.broker.intake import Intake
from worker.broker.sources import inbox_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.integration.broker.harness import Run

QUEUE = "postmeter.send"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    """An empty inbox."""
    inbox = Inbox(tmp_path / "inbox.db")
    yield inbox
    inbox.close()


@contextlib.asynccontextmanager
async def _worker(
    inbox: Inbox,
    run: Run | None = None,
    *,
    prefetch: int = 20,
    idle_timeout_ms: int = 200,
) -> AsyncIterator[Bench]:
    intake = Intake()
    source = inbox_source(inbox, QUEUE, actor_name="send", prefetch=prefetch, intake=intake)
    broker = PostmeterBroker({QUEUE: source}, intake=intake)
    async with started(
        broker, {"send": QUEUE}, Ran(), run, idle_timeout_ms=idle_timeout_ms
    ) as bench:
        yield bench


def test_every_message_runs_once_and_the_inbox_empties(inbox: Inbox) -> None:
    """A backlog larger than the prefetch runs in order and is deleted."""
    bodies = [b"%d" % number for number in range(500)]
    inbox.put(QUEUE, bodies)

    async def scenario() -> None:
        async with _worker(inbox) as bench:
            await until(lambda: len(bench.ran.envelopes) == 500)
        assert bench.ran.envelopes == bodies
        assert not bench.ran.redelivered

    asyncio.run(scenario())
    assert inbox.depth(QUEUE) == inbox.depth(QUEUE, taken=True) == 0


def test_an_idle_worker_runs_a_new_message_at_once(inbox: Inbox) -> None:
    """Storing wakes the consumer: a single send does not wait for the next look, minutes away."""

    async def scenario() -> None:
        async with _worker(inbox, idle_timeout_ms=120_000) as bench:
            await until(lambda: not bench.broker.disconnected())
            await asyncio.sleep(0.1)
            inbox.put(QUEUE, [b"now"])
            await until(lambda: bench.ran.envelopes == [b"now"])
            await until(lambda: inbox.depth(QUEUE, taken=True) == 0)

    asyncio.run(scenario())


def test_suspended_everything_goes_back_to_its_place(inbox: Inbox) -> None:
    """Late acknowledgements are dropped, and the same messages come first when it resumes."""
    bodies = [b"%d" % number for number in range(30)]
    inbox.put(QUEUE, bodies)

    async def scenario() -> None:
        back = asyncio.Event()

        async def wait(_envelope: bytes, _redelivered: bool) -> None:
            await back.wait()

        async with _worker(inbox, wait, prefetch=10) as bench:
            await until(lambda: len(bench.ran.envelopes) == 10)
            bench.intake.suspend("the ledger is away")
            await until(lambda: inbox.depth(QUEUE) == 30)
            back.set()
            await until(lambda: bench.process.dispatcher.in_flight == 0)
            assert inbox.depth(QUEUE) == 30
            bench.intake.resume()
            await until(lambda: len(bench.ran.envelopes) == 40)
            assert bench.ran.envelopes[10:] == bodies
            assert bench.ran.redelivered == bodies[:10]

    asyncio.run(scenario())
    assert inbox.depth(QUEUE) == inbox.depth(QUEUE, taken=True) == 0


def test_draining_takes_nothing_more(inbox: Inbox) -> None:
    """What is in flight ends and is deleted; the rest stays ready for others."""
    inbox.put(QUEUE, [b"%d" % number for number in range(30)])

    async def scenario() -> int:
        go = asyncio.Event()

        async def wait(_envelope: bytes, _redelivered: bool) -> None:
            await go.wait()

        async with _worker(inbox, wait, prefetch=10) as bench:
            await until(lambda: len(bench.ran.envelopes) == 10)
            bench.intake.drain()
            go.set()
        return len(bench.ran.envelopes)

    assert asyncio.run(scenario()) == 10
    assert inbox.depth(QUEUE) == 20
    assert inbox.depth(QUEUE, taken=True) == 0


def test_an_inbox_that_cannot_be_read_is_tried_again(inbox: Inbox, tmp_path: Path) -> None:
    """While its file is broken the worker lives; when it is whole again work goes on."""
    inbox.put(QUEUE, [b"first"])
    path, aside = tmp_path / "inbox.db", tmp_path / "aside"

    async def scenario() -> None:
        async with _worker(inbox) as bench:
            await until(lambda: bench.ran.envelopes == [b"first"])
            await until(lambda: inbox.depth(QUEUE, taken=True) == 0)
            inbox.close()
            path.rename(aside)
            path.mkdir()
            await until(lambda: bool(bench.broker.disconnected()))
            path.rmdir()
            aside.rename(path)
            inbox.put(QUEUE, [b"second"])
            await until(lambda: bench.ran.envelopes == [b"first", b"second"])
            assert not bench.process.dead_consumers()

    asyncio.run(scenario())
