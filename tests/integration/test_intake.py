"""Intake on a real ledger: from a message to one row, or straight to the server."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from producers.topology import Topology
from tests.support.office import as_bytes, good_envelope, raw_id
from tests.support.pumping import FaultLog
from tests.support.settings_tree import SMTP, SettingsTree
from worker.capacity import Capacity
from worker.composing import Composer
from worker.delivery import Tools
from worker.faults import Faults
from worker.holding import Holding
from worker.intake import Gate, Intake
from worker.ledger import lanes, workers
from worker.ledger.lanes import Lane
from worker.ledger.ledger import Ledger
from worker.ledger.queries import JobRecord, find_job
from worker.ledger.rows import UNREADABLE, State
from worker.shortcut import Shortcut
from worker.transports.memory import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.pump import Pump

WORKER = "w1"
QUEUES = Topology()
REFUSED = "sender not allowed"


@dataclass
class Nudged:
    """In place of the pump: which lanes were told to have a job."""

    lanes: list[Lane] = field(default_factory=list)

    def nudge(self, lane: Lane) -> None:
        """Note the lane."""
        self.lanes.append(lane)

    def room(self) -> None:
        """Nothing waits for room here."""


class Counter:
    """An intake with everything behind it.

    ``acme`` has a server, its batches a limit, and its drafts a way that is not served.
    """

    def __init__(self, root: Path, ledger: Ledger) -> None:
        tree = SettingsTree(root)
        company = SMTP + 'default_user = "jane"\nbatch_emails_per_min = 30\n'
        company += '[mail_options]\ncompose = "outlook"\n'
        tree.company("acme", company)
        settings = tree.load()
        self.ledger = ledger
        self.memory = MemoryTransport()
        self.pump = Nudged()
        tokens = itertools.count()
        tools = Tools(
            ledger=ledger,
            transports={"smtp": self.memory},
            render=Composer(None),
            sender_refused=lambda job, _: REFUSED if job.sender else None,
            random=lambda: 0.5,
            report=lambda _: None,
            on_fault=lambda job_id, fault: pytest.fail(f"{job_id}: {fault!r}"),
        )
        gate = Gate(
            cast("Any", settings.resolve),
            Holding(),
            Capacity(),
            Shortcut(),
            lambda: f"t{next(tokens)}",
            Faults(FaultLog()),
        )
        self.intake = Intake(tools, gate, cast("Pump", self.pump), WORKER)

    def take_in(self, body: bytes, queue: str = QUEUES.send, *, redelivered: bool = False) -> None:
        """Take in one message."""
        asyncio.run(self.intake.take_in(body, queue, redelivered=redelivered))

    def read_again(self) -> int:
        """Read again what was held."""
        return asyncio.run(self.intake.read_again(QUEUES))

    def row(self, job_id: str) -> JobRecord | None:
        """What the ledger has of a job."""
        return self.ledger.read(lambda c, _: find_job(c, job_id))

    def state(self, job_id: str) -> tuple[State, str]:
        """A job's state and reason."""
        row = self.row(job_id)
        assert row is not None
        return row.state, row.reason


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """An intake of a registered worker, with an empty ledger."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.call(lambda c, now: workers.register(c, now, WORKER, host="h", pid=1, version="1"))
    yield Counter(tmp_path / "settings", ledger)
    ledger.close()


def of_version(version: int, queue: str = QUEUES.send, **fields: Any) -> tuple[str, bytes]:
    """The id and the bytes of a job of a schema version."""
    envelope = good_envelope(queue, **fields)
    envelope["kwargs"]["job"]["schema_version"] = version
    return envelope["message_id"], as_bytes(envelope)


def learn_version(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Be a worker that knows this schema version."""
    for module in ("envelope", "job"):
        monkeypatch.setattr(f"producers.{module}.SCHEMA_VERSION", version)


