"""Unserved lines: they are told why they wait, at a cost that counts, and what waits in vain ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from config.errors import ConfigError, NoUser, UnknownCompany
from tests.support.fakes import AWAY, jobs
from tests.support.jobs import make_job
from tests.support.settings import make_settings
from worker.errors import LedgerUnavailable
from worker.ledger import unserved
from worker.ledger.lanes import Lane
from worker.ledger.rows import State
from worker.unserved import (
    FORGET_SECONDS,
    FROM_THE_HEAD_SECONDS,
    LINES_AT_ONCE,
    LOOKED_AT_A_ROUND,
    WALKS_A_ROUND,
    Explainer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.effective import EffectiveSettings
    from tests.support.fakes import Desk
    from worker.ledger.engine import Operation

T = TypeVar("T")
LANE = Lane("acme", "", "send")
REASON = "company acme is not configured"
UNKNOWN = UnknownCompany(REASON)


class Rounds:
    """An explainer whose operations on the ledger are counted.

    Attributes:
        why: what the settings say of every line, or None where they serve it.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.why: Exception | str | None = UNKNOWN
        self.told: list[str] = []
        self.met: list[Lane] = [LANE]
        self.explainer = Explainer(
            desk.ledger,
            self._resolve,
            self._tell,
            wait_seconds=60.0,
            clock=lambda: desk.clock.steady,
        )
        self.reads = -desk.ledger.calls
        self._read = desk.ledger.read
        desk.ledger.read = self._counted  # type: ignore[method-assign]  # counts

    def _counted(self, operation: Operation[T]) -> T:
        self.reads += 1
        return self._read(operation)

    def _resolve(self, _company: str | None, _user: str | None, _kind: str) -> EffectiveSettings:
        if isinstance(self.why, Exception):
            raise self.why
        return make_settings(held_reason=self.why)

    def _tell(self, job_ids: Iterable[str]) -> None:
        self.told.extend(job_ids)

    @property
    def operations(self) -> int:
        """How often the ledger was asked or changed."""
        return self.reads + self.desk.ledger.calls

    def go(self, count: int = 1) -> int:
        """Meet the lines and do so many rounds; how many operations that took."""
        before = self.operations
        for _ in range(count):
            for lane in self.met:
                self.explainer.note(lane)
            self.explainer.work()
            self.desk.clock.advance(2.0)
        return self.operations - before


@pytest.fixture
def rounds(desk: Desk) -> Rounds:
    """An explainer that waits a minute for settings."""
    return Rounds(desk)


def test_waiting_jobs_are_told_why(rounds: Rounds) -> None:
    """The reason stands on every job of the line, and on no other's."""
    one, other = jobs(1)[0], jobs(2, company="other")[1]
    rounds.desk.accept(one, other)
    rounds.go()
    assert rounds.desk.row(one.id).reason == REASON
    assert rounds.desk.row(other.id).reason == ""


def test_meeting_a_line_costs_nothing(rounds: Rounds) -> None:
    """The pump's thread notes it again and again; the ledger is not asked for that."""
    for _ in range(1000):
        rounds.explainer.note(LANE)
    assert rounds.operations == 0


def test_what_was_told_costs_one_query_a_round(rounds: Rounds) -> None:
    """A line that is told is only asked for news."""
    rounds.desk.accept(*jobs(3))
    rounds.go()
    assert rounds.go(10) == 10


@pytest.mark.parametrize("lines", [5, 1000])
def test_a_thousand_lines_cost_as_little_as_five(rounds: Rounds, lines: int) -> None:
    """In a round without news there is one query, and one line may be walked anew."""
    rounds.met = [Lane(f"c{number}", "", "send") for number in range(lines)]
    while any(told.through_at is None for told in rounds.explainer._told.values()) or not (
        rounds.explainer._told
    ):
        assert rounds.go() <= WALKS_A_ROUND + 1
    assert rounds.go(30) <= 60


