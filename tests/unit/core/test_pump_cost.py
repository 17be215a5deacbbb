"""What a job costs beside lines that must wait, and what it costs to wait: the same for many as for five."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from sqlalchemy import text

from tests.support.ledger import Store, new_job
from tests.support.simulated_pump import SimulatedPump, settings_under
from worker.capacity import Capacity, Caps
from worker.ledger import deliveries, holds
from worker.ledger.lanes import Lane
from worker.pump import READ_ALL_SECONDS, REFRESH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings

FREE = Lane("zoo", "zoe", "send")
JOBS = 20
FEW = 5


def of_companies(count: int) -> list[Lane]:
    """One line of each of so many companies."""
    return [Lane(f"company{n}", "jane", "batch") for n in range(count)]


def of_users(count: int) -> list[Lane]:
    """The lines of so many users of one company."""
    return [Lane("acme", f"user{n}", "batch") for n in range(count)]


class Obstacle(NamedTuple):
    """What stands in the way of many lines.

    Attributes:
        lines: makes so many lines.
        limits: the limits of one of them, none of which has a slot.
        server: their server.
        target: what is held.
        caps: what may be in flight; where it is full, of ``Capacity``.
    """

    lines: Callable[[int], list[Lane]]
    limits: Callable[[Lane], dict[str, int]] = lambda _: {}
    target: str | None = None
    caps: Caps | None = None


def mailbox(lane: Lane) -> dict[str, int]:
    """The limit of a mailbox."""
    return {f"mailbox:{lane.company}/{lane.user}": 30}


OBSTACLES = {
    "each company at its limit": Obstacle(
        of_companies, lambda lane: {f"company:{lane.company}": 30}
    ),
    "one company at its limit": Obstacle(of_users, lambda _: {"company:acme": 30}),
    "the ceiling": Obstacle(of_companies, lambda _: {"all": 30}),
    "each mailbox at its limit": Obstacle(of_users, mailbox),
    "a held server": Obstacle(of_companies, target="server:127.0.0.9:25"),
    "a held company": Obstacle(of_users, target="company:acme"),
    "no place in flight": Obstacle(of_companies, caps=Caps({"batch": 99}, server=2)),
}


def wait_in(store: Store, lines: list[Lane], due_at: float) -> None:
    """Say that these lines have something due then (Unix seconds)."""
    insert = text(
        "INSERT INTO lane (company, user_id, kind, next_due_at)"
        " VALUES (:company, :user, :kind, :due)"
    )
    rows = [{**lane._asdict(), "due": due_at} for lane in lines]
    if rows:
        store.do(lambda c, _: c.execute(insert, rows))


class Scene:
    """A pump over a ledger in which many lines must wait, and one need not."""

    def __init__(self, obstacle: Obstacle, count: int) -> None:
        self.store = Store()
        self.store.register("w1")
        self.lines = obstacle.lines(count)
        self.obstacle = obstacle
        capacity = Capacity(obstacle.caps)
        self.sim = SimulatedPump(self.store, "w1", self.settings_of, capacity)
        now = self.store.clock.now()
        wait_in(self.store, self.lines, now.wall - 60)
        blocked = [
            {"id": scope, "at": now.steady + 1_000}
            for scope in sorted({scope for lane in self.lines for scope in obstacle.limits(lane)})
        ]
        if blocked:
            insert = text("INSERT INTO scope (id, next_steady) VALUES (:id, :at)")
            self.store.do(lambda c, _: c.execute(insert, blocked))
        if obstacle.target is not None:
            self.store.do(holds.put_hold, obstacle.target, "down", probe_after_seconds=3_600.0)
        if obstacle.caps is not None:
            while capacity.try_enter(self.settings_of(self.lines[0])):
                continue
        assert self.sim.look()[0] is None

    def settings_of(self, lane: Lane) -> EffectiveSettings:
        """Lines that must wait have a server of their own."""
        limits = {} if lane == FREE else self.obstacle.limits(lane)
        settings = settings_under(lane, limits)
        return settings if lane == FREE else replace(settings, server_address="127.0.0.9")

    def accept(self) -> None:
        """Let a job come in that may go at once."""
        job = new_job(self.store.new_token(), **self.named())
        assert self.store.do(deliveries.accept, job)
        self.sim.pump.nudge(FREE)

    @staticmethod
    def named() -> dict[str, str]:
        """Whose the job is."""
        return FREE._asdict()

    def operations(self) -> tuple[int, int, int]:
        """What the pump has asked for so far: writes, readings, settings."""
        return self.sim.ledger.calls, self.sim.ledger.reads, self.sim.resolved

    def cost_of_jobs(self) -> tuple[tuple[int, ...], float]:
        """The operations that some jobs cost, and the seconds."""
        before, seconds = self.operations(), 0.0
        for _ in range(JOBS):
            self.accept()
            began = time.perf_counter()
            work, _pause = self.sim.look()
            seconds += time.perf_counter() - began
            assert work is not None
            self.sim.done(work)
        return tuple(
            now - then for now, then in zip(self.operations(), before, strict=True)
        ), seconds

    def cost_of_waiting(self, seconds: float) -> tuple[int, ...]:
        """The operations of some time in which nothing may go."""
        before, until = self.operations(), self.store.clock.steady + seconds
        while self.store.clock.steady < until:
            work, pause = self.sim.look()
            assert work is None
            self.store.clock.advance(pause)
        return tuple(now - then for now, then in zip(self.operations(), before, strict=True))


@pytest.mark.parametrize("count", [1_000, pytest.param(5_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OBSTACLES)
def test_many_lines_that_wait_cost_no_more_than_five(name: str, count: int) -> None:
    """One write and no reading for a job beside them; a reading each quarter of a second else."""
    few, many = Scene(OBSTACLES[name], FEW), Scene(OBSTACLES[name], count)
    (few_operations, few_seconds), (operations, seconds) = few.cost_of_jobs(), many.cost_of_jobs()
    assert operations == few_operations
    assert operations[:2] == (JOBS, 0)
    print(f"{name}: a job beside {count} takes {seconds / few_seconds:.2f} of one beside {FEW}")
    waiting = many.cost_of_waiting(10.0)
    assert waiting == few.cost_of_waiting(10.0)
    assert waiting[0] <= 1  # the free line is found to be empty
    assert waiting[1] == pytest.approx(10.0 / REFRESH_SECONDS, abs=2)


def test_lines_with_nothing_due_cost_nothing() -> None:
    """A line whose next job is due tomorrow is not even read."""
    few, many = (Scene(Obstacle(of_companies), 0) for _ in range(2))
    tomorrow = many.store.clock.wall + 86_400
    wait_in(many.store, of_companies(5_000), tomorrow)
    assert few.cost_of_waiting(5.0) == many.cost_of_waiting(5.0)
    assert many.sim.resolved == 0


def test_what_comes_due_is_seen_at_the_next_reading() -> None:
    """A retry, or a job with a date, does not wait until all lines are read again."""
    scene = Scene(OBSTACLES["the ceiling"], FEW)
    scene.cost_of_waiting(1.1 * READ_ALL_SECONDS)
    due_at = scene.store.clock.wall + 0.1
    assert scene.store.do(deliveries.accept, new_job("later", due_at=due_at, **scene.named()))
    scene.store.clock.advance(REFRESH_SECONDS)
    work, _ = scene.sim.look()
    assert work is not None
    assert work.claim.job_id == "later"


def test_what_another_process_accepts_is_seen_after_a_second() -> None:
    """Nobody nudges this pump: it reads all lines once a second."""
    scene = Scene(OBSTACLES["the ceiling"], FEW)
    assert scene.store.do(deliveries.accept, new_job("elsewhere", **scene.named()))
    scene.store.clock.advance(READ_ALL_SECONDS)
    work, _ = scene.sim.look()
    assert work is not None
    assert work.claim.job_id == "elsewhere"
