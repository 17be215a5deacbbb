"""Events: what is due is published until it is confirmed, and says what became of the job."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from producers.schema_event import event_schema
from tests.support.ledger import ACCEPTED, LANE, Store, deferred, new_job
from worker.ledger import drafts, operations
from worker.ledger.housekeeping import kill_waiting
from worker.ledger.rows import UNREADABLE, Settlement, State
from worker.outcome import Draft, Outcome, RecipientReply, RecipientState, Reply
from worker.telemetry.events import BATCH, EventPump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LINK = "https://outlook.example.net/AAMk="
VALIDATOR = jsonschema.Draft202012Validator(event_schema())
JANE = RecipientReply("jane@example.nz", RecipientState.ACCEPTED, Reply(250, "ok", "2.1.5"))


class StoreAsLedger:
    """The two calls of a ledger that the pump needs, on a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, operation: Callable[..., Any]) -> Any:
        """Read."""
        return self._store.do(operation)

    call = read


class Exchange:
    """A publisher that confirms what it is told to, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.confirm: Callable[[int], bool] = lambda _: True
        self.meanwhile: Callable[[], object] = lambda: None

    def publish(self, batch: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Keep a batch."""
        self.seen += [(key, json.loads(body)) for key, body in batch]
        self.meanwhile()
        return [self.confirm(index) for index in range(len(batch))]


@pytest.fixture
def store() -> Iterator[Store]:
    """A ledger with one worker."""
    store = Store()
    store.register("w1")
    yield store
    store.close()


def pump_of(store: Store, exchange: Exchange) -> EventPump:
    """A pump whose rests are as long as can be."""
    return EventPump(StoreAsLedger(store), exchange, randint=lambda _, most: most)  # type: ignore[arg-type]  # a stand-in


def send(store: Store, job_id: str) -> None:
    """Let a job be sent."""
    claim = store.in_data(job_id)
    store.settle(claim, ACCEPTED)


def test_event_of_a_sent_job(store: Store) -> None:
    """The event names the job and says everything of its delivery."""
    exchange = Exchange()
    claim = store.in_data("job-1")
    store.clock.advance(2.0)
    store.settle(claim, replace(ACCEPTED, recipients=(JANE,)))
    assert pump_of(store, exchange).step() == 1
    ((key, event),) = exchange.seen
    assert key == "sent.acme.batch"
    assert event == {
        "event": "sent",
        "event_version": 1,
        "outcome": "sent",
        "job_id": "job-1",
        "message_id": "",
        "company": "acme",
        "user": "jane",
        "kind": "batch",
        "batch_id": None,
        "batch_index": 0,
        "reason": "",
        "attempts": 1,
        "transport": "smtp",
        "reply": "250 2.0.0 queued",
        "recipients": [
            {
                "address": "jane@example.nz",
                "state": "accepted",
                "code": 250,
                "enhanced": "2.1.5",
                "text": "ok",
            }
        ],
        "enqueued_at": "2023-11-14T22:13:20.000+00:00",
        "accepted_at": "2027-01-15T08:00:00.000+00:00",
        "first_attempt_at": "2027-01-15T08:00:00.000+00:00",
        "at": "2027-01-15T08:00:02.000+00:00",
    }


@pytest.mark.parametrize(
    ("draft", "told"),
    [
        (Draft(content=b"X-Unsent: 1\r\n\r\n"), ("eml", None)),
        (Draft("AAMk=", LINK), ("microsoft-365", LINK)),
    ],
)
def test_event_of_a_draft_says_where_it_is(
    store: Store, draft: Draft, told: tuple[str, str | None]
) -> None:
    """A link into the mailbox, or that a file is kept with the job; never the file itself."""
    exchange = Exchange()
    drafted = Settlement(
        State.DRAFTED, Outcome.DRAFTED, event=Outcome.DRAFTED, transport="by hand", draft=draft
    )
    store.accept("job-1", kind="compose", metadata='{"invoice": "4711"}')
    claim = store.claim(lane=LANE._replace(kind="compose"))
    store.settle(claim, drafted, begun=False)
    assert pump_of(store, exchange).step() == 1
    ((key, event),) = exchange.seen
    assert key == "drafted.acme.compose"
    assert (event["draft"], event["web_link"], event["transport"]) == (*told, "by hand")
    assert event["metadata"] == {"invoice": "4711"}
    VALIDATOR.validate(event)


