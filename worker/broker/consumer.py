"""One consumer for every queue of jobs: connects, reconnects, gives back, never raises.

Dramatiq's consumer thread sleeps seconds and logs a stack when a consumer raises, so a broker that
is away is handled here: ``__next__`` returns None until it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from dramatiq.broker import Consumer

from worker.broker.message import Taken, take
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dramatiq.broker import MessageProxy

    from worker.broker.intake import Intake

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
RETURN_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a queue handed over: the publisher's bytes and the tag to acknowledge them by."""

    tag: int
    body: bytes
    redelivered: bool
    message_id: str | None = None


class Session(ABC):
    """One connection's life: tags mean something only within it.

    ``next``, ``stop_taking`` and ``close`` belong to the consumer's thread; ``ack``, ``leave`` and
    ``wake`` may be called from any, and neither block nor raise.
    """

    def __init__(self) -> None:
        self.opened_at = time.monotonic()
        self.left_at: float | None = None

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether what was taken here is still ours."""

    @abstractmethod
    def next(self, timeout_seconds: float) -> Delivery | None:
        """The next delivery, or None after the time-out or a ``wake``.

        Raises:
            BrokerUnavailable: the connection is lost, and with it every delivery.
        """

    @abstractmethod
    def ack(self, tag: int) -> None:
        """Acknowledge soon; dropped when the session is over."""

    def leave(self, tag: int) -> None:  # noqa: ARG002 the first one left decides, whichever it is
        """Note that a delivery stays unacknowledged: it comes again when the session closes."""
        if self.left_at is None:
            self.left_at = time.monotonic()

    @abstractmethod
    def wake(self) -> None:
        """Let a blocked ``next`` return."""

    @abstractmethod
    def stop_taking(self) -> None:
        """Receive nothing new; acknowledgements still go out. Safe to call twice.

        Raises:
            BrokerUnavailable: the connection is lost.
        """

    @abstractmethod
    def close(self) -> None:
        """Send the acknowledgements given so far, give back the rest; raises nothing."""


class QueueConsumer(Consumer):
    """Hands each delivery of one queue to one actor, for as long as the intake is open.

    What was left unacknowledged is given back after ``RETURN_AFTER_SECONDS`` at the latest, by
    closing the session: that puts it at the head of a RabbitMQ queue, where a nack with requeue
    puts it at the back of a quorum queue.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        *,
        queue_name: str,
        actor_name: str,
        intake: Intake,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._queue_name = queue_name
        self._actor_name = actor_name
        self._intake = intake
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._session: Session | None = None
        self._pause_seconds = 0.0
        self._retry_at = 0.0
        self._mutex = threading.Lock()
        intake.watch(self._wake)

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        session = self._session
        return session is not None and session.is_open

    def __next__(self) -> Taken | None:
        """The next message, or None: after the time-out, or while there is nothing to take."""
        session = self._usable_session()
        if session is None:
            return None
        try:
            if self._intake.draining:
                session.stop_taking()
            delivery = session.next(self._timeout_seconds)
        except BrokerUnavailable as error:
            self._lost(session, error)
            return None
        if delivery is None or not self._intake.open:
            return None  # what came too late stays unacknowledged
        return take(
            queue_name=self._queue_name,
            actor_name=self._actor_name,
            kwargs={"envelope": delivery.body, "redelivered": delivery.redelivered},
            origin=session,
            tag=delivery.tag,
            message_id=delivery.message_id,
        )

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message where it came from, whatever session is open now."""
        cast("Taken", message).ack()

    def nack(self, message: MessageProxy) -> None:
        """Leave the message: Postmeter rejects none, it records it as dead and acknowledges it."""
        cast("Taken", message).leave()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Do nothing: closing the session gives back everything that is unacknowledged."""

    def close(self) -> None:
        """End the session; what was not acknowledged goes back to its queue."""
        self._intake.unwatch(self._wake)
        self._disconnect()

    def _usable_session(self) -> Session | None:
        """The session to take from, connecting where there is none; None after a short wait."""
        if self._intake.suspended is not None:
            self._disconnect()
            self._intake.wait(self._timeout_seconds)
            return None
        session = self._session
        left_at = None if session is None else session.left_at
        if left_at is not None and self._clock() - left_at >= RETURN_AFTER_SECONDS:
            self._disconnect()
            session = None
        if session is not None:
            return session
        wait_seconds = self._retry_at - self._clock()
        if self._intake.draining or wait_seconds > 0:
            longest = self._timeout_seconds
            self._intake.wait(longest if self._intake.draining else min(longest, wait_seconds))
            return None
        return self._open()

    def _open(self) -> Session | None:
        try:
            self._session = self._connect()
        except BrokerUnavailable as error:
            self._slow_down(error)
            return None
        logger.info("taking jobs from %s", self._queue_name)
        return self._session

    def _lost(self, session: Session, error: BrokerUnavailable) -> None:
        if self._clock() - session.opened_at >= LONGEST_PAUSE_SECONDS:
            self._pause_seconds = 0.0
        self._disconnect()
        self._slow_down(error)

    def _slow_down(self, error: BrokerUnavailable) -> None:
        """Try again after a pause that doubles while the broker stays away."""
        if self._pause_seconds == 0.0:
            logger.warning("cannot take jobs from %s: %s", self._queue_name, error)
        self._pause_seconds = min(
            LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self._pause_seconds)
        )
        self._retry_at = self._clock() + self._pause_seconds

    def _disconnect(self) -> None:
        with self._mutex:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _wake(self) -> None:
        session = self._session
        if session is not None:
            session.wake()
