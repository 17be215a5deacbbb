"""One consumer: connecting, losing, suspending, draining, giving back."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.unit.broker.fakes import QUEUE, FakeClock, FakeSession
from worker.broker.consumer import LONGEST_PAUSE_SECONDS, RETURN_AFTER_SECONDS, QueueConsumer
from worker.broker.intake import Intake
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable


class Connections:
    """Hands out the sessions it is given, one for each connect; fails where one is None."""

    def __init__(self, *sessions: FakeSession | None) -> None:
        self.sessions = list(sessions)
        self.made = 0

    def __call__(self) -> FakeSession:
        """Connect.

        Raises:
            BrokerUnavailable: the next one is None.
        """
        self.made += 1
        session = self.sessions.pop(0)
        if session is None:
            raise BrokerUnavailable("connection refused")
        return session


def _consumer(
    connect: Callable[[], FakeSession], intake: Intake | None = None, clock: FakeClock | None = None
) -> QueueConsumer:
    return QueueConsumer(
        connect,
        queue_name=QUEUE,
        actor_name="send",
        intake=intake or Intake(),
        timeout_seconds=0.0,
        clock=clock or FakeClock(),
    )


def test_a_delivery_is_wrapped_and_never_decoded() -> None:
    """The publisher's bytes become one keyword argument; what they say is no matter."""
    poison = b'{"queue_name": "elsewhere", "actor_name": "drop", "options": {"eta": 1}}'
    taken = next(_consumer(Connections(FakeSession([poison]))))
    assert taken is not None
    assert (taken.queue_name, taken.actor_name, taken.args) == (QUEUE, "send", ())
    assert taken.kwargs == {"envelope": poison, "redelivered": False}
    assert taken.options == {}


def test_a_message_never_shows_its_content() -> None:
    """Dramatiq logs messages by str and repr: neither holds anything of a mail."""
    taken = next(_consumer(Connections(FakeSession([b"secret"]))))
    assert "secret" not in f"{taken} {taken!r}"


def test_an_ack_goes_to_the_session_it_came_from() -> None:
    """After a reconnect the old message's acknowledgement does not touch the new session."""
    old, new = FakeSession([b"a"]), FakeSession([b"b"])
    clock = FakeClock()
    consumer = _consumer(Connections(old, new), clock=clock)
    first = next(consumer)
    old.broken = True
    assert next(consumer) is None
    clock.now += 1.0
    second = next(consumer)
    assert first is not None
    assert second is not None
    assert first.tag == second.tag
    assert first.stale
    assert not second.stale
    consumer.ack(first)
    assert new.acked == []
    consumer.ack(second)
    assert new.acked == [second.tag]


def test_a_lost_broker_raises_nothing_and_is_tried_with_growing_pauses() -> None:
    """Dramatiq's thread would sleep and log a stack; ours returns None until it is back."""
    clock = FakeClock()
    connect = Connections(*[None] * 20, FakeSession([b"a"]))
    consumer = _consumer(connect, clock=clock)
    moments: list[float] = []
    while connect.sessions:
        before = connect.made
        taken = next(consumer)
        if connect.made > before:
            moments.append(clock.now)
        clock.now += 0.05
    assert taken is not None
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses[0] == pytest.approx(0.1, abs=0.06)
    assert max(pauses) <= LONGEST_PAUSE_SECONDS + 0.06
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS, abs=0.06)


def test_suspended_it_gives_back_and_takes_nothing_until_resumed() -> None:
    """The session is closed at once, which returns what is unacknowledged to the head."""
    intake = Intake()
    first, second = FakeSession([b"a", b"b"]), FakeSession([b"a"])
    consumer = _consumer(Connections(first, second), intake)
    taken = next(consumer)
    intake.suspend("the ledger is away")
    assert first.woken == 1
    assert next(consumer) is None
    assert taken is not None
    assert taken.stale
    assert not consumer.connected
    assert next(consumer) is None
    intake.resume()
    assert next(consumer) is not None
    assert second.is_open


def test_draining_it_takes_nothing_but_keeps_its_session_for_acks() -> None:
    """What arrives too late stays unacknowledged; what is in flight can still be acknowledged."""
    intake = Intake()
    session = FakeSession([b"a", b"late"])
    consumer = _consumer(Connections(session), intake)
    taken = next(consumer)
    intake.drain()
    assert next(consumer) is None
    assert not session.taking
    assert taken is not None
    consumer.ack(taken)
    assert session.acked == [1]
    consumer.close()
    assert not session.is_open


def test_draining_it_does_not_connect_again() -> None:
    """A process that ends does not take the queue's messages for a moment."""
    intake = Intake()
    intake.drain()
    connect = Connections()
    assert next(_consumer(connect, intake)) is None
    assert connect.made == 0


def test_what_was_left_is_given_back_after_a_while() -> None:
    """A message that was not acknowledged for a reason of its own comes again within seconds."""
    clock = FakeClock()
    first, second = FakeSession([b"a"]), FakeSession()
    consumer = _consumer(Connections(first, second), clock=clock)
    taken = next(consumer)
    assert taken is not None
    consumer.nack(taken)
    first.left_at = clock.now
    assert next(consumer) is None
    assert first.is_open
    clock.now += RETURN_AFTER_SECONDS
    assert next(consumer) is None
    assert not first.is_open
    assert second.is_open


def test_a_closed_consumer_no_longer_hears_the_switch() -> None:
    """Dramatiq makes a new consumer after an unexpected error: the old one is let go."""
    intake = Intake()
    session = FakeSession()
    consumer = _consumer(Connections(session), intake)
    assert next(consumer) is None
    consumer.close()
    consumer.close()
    intake.suspend("the ledger is away")
    assert session.woken == 0
