"""The bound at the server, proved on the real statements in virtual time.

Each simulation runs worker processes, a server and every kind of bad luck against one ledger in
memory (``tests/support/model.py``); what is judged is the server's own list of acceptances.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.support.bad_luck import Step, every_fault, quick, slow, stalling, wild
from tests.support.ledger import LANE
from tests.support.model import Plan, Simulation, one_lane
from tests.support.windows import (
    broken_windows,
    bucket_counts,
    count_between,
    used_share,
    worst_window,
)
from worker.ledger import slots
from worker.ledger.lanes import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = "company:acme"
MINUTE = 60.0
FLAPS = [(0.0, 600), (45.0, 30), (75.0, 600), (100.0, 30), (110.0, 600)]
"""A limit that an operator, or two views of the settings, throws up and down."""
SLOW = pytest.mark.slow
"""What only tells again, with other numbers, what another case has told."""


def run(plan: Plan, *, minutes: float, backlog: int) -> Simulation:
    """Run a plan with a backlog in every lane, and check that everything promised was kept."""
    simulation = Simulation(plan)
    for lane in plan.lanes:
        simulation.publish(lane, backlog)
    simulation.run_until(minutes * MINUTE)
    judge(simulation)
    return simulation


def judge(simulation: Simulation) -> None:
    """Check the windows at the server, and that no job was sent more often than it may."""
    for scope in simulation.plan.limits:
        assert broken_windows(simulation.accepted, scope) == []
    simulation.check_books()
    times = {job_id: 0 for (job_id,) in simulation.store.query("SELECT job_id FROM delivery")}
    for mail in simulation.accepted:
        times[mail.job_id] += 1
    for job_id, accepted in times.items():
        assert accepted <= 1 + simulation.unknowns[job_id]
        assert simulation.unknowns[job_id] <= 2
    for job_id, outcome in simulation.store.query(
        "SELECT a.job_id, a.outcome FROM attempt a JOIN delivery d ON d.job_id = a.job_id"
        " WHERE a.n < d.attempts"
    ):
        # A late reply turns the unknown of an attempt into sent; the first outcome counts.
        assert outcome in {"deferred", "unknown"} or simulation.unknowns[job_id]


@pytest.mark.parametrize("workers", [1, 2, pytest.param(4, marks=SLOW)])
@pytest.mark.parametrize("reply", [quick, slow, stalling, wild], ids=lambda f: f.__name__)
def test_bound_holds_and_the_limit_is_used(
    workers: int, reply: Callable[[random.Random], float]
) -> None:
    """Any 60 s hold the limit at most, and use is 60/(60 + reply time), whoever shares it."""
    limit, minutes = 120, 5
    plan = one_lane(limit, workers=workers, reply_seconds=reply, seed=workers)
    simulation = run(plan, minutes=minutes, backlog=limit * minutes)
    chance = random.Random(1)
    mean = sum(reply(chance) for _ in range(5_000)) / 5_000
    used = used_share(simulation.accepted, limit, since=MINUTE, until=minutes * MINUTE)
    assert worst_window(simulation.accepted, SCOPE) <= limit
    assert used >= (0.99 if reply is quick else 60 / (60 + mean) - 0.01)


@pytest.mark.parametrize(
    ("workers", "seed"),
    [
        (1, 1),
        (2, 2),
        *(pytest.param(*pair, marks=SLOW) for pair in ((1, 2), (2, 1), (4, 1), (4, 2))),
    ],
)
def test_bound_holds_when_workers_are_cut_down_at_every_step(workers: int, seed: int) -> None:
    """SIGKILL and SIGSTOP of up to 15 s at every step break no window and lose no job."""
    minutes = 10
    plan = one_lane(
        60,
        workers=workers,
        reply_seconds=wild,
        deferred_share=0.02,
        faults=every_fault(seed, until=minutes * MINUTE, each_seconds=17.0),
        seed=seed,
    )
    simulation = run(plan, minutes=minutes, backlog=60 * minutes)
    assert {(step, how) for step in Step for how in ("killed", "stopped")} == set(simulation.struck)
    assert simulation.unknowns


def test_every_job_ends_after_the_bad_luck() -> None:
    """Once nothing strikes any more, each job is sent, or unknown after its one resend."""
    faults = every_fault(5, until=4 * MINUTE, each_seconds=7.0)
    plan = one_lane(60, workers=2, reply_seconds=wild, deferred_share=0.05, faults=faults, seed=5)
    simulation = run(plan, minutes=12, backlog=200)
    left = simulation.store.query(
        "SELECT job_id FROM delivery WHERE state <> 'sent'"
        " AND NOT (state = 'unknown' AND resends = 1)"
    )
    assert left == []
    assert len({mail.job_id for mail in simulation.accepted}) >= 200 - len(simulation.unknowns)


@pytest.mark.parametrize("workers", [1, 2, pytest.param(4, marks=SLOW)])
def test_use_stays_high_while_a_worker_is_killed_every_20_seconds(workers: int) -> None:
    """Kills cost what was in hand and no more: at least 95 % of the limit is used."""
    minutes = 6
    kills = [20.7 * i for i in range(1, 3 * minutes)]
    plan = one_lane(120, workers=workers, kills=kills)
    simulation = run(plan, minutes=minutes, backlog=120 * minutes)
    used = used_share(simulation.accepted, 120, since=MINUTE, until=minutes * MINUTE)
    assert used >= 0.95


def test_a_successor_that_buries_the_killed_worker_saves_what_it_held() -> None:
    """Freed after a second, not after the lease, slots are hardly missed."""
    kills = [20.7 * i for i in range(1, 18)]
    plan = one_lane(120, kills=kills, buried_at_restart=True)
    simulation = run(plan, minutes=6, backlog=720)
    assert used_share(simulation.accepted, 120, since=MINUTE, until=6 * MINUTE) >= 0.98


@pytest.mark.parametrize("lag_seconds", [pytest.param(0.0, marks=SLOW), 4.0])
def test_a_limit_thrown_up_and_down_opens_no_gap(lag_seconds: float) -> None:
    """600, 30, 600 again, seen by each worker at another time: never over 600 in 60 s."""
    plan = one_lane(
        600,
        limits={SCOPE: FLAPS},
        workers=3,
        lag_seconds=lag_seconds,
        reply_seconds=wild,
        faults=every_fault(3, until=3 * MINUTE, each_seconds=11.0),
    )
    simulation = run(plan, minutes=3, backlog=1_800)
    assert worst_window(simulation.accepted, SCOPE) <= 600


def test_a_lowered_limit_binds_as_soon_as_every_worker_has_seen_it() -> None:
    """What was taken before the change may still go; a minute later the new limit holds."""
    seen_at = 90.0 + 2 * 3.0
    plan = one_lane(240, limits={SCOPE: [(0.0, 240), (90.0, 24)]}, workers=3, lag_seconds=3.0)
    simulation = run(plan, minutes=5, backlog=700)
    after = [mail for mail in simulation.accepted if mail.at >= seen_at + 3.0 + 1.7]
    assert 0 < worst_window(after, SCOPE) <= 24


def test_lanes_share_a_ceiling_evenly_and_keep_their_own_limits() -> None:
    """Three lanes under one ceiling: every scope's windows hold, and each gets its share."""
    lanes = [Lane(name, "jane", "batch") for name in ("a", "b", "c")]
    plan = Plan(
        limits={"all": [(0.0, 90)], **{f"company:{lane.company}": [(0.0, 60)] for lane in lanes}},
        lanes={lane: ["all", f"company:{lane.company}"] for lane in lanes},
        workers=2,
        reply_seconds=wild,
        seed=4,
    )
    minutes = 5
    simulation = Simulation(plan)
    for lane, backlog in zip(lanes, (2_000, 400, 200), strict=True):
        simulation.publish(lane, backlog)
    simulation.run_until(minutes * MINUTE)
    judge(simulation)
    got = [
        sum(
            limit.scope == f"company:{lane.company}"
            for mail in simulation.accepted
            for limit in mail.limits
        )
        for lane in lanes
    ]
    assert min(got) >= 0.9 * max(got)
    assert used_share(simulation.accepted, 90, since=MINUTE, until=minutes * MINUTE) >= 0.97


