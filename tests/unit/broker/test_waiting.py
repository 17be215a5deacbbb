"""The ledger as a consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.broker.intake import Intake
from worker.broker.waiting import DELIVER_ACTOR, LEDGER_QUEUE, WaitingConsumer

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pump:
    """Offers what it is given, and counts what is in flight."""

    def __init__(self, *offers: Mapping[str, object]) -> None:
        self.offers = list(offers)
        self.finished: list[Mapping[str, object]] = []

    def next(self, timeout_seconds: float) -> Mapping[str, object] | None:
        """The next offer."""
        assert timeout_seconds == 0.25
        return self.offers.pop(0) if self.offers else None

    def done(self, kwargs: Mapping[str, object]) -> None:
        """Note what is no longer in flight."""
        self.finished.append(kwargs)


def test_an_offer_becomes_a_message_for_deliver() -> None:
    """The pump's keyword arguments reach the actor unchanged."""
    token = object()
    consumer = WaitingConsumer(Pump({"token": token}), Intake(), timeout_seconds=0.25)
    taken = next(consumer)
    assert taken is not None
    assert (taken.queue_name, taken.actor_name) == (LEDGER_QUEUE, DELIVER_ACTOR)
    assert taken.kwargs["token"] is token
    assert next(consumer) is None


def test_ack_nack_and_leave_all_end_the_flight() -> None:
    """The row says what became of a job; the pump only learns that there is room again."""
    pump = Pump({"n": 1}, {"n": 2}, {"n": 3})
    consumer = WaitingConsumer(pump, Intake(), timeout_seconds=0.25)
    taken = [next(consumer) for _ in range(3)]
    first, second, third = (one for one in taken if one is not None)
    consumer.ack(first)
    consumer.nack(second)
    third.leave()
    assert pump.finished == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_it_offers_nothing_while_draining_but_goes_on_while_suspended() -> None:
    """Suspension stops what comes in; what waits in the ledger has a switch of its own."""
    intake = Intake()
    pump = Pump({"n": 1}, {"n": 2})
    consumer = WaitingConsumer(pump, intake, timeout_seconds=0.25)
    intake.suspend("too much in memory")
    assert next(consumer) is not None
    intake.drain()
    assert next(consumer) is None
    assert len(pump.offers) == 1
