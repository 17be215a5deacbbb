"""Dramatiq's broker, reduced to what a worker needs: hand out consumers, know the actors.

Postmeter publishes no jobs through Dramatiq and uses none of its retries, delay queues or time
limits, so there is nothing here that could lose or hold a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

import dramatiq
from dramatiq.errors import QueueNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from dramatiq.broker import Consumer
    from dramatiq.middleware import Middleware

    from worker.broker.intake import Intake

    ActorCoroutine = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the messages of one queue come from.

    Attributes:
        prefetch: how many may be in this process at once, at least 1.
        open: makes the consumer, given prefetch and the idle time-out in milliseconds.
    """

    prefetch: int
    open: Callable[[int, int], Consumer]

    def __post_init__(self) -> None:
        if self.prefetch < 1:
            raise ValueError(f"prefetch is {self.prefetch}; 0 would mean without limit to RabbitMQ")


class CoroutineActor(dramatiq.Actor[..., Any]):
    """A Dramatiq actor that keeps its coroutine function, for the event loop to run directly.

    Attributes:
        coroutine: what the actor was declared with.
    """

    def __init__(
        self,
        fn: ActorCoroutine,
        *,
        broker: dramatiq.Broker,
        actor_name: str,
        queue_name: str,
        priority: int,
        options: dict[str, Any],
    ) -> None:
        self.coroutine = fn
        super().__init__(
            fn,
            broker=broker,
            actor_name=actor_name,
            queue_name=queue_name,
            priority=priority,
            options=options,
        )


class PostmeterBroker(dramatiq.Broker):
    """A broker over given sources; no queue exists but these.

    Attributes:
        intake: the switch that all consumers of jobs obey.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        intake: Intake,
        middleware: Iterable[Middleware] = (),
    ) -> None:
        super().__init__(middleware=list(middleware))
        self.intake = intake
        self._sources = dict(sources)
        self._consumers: dict[str, Consumer] = {}

    def register(self, coroutine: ActorCoroutine, *, actor_name: str, queue_name: str) -> None:
        """Declare a coroutine function as the actor of a queue.

        Raises:
            QueueNotFound: there is no source for that queue.
            ValueError: the name is taken.
        """
        CoroutineActor(
            coroutine,
            broker=self,
            actor_name=actor_name,
            queue_name=queue_name,
            priority=0,
            options={},
        )

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known, which starts its consumer in a running worker.

        Raises:
            QueueNotFound: there is no source for it.
        """
        if queue_name not in self._sources:
            raise _unknown(queue_name)
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:  # noqa: ARG002 Dramatiq derives its prefetch from threads, and there are none
        """A new consumer of one queue; idle for ``timeout`` milliseconds at most.

        Raises:
            QueueNotFound: there is no source for it.
        """
        source = self._sources.get(queue_name)
        if source is None:
            raise _unknown(queue_name)
        consumer = self._consumers[queue_name] = source.open(source.prefetch, timeout)
        return consumer

    def disconnected(self) -> tuple[str, ...]:
        """The queues that should be connected now and are not; for readiness.

        While the intake is suspended or draining, none should.
        """
        if not self.intake.open:
            return ()
        return tuple(
            sorted(
                name
                for name in self.queues
                if not getattr(self._consumers.get(name), "connected", False)
            )
        )

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> NoReturn:
        """Refuse: jobs are published by producers and wait in the ledger.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"a worker publishes no jobs: {message.actor_name} (delay {delay})")

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Run the middleware's ``before_…`` hooks; those before a job fail closed.

        Dramatiq logs what a hook raises and runs the actor all the same: a limiter whose store is
        away would let everything through.

        Raises:
            Exception: whatever a ``before_process_message`` hook raised.
        """
        if signal != "process_message":
            super().emit_before(signal, *args, **kwargs)
            return
        for middleware in self.middleware:
            middleware.before_process_message(self, *args, **kwargs)


def _unknown(queue_name: str) -> QueueNotFound:
    error: QueueNotFound = cast("Any", QueueNotFound)(f"there is no source for {queue_name}")
    return error
