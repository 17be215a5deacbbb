"""The primary dies and a standby is promoted: one address list, one pace."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support.ledger import LANE, new_job
from tests.support.postgresql import PostgresServer
from tests.support.postgresql_standby import Standby
from tests.support.waiting import wait_until
from worker.errors import BeginRefused, LedgerUnavailable
from worker.ledger import deliveries, lanes, workers
from worker.ledger.boot import FAILOVER_GRACE_SECONDS
from worker.ledger.ledger import Ledger
from worker.ledger.rows import Claim, Terms
from worker.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgresql
LIMITS = [Limit("company:acme", 2, even=False)]
TERMS = Terms("w1", "smtp", 0.0, "resend", 600.0)


@pytest.fixture
def primary(postgresql: PostgresServer) -> Iterator[PostgresServer]:
    """A server of this test's own, for it dies."""
    del postgresql  # it says that PostgreSQL is there, or skips
    with PostgresServer() as server:
        yield server


def take(ledger: Ledger, token: str) -> Claim | None:
    """Take the next job, if it may go."""
    taken = ledger.call(
        partial(lanes.take, lane=LANE, limits=LIMITS, worker="w1", token=token, ahead_seconds=0.0)
    )
    return taken if isinstance(taken, Claim) else None


def test_a_promoted_standby_lets_every_slot_rest(primary: PostgresServer) -> None:
    """What is in DATA is unknown, what was claimed waits, no slot is usable for a minute and more."""
    url = primary.new_database()
    Ledger(url).close()
    with Standby(primary) as standby:
        ledger = Ledger(standby.addresses(url))
        ledger.call(lambda c, now: workers.register(c, now, "w1", host="host", pid=1, version="1"))
        for job_id in "abc":
            ledger.call(partial(deliveries.accept, job=new_job(job_id)))
        begun, claimed = take(ledger, "t1"), take(ledger, "t2")
        assert begun is not None
        assert claimed is not None
        ledger.call(partial(deliveries.begin_claimed, claim=begun, terms=TERMS))
        wait_until(standby.follows)
        primary.stop("immediate")
        with pytest.raises(LedgerUnavailable):  # the standby is read-only yet
            ledger.call(lambda _c, _now: None)
        standby.promote()
        wait_until(lambda: _answers(ledger))
        with pytest.raises(BeginRefused):
            ledger.call(partial(deliveries.begin_claimed, claim=claimed, terms=TERMS))
        now = ledger.call(lambda _, now: now.steady)
        states = ledger.read(
            lambda c, _: c.execute(text("SELECT job_id, state FROM delivery ORDER BY 1")).all()
        )
        assert [tuple(row) for row in states] == [
            *(("a", "unknown"), ("b", "waiting"), ("c", "waiting")),
        ]
        rests = ledger.read(lambda c, _: c.execute(text("SELECT usable_steady FROM slot")).all())
        least = 60 + FAILOVER_GRACE_SECONDS
        assert all(least - 30 < rest.usable_steady - now <= least for rest in rests)
        ledger.close()


def _answers(ledger: Ledger) -> bool:
    try:
        ledger.call(lambda _c, _now: None)
    except LedgerUnavailable:
        return False
    return True
