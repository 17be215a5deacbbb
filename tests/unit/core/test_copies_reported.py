"""Copies: an outcome is reported once, by whoever has the row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.fakes import LATER
from tests.support.jobs import JOB_ID, make_job
from worker.errors import Deferred
from worker.ledger import operations
from worker.ledger.rows import State

if TYPE_CHECKING:
    from tests.support.fakes import Desk


def test_a_late_copy_reports_nothing(desk: Desk) -> None:
    """The job was sent; a copy that is refused changes no row, so it is no dead mail either."""
    asyncio.run(desk.direct(make_job()).run())
    desk.refuses = "sender not allowed"
    asyncio.run(desk.direct(make_job()).run())
    assert desk.row(JOB_ID).state is State.SENT
    assert desk.outcomes == ["sent"]


def test_a_claim_that_was_lost_reports_nothing(desk: Desk) -> None:
    """Cancelled while the server put it off: the row says cancelled, and no deferral is counted."""
    delivery = desk.claimed(make_job())
    desk.server.before.append(Deferred("later", reply=LATER))
    desk.ledger.call(lambda c, now: operations.cancel(c, now, JOB_ID, "by a person"))
    asyncio.run(delivery.run())
    assert desk.row(JOB_ID).state is State.CANCELLED
    assert desk.outcomes == []
