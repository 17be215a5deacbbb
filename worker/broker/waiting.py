"""The ledger as a Dramatiq consumer: what is due, permitted and not held comes from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from dramatiq.broker import Consumer

from worker.broker.message import Taken, take

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dramatiq.broker import MessageProxy

    from worker.broker.intake import Intake

LEDGER_QUEUE = "postmeter.ledger"
DELIVER_ACTOR = "deliver"


class WaitingSource(Protocol):
    """What picks the next waiting job (the pump)."""

    def next(self, timeout_seconds: float) -> Mapping[str, object] | None:
        """The keyword arguments of the next ``deliver``, or None after the time-out.

        Called from a consumer's thread, and no more once the process drains.
        """

    def done(self, kwargs: Mapping[str, object]) -> None:
        """What ``next`` gave is no longer in flight, whatever came of it.

        Called on the event loop or a consumer's thread: it must not block, and raises nothing. It
        is also called for what never ran because the process drains; the row then says so itself.
        """


class WaitingConsumer(Consumer):
    """Feeds the actor ``deliver`` from the ledger; an acknowledgement only ends the flight."""

    connected = True
    is_open = True

    def __init__(self, source: WaitingSource, intake: Intake, *, timeout_seconds: float) -> None:
        self._source = source
        self._intake = intake
        self._timeout_seconds = timeout_seconds

    def __next__(self) -> Taken | None:
        """The next waiting job, or None."""
        if self._intake.draining:
            self._intake.wait(self._timeout_seconds)
            return None
        kwargs = self._source.next(self._timeout_seconds)
        if kwargs is None:
            return None
        return take(
            queue_name=LEDGER_QUEUE,
            actor_name=DELIVER_ACTOR,
            kwargs=kwargs,
            origin=self,
            tag=kwargs,
        )

    def ack(self, message_or_tag: Any) -> None:
        """End the flight of a job: by its message (Dramatiq) or its tag (the message itself)."""
        if isinstance(message_or_tag, Taken):
            message_or_tag.ack()
        else:
            self._source.done(message_or_tag)

    def leave(self, tag: Mapping[str, object]) -> None:
        """End the flight too: what becomes of the job stands in its row."""
        self._source.done(tag)

    def nack(self, message: MessageProxy) -> None:
        """End the flight; the row decides."""
        cast("Taken", message).leave()
