"""What an idle worker asks of its ledger depends on no backlog and on no line that must wait.

Statements are counted, and the instructions that SQLite needs for them; time is the test's own.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import structlog
from sqlalchemy import text

from config.errors import UnknownUser
from producers.envelope import decode
from tests.support.clock import FakeClock
from tests.support.counting import Counts, counted
from tests.support.fakes import WORKER, limited_settings, open_desk
from tests.support.jobs import make_job
from tests.support.pumping import Pumping
from worker.broker.events import NullPublisher
from worker.delivery import Delivery
from worker.heartbeat import Heartbeat
from worker.ledger import overview
from worker.ledger.ledger import Ledger
from worker.ledger.schema import delivery
from worker.telemetry.events import EventPump
from worker.tickets import ClaimTicket
from worker.unserved import Explainer
from worker.upkeep import Chores, Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from config.effective import EffectiveSettings
    from tests.support.fakes import Desk

LIMIT = 30
TOMORROW_SECONDS = 86_400.0
NOISE = 0.05


class Cost(NamedTuple):
    """One minute of a worker.

    Attributes:
        steps: hundreds of SQLite's instructions.
    """

    statements: int
    steps: int
    sent: int


class Quiet:
    """In place of the outage: there is none."""

    reason = ""


class Noted(list[Any]):
    """What the pump explains, handed on as the app hands it on."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__()
        self._explainer = explainer

    def append(self, told: tuple[Any, ...]) -> None:
        """Note the lane."""
        self._explainer.note(told[0])


@dataclass
class Worker:
    """Everything of a worker process that asks the ledger by itself, in virtual time."""

    desk: Desk
    counts: Counts
    pumping: Pumping = field(init=False)
    chores: list[tuple[float, Callable[[], object]]] = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        explainer = Explainer(
            self.desk.ledger,
            self.resolve,
            lambda _ids: None,
            clock=lambda: self.desk.clock.steady,
        )
        self.pumping = Pumping(self.desk, explained=Noted(explainer))
        upkeep = Upkeep(
            Chores(
                ledger=self.desk.ledger,
                worker=WORKER,
                outage=Quiet(),  # type: ignore[arg-type]  # all that the chores ask it
                trouble=str,
                poll_settings=lambda: None,
                publish_events=EventPump(self.desk.ledger, NullPublisher()).step,
                explain=explainer.work,
                die=lambda: None,
                log=structlog.wrap_logger(logging.getLogger("idle")),
                tell_of=lambda _ids: None,
                has_ended=lambda _process: False,
                keep_seconds=30 * 86_400.0,
                heartbeat=Heartbeat(),
            )
        )
        self.chores = [
            (seconds, partial(self.run, chore))
            for seconds, chore in (
                (3.0, upkeep._beat),
                (2.0, upkeep._keep_house),
                (0.5, upkeep._publish_events),
                (5.0, upkeep._prune),
                (2.0, upkeep._explain),
            )
        ]

    def run(self, chore: Callable[[], Any]) -> None:
        """Do one round of a chore."""
        asyncio.run(chore())

    def resolve(self, company: str | None, user: str | None, kind: str) -> EffectiveSettings:
        """The settings in force, as the pump sees them."""
        return self.pumping.resolve(company, user, kind)

    def pass_time(self, seconds: float) -> None:
        """Let a worker live for so long: half a second of the pump, then what else is due."""
        for half in range(1, int(seconds * 2) + 1):
            until = self.desk.clock.steady + 0.5
            while (left := until - self.desk.clock.steady) > 1e-6:
                work = self.pumping.next(left)
                if work is None:
                    self.desk.clock.advance_to(until)
                    break
                job = decode(work.claim.body, f"postmeter.{work.claim.kind}")
                ticket = ClaimTicket(self.desk.ledger, WORKER, work.claim)
                asyncio.run(Delivery(self.desk.tools, job, work.settings, ticket).run())
                self.pumping.pump.done({"work": work})
                self.sent += 1
            for every, chore in self.chores:
                if half % int(every * 2) == 0:
                    chore()

    def minute(self) -> Cost:
        """What the next minute costs, after one in which the worker finds its stride."""
        self.pass_time(60.0)
        self.counts.restart()
        self.sent = 0
        self.pass_time(60.0)
        return Cost(self.counts.statements.total(), self.counts.steps.total(), self.sent)

    def fill(self, count: int, *, lanes: int = 1, due_in_seconds: float = 0.0) -> None:
        """Let so many batch jobs wait, in so many lanes, by copying one row in the database."""
        self.desk.accept(make_job(kind="batch", user="u", batch_id="b", batch_index=0))
        changed = {
            "job_id": "'019f0000-0000-7000-8000-' || substr(CAST(1500000000000 + n AS VARCHAR), 2)",
            "seq": "n",
            "batch_index": "n",
            "user_id": "'u' || CAST(n % :lanes AS VARCHAR)",
            "due_at": "due_at + :later",
        }
        names = ", ".join(column.name for column in delivery.columns)
        values = ", ".join(changed.get(c.name, c.name) for c in delivery.columns)
        numbers = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :count)"
        copies = f"INSERT INTO delivery ({names}) SELECT {values} FROM delivery, n WHERE true"  # noqa: S608 - names of columns only
        lines = "SELECT company, user_id, kind, min(due_at) FROM delivery GROUP BY 1, 2, 3"
        statements = [
            f"{numbers} {copies}",
            "DELETE FROM delivery WHERE user_id = 'u'",
            "DELETE FROM lane",
            f"INSERT INTO lane (company, user_id, kind, next_due_at) {lines}",
        ]
        named = {"count": count, "lanes": lanes, "later": due_in_seconds}
        for statement in statements:
            wanted = {name: value for name, value in named.items() if f":{name}" in statement}
            self.desk.ledger.call(lambda c, _, s=statement, w=wanted: c.execute(text(s), w))  # type: ignore[misc]  # mypy knows no defaults in a lambda


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    """Start a worker of that name, with its own ledger; call it for each."""
    template = tmp_path / "template.db"
    Ledger(f"sqlite:///{template}", FakeClock()).close()
    desks = []
    with counted() as counts:

        def starting(name: str) -> Worker:
            folder = tmp_path / name
            folder.mkdir()
            desk = open_desk(template, folder)
            desks.append(desk)
            return Worker(desk, counts)

        yield starting
        for desk in desks:
            desk.close()