def test_a_newer_schema_is_read_by_a_worker_that_knows_it(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held as it came, left alone while nobody knows it, then each job waits in its own lane."""
    send, body = of_version(2)
    batch, row = of_version(2, QUEUES.batch, kind="batch", batch_id="b", batch_index=0)
    counter.take_in(body)
    counter.take_in(row, QUEUES.batch)
    reason = "job.schema_version: 2 is newer than this worker, which knows 1: upgrade it"
    assert counter.state(raw_id(body)) == counter.state(raw_id(row)) == (State.WAITING, reason)
    assert counter.read_again() == 0
    learn_version(monkeypatch, 2)
    assert counter.read_again() == 2
    assert counter.read_again() == 0
    assert counter.row(raw_id(body)) is counter.row(raw_id(row)) is None
    assert counter.state(send) == counter.state(batch) == (State.WAITING, "")
    due = counter.ledger.read(lanes.due_lanes)[0]
    assert {lane.kind for lane in due} == {"send", "batch"}


def test_what_is_dead_is_not_read_again(counter: Counter) -> None:
    """Rubbish stays where it is, however often a worker starts; its copies are one row."""
    for _ in range(2):
        counter.take_in(b"rubbish")
    assert counter.read_again() == 0
    row = counter.row(raw_id(b"rubbish"))
    assert row is not None
    assert (row.kind, row.state, row.body) == (UNREADABLE, State.DEAD, b"rubbish")


def test_what_waits_for_nothing_is_delivered_in_the_call(counter: Counter) -> None:
    """A single send goes to the server at once, and a redelivered copy of it nowhere."""
    job_id, body = of_version(1)
    counter.take_in(body)
    assert counter.state(job_id) == (State.SENT, "")
    counter.take_in(body, redelivered=True)
    counter.take_in(body)
    assert len(counter.memory.delivered) == 1
    assert counter.pump.lanes == []


@pytest.mark.parametrize(
    ("queue", "fields", "lane"),
    [
        (
            QUEUES.batch,
            {"kind": "batch", "batch_id": "b", "batch_index": 0},
            Lane("acme", "", "batch"),
        ),
        (
            QUEUES.send,
            {"send_at": datetime.now(UTC) + timedelta(hours=1)},
            Lane("acme", "", "send"),
        ),
        (QUEUES.send, {"company": "nobody"}, Lane("nobody", "", "send")),
        (QUEUES.send, {"kind": "compose"}, Lane("acme", "", "compose")),
    ],
    ids=["a limit", "a date", "no settings", "a way that is not served"],
)
def test_what_waits_has_a_row_and_a_lane(
    counter: Counter, queue: str, fields: dict[str, Any], lane: Lane
) -> None:
    """A job that may not go yet is in the ledger, and the pump told of it once."""
    job_id, body = of_version(1, queue, **fields)
    for _ in range(2):
        counter.take_in(body, queue)
    assert counter.state(job_id) == (State.WAITING, "")
    assert counter.pump.lanes == [lane]
    assert counter.memory.delivered == []


def test_a_refused_job_under_a_used_key_still_has_a_row(counter: Counter) -> None:
    """It was never begun, so no other row is responsible for it: its own names the first."""
    first, body = of_version(1, idempotency_key="k")
    counter.take_in(body)
    second, copy = of_version(1, idempotency_key="k", sender="ceo@bank.example")
    counter.take_in(copy)
    conflict = f"idempotency-conflict: key 'k' was used by {first} for another content"
    assert counter.state(second) == (State.DEAD, conflict)
    third, other = of_version(1, sender="ceo@bank.example")
    counter.take_in(other)
    assert counter.state(third) == (State.DEAD, REFUSED)


def test_a_job_whose_expiry_has_passed_is_dead(counter: Counter) -> None:
    """What comes out of a long backlog too late is not sent."""
    job_id, body = of_version(1, expires_at=datetime.fromtimestamp(time.time() - 1, UTC))
    counter.take_in(body)
    reason = "expired: expires_at passed before it could be sent"
    assert counter.state(job_id) == (State.DEAD, reason)
