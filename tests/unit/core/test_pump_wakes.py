"""The pump's waits with a real condition: what happens between a look and the wait is not lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import jobs
from tests.support.jobs import make_job
from tests.support.pumping import Pumping
from worker import pump as module
from worker.capacity import Capacity, Caps
from worker.ledger.lanes import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from tests.support.fakes import Desk
    from worker.work import Work

LONG_SECONDS = 10.0
"""Far longer than anything here takes: only a wake-up ends a wait before it."""
LANE = Lane("acme", "", "send")


@pytest.fixture
def waiting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Pumping:
    """A pump that waits in earnest, with one place in flight, and reads its lanes once."""
    monkeypatch.setattr(module, "REFRESH_SECONDS", LONG_SECONDS)
    made = Pumping(desk, capacity=Capacity(Caps({"send": 1})), monotonic=time.monotonic)
    made.pump._wake = threading.Condition()
    return made


def after_the_look(waiting: Pumping, happens: Callable[[], object]) -> None:
    """Let something happen once, when a look has found nothing and the pump is to wait."""
    look = waiting.pump._look

    def looked() -> tuple[Work | None, float]:
        found = look()
        if found[0] is None:
            waiting.pump._look = look  # type: ignore[method-assign]  # once is enough
            happens()
        return found

    waiting.pump._look = looked  # type: ignore[method-assign]  # a race, made sure


def test_a_nudge_before_the_wait_ends_it(waiting: Pumping) -> None:
    """A job is accepted just after its lane was looked at: it goes at once."""

    def accept() -> None:
        waiting.desk.accept(make_job())
        waiting.pump.nudge(LANE)

    after_the_look(waiting, accept)
    assert waiting.next(LONG_SECONDS / 2) is not None


def test_a_nudge_during_the_wait_ends_it(waiting: Pumping) -> None:
    """From another thread, as intake does."""

    def accept() -> None:
        waiting.desk.accept(make_job())
        waiting.pump.nudge(LANE)

    later = threading.Timer(0.02, accept)
    after_the_look(waiting, later.start)
    assert waiting.next(LONG_SECONDS / 2) is not None
    later.join()


def test_a_wake_up_for_nothing_is_used_up(waiting: Pumping) -> None:
    """A nudge for a job that is gone costs two looks, and then the pump rests."""
    looks: list[None] = []
    look = waiting.pump._look

    def counted() -> tuple[Work | None, float]:
        looks.append(None)
        return look()

    waiting.pump._look = counted  # type: ignore[method-assign]  # counts
    waiting.pump.nudge(LANE)
    assert waiting.next(0.05) is None
    assert len(looks) <= 2


def test_a_place_left_just_before_the_pump_waits_for_it_is_seen(waiting: Pumping) -> None:
    """Left after the pump found none, and before it could say that it waits for one."""
    waiting.desk.accept(*jobs(2))
    first = waiting.next(LONG_SECONDS / 2)
    assert first is not None
    enter = waiting.capacity.try_enter

    def left_meanwhile(settings: EffectiveSettings) -> bool:
        entered = enter(settings)
        if not entered:
            waiting.capacity.try_enter = enter  # type: ignore[method-assign]  # once is enough
            waiting.pump.done({"work": first})
        return entered

    waiting.capacity.try_enter = left_meanwhile  # type: ignore[method-assign]  # a race, made sure
    assert waiting.next(LONG_SECONDS / 2) is not None


def test_the_end_of_the_pause_ends_the_wait(waiting: Pumping) -> None:
    """Work that waits for the ledger goes when it is back, not a reading later."""
    waiting.desk.accept(make_job())
    waiting.pump.pause()
    later = threading.Timer(0.02, waiting.pump.resume)
    later.start()
    assert waiting.next(LONG_SECONDS / 2) is not None
    later.join()
