"""The actors: which message goes where, and what becomes of one that cannot be read."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from producers.envelope import decode, encode
from producers.errors import InvalidEnvelope
from producers.topology import Topology
from tests.support.fakes import AWAY, WORKER, limited_settings
from tests.support.jobs import JOB_ID, make_job
from tests.support.pumping import Pumping
from tests.unit.broker.fakes import FakeOrigin
from worker.actors import FOR_A_NEWER_WORKER_SECONDS, Actors
from worker.broker.message import take
from worker.capacity import Capacity, Caps
from worker.errors import LedgerUnavailable
from worker.holding import Holding
from worker.intake import Gate, Intake
from worker.ledger import deliveries
from worker.ledger.rows import UNREADABLE, State, Terms
from worker.shortcut import Shortcut
from worker.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.job import Job
    from tests.support.fakes import Desk

SCOPE = "company:acme"


class Stage:
    """The actors of one worker, with a pump that waits for what intake leaves to it."""

    def __init__(self, desk: Desk, pumping: Pumping) -> None:
        self.desk = desk
        self.pumping = pumping
        self.reader: Callable[[bytes, str], Job] = decode
        gate = Gate(
            pumping.resolve,
            pumping.holding,
            pumping.capacity,
            Shortcut(),
            desk.new_token,
            pumping.faults,
        )
        self.intake = Intake(desk.tools, gate, pumping.pump, WORKER)
        self.actors = Actors(desk.tools, self.intake, Topology(), WORKER, self._read)

    def _read(self, body: bytes, queue: str) -> Job:
        return self.reader(body, queue)

    def deliver(self) -> None:
        """Hand the next waiting job to its actor."""
        work = self.pumping.next()
        assert work is not None
        asyncio.run(self.actors.deliver(work))
        self.pumping.pump.done({"work": work})


@pytest.fixture
def stage(desk: Desk) -> Stage:
    """A worker whose intake and pump share one place in flight to a server."""
    caps = Caps({"send": 9, "batch": 9}, server=2, account=9)
    return Stage(desk, Pumping(desk, capacity=Capacity(caps), holding=Holding()))


@pytest.mark.parametrize("kind", ["send", "batch"])
def test_a_message_of_each_queue_is_delivered(stage: Stage, kind: str) -> None:
    """Its actor decodes it for the queue that it came from."""
    body = encode(make_job(kind=kind), f"postmeter.{kind}")
    asyncio.run(getattr(stage.actors, kind)(body))
    assert stage.desk.row(JOB_ID).state is State.SENT
    assert stage.pumping.capacity.in_flight == 0


@pytest.mark.parametrize("kind", ["send", "batch"])
def test_what_waited_is_delivered_by_its_own_kind(stage: Stage, kind: str) -> None:
    """The body in the row is an envelope of the queue that its kind names."""
    stage.desk.accept(make_job(kind=kind))
    stage.deliver()
    assert stage.desk.row(JOB_ID).state is State.SENT


def test_what_rabbitmq_gave_up_is_kept(stage: Stage) -> None:
    """Twice the same bytes: one dead letter, with its bytes and why."""
    for _ in range(2):
        asyncio.run(stage.actors.dead_letter(b"rubbish", redelivered=True))
    ((kind, state, body),) = stage.desk.query("SELECT kind, state, body FROM delivery")
    assert (kind, state, bytes(body)) == (UNREADABLE, "dead", b"rubbish")


def refuse(*, hold: bool) -> Callable[[bytes, str], Job]:
    """A reader that knows no envelope."""

    def read(_body: bytes, _queue: str) -> Job:
        raise InvalidEnvelope("schema_version: 2 is unknown here", hold=hold)

    return read


def limit(stage: Stage) -> None:
    """Let batches come under a limit of two a minute."""
    stage.pumping.by_user[""] = limited_settings(batch_emails_per_min=2, pace="burst")


@pytest.mark.parametrize("away", [0, 2])
def test_a_waiting_job_that_cannot_be_read_is_dead(stage: Stage, away: int) -> None:
    """Once the ledger takes it, with the reason; its slot was not used."""
    limit(stage)
    stage.desk.accept(make_job(kind="batch"))
    stage.reader = refuse(hold=False)
    work = stage.pumping.next()
    assert work is not None
    stage.desk.ledger.away.extend([True] * away)
    asyncio.run(stage.actors.deliver(work))
    row = stage.desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.DEAD, "schema_version: 2 is unknown here")
    assert stage.desk.free_slots(SCOPE) == 2


def test_a_waiting_job_of_a_newer_worker_waits_for_it(stage: Stage) -> None:
    """Old and new workers run side by side for a while: the old one kills nothing."""
    limit(stage)
    stage.desk.accept(make_job(kind="batch"))
    stage.reader = refuse(hold=True)
    stage.deliver()
    row = stage.desk.row(JOB_ID)
    assert row.state is State.WAITING
    assert row.due_at == pytest.approx(stage.desk.clock.wall, abs=FOR_A_NEWER_WORKER_SECONDS)
    assert row.due_at > stage.desk.clock.wall
    assert stage.desk.free_slots(SCOPE) == 2
    stage.reader = decode
    stage.desk.clock.advance(FOR_A_NEWER_WORKER_SECONDS)
    stage.deliver()
    assert stage.desk.row(JOB_ID).state is State.SENT


def test_a_message_that_met_a_fault_is_kept(stage: Stage) -> None:
    """The bytes stay among the dead letters, with the fault's name and none of its words."""
    message = take(
        queue_name="postmeter.send",
        actor_name="send",
        kwargs={"envelope": b"{}"},
        origin=FakeOrigin(),
        tag=1,
    )
    asyncio.run(stage.actors.on_failure(message, ValueError("hunter2")))
    ((reason,),) = stage.desk.query("SELECT reason FROM delivery")
    assert reason == "a fault in Postmeter: ValueError"
    stage.desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable, match=AWAY):
        asyncio.run(stage.actors.on_failure(message, ValueError("hunter2")))


