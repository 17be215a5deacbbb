"""From a consumer's thread to the loop: what is acknowledged, what is left, how it drains."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Middleware

from tests.unit.broker.fakes import QUEUE, FakeOrigin, broker, message
from worker.broker.dispatch import LoopDispatcher
from worker.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from worker.broker.broker import ActorCoroutine
    from worker.broker.message import Taken


class Hooks(Middleware):
    """Writes down the hooks that Dramatiq promises around each message."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def before_process_message(self, broker: object, message: object) -> None:
        """Note it."""
        self.seen.append("before")

    def after_process_message(
        self,
        broker: object,
        message: object,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Note it, with the error."""
        self.seen.append(f"after {type(exception).__name__}")


class Refuses(Middleware):
    """A hook that fails."""

    def before_process_message(self, broker: object, message: object) -> None:
        """Fail, as a limiter whose store is away."""
        raise ConnectionError("the store is away")


class Rig:
    """A dispatcher on the running loop with everything recorded."""

    def __init__(
        self,
        actor: ActorCoroutine,
        *,
        middleware: Middleware | None = None,
        on_failure: Callable[[Taken, Exception], Awaitable[None]] | None = None,
    ) -> None:
        self.broker = broker(middleware=[] if middleware is None else [middleware])
        self.broker.register(actor, actor_name="send", queue_name=QUEUE)
        self.origin = FakeOrigin()
        self.failures: list[Exception] = []
        self.ledger_errors: list[LedgerUnavailable] = []
        self.threads: set[str] = set()

        async def record(message: Taken, error: Exception) -> None:
            if on_failure is not None:
                await on_failure(message, error)
            self.failures.append(error)

        self.dispatcher = LoopDispatcher(
            self.broker,
            loop=asyncio.get_running_loop(),
            settle=lambda message: message.ack(),
            on_failure=record,
            on_ledger_unavailable=self.ledger_errors.append,
        )

    def put(self, tag: int = 1, **kwargs: Any) -> None:
        """Hand over a message as a consumer's thread does."""
        item = SimpleNamespace(message=message(self.origin, tag=tag, **kwargs))
        thread = threading.Thread(target=self.dispatcher.put, args=(item,))
        thread.start()
        thread.join()

    async def settle(self) -> None:
        """Wait until nothing is in flight."""
        assert await self.dispatcher.drain(5.0) == 0


def _run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


async def _fine(**_: Any) -> None:
    """Return."""


async def _raises_value_error(**_: Any) -> None:
    raise ValueError("a fault of ours")


async def _ledger_is_away(**_: Any) -> None:
    raise LedgerUnavailable("database is locked")


def test_a_message_is_acknowledged_when_its_actor_has_returned() -> None:
    """The actor gets the keyword arguments on the loop's thread; then, not before, the ack."""

    async def scenario() -> None:
        gate = asyncio.Event()
        seen: list[tuple[bytes, threading.Thread]] = []

        async def actor(*, envelope: bytes) -> None:
            seen.append((envelope, threading.current_thread()))
            await gate.wait()

        rig = Rig(actor)
        rig.put(7, envelope=b"job")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [(b"job", threading.main_thread())]
        assert rig.dispatcher.in_flight == 1
        assert rig.origin.acked == []
        gate.set()
        await rig.settle()
        assert rig.origin.acked == [7]
        assert rig.dispatcher.in_flight == 0

    _run(scenario)


@pytest.mark.parametrize(
    ("actor", "after"),
    [
        (_fine, "after NoneType"),
        (_raises_value_error, "after ValueError"),
        (_ledger_is_away, "after LedgerUnavailable"),
    ],
)
def test_hooks_run_around_every_message(actor: ActorCoroutine, after: str) -> None:
    """Dramatiq's middleware sees each message begin and end, with its error."""

    async def scenario() -> None:
        hooks = Hooks()
        rig = Rig(actor, middleware=hooks)
        rig.put()
        await rig.settle()
        assert hooks.seen == ["before", after]

    _run(scenario)


def test_a_failure_is_recorded_before_it_is_acknowledged() -> None:
    """The message goes only when something else holds what became of it."""

    async def scenario() -> None:
        order: list[object] = []

        async def record(_message: Taken, _error: Exception) -> None:
            order.append(list(rig.origin.acked))

        rig = Rig(_raises_value_error, on_failure=record)
        rig.put()
        await rig.settle()
        assert order == [[]]
        assert [str(error) for error in rig.failures] == ["a fault of ours"]
        assert rig.origin.acked == [1]

    _run(scenario)


def test_an_unknown_actor_is_recorded_too() -> None:
    """A source wired to an actor that nobody registered loses nothing."""

    async def scenario() -> None:
        rig = Rig(_fine)
        rig.put(actor_name="batch")
        await rig.settle()
        assert [type(error).__name__ for error in rig.failures] == ["ActorNotFound"]
        assert rig.origin.acked == [1]

    _run(scenario)


def test_while_the_ledger_is_away_messages_are_left() -> None:
    """Neither acknowledged nor recorded, and whoever suspends the intake is told."""

    async def scenario() -> None:
        rig = Rig(_ledger_is_away)
        rig.put()
        await rig.settle()
        assert (rig.origin.acked, rig.origin.left) == ([], [1])
        assert [str(error) for error in rig.ledger_errors] == ["database is locked"]
        assert rig.failures == []

    _run(scenario)


@pytest.mark.parametrize("error", [LedgerUnavailable("read-only"), OSError("disk full")])
def test_a_failure_that_cannot_be_recorded_leaves_the_message(error: Exception) -> None:
    """It comes again; the ledger's absence is told here as well."""

    async def scenario() -> None:
        async def cannot(_message: Taken, _error: Exception) -> None:
            raise error

        rig = Rig(_raises_value_error, on_failure=cannot)
        rig.put()
        await rig.settle()
        assert (rig.origin.acked, rig.origin.left) == ([], [1])
        assert len(rig.ledger_errors) == isinstance(error, LedgerUnavailable)

    _run(scenario)


def test_a_hook_that_fails_keeps_the_actor_from_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Hooks fail closed, and the log says why."""

    async def scenario() -> None:
        ran: list[object] = []

        async def actor(**kwargs: Any) -> None:
            ran.append(kwargs)

        rig = Rig(actor, middleware=Refuses())
        rig.put()
        await rig.settle()
        assert ran == []
        assert (rig.origin.acked, rig.origin.left) == ([], [1])

    with caplog.at_level(logging.ERROR):
        _run(scenario)
    assert "the store is away" in caplog.text


def test_a_message_given_back_meanwhile_is_not_run() -> None:
    """Its channel is gone, so another worker may have it already."""

    async def scenario() -> None:
        ran: list[object] = []

        async def actor(**kwargs: Any) -> None:
            ran.append(kwargs)

        rig = Rig(actor)
        rig.put()
        rig.origin.is_open = False
        await rig.settle()
        assert ran == rig.origin.acked == rig.origin.left == []

    _run(scenario)


def test_what_is_pushed_while_draining_is_left() -> None:
    """Consumers outlive the drain and go on handing out: nothing new begins."""

    async def scenario() -> None:
        rig = Rig(_fine)
        rig.broker.intake.drain()
        rig.put()
        await rig.settle()
        assert (rig.origin.acked, rig.origin.left) == ([], [1])

    _run(scenario)


def test_draining_waits_and_then_cuts() -> None:
    """What ends in time is acknowledged; what does not is cancelled, awaited and left."""

    async def scenario() -> None:
        cleaned: list[str] = []

        async def actor(*, seconds: float) -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                await asyncio.sleep(0)
                cleaned.append("recorded as unknown" if seconds else "done")

        rig = Rig(actor)
        rig.put(1, seconds=0)
        rig.put(2, seconds=3600)
        assert await rig.dispatcher.drain(0.1) == 1
        assert cleaned == ["done", "recorded as unknown"]
        assert (rig.origin.acked, rig.origin.left) == ([1], [2])
        assert rig.dispatcher.in_flight == 0

    _run(scenario)


def test_hastened_it_does_not_wait() -> None:
    """A second signal ends the grace at once."""

    async def scenario() -> None:
        rig = Rig(lambda: asyncio.sleep(3600))
        rig.put()
        loop = asyncio.get_running_loop()
        loop.call_soon(rig.dispatcher.hasten)
        started = loop.time()
        assert await rig.dispatcher.drain(3600.0) == 1
        assert loop.time() - started < 5.0

    _run(scenario)


def test_many_threads_wake_the_loop_together() -> None:
    """Messages put from several threads all run, each once."""

    async def scenario() -> None:
        rig = Rig(_fine)

        def put_hundred(first: int) -> None:
            for tag in range(first, first + 100):
                rig.dispatcher.put(SimpleNamespace(message=message(rig.origin, tag=tag)))

        await asyncio.gather(*(asyncio.to_thread(put_hundred, 100 * n) for n in range(8)))
        await rig.settle()
        assert sorted(rig.origin.acked) == list(range(800))

    _run(scenario)
