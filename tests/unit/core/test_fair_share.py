"""Fair share on the ledger's real statements: several pumps, each fair by itself, share fairly."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.model import Plan, Simulation
from worker.ledger.lanes import Lane

EACH = pytest.mark.parametrize(
    ("limit", "workers"), [(30, 1), (30, 4), (120, 4), (600, 1), (600, 4)]
)
CEILING = "all"


def batch(company: str, user: str = "jane") -> Lane:
    """The line of a user's batches."""
    return Lane(company, user, "batch")


def under_one_ceiling(
    limit: int, workers: int, *lanes: Lane, scope: str = CEILING, **weights: int
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
    simulation = under_one_ceiling(limit, workers, batch("a"), batch("b"), a=3)
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