def test_each_of_many_lines_gets_its_turn(rounds: Rounds) -> None:
    """A job that comes into any of them is told within a few rounds."""
    rounds.met = [Lane(f"c{number}", "", "send") for number in range(3 * LOOKED_AT_A_ROUND)]
    rounds.go(1 + len(rounds.met) // LINES_AT_ONCE // WALKS_A_ROUND)
    late = jobs(3)
    for job, number in zip(late, (0, 250, len(rounds.met) - 1), strict=True):
        rounds.desk.accept(job.model_copy(update={"company": f"c{number}"}))
    rounds.go(3)
    assert {rounds.desk.row(job.id).reason for job in late} == {REASON}


def test_another_reason_is_written_in_the_next_round(rounds: Rounds) -> None:
    """Somebody works on the settings: the row says what is wrong now."""
    (job,) = jobs(1)
    rounds.desk.accept(job)
    rounds.go()
    rounds.why = "smtp.port: missing"
    rounds.go()
    assert rounds.desk.row(job.id).reason == "smtp.port: missing"


def test_a_line_that_is_served_again_is_left_alone(rounds: Rounds) -> None:
    """The settings came since the pump met it: nothing is said, and nobody is ended."""
    (job,) = jobs(1)
    rounds.desk.accept(job)
    rounds.desk.clock.advance(61.0)
    rounds.why = None
    assert rounds.go() == 0
    row = rounds.desk.row(job.id)
    assert (row.state, row.reason) == (State.WAITING, "")


def test_settings_that_never_come_end_the_wait(rounds: Rounds) -> None:
    """After the wait the jobs are dead with both facts, and reported; the younger ones wait on."""
    old, young = jobs(2)
    rounds.desk.accept(old)
    rounds.desk.clock.advance(50.0)
    rounds.desk.accept(young)
    rounds.go(4)
    assert rounds.desk.row(old.id).state is State.WAITING
    rounds.go(3)
    row = rounds.desk.row(old.id)
    assert (row.state, row.reason) == (State.DEAD, f"{REASON}; it did not come within 60 s")
    assert rounds.told == [old.id]
    assert rounds.desk.row(young.id).state is State.WAITING
    rounds.go(30)
    assert rounds.told == [old.id, young.id]


def test_an_old_job_that_is_gone_is_not_looked_for_again(rounds: Rounds) -> None:
    """A person cancelled it meanwhile: when its time comes there is one look, and no more."""
    rounds.desk.accept(*jobs(1))
    rounds.go()
    rounds.desk.ledger.call(
        lambda c, _: c.exec_driver_sql("UPDATE delivery SET state = 'cancelled', body = NULL")
    )
    rounds.go(31)
    assert rounds.go(10) == 10


@pytest.mark.parametrize("why", ["held", ConfigError("wrong"), NoUser("no default_user")])
def test_settings_that_are_wrong_wait_for_a_person(rounds: Rounds, why: Exception | str) -> None:
    """Only what is not there at all may be a slip of the producer; a mistake here kills no mail."""
    (job,) = jobs(1)
    rounds.desk.accept(job)
    rounds.desk.clock.advance(86_400.0)
    rounds.why = why
    rounds.go(3)
    row = rounds.desk.row(job.id)
    assert (row.state, row.reason) == (State.WAITING, str(why))


def test_a_fault_of_ours_is_told_and_kills_no_mail(rounds: Rounds) -> None:
    """Its kind, not its message, which could hold anything; the job waits for a new version."""
    (job,) = jobs(1)
    rounds.desk.accept(job)
    rounds.why = ValueError("secret")
    rounds.go(3)
    row = rounds.desk.row(job.id)
    assert (row.state, row.reason) == (State.WAITING, "a fault in Postmeter: ValueError")


def test_a_deep_line_is_done_in_small_steps(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction changes a few rows, a round makes a few, and in the end all is done."""
    monkeypatch.setattr(unserved, "STEP", 4)
    rounds.desk.accept(*jobs(50))
    assert rounds.go() == WALKS_A_ROUND
    rounds.go()
    assert {rounds.desk.row(job.id).reason for job in jobs(50)} == {REASON}
    rounds.desk.clock.advance(61.0)
    rounds.go(3)
    assert len(rounds.told) == len(set(rounds.told)) == 50


def test_a_deep_line_that_was_told_is_not_read_again(rounds: Rounds) -> None:
    """Idle work does not grow with the line: only what came in since is read, and told."""
    rounds.desk.accept(*jobs(6))
    rounds.go()
    late = make_job(id="019f0000-0000-7000-8000-00000000ffff")
    rounds.desk.accept(late)
    assert rounds.go() == 2
    assert rounds.desk.row(late.id).reason == REASON


def test_a_whole_line_is_walked_again_now_and_then(rounds: Rounds) -> None:
    """What was put before the place reached is told in the end."""
    (job,) = jobs(1)
    rounds.desk.accept(job)
    rounds.go()
    rounds.desk.ledger.call(lambda c, _: c.exec_driver_sql("UPDATE delivery SET reason = 'later'"))
    rounds.go()
    assert rounds.desk.row(job.id).reason == "later"
    rounds.why = "held"  # else its wait would end first
    rounds.go()
    rounds.desk.ledger.call(lambda c, _: c.exec_driver_sql("UPDATE delivery SET reason = 'later'"))
    rounds.go(int(FROM_THE_HEAD_SECONDS / 2) + 2)
    assert rounds.desk.row(job.id).reason == "held"


def test_lines_that_nobody_meets_are_forgotten(rounds: Rounds) -> None:
    """Anybody may name a company: what was said of a thousand is not kept for ever."""
    rounds.met = [Lane(f"c{number}", "", "send") for number in range(1000)]
    rounds.go()
    rounds.met = []
    rounds.desk.clock.advance(FORGET_SECONDS)
    assert rounds.go() == 0
    assert not rounds.explainer._told
    assert not rounds.explainer._met


def test_without_ledger_the_round_is_made_again(rounds: Rounds) -> None:
    """Nothing was written, so the next round begins where this one was."""
    (job,) = jobs(1)
    rounds.desk.accept(job)
    rounds.desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable, match=AWAY):
        rounds.go()
    rounds.go()
    assert rounds.desk.row(job.id).reason == REASON
