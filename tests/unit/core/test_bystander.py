"""Bystander: outcomes that no delivery was there to report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import AWAY, jobs
from worker.bystander import Bystander
from worker.errors import LedgerUnavailable
from worker.ledger import housekeeping, operations, workers
from worker.outcome import Outcome

if TYPE_CHECKING:
    from tests.support.fakes import Desk


def test_each_outcome_is_told_once_and_what_goes_on_is_not(desk: Desk) -> None:
    """Dead, cancelled and unknown rows are facts; one that waits and one that is gone are none."""
    dead, cancelled, waiting, lost = jobs(4)
    asked = [*(job.id for job in (dead, cancelled, waiting, lost)), "no such job"]
    desk.accept(dead, cancelled, waiting)
    desk.ledger.call(lambda c, now: housekeeping.kill_waiting(c, now, dead.id, "expired"))
    desk.ledger.call(lambda c, now: operations.cancel(c, now, cancelled.id, "by a person"))
    ticket = desk.direct(lost).ticket
    asyncio.run(ticket.begin(desk.settings))
    desk.ledger.call(lambda c, now: workers.bury(c, now, "w1"))
    Bystander(desk.ledger, desk.facts.append)(asked)
    assert [(fact.job_id, fact.outcome, fact.reason) for fact in desk.facts] == [
        (dead.id, Outcome.DEAD, "expired"),
        (cancelled.id, Outcome.CANCELLED, "by a person"),
        (lost.id, Outcome.UNKNOWN, "the worker ended in DATA before the server replied"),
    ]
    assert desk.facts[0].delivery_seconds is None
    assert (desk.facts[2].transport, desk.facts[2].attempts) == ("smtp", 1)


def test_without_ledger_nothing_is_told(desk: Desk) -> None:
    """The caller learns that the ledger is away."""
    desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable, match=AWAY):
        Bystander(desk.ledger, desk.facts.append)(["x"])
    assert desk.facts == []