def test_a_backlog_of_100_costs_as_much_as_one_of_100_000(
    start: Callable[[str], Worker],
) -> None:
    """At 30 a minute both send 30, with as many statements and as much work of the database."""
    costs = []
    for count in (100, 100_000):
        worker = start(f"with-{count}")
        worker.fill(count)
        worker.pumping.by_user["u0"] = limited_settings(batch_emails_per_min=LIMIT)
        costs.append(worker.minute())
        waiting = worker.desk.ledger.read(overview.lanes_with_work)
        assert sum(line.waiting for line in waiting) >= count - 3 * LIMIT
    few, many = costs
    assert few.sent == many.sent == LIMIT
    assert many.statements == pytest.approx(few.statements, rel=NOISE)
    assert many.steps == pytest.approx(few.steps, rel=2 * NOISE)  # a deeper tree is some more


def test_lanes_with_nothing_due_cost_nothing(start: Callable[[str], Worker]) -> None:
    """5,000 lines whose dates lie ahead are asked about as rarely as five."""
    costs = []
    for count in (5, 5_000):
        worker = start(f"later-{count}")
        worker.fill(count, lanes=count, due_in_seconds=TOMORROW_SECONDS)
        costs.append(worker.minute())
    few, many = costs
    assert few.sent == many.sent == 0
    assert many.statements == few.statements
    assert many.steps == pytest.approx(few.steps, rel=NOISE)


@pytest.mark.slow
def test_lanes_without_settings_cost_no_statements(start: Callable[[str], Worker]) -> None:
    """1,000 lines that nobody may serve are told why once; then they cost what five cost."""
    costs = []
    for count in (5, 1_000):
        worker = start(f"unknown-{count}")
        worker.fill(count, lanes=count)
        for number in range(count):
            worker.pumping.by_user[f"u{number}"] = UnknownUser(f"acme has no user u{number}")
        costs.append(worker.minute())
        reasons = worker.desk.query("SELECT count(*) FROM delivery WHERE reason LIKE '%no user%'")
        assert reasons == [(count,)]
    few, many = costs
    assert few.sent == many.sent == 0
    # Of a thousand lines one a round is walked anew, of five less than that.
    assert many.statements <= few.statements * (1 + NOISE) + 3 * 30