@pytest.mark.parametrize("limit", [pytest.param(30, marks=SLOW), 120])
def test_mail_leaves_evenly_after_an_idle_quarter_of_an_hour(limit: int) -> None:
    """After 15 idle minutes a backlog starts gently, leaves evenly and uses the limit."""
    simulation = Simulation(one_lane(limit, workers=2))
    simulation.publish(LANE, 5)
    simulation.run_until(16 * MINUTE)
    simulation.publish(LANE, 5 * limit)
    simulation.run_until(21 * MINUTE)
    judge(simulation)
    start = min(mail.at for mail in simulation.accepted if mail.at > 16 * MINUTE)
    assert count_between(simulation.accepted, start, start + 1.0) <= math.ceil(2.2 * limit / 60) + 1
    even = limit / 10
    counts = bucket_counts(simulation.accepted, since=start, until=20.9 * MINUTE, seconds=6.0)[1:]
    slack = max(2.0, 0.3 * even + 1)  # the catch-up of a second comes back each minute
    assert all(abs(count - even) <= slack for count in counts), counts
    minutes = bucket_counts(simulation.accepted, since=start, until=20.9 * MINUTE, seconds=MINUTE)
    assert all(count >= 0.99 * limit for count in minutes)
    used = used_share(simulation.accepted, limit, since=start, until=start + 4 * MINUTE)
    assert used >= 0.99


