"""One row of the proof: a fleet, a load, and what the receiving server saw."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

from producers import Email
from tests.support.fleet import Company, Fleet, measure
from tests.support.rabbitmq import unique_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.fleet import Measured

WINDOW_SECONDS = 60.0
MINUTES = 3
DELAY_SECONDS = 1.0
SLOW_SECONDS = 2.0
KILL_EVERY_SECONDS = 20.0
USED_WHILE_KILLED = 0.95
MARGIN = 0.01
DRAIN_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Row:
    """What is varied: the limit, the processes, the way in, whether one is killed."""

    limit: int
    processes: int
    broker: str
    killed: bool

    @property
    def name(self) -> str:
        """A short name, for folders and tables."""
        return f"{self.limit}-{self.processes}-{self.broker}-{'kill' if self.killed else 'calm'}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row; ``failures`` are sentences, none where it held."""

    row: Row
    worst: int
    used: float
    needed: float
    lost: int
    doubled: int
    unknown: int
    kills: int
    failures: tuple[str, ...]


def run_row(row: Row, root: Path, broker_url: str) -> Result:
    """Run one row to its end: three minutes of backlog, then until everything has arrived.

    A quarter of a minute more than three minutes can use is published, so that the use of the
    limit is counted while mail certainly waits.
    """
    company = Company("acme", row.limit)
    mails = row.limit * MINUTES + row.limit // 4
    with Fleet(
        root=root / row.name,
        companies=(company,),
        processes=row.processes,
        broker_url=broker_url,
        prefix="" if broker_url == "embedded:" else unique_prefix(row.name),
        delay_seconds=DELAY_SECONDS,
        slow_seconds=SLOW_SECONDS,
        seed=row.limit + row.processes,
    ) as fleet:
        fleet.publish_batch("acme", mails)
        if row.killed:
            fleet.kill_every(KILL_EVERY_SECONDS)
        fleet.wait_for(1, DRAIN_SECONDS)
        backlog_until = time.monotonic() + MINUTES * WINDOW_SECONDS
        time.sleep(MINUTES * WINDOW_SECONDS)
        fleet.spare()
        fleet.wait_for(mails, DRAIN_SECONDS)
        _wait_until_final(fleet, DRAIN_SECONDS)
        seen = measure(fleet, company, settle_seconds=WINDOW_SECONDS, until=backlog_until)
        return _judge(row, seen, mails, fleet.kills)


def _wait_until_final(fleet: Fleet, seconds: float) -> None:
    """Let what is unknown be resent, or a double would go unseen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and fleet.open_jobs():
        time.sleep(0.5)


def _judge(row: Row, seen: Measured, mails: int, kills: int) -> Result:
    needed = WINDOW_SECONDS / (WINDOW_SECONDS + seen.mean_reply_seconds) - MARGIN
    if row.killed:
        needed = USED_WHILE_KILLED
    lost = mails - seen.different
    failures = []
    if seen.worst > row.limit:
        failures.append(f"{seen.worst} mails in 60 s, the limit is {row.limit}")
    if seen.used < needed:
        failures.append(f"{seen.used:.2%} of the limit used, {needed:.2%} is needed")
    if lost:
        failures.append(f"{lost} mails never arrived")
    if seen.doubled_not_unknown:
        failures.append(f"{seen.doubled_not_unknown} doubled without being called unknown")
    if row.killed and kills == 0:
        failures.append("no process was killed")
    return Result(
        row=row,
        worst=seen.worst,
        used=seen.used,
        needed=needed,
        lost=lost,
        doubled=seen.doubled,
        unknown=seen.unknown,
        kills=kills,
        failures=tuple(failures),
    )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Single sends and another company's batch, idle and beside a company at its limit.

    Latencies are seconds from the call of ``send`` to the acceptance at the server.
    """

    idle_p50: float
    idle_p99: float
    beside_p50: float
    beside_p99: float
    other_batch_alone_seconds: float
    other_batch_beside_seconds: float
    waiting: int
    failures: tuple[str, ...]


def run_neighbours(root: Path, broker_url: str, *, waiting: int = 10_000) -> Neighbours:
    """Measure what a company at its limit with a long backlog does to its neighbours."""
    companies = (Company("acme", 600), Company("beta", None), Company("gamma", 600))
    with Fleet(
        root=root / "neighbours",
        companies=companies,
        processes=2,
        broker_url=broker_url,
        prefix="" if broker_url == "embedded:" else unique_prefix("neighbours"),
    ) as fleet:
        _latencies(fleet, "warm", 10)
        idle = _latencies(fleet, "idle", 200)
        alone = _batch_seconds(fleet, "alone")
        fleet.publish_batch("acme", waiting)
        deadline = time.monotonic() + 120
        while fleet.open_jobs() < waiting * 0.95 and time.monotonic() < deadline:
            time.sleep(0.2)
        there = fleet.open_jobs()
        beside = _latencies(fleet, "beside", 200)
        together = _batch_seconds(fleet, "together")
    failures = []
    if there < waiting * 0.9:
        failures.append(f"only {there} of {waiting} mails were waiting")
    return Neighbours(
        idle_p50=_percentile(idle, 50),
        idle_p99=_percentile(idle, 99),
        beside_p50=_percentile(beside, 50),
        beside_p99=_percentile(beside, 99),
        other_batch_alone_seconds=alone,
        other_batch_beside_seconds=together,
        waiting=there,
        failures=tuple(failures),
    )


def _latencies(fleet: Fleet, label: str, count: int) -> list[float]:
    sent: dict[str, float] = {}
    with fleet.producer() as producer:
        for n in range(count):
            email = Email(to=f"{label}{n}@mail.example", subject="Your password", text="A link.")
            began = time.monotonic()
            sent[producer.send(email, company="beta").message_id] = began
            time.sleep(0.05)
    wanted = set(sent)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        arrived = {a.message_id: a.at for a in fleet.arrivals()}
        if wanted <= arrived.keys():
            return [arrived[message_id] - at for message_id, at in sent.items()]
        time.sleep(0.1)
    raise TimeoutError(f"not every single send arrived ({label})")


def _batch_seconds(fleet: Fleet, label: str, count: int = 50) -> float:
    """How long another company's batch of 50 takes, from publishing to its last acceptance."""
    began = time.monotonic()
    with fleet.producer() as producer:
        emails = [
            Email(to=f"{label}{n}@mail.example", subject="Statement", text="Your statement.")
            for n in range(count)
        ]
        producer.batch(emails, company="gamma")
    deadline = began + 60
    while time.monotonic() < deadline:
        times = [a.at for a in fleet.arrivals() if a.recipient.startswith(label)]
        if len(times) >= count:
            return max(times) - began
        time.sleep(0.1)
    raise TimeoutError(f"the other company's batch did not arrive ({label})")


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def as_json(result: Result | Neighbours) -> str:
    """A result as one line of JSON."""
    return json.dumps(asdict(result), default=str)


__all__ = ["Neighbours", "Result", "Row", "as_json", "run_neighbours", "run_row"]
