"""What a company at its limit does to the others: single sends, a batch, a turn under one ceiling."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

from producers import Email
from tests.prove.judging import WINDOW_SECONDS
from tests.prove.rows import open_ledger
from tests.support.fleet import Company, Fleet
from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CEILING = 600
MANY = 100_000
LEAVING = 3_000
"""What leaves while the many are taken in, so that as many wait when the few come."""
FEW = 10
BEHIND_SECONDS = 3.0
INTAKE_SECONDS = 300.0


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


@dataclass(frozen=True, slots=True)
class Turns:
    """Company B's few mails beside A's many, under one ceiling for both.

    Attributes:
        last_seconds: from B's first acceptance to its last.
        fair_seconds: the same where A and B take turns.
    """

    waiting: int
    last_seconds: float
    fair_seconds: float
    first_seconds: float
    worst: int
    failures: tuple[str, ...]


def run_neighbours(root: Path, *, waiting: int = 10_000) -> Neighbours:
    """Measure what a company at its limit with a long backlog does to its neighbours."""
    companies = (Company("acme", 600), Company("beta", None), Company("gamma", 600))
    with Fleet(root / "neighbours", companies, processes=2) as fleet:
        _latencies(fleet, "warm", 10)
        idle = _latencies(fleet, "idle", 200)
        alone = _batch_seconds(fleet, "alone", "gamma", 50)
        fleet.publish_batch("acme", waiting)
        there = _wait_for_backlog(fleet, waiting)
        beside = _latencies(fleet, "beside", 200)
        together = _batch_seconds(fleet, "together", "gamma", 50)
    failures = []
    if there < waiting * 0.9:
        failures.append(f"only {there} of {waiting} mails were waiting")
    return Neighbours(
        idle_p50=_percentile(idle, 50),
        idle_p99=_percentile(idle, 99),
        beside_p50=_percentile(beside, 50),
        beside_p99=_percentile(beside, 99),
        other_batch_alone_seconds=alone[1],
        other_batch_beside_seconds=together[1],
        waiting=there,
        failures=tuple(failures),
    )


def run_turns(ledger: str, root: Path, *, waiting: int = MANY) -> Turns:
    """Publish B's ten while A's 100,000 wait under a ceiling of 600 for both.

    A and B take turns, so B's tenth is due 18 turns after its first.
    """
    companies = (Company("acme", None), Company("beta", None))
    with ExitStack() as stack:
        _, environ = open_ledger(stack, ledger)
        fleet = stack.enter_context(
            Fleet(
                root / f"turns-{ledger}",
                companies,
                processes=2,
                ceiling=CEILING,
                more_environ=environ,
            )
        )
        fleet.publish_batch("acme", waiting + LEAVING)
        _wait_for_backlog(fleet, waiting + LEAVING)
        # By then the ceiling has been used to the full for a whole window.
        while time.monotonic() < fleet.arrivals()[0].at + WINDOW_SECONDS:
            time.sleep(0.5)
        there = fleet.open_jobs()
        first, last = _batch_seconds(fleet, "few", "beta", FEW)
        worst = worst_window([arrival.at for arrival in fleet.arrivals()], WINDOW_SECONDS)
    fair = 2 * (FEW - 1) * WINDOW_SECONDS / CEILING
    failures = []
    if there < waiting:
        failures.append(f"only {there} of {waiting} mails were waiting")
    if worst > CEILING:
        failures.append(f"{worst} mails in 60 s, the ceiling is {CEILING}")
    if last - first > fair + BEHIND_SECONDS:
        failures.append(f"B's last mail came {last - first:.1f} s after its first, not {fair:.1f}")
    if first > BEHIND_SECONDS:
        failures.append(f"B's first mail came {first:.1f} s after its publishing")
    return Turns(
        waiting=there,
        last_seconds=last - first,
        fair_seconds=fair,
        first_seconds=first,
        worst=worst,
        failures=tuple(failures),
    )


def _wait_for_backlog(fleet: Fleet, count: int) -> int:
    """Wait until a batch is in the ledger; how many wait there."""
    deadline = time.monotonic() + INTAKE_SECONDS
    while sum(fleet.states().values()) < count and time.monotonic() < deadline:
        time.sleep(0.5)
    return fleet.open_jobs()


def _latencies(fleet: Fleet, label: str, count: int) -> list[float]:
    sent: dict[str, float] = {}
    with fleet.producer() as producer:
        for n in range(count):
            email = Email(to=f"{label}{n}@mail.example", subject="Your password", text="A link.")
            began = time.monotonic()
            sent[producer.send(email, company="beta").message_id] = began
            time.sleep(0.05)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        arrived = {a.message_id: a.at for a in fleet.arrivals()}
        if set(sent) <= arrived.keys():
            return [arrived[message_id] - at for message_id, at in sent.items()]
        time.sleep(0.1)
    raise TimeoutError(f"not every single send arrived ({label})")


def _batch_seconds(fleet: Fleet, label: str, company: str, count: int) -> tuple[float, float]:
    """When another company's first and last mail is accepted, in seconds after publishing."""
    began = time.monotonic()
    with fleet.producer() as producer:
        emails = [
            Email(to=f"{label}{n}@mail.example", subject="Statement", text="Your statement.")
            for n in range(count)
        ]
        producer.batch(emails, company=company)
    deadline = began + 120
    while time.monotonic() < deadline:
        times = [a.at for a in fleet.arrivals() if a.recipient.startswith(label)]
        if len(times) >= count:
            return min(times) - began, max(times) - began
        time.sleep(0.1)
    raise TimeoutError(f"the other company's batch did not arrive ({label})")


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


__all__ = ["Neighbours", "Turns", "run_neighbours", "run_turns"]
