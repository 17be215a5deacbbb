"""One fact: its counts, and its line."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog
from prometheus_client import CollectorRegistry

from worker.outcome import Fact, Outcome, RecipientReply, RecipientState, Reply
from worker.telemetry.instruments import Instruments
from worker.telemetry.metrics import AttemptClass
from worker.telemetry.report import Reporter, attempt_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict

OK = Reply(250, "ok", "2.0.0")
NO = Reply(550, "no such user", "5.1.1")
TO_JANE = RecipientReply("jane@example.nz", RecipientState.ACCEPTED, OK)
TO_BOB = RecipientReply("bob@example.nz", RecipientState.REFUSED, NO)
SENT = Fact(
    Outcome.SENT,
    "job-1",
    "batch",
    "acme",
    "jane",
    "smtp",
    reply="250 2.0.0 ok",
    attempts=1,
    batch_id="b1",
    message_id="<1@example.nz>",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    recipients=(TO_JANE, TO_BOB),
    queue_wait_seconds=2.0,
    slot_wait_seconds=1.5,
    delivery_seconds=0.25,
    data_seconds=0.1,
)


class Desk:
    """A reporter with its own registry and its lines in a list."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lines: list[EventDict] = []
        log = structlog.wrap_logger(None, processors=[self._keep])
        self.report = Reporter(log, Instruments(self.registry))

    def _keep(self, _logger: object, method: str, line: EventDict) -> EventDict:
        self.lines.append({"level": method, **line})
        raise structlog.DropEvent

    def value(self, name: str, **labels: str) -> float | None:
        """Read one sample."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def desk() -> Desk:
    """A fresh desk."""
    return Desk()


def test_sent_is_counted(desk: Desk) -> None:
    """An email that was sent counts as outcome, attempt, recipients and waits."""
    desk.report(SENT)
    labels = {"kind": "batch", "transport": "smtp", "company": "acme"}
    assert desk.value("postmeter_emails_total", **labels, outcome="sent") == 1
    assert desk.value("postmeter_attempts_total", **{"transport": "smtp", "class": "accepted"}) == 1
    for state, count in (("accepted", 1), ("refused", 1), ("deferred", 0)):
        assert desk.value("postmeter_recipients_total", transport="smtp", state=state) == count
    assert desk.value("postmeter_queue_wait_seconds_sum", kind="batch") == 2.0
    assert desk.value("postmeter_slot_wait_seconds_sum", kind="batch") == 1.5


def test_other_outcomes_of_a_company_begin_at_zero(desk: Desk) -> None:
    """With the first email every outcome is there, so that the first dead one shows in a rate."""
    desk.report(SENT)
    labels = {"kind": "batch", "transport": "smtp", "company": "acme"}
    for outcome in set(Outcome) - {Outcome.SENT}:
        assert desk.value("postmeter_emails_total", **labels, outcome=outcome.value) == 0


def test_recipients_count_once_over_attempts(desk: Desk) -> None:
    """A partial deferral tells of recipients again later, so they count at the end alone."""
    waiting = replace(TO_BOB, state=RecipientState.DEFERRED)
    desk.report(replace(SENT, outcome=Outcome.DEFERRED, recipients=(TO_JANE, waiting)))
    desk.report(replace(SENT, attempts=2, recipients=(TO_JANE, TO_BOB)))
    assert desk.value("postmeter_recipients_total", transport="smtp", state="accepted") == 1
    assert desk.value("postmeter_recipients_total", transport="smtp", state="deferred") == 0


def test_queue_wait_is_observed_once(desk: Desk) -> None:
    """Only the first attempt that counts says how long the job was on its way."""
    desk.report(replace(SENT, outcome=Outcome.HELD, attempts=0, data_seconds=None))
    desk.report(SENT)
    desk.report(replace(SENT, attempts=2))
    assert desk.value("postmeter_queue_wait_seconds_count", kind="batch") == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, AttemptClass.ACCEPTED),
        ({"outcome": Outcome.DEFERRED, "reply": "451 4.7.1 later"}, AttemptClass.DEFERRED),
        ({"outcome": Outcome.DEAD, "reply": "550 5.1.1 no"}, AttemptClass.REFUSED),
        ({"outcome": Outcome.DEAD, "reply": "451 4.3.0 x"}, AttemptClass.DEFERRED),
        ({"outcome": Outcome.DEAD, "delivery_seconds": None}, None),
        ({"outcome": Outcome.CANCELLED, "delivery_seconds": None}, None),
        ({"outcome": Outcome.HELD, "reply": "535 5.7.8 bad login"}, AttemptClass.CREDENTIAL),
        ({"outcome": Outcome.HELD, "reply": "421 4.7.0 slow down"}, AttemptClass.THROTTLED),
        ({"outcome": Outcome.HELD, "reply": ""}, AttemptClass.UNREACHABLE),
        ({"outcome": Outcome.UNKNOWN, "reply": ""}, AttemptClass.UNKNOWN),
    ],
)
def test_attempt_class(change: dict[str, object], expected: AttemptClass | None) -> None:
    """Each attempt falls into one class; what was never tried into none."""
    assert attempt_class(replace(SENT, **change)) is expected  # type: ignore[arg-type]  # of known fields


def test_line_of_an_outcome(desk: Desk) -> None:
    """The line has the job, the trace, and which recipients were missed with the server's words."""
    desk.report(SENT)
    assert desk.lines == [
        {
            "level": "info",
            "event": "sent",
            "job_id": "job-1",
            "company": "acme",
            "user": "jane",
            "kind": "batch",
            "transport": "smtp",
            "attempts": 1,
            "recipients": 2,
            "batch_id": "b1",
            "message_id": "<1@example.nz>",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "reply": "250 2.0.0 ok",
            "missed": ["bob@example.nz: 550 5.1.1 no such user"],
            "seconds": 0.25,
        }
    ]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_one_line(outcome: Outcome, desk: Desk) -> None:
    """Whatever becomes of a job, one line says so; what a person should see is a warning."""
    desk.report(replace(SENT, outcome=outcome))
    (line,) = desk.lines
    alarming = {Outcome.HELD, Outcome.DEAD, Outcome.UNKNOWN}
    assert line["level"] == ("warning" if outcome in alarming else "info")
    assert line["event"] == outcome.value


def test_reporting_is_cheap(desk: Desk) -> None:
    """A report costs far less than a delivery (some 300 µs), its line included."""
    best = min(_timed(lambda: desk.report(SENT)) for _ in range(5))
    assert best < 100e-6


def _timed(report: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(1000):
        report()
    return (time.perf_counter() - started) / 1000
