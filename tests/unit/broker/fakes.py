"""Stand-ins for connections, clocks and messages, so that broker tests need neither."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from dramatiq.broker import Consumer

from worker.broker.broker import PostmeterBroker, Source
from worker.broker.consumer import Delivery, Session
from worker.broker.intake import Intake
from worker.broker.message import Taken, take
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dramatiq.middleware import Middleware

QUEUE = "postmeter.send"


class FakeClock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class FakeOrigin:
    """Records what was acknowledged and what was left."""

    def __init__(self) -> None:
        self.is_open = True
        self.acked: list[Any] = []
        self.left: list[Any] = []

    def ack(self, tag: Any) -> None:
        """Note an acknowledgement."""
        self.acked.append(tag)

    def leave(self, tag: Any) -> None:
        """Note that a message was left."""
        self.left.append(tag)


class FakeSession(Session):
    """A session over a list of bodies, which breaks when told."""

    def __init__(self, bodies: Iterable[bytes] = ()) -> None:
        super().__init__()
        self.opened_at = 0.0
        self.deliveries = deque(
            Delivery(tag=tag, body=body, redelivered=False)
            for tag, body in enumerate(bodies, start=1)
        )
        self.acked: list[int] = []
        self.broken = False
        self.taking = True
        self.woken = 0
        self._open = True

    @property
    def is_open(self) -> bool:
        """Until closed."""
        return self._open

    def next(self, timeout_seconds: float) -> Delivery | None:
        """The next body.

        Raises:
            BrokerUnavailable: it was told to break.
        """
        if self.broken:
            raise BrokerUnavailable("the network is down")
        return self.deliveries.popleft() if self.deliveries else None

    def ack(self, tag: int) -> None:
        """Note an acknowledgement."""
        self.acked.append(tag)

    def wake(self) -> None:
        """Count."""
        self.woken += 1

    def stop_taking(self) -> None:
        """Note it."""
        self.taking = False

    def close(self) -> None:
        """Note it."""
        self._open = False


class NothingToTake(Consumer):
    """A consumer that is always idle."""

    connected = True

    def __next__(self) -> None:
        """Nothing."""
        return


def broker(
    *queues: str, intake: Intake | None = None, middleware: Iterable[Middleware] = ()
) -> PostmeterBroker:
    """A broker whose queues are always empty."""
    return PostmeterBroker(
        {
            queue: Source(prefetch=1, open=lambda _prefetch, _timeout: NothingToTake())
            for queue in queues or (QUEUE,)
        },
        intake=intake or Intake(),
        middleware=middleware,
    )


def message(origin: FakeOrigin, *, tag: int = 1, actor_name: str = "send", **kwargs: Any) -> Taken:
    """A message as a source hands it over."""
    return take(queue_name=QUEUE, actor_name=actor_name, kwargs=kwargs, origin=origin, tag=tag)