def test_only_a_draft_has_a_link(store: Store) -> None:
    """A mail that was sent from a draft in the mailbox is a mail; every event fits its schema."""
    exchange = Exchange()
    claim = store.in_data("sent")
    store.do(drafts.remember, "sent", Draft("AAMk=", LINK), claim=claim.token)
    store.settle(claim, replace(ACCEPTED, recipients=(JANE,)))
    store.accept("raw", state=State.DEAD, reason="no job", kind=UNREADABLE, user="")
    pump_of(store, exchange).step()
    assert len(exchange.seen) == 2
    for _, event in exchange.seen:
        VALIDATOR.validate(event)
        assert {"draft", "web_link"}.isdisjoint(event)
    assert not VALIDATOR.is_valid({**exchange.seen[0][1], "event": "drafted"})


def test_only_the_confirmed_are_struck_out(store: Store) -> None:
    """What RabbitMQ did not confirm is published again, and only that."""
    exchange = Exchange()
    for job_id in ("a", "b", "c", "d"):
        send(store, job_id)
    exchange.confirm = lambda index: index != 1
    pump = pump_of(store, exchange)
    assert pump.step() == 3
    exchange.confirm = lambda _: True
    assert pump.step() == 1
    assert pump.step() == 0
    jobs = [event["job_id"] for _, event in exchange.seen]
    assert sorted(jobs) == sorted([*"abcd", jobs[1]])


def test_a_newer_event_is_not_struck_out(store: Store) -> None:
    """A job that is deferred again while its first deferral is published tells of both."""
    exchange = Exchange()
    claim = store.in_data("job-1")
    store.settle(claim, deferred(store.clock.wall))
    store.change("UPDATE delivery SET event = 'deferred'")

    def again() -> None:
        store.clock.advance(1.0)
        claim = store.claim()
        store.begin(claim)
        store.settle(claim, deferred(store.clock.wall))
        store.change("UPDATE delivery SET event = 'deferred'")

    exchange.meanwhile = again
    pump = pump_of(store, exchange)
    assert pump.step() == 0
    assert store.row("job-1").event == "deferred"


def test_the_loser_of_a_race_rests(store: Store) -> None:
    """A pump whose work another one has done leaves the next steps to it."""
    exchange = Exchange()
    other = pump_of(store, Exchange())
    send(store, "a")
    exchange.meanwhile = other.step
    pump = pump_of(store, exchange)
    assert pump.step() == 0
    exchange.meanwhile = lambda: None
    send(store, "b")
    steps = [pump.step() for _ in range(9)]
    assert steps == [0] * 8 + [1]


def test_batches_are_bounded(store: Store) -> None:
    """A backlog of events is published in steps."""
    exchange = Exchange()
    for number in range(BATCH + 5):
        store.accept(f"job-{number}")
        store.do(kill_waiting, f"job-{number}", "expired")
    pump = pump_of(store, exchange)
    assert [pump.step(), pump.step(), pump.step()] == [BATCH, 5, 0]


def test_metadata_comes_back_with_every_event(store: Store) -> None:
    """An event carries the job's own metadata, also when its body is gone; none where it has none."""
    exchange = Exchange()
    store.do(_accept, "job-1", '{"invoice": "42"}')
    store.do(_accept, "job-2", "")
    for job_id in ("job-1", "job-2"):
        store.do(kill_waiting, job_id, "expired")
    assert pump_of(store, exchange).step() == 2
    seen = {body["job_id"]: body.get("metadata") for _, body in exchange.seen}
    assert seen == {"job-1": {"invoice": "42"}, "job-2": None}


def _accept(connection: Any, now: Any, job_id: str, metadata: str) -> None:
    from worker.ledger.deliveries import accept

    assert accept(connection, now, new_job(job_id, metadata=metadata))


def test_cancelled_jobs_are_counted_when_their_event_is_published(store: Store) -> None:
    """By a command, or as a duplicate: once, by the pump that has struck the event out."""
    store.accept("a", "b")
    for job_id in ("a", "b"):
        store.do(operations.cancel, job_id, "by a person")
    exchange, counted = Exchange(), list[str]()

    def count(row: Mapping[str, Any]) -> None:
        counted.append(f"{row['event']} {row['job_id']}")

    pump = EventPump(StoreAsLedger(store), exchange, count=count)  # type: ignore[arg-type]  # a stand-in
    exchange.confirm = lambda index: index == 0
    pump.step()
    assert counted == ["cancelled a"]
    exchange.confirm = lambda _: True
    exchange.meanwhile = lambda: store.change("UPDATE delivery SET event = NULL")
    pump.step()
    assert counted == ["cancelled a"]
