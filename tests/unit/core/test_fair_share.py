"""Fair share on the ledger's real statements: several pumps, each fair by itself, share fairly."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from tests.support.model import Plan, Simulation
from worker.ledger.lanes import Lane
from worker.pace import Limit
from worker.portions import TURN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

EACH = pytest.mark.parametrize(
    ("limit", "workers"), [(30, 1), (30, 4), (120, 4), (600, 1), (600, 4)]
)
CEILING = "all"


def batch(company: str, user: str = "jane") -> Lane:
    """The line of a user's batches."""
    return Lane(company, user, "batch")


def under_one_ceiling(
    limit: int,
    workers: int,
    *lanes: Lane,
    scope: str = CEILING,
    weights: Mapping[str, int] = MappingProxyType({}),
) -> Simulation:
    """Simulate so many pumps on one ledger, with one limit over all these lines."""
    return Simulation(
        Plan(
            limits={scope: [(0.0, limit)]},
            lanes={lane: [scope] for lane in lanes},
            workers=workers,
            weights=weights,
        )
    )


def run_until_taken(simulation: Simulation, count: int) -> list[Lane]:
    """Go on until so many more jobs were taken; whose they were."""
    before = len(simulation.taken)
    until = simulation.now
    while len(simulation.taken) < before + count:
        until += 0.5
        simulation.run_until(until)
        assert until < 3_600, "nothing goes any more"
    return simulation.taken[before : before + count]


@EACH
def test_ten_mails_alternate_with_a_hundred_thousand(limit: int, workers: int) -> None:
    """B's ten leave in every other place of the line, while A's hundred thousand wait."""
    a, b = batch("a"), batch("b")
    simulation = under_one_ceiling(limit, workers, a, b)
    simulation.publish_many(a, 100_000)
    run_until_taken(simulation, 2 * workers + limit // 10)
    simulation.publish(b, 10)
    for process in simulation.processes:
        process.pump.pump.nudge(b)
    taken = run_until_taken(simulation, 20 + 2 * workers)
    assert Counter(taken)[b] == 10
    last = max(n for n, lane in enumerate(taken) if lane == b)
    assert last <= 2 * 10 + workers


@EACH
def test_a_hundred_users_get_no_more_than_one(limit: int, workers: int) -> None:
    """Company A with a hundred users and B with one: each gets half of the ceiling."""
    crowd = [batch("a", f"user{n}") for n in range(100)]
    simulation = under_one_ceiling(limit, workers, *crowd, batch("b"))
    for lane in crowd:
        simulation.publish(lane, 3)
    simulation.publish(batch("b"), 60)
    taken = run_until_taken(simulation, 80)
    assert abs(sum(lane.company == "b" for lane in taken) - 40) <= workers
    assert max(Counter(lane for lane in taken if lane.company == "a").values()) <= workers


@EACH
def test_one_users_hundred_thousand_do_not_hold_back_anothers_ten(limit: int, workers: int) -> None:
    """Within a company its users take turns, whatever the depth of their lines."""
    jane, john = batch("a", "jane"), batch("a", "john")
    simulation = under_one_ceiling(limit, workers, jane, john, scope="company:a")
    simulation.publish_many(jane, 100_000)
    simulation.publish(john, 10)
    taken = run_until_taken(simulation, 20 + 2 * workers)
    assert Counter(taken)[john] == 10


@EACH
def test_a_weight_of_three_is_three_mails_for_anothers_one(limit: int, workers: int) -> None:
    """Under the ceiling a company gets its weight's share, however many pumps there are."""
    simulation = under_one_ceiling(limit, workers, batch("a"), batch("b"), weights={"a": 3})
    for company in ("a", "b"):
        simulation.publish(batch(company), 90)
    taken = run_until_taken(simulation, 80)
    assert abs(sum(lane.company == "b" for lane in taken) - 20) <= workers


@pytest.mark.parametrize("workers", [1, 4])
def test_what_a_company_may_not_use_goes_to_the_others(workers: int) -> None:
    """A company at its own limit holds nobody back, and takes no more when it may go again."""
    small, large = batch("a"), batch("b")
    simulation = Simulation(
        Plan(
            limits={CEILING: [(0.0, 120)], "company:a": [(0.0, 20)]},
            lanes={small: [CEILING, "company:a"], large: [CEILING]},
            workers=workers,
        )
    )
    simulation.publish(small, 200)
    simulation.publish(large, 400)
    simulation.run_until(180.0)
    got = Counter(simulation.taken)
    assert got[small] == pytest.approx(60, abs=3)
    assert got[small] + got[large] >= 0.99 * 360


FAST = 6_000
PORTION = int(TURN_SECONDS / Limit(CEILING, FAST).gap_seconds)
"""So many mails of a line are taken in one turn at that pace."""
WEIGHTS = {f"c{n:02}": 1 + n % 4 for n in range(16)}
AT_6000 = pytest.mark.parametrize("workers", [1, 4])


@AT_6000
def test_at_6000_a_minute_many_lines_get_their_weights_shares(workers: int) -> None:
    """Sixteen companies of weight 1 to 4 with 1 to 3 users: each its share, but for one turn."""
    lanes = [
        batch(company, f"user{user}")
        for number, company in enumerate(WEIGHTS)
        for user in range(1 + number % 3)
    ]
    simulation = under_one_ceiling(FAST, workers, *lanes, weights=WEIGHTS)
    for lane in lanes:
        simulation.publish_many(lane, 500)
    taken = run_until_taken(simulation, 2_000)
    of_companies, of_users = Counter(lane.company for lane in taken), Counter(taken)
    one_turn = workers * PORTION
    for company, weight in WEIGHTS.items():
        share = len(taken) * weight / sum(WEIGHTS.values())
        assert of_companies[company] == pytest.approx(share, abs=one_turn)
        users = [of_users[lane] for lane in lanes if lane.company == company]
        assert max(users) - min(users) <= one_turn


@AT_6000
def test_at_6000_a_minute_ten_mails_wait_for_one_turn(workers: int) -> None:
    """B's ten leave after what each process has in hand of A's, whatever waits behind that."""
    a, b = batch("a"), batch("b")
    simulation = under_one_ceiling(FAST, workers, a, b)
    simulation.publish_many(a, 100_000)
    run_until_taken(simulation, FAST // 10)
    simulation.publish(b, 10)
    for process in simulation.processes:
        process.pump.pump.nudge(b)
    taken = run_until_taken(simulation, 10 + 4 * workers * PORTION)
    last = max(n for n, lane in enumerate(taken) if lane == b)
    assert Counter(taken)[b] == 10
    assert last <= 10 + 2 * workers * PORTION
