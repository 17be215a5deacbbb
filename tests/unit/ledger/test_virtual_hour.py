"""An account whose login is refused for an hour, beside another of the same company: virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import Store
from tests.support.model import PREFACE_SECONDS, Plan, Simulation
from tests.support.windows import count_between
from worker.holding import targets_of
from worker.ledger import endings, holds
from worker.ledger.lanes import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.model import Process
    from worker.work import Work

COMPANY, LIMIT = "company:acme", 12
GOOD, BAD = Lane("acme", "bob", "batch"), Lane("acme", "jane", "batch")
MINUTE, HOUR = 60.0, 3600.0
PROBES_IN_AN_HOUR = 16
"""After 5, 10, 20, 40, 80 and 160 s, and then every 5 min."""


class RefusedLogin(Simulation):
    """A server that refuses one account's logins until ``put_right``.

    Attributes:
        logins: when it was asked, in seconds.
    """

    def __init__(self, plan: Plan) -> None:
        self.logins: list[float] = []
        self.is_right = False
        super().__init__(plan)

    def put_right(self) -> None:
        """Change the secret, as the worker that reads it first ends the hold."""
        self.is_right = True
        self.store.do(holds.retire, outdated=list)

    def _deliver(self, process: Process, work: Work) -> Iterator[float]:
        claim = work.claim
        if claim.user != BAD.user or self.is_right:
            yield from super()._deliver(process, work)
            return
        process.in_hand.add(claim.token)
        yield PREFACE_SECONDS[1]
        self.logins.append(self.now)
        target = next(each for each in targets_of(work.settings) if each.startswith("credential:"))
        self.store.do(holds.put_hold, target, "535 5.7.8 no", token=claim.token)
        due_at = self.store.clock.wall
        self.store.do(endings.release, claim, due_at=due_at, reason="535 5.7.8 no")
        process.in_hand.discard(claim.token)
        process.pump.done(work)


def test_an_hour_of_refusals_is_few_logins() -> None:
    """Whoever asks first in each pause is the only one; the server counts 17 failed logins."""
    store = Store()
    store.do(holds.put_hold, "credential:acme/jane#1", "535 5.7.8 no")
    probes = 0
    for second in range(0, int(HOUR), 5):
        store.clock.advance(5.0)
        for worker in ("w1", "w2", "w3"):
            token = f"{worker}-{second}"
            won = store.do(
                holds.start_probes, ["credential:acme/jane#1"], worker=worker, token=token
            )
            if won:
                probes += 1
                store.do(holds.put_hold, "credential:acme/jane#1", "535 5.7.8 no", token=token)
    assert probes == PROBES_IN_AN_HOUR


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_refused_login_takes_nothing_from_its_neighbour(workers: int) -> None:
    """In an hour as much of the other's mail leaves as before; the refused has no attempt.

    The logins that the server counts are few, and do not become more with more workers.
    """
    lanes = {lane: [COMPANY] for lane in (GOOD, BAD)}
    simulation = RefusedLogin(Plan({COMPANY: [(0.0, LIMIT)]}, lanes, workers=workers))
    simulation.publish(GOOD, int(1.5 * LIMIT * HOUR / MINUTE))
    simulation.run_until(11 * MINUTE)
    alone = count_between(simulation.accepted, MINUTE, 11 * MINUTE) / 10
    simulation.publish(BAD, 5 * LIMIT)
    simulation.run_until(11 * MINUTE + HOUR)
    beside = count_between(simulation.accepted, 11 * MINUTE, 11 * MINUTE + HOUR) / 60
    assert beside >= 0.95 * alone
    assert len(simulation.logins) <= workers + PROBES_IN_AN_HOUR
    waiting = "SELECT DISTINCT state, attempts FROM delivery WHERE user_id = 'jane'"
    assert simulation.store.query(waiting) == [("waiting", 0)]
    refused = len(simulation.logins)
    simulation.put_right()
    simulation.run_until(25 * MINUTE + HOUR)
    assert len(simulation.logins) == refused
    arrived = "SELECT count(*) FROM delivery WHERE user_id = 'jane' AND state = 'sent'"
    ((sent,),) = simulation.store.query(arrived)
    assert sent == 5 * LIMIT