def test_a_fault_with_a_waiting_job_makes_no_dead_letter(stage: Stage) -> None:
    """Its row is there and says what became of it."""
    stage.desk.accept(make_job())
    work = stage.pumping.next()
    assert isinstance(work, Work)
    message = take(
        queue_name="q", actor_name="deliver", kwargs={"work": work}, origin=FakeOrigin(), tag=1
    )
    asyncio.run(stage.actors.on_failure(message, ValueError("x")))
    assert len(stage.desk.query("SELECT job_id FROM delivery")) == 1


def test_a_fault_lets_go_of_a_claim(stage: Stage) -> None:
    """Nobody would ever end it: it waits again, and its slots are free."""
    stage.desk.accept(make_job())
    work = stage.pumping.next()
    assert isinstance(work, Work)
    message = take(
        queue_name="q", actor_name="deliver", kwargs={"work": work}, origin=FakeOrigin(), tag=1
    )
    asyncio.run(stage.actors.on_failure(message, ValueError("hunter2")))
    assert stage.desk.query("SELECT state, worker, reason FROM delivery") == [
        ("waiting", None, "a fault in Postmeter: ValueError")
    ]


def test_a_fault_in_data_is_an_unknown(stage: Stage) -> None:
    """The mail may have left: it is not sent again as if nothing had been."""
    stage.desk.accept(make_job())
    work = stage.pumping.next()
    assert isinstance(work, Work)
    terms = Terms(WORKER, "smtp", 0.0, "hold", 600.0)
    stage.desk.ledger.call(partial(deliveries.begin_claimed, claim=work.claim, terms=terms))
    message = take(
        queue_name="q", actor_name="deliver", kwargs={"work": work}, origin=FakeOrigin(), tag=1
    )
    asyncio.run(stage.actors.on_failure(message, ValueError("x")))
    assert stage.desk.query("SELECT state, worker FROM delivery") == [("unknown", None)]


def test_a_direct_delivery_that_ends_makes_room_for_the_pump(stage: Stage) -> None:
    """The pump found no place; the end of a delivery by intake wakes it, not its next reading."""
    places = [stage.pumping.resolve("acme", None, "send") for _ in range(2)]
    assert all(stage.pumping.capacity.try_enter(place) for place in places)
    stage.desk.accept(make_job())
    body = encode(make_job(id=JOB_ID.replace("1", "2")), "postmeter.send")
    started = stage.desk.clock.steady

    def leave_and_deliver() -> None:
        stage.pumping.capacity.leave(places[0])
        asyncio.run(stage.actors.send(body))

    stage.pumping.wake.meanwhile.append(leave_and_deliver)
    assert stage.pumping.next(10.0) is not None
    assert stage.desk.clock.steady == started