def free_at_the_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slot rest from its begin, not from the reply: the obvious, and wrong, way."""
    monkeypatch.setattr(
        slots,
        "_BEGIN",
        text(
            "UPDATE slot SET in_data = 1, usable_steady = min(:now + window_seconds, :never)"
            " WHERE token = :token AND in_data = 0 AND usable_steady <= :now"
        ),
    )
    monkeypatch.setattr(
        slots,
        "_SETTLE",
        text("UPDATE slot SET worker = NULL, token = NULL, in_data = 0 WHERE token = :token"),
    )


@pytest.mark.parametrize(
    ("reply", "even"),
    [
        pytest.param(slow, True, id="even-slow"),
        pytest.param(stalling, False, id="burst-stalling"),
        pytest.param(slow, False, id="burst-slow", marks=SLOW),
        pytest.param(stalling, True, id="even-stalling", marks=SLOW),
    ],
)
def test_freeing_at_the_stamp_would_break_the_bound(
    monkeypatch: pytest.MonkeyPatch, reply: Callable[[random.Random], float], *, even: bool
) -> None:
    """The same simulation finds a window over the limit once settle no longer sets the rest."""
    plan = one_lane(120, workers=2, reply_seconds=reply, even=even, seed=7)
    sound = run(plan, minutes=4, backlog=600)
    assert worst_window(sound.accepted, SCOPE) <= 120
    free_at_the_stamp(monkeypatch)
    unsound = Simulation(plan)
    unsound.publish(LANE, 600)
    unsound.run_until(4 * MINUTE)
    assert broken_windows(unsound.accepted, SCOPE)
    assert worst_window(unsound.accepted, SCOPE) > 120


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    workers=st.integers(1, 4),
    limits=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    lag_seconds=st.floats(0, 10),
    each_seconds=st.floats(3, 30),
    reply=st.sampled_from([quick, slow, stalling, wild]),
    even=st.booleans(),
)
def test_bound_holds_whatever_comes_together(
    seed: int,
    workers: int,
    limits: list[int],
    lag_seconds: float,
    each_seconds: float,
    reply: Callable[[random.Random], float],
    *,
    even: bool,
) -> None:
    """Any mixture of workers, limits, lags, faults and reply times keeps every promise."""
    plan = one_lane(
        limits[0],
        limits={SCOPE: [(25.0 * i, limit) for i, limit in enumerate(limits)]},
        workers=workers,
        lag_seconds=lag_seconds,
        reply_seconds=reply,
        deferred_share=0.1,
        faults=every_fault(seed, until=150.0, each_seconds=each_seconds),
        even=even,
        seed=seed,
    )
    run(plan, minutes=2.5, backlog=80)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [30, 120, 600])
def test_bound_holds_for_hours(limit: int, seed: int) -> None:
    """Forty minutes of faults each 13 s, flaps and wild replies, for many seeds."""
    minutes = 40 if limit < 600 else 12
    plan = one_lane(
        limit,
        limits={SCOPE: [(97.0 * i, (limit, max(1, limit // 20))[i % 5 == 3]) for i in range(25)]},
        workers=(2, 4)[seed % 2],
        lag_seconds=3.0,
        reply_seconds=wild,
        deferred_share=0.02,
        faults=every_fault(seed, until=minutes * MINUTE, each_seconds=13.0),
        even=seed % 3 != 0,
        seed=seed,
    )
    simulation = run(plan, minutes=minutes, backlog=limit * minutes)
    assert worst_window(simulation.accepted, SCOPE) <= limit
