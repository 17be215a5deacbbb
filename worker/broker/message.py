"""One message as Postmeter gives it to Dramatiq: never decoded, bound to where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.message import generate_unique_id

if TYPE_CHECKING:
    from collections.abc import Mapping


class Origin(Protocol):
    """Where a message came from, and the only place where it can be acknowledged.

    Every method may be called from any thread, does not block and raises nothing: it is called on
    the event loop.
    """

    @property
    def is_open(self) -> bool:
        """Whether what was taken from here is still ours."""

    def ack(self, tag: Any) -> None:
        """Remove a message for good; dropped when no longer open."""

    def leave(self, tag: Any) -> None:
        """Do not acknowledge: the message comes again."""


class Taken(MessageProxy):
    """A message taken from a queue, wrapped so that no content can hurt Dramatiq.

    The publisher's bytes are one keyword argument of a message that Postmeter made. What an
    envelope says (queue, actor, options, eta) means nothing to Dramatiq; intake reads it.
    """

    def __init__(self, message: dramatiq.Message[Any], *, origin: Origin, tag: Any) -> None:
        super().__init__(message)
        self.origin = origin
        self.tag = tag

    @property
    def stale(self) -> bool:
        """Whether the message has meanwhile been given back, so that another may run it."""
        return not self.origin.is_open

    def ack(self) -> None:
        """Acknowledge on the channel it came from; nothing happens when that is gone."""
        self.origin.ack(self.tag)

    def leave(self) -> None:
        """Leave it unacknowledged, so that it comes again."""
        self.origin.leave(self.tag)

    def __str__(self) -> str:
        """Queue, actor and id only: Dramatiq logs messages, and a mail belongs in no log."""
        return f"{self.actor_name}({self.message_id}) of {self.queue_name}"

    def __repr__(self) -> str:
        return f"<Taken {self}>"


def take(
    *,
    queue_name: str,
    actor_name: str,
    kwargs: Mapping[str, object],
    origin: Origin,
    tag: Any,
    message_id: str | None = None,
) -> Taken:
    """Wrap what a source handed over for one actor of one queue."""
    message: dramatiq.Message[Any] = dramatiq.Message(
        queue_name=queue_name,
        actor_name=actor_name,
        args=(),
        kwargs=dict(kwargs),
        options={},
        message_id=message_id or generate_unique_id(),
    )
    return Taken(message, origin=origin, tag=tag)
