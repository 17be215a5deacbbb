"""Unserved lanes: they are told why they wait, cheaply, and what waits for nothing ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.errors import ConfigError, NoUser, UnknownCompany
from tests.support.fakes import AWAY, jobs
from tests.support.jobs import make_job
from worker.errors import LedgerUnavailable
from worker.ledger import housekeeping
from worker.ledger.lanes import Lane
from worker.ledger.rows import State
from worker.unserved import (
    EXPLAIN_AGAIN_SECONDS,
    FROM_THE_HEAD_SECONDS,
    STEPS_AT_ONCE,
    Explainer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.fakes import Desk

LANE = Lane("acme", "", "send")
REASON = "company acme is not configured"
UNKNOWN = UnknownCompany(REASON)


class Calls:
    """An explainer whose writes are counted."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.told: list[str] = []
        self.explain = Explainer(
            desk.ledger, self._tell, wait_seconds=60.0, clock=lambda: desk.clock.steady
        )
        self.writes = 0
        real = desk.ledger.call

        def counted(operation: object) -> object:
            self.writes += 1
            return real(operation)  # type: ignore[arg-type]  # handed on as it came

        desk.ledger.call = counted  # type: ignore[method-assign,assignment]  # counts

    def _tell(self, job_ids: Iterable[str]) -> None:
        self.told.extend(job_ids)


@pytest.fixture
def calls(desk: Desk) -> Calls:
    """An explainer that waits a minute for settings."""
    return Calls(desk)


def test_waiting_jobs_are_told_why(calls: Calls) -> None:
    """The reason stands on every job of the lane, and on no other's."""
    one, other = jobs(1)[0], jobs(2, company="other")[1]
    calls.desk.accept(one, other)
    calls.explain(LANE, REASON, UNKNOWN)
    assert calls.desk.row(one.id).reason == REASON
    assert calls.desk.row(other.id).reason == ""


def test_the_same_reason_costs_nothing_for_a_while(calls: Calls) -> None:
    """The pump asks four times a second; the ledger is asked every other second."""
    for _ in range(8):
        calls.explain(LANE, REASON, UNKNOWN)
    assert calls.writes == 1
    calls.desk.clock.advance(EXPLAIN_AGAIN_SECONDS)
    calls.explain(LANE, REASON, UNKNOWN)
    assert calls.writes == 2


def test_another_reason_is_written_at_once(calls: Calls) -> None:
    """Somebody works on the settings: the row says what is wrong now."""
    (job,) = jobs(1)
    calls.desk.accept(job)
    calls.explain(LANE, REASON, UNKNOWN)
    calls.explain(LANE, "smtp.port: missing", None)
    assert calls.desk.row(job.id).reason == "smtp.port: missing"


def test_settings_that_never_come_end_the_wait(calls: Calls) -> None:
    """After the wait the jobs are dead with both facts, and reported."""
    (job,) = jobs(1)
    calls.desk.accept(job)
    calls.desk.clock.advance(59.0)
    calls.explain(LANE, REASON, UNKNOWN)
    assert calls.desk.row(job.id).state is State.WAITING
    calls.desk.clock.advance(2.0)
    calls.explain(LANE, REASON, UNKNOWN)
    row = calls.desk.row(job.id)
    assert (row.state, row.reason) == (State.DEAD, f"{REASON}; it did not come within 60 s")
    assert calls.told == [job.id]


@pytest.mark.parametrize("error", [None, ConfigError("wrong"), NoUser("no default_user")])
def test_settings_that_are_wrong_wait_for_a_person(calls: Calls, error: ConfigError | None) -> None:
    """Only what is not there at all may be a slip of the producer; a mistake here kills no mail."""
    (job,) = jobs(1)
    calls.desk.accept(job)
    calls.desk.clock.advance(86_400.0)
    calls.explain(LANE, "wrong", error)
    assert calls.desk.row(job.id).state is State.WAITING


def test_a_deep_lane_is_done_in_small_steps(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction changes a few rows; one call ends the whole lane."""
    monkeypatch.setattr(housekeeping, "STEP", 4)
    calls.desk.accept(*jobs(10))
    calls.desk.clock.advance(61.0)
    calls.explain(LANE, REASON, UNKNOWN)
    assert len(calls.told) == len(set(calls.told)) == 10
    assert 3 <= calls.writes <= 6


def test_lanes_that_nobody_asks_about_are_forgotten(calls: Calls) -> None:
    """Anybody may name a company: what was said of a thousand is not kept for ever."""
    for number in range(1000):
        calls.explain(Lane(f"c{number}", "", "send"), REASON, None)
        calls.desk.clock.advance(0.1)
    assert len(calls.explain._told) <= 3 * EXPLAIN_AGAIN_SECONDS / 0.1 + 1


def test_without_ledger_the_pump_learns_of_it(calls: Calls) -> None:
    """Nothing was written, so it is tried again when the lane is asked for next."""
    (job,) = jobs(1)
    calls.desk.accept(job)
    calls.desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable, match=AWAY):
        calls.explain(LANE, REASON, UNKNOWN)
    calls.explain(LANE, REASON, UNKNOWN)
    assert calls.desk.row(job.id).reason == REASON


def test_a_deep_lane_does_not_keep_the_pump(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps a call: the pump serves other lines in between, and comes back at once."""
    monkeypatch.setattr(housekeeping, "STEP", 1)
    calls.desk.accept(*jobs(STEPS_AT_ONCE + 3))
    calls.explain(LANE, REASON, None)
    assert calls.writes == STEPS_AT_ONCE
    calls.explain(LANE, REASON, None)
    assert calls.writes == STEPS_AT_ONCE + 4
    for job in jobs(STEPS_AT_ONCE + 3):
        assert calls.desk.row(job.id).reason == REASON


def test_a_deep_lane_that_was_told_is_not_read_again(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle work does not grow with the line: only what came in since is read, and told."""
    calls.desk.accept(*jobs(6))
    calls.explain(LANE, REASON, None)
    monkeypatch.setattr(housekeeping, "STEP", 1)
    late = make_job(id="019f0000-0000-7000-8000-00000000ffff")
    calls.desk.clock.advance(EXPLAIN_AGAIN_SECONDS)
    calls.desk.accept(late)
    before = calls.writes
    calls.explain(LANE, REASON, None)
    assert calls.writes == before + 2
    assert calls.desk.row(late.id).reason == REASON


def test_a_whole_line_is_gone_through_again_now_and_then(calls: Calls) -> None:
    """A job that was put before the place reached (a retry) is told in the next round."""
    (job,) = jobs(1)
    calls.desk.accept(job)
    calls.explain(LANE, REASON, None)
    calls.desk.ledger.call(
        lambda c, _: c.exec_driver_sql("UPDATE delivery SET prio = 0, reason = 'later'")
    )
    calls.desk.clock.advance(FROM_THE_HEAD_SECONDS - 1.0)
    calls.explain(LANE, REASON, None)
    assert calls.desk.row(job.id).reason == "later"
    calls.desk.clock.advance(2.0)
    calls.explain(LANE, REASON, None)
    assert calls.desk.row(job.id).reason == REASON
