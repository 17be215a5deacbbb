"""What a producer says of a message whose connection failed at each step, with a scripted one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from producers.amqp import AmqpSender
from producers.amqp_connection import ConnectionLost
from producers.errors import BrokerUnavailable, NotConfirmed, ProducerError, Unroutable
from producers.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What a connection does: fail to open, or answer a message with an error, None or silence.
OPENS_NOT = "opens not"
SILENT = "silent"
STUCK = "stuck"


class ScriptedConnection:
    """Stands in for a connection; each new one takes the next step of the script."""

    script: Iterator[Any]
    made: list[ScriptedConnection]

    def __init__(self, *_: Any, **__: Any) -> None:
        self.step = next(self.script)
        self.is_open = True
        self.blocked: str | None = None
        self.last_progress = float("-inf")
        self.made.append(self)

    def open(self, _timeout_seconds: float) -> None:
        """Fail where the script says so."""
        if self.step == OPENS_NOT:
            raise BrokerUnavailable("not there")

    def publish(self, publications: list[Any]) -> None:
        """Answer from another thread, as the real one does."""
        if self.step in {SILENT, STUCK}:
            return
        if isinstance(self.step, ConnectionLost):
            self.is_open = False
        answer = (publications[0].receiver.settled, [0], self.step)
        threading.Thread(target=lambda: answer[0](*answer[1:])).start()

    def withdraw(self, _publication: Any) -> bool:
        """Only what is stuck was never written."""
        return bool(self.step == STUCK)

    def close(self, _timeout_seconds: float = 0.0) -> None:
        """Be closed."""
        self.is_open = False


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AmqpSender]:
    """Make a sender whose connections follow a script."""

    def make(*steps: Any, declare: bool = True) -> AmqpSender:
        monkeypatch.setattr(ScriptedConnection, "script", iter(steps), raising=False)
        monkeypatch.setattr(ScriptedConnection, "made", [], raising=False)
        monkeypatch.setattr("producers.amqp.AmqpConnection", ScriptedConnection)
        return AmqpSender(
            "amqp://127.0.0.1/", Topology(), confirm_timeout_seconds=0.3, declare=declare
        )

    return make


def outcome(sender: AmqpSender) -> ProducerError | None:
    """What sending one message comes to."""
    try:
        sender.send("q", "id", b"body")
    except ProducerError as error:
        return error
    return None


def test_confirmed(scripted: Callable[..., AmqpSender]) -> None:
    """One connection serves any number of messages."""
    sender = scripted(None)
    assert outcome(sender) is None
    assert outcome(sender) is None
    assert len(ScriptedConnection.made) == 1


def test_never_reached_is_certain(scripted: Callable[..., AmqpSender]) -> None:
    """Where no connection opened, nothing was stored, and the error says so."""
    error = outcome(scripted(*[OPENS_NOT] * 20))
    assert type(error) is BrokerUnavailable


def test_lost_and_then_never_reached_is_not_certain(scripted: Callable[..., AmqpSender]) -> None:
    """After an attempt that may have arrived, nobody can say that nothing was stored."""
    error = outcome(scripted(ConnectionLost("cut"), *[OPENS_NOT] * 20))
    assert type(error) is NotConfirmed


def test_lost_is_tried_again(scripted: Callable[..., AmqpSender]) -> None:
    """A lost connection costs a second attempt, not an error."""
    assert outcome(scripted(ConnectionLost("cut"), None)) is None
    assert len(ScriptedConnection.made) == 2


def test_refused_is_not_tried_again(scripted: Callable[..., AmqpSender]) -> None:
    """A nack is the broker's answer: the caller decides."""
    error = outcome(scripted(NotConfirmed("nack")))
    assert str(error) == "nack"


def test_silence_gets_a_new_connection_next_time(scripted: Callable[..., AmqpSender]) -> None:
    """A broker that answers nobody is not trusted with the next message."""
    sender = scripted(SILENT, None)
    error = outcome(sender)
    assert type(error) is NotConfirmed
    assert str(error) == "no confirm from RabbitMQ within 0.3 s"
    assert outcome(sender) is None
    assert len(ScriptedConnection.made) == 2


def test_never_written_is_certain(scripted: Callable[..., AmqpSender]) -> None:
    """What could be taken back from the line was not stored."""
    error = outcome(scripted(STUCK))
    assert type(error) is BrokerUnavailable


def test_unroutable_declares_once_more(scripted: Callable[..., AmqpSender]) -> None:
    """A missing queue is declared by a new connection, once, and only if declaring is allowed."""
    missing = Unroutable("no queue")
    assert outcome(scripted(missing, None)) is None
    assert outcome(scripted(missing, missing, None)) is missing
    assert outcome(scripted(missing, None, declare=False)) is missing
