"""Counting acceptances from the attempts: commits out of order, restarts, a long past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import LANE, Store
from worker.telemetry import acceptances
from worker.telemetry.acceptances import Acceptances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCOPE = "company:acme"


class Reading:
    """A store, read as the metrics process reads the ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0

    def read(self, operation: Callable[..., Any]) -> Any:
        """Read."""
        self.reads += 1
        return self._store.do(operation)


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty ledger whose clock has run for two days."""
    store = Store()
    store.clock.advance(2 * 86_400)
    yield store
    store.close()


def accept(store: Store, job_id: str, steady: float, n: int = 1) -> None:
    """Write that a server accepted something."""
    store.change(
        "INSERT INTO attempt (job_id, n, company, user_id, kind, worker, begun_at, ended_at,"
        " accepted_steady, outcome) VALUES (:job, :n, :company, :user, :kind, 'w1', :at, :at,"
        " :steady, 'sent')",
        job=job_id,
        n=n,
        at=store.clock.wall,
        steady=steady,
        **LANE._asdict(),
    )


def look(counting: Acceptances, store: Store) -> tuple[int, int]:
    """Look once; what the window holds now, and at the worst."""
    counting.look(Reading(store), lambda *_lane: [SCOPE])
    return counting.windows([SCOPE], store.clock.steady)[SCOPE]


def test_a_commit_that_comes_late_is_counted_once(store: Store) -> None:
    """A stamp older than the last one known is found, and neither is counted twice."""
    counting = Acceptances(60.0)
    now = store.clock.steady
    accept(store, "a", now - 5)
    accept(store, "c", now - 1)
    assert look(counting, store) == (2, 2)
    accept(store, "b", now - 3)
    accept(store, "c2", now - 1)
    assert look(counting, store) == (4, 4)
    assert look(counting, store) == (4, 4)
    accept(store, "d", now)
    accept(store, "late", now - 14)
    assert look(counting, store) == (6, 6)


def test_attempts_of_one_job_are_apart(store: Store) -> None:
    """A job that was accepted twice (resent) is two emails."""
    counting = Acceptances(60.0)
    accept(store, "a", store.clock.steady, n=1)
    assert look(counting, store) == (1, 1)
    accept(store, "a", store.clock.steady, n=2)
    assert look(counting, store) == (2, 2)


def test_the_worst_window_outlives_a_restart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process finds the day's worst again, step by step; what is older is forgotten."""
    monkeypatch.setattr(acceptances, "HISTORY_STEP", 7)
    now = store.clock.steady
    for number in range(30):
        accept(store, f"old{number}", now - 90_000 + number)
    for number in range(20):
        accept(store, f"peak{number}", now - 40_000 + number % 3)
    accept(store, "now", now - 10)
    counting = Acceptances(60.0)
    assert look(counting, store) == (1, 7)
    for _ in range(3):
        found = look(counting, store)
    assert found == (1, 20)


def test_the_past_is_told_of_what_has_no_limit_too(store: Store) -> None:
    """A scope that nobody asked for, and that has sent nothing for a while, keeps its worst."""
    for number in range(3):
        accept(store, f"old{number}", store.clock.steady - 600)
    counting = Acceptances(60.0)
    counting.look(Reading(store), lambda *_lane: [SCOPE])
    assert counting.windows([], store.clock.steady) == {SCOPE: (0, 3)}


def test_the_seam_between_past_and_present_hides_no_window(store: Store) -> None:
    """A window that begins before counting began and ends after it is counted whole."""
    now = store.clock.steady
    for number in range(10):
        accept(store, f"before{number}", now - 30)
    counting = Acceptances(60.0)
    look(counting, store)
    store.clock.advance(20)
    for number in range(10):
        accept(store, f"after{number}", now + 20)
    assert look(counting, store) == (20, 20)


def test_a_look_at_nothing_new_reads_little(store: Store) -> None:
    """Where nothing came late, the last seconds are counted from the index and not read again."""
    counting = Acceptances(60.0)
    for number in range(50):
        accept(store, f"job{number}", store.clock.steady - number / 10)
    look(counting, store)
    reading = Reading(store)
    counting.look(reading, lambda *_lane: [SCOPE])
    assert reading.reads == 2
