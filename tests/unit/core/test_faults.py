"""A fault of ours that concerns one line is that line's alone: it rests, and the others' mail flows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from config.effective import EffectiveSettings
from tests.support.clock import FakeClock
from tests.support.fakes import limited_settings
from tests.support.pumping import FaultLog, Pumping, fill
from worker.faults import FORGET_SECONDS, REST_SECONDS, Faults
from worker.ledger.holds import put_hold
from worker.ledger.lanes import Lane
from worker.pump import REFRESH_SECONDS

if TYPE_CHECKING:
    from tests.support.fakes import Desk

JANE = Lane("acme", "jane", "send")
FAULT = ValueError("nobody thought of this")
TOLD = [("jane", repr(FAULT))]
WHY = "a fault in Postmeter: ValueError"


@pytest.fixture
def pumping(desk: Desk) -> Pumping:
    """A pump in virtual time, and two lines with two mails each."""
    fill(desk, ("jane", "send", 2), ("john", "send", 2))
    return Pumping(desk)


def test_a_fault_in_the_settings_stops_nobody_else(pumping: Pumping) -> None:
    """The others flow; the line is told why, asked for once a minute, and logged once."""
    pumping.by_user["jane"] = FAULT
    assert pumping.drain() == [("john", "send")] * 2
    assert (JANE, WHY, None) in pumping.explained
    asked = pumping.looks.count("jane")
    assert pumping.drain(REST_SECONDS / 2) == []
    assert pumping.looks.count("jane") == asked
    assert pumping.drain(3 * REST_SECONDS) == []
    assert pumping.looks.count("jane") == asked + 3
    assert pumping.log.faults == TOLD


def test_settings_that_were_put_right_count_at_once(pumping: Pumping) -> None:
    """Nobody waits for the rest of a minute."""
    pumping.by_user["jane"] = FAULT
    assert pumping.drain() == [("john", "send")] * 2
    del pumping.by_user["jane"]
    assert pumping.drain() == [("jane", "send")] * 2


def test_a_fault_that_comes_with_new_settings_stops_nobody_else(pumping: Pumping) -> None:
    """A line that took part rests from the next look at the settings on."""
    assert pumping.next() is not None
    pumping.by_user["jane"] = FAULT
    pumping.desk.clock.advance(REFRESH_SECONDS)
    assert set(pumping.drain()) == {("john", "send")}
    assert pumping.log.faults == TOLD
    del pumping.by_user["jane"]
    assert set(pumping.drain()) == {("jane", "send")}


class Odd(EffectiveSettings):
    """Settings whose credential cannot be named."""

    @property
    def credential(self) -> str:
        """Meet a fault."""
        raise FAULT


def test_a_fault_in_a_lines_holds_stops_nobody_else(pumping: Pumping) -> None:
    """Met when the line has its turn, while anything is held: no place in flight is lost."""
    settings = limited_settings()
    fields: dict[str, Any] = {name: getattr(settings, name) for name in settings.__slots__}
    pumping.by_user["jane"] = Odd(**fields)
    desk = pumping.desk
    desk.ledger.call(lambda c, now: put_hold(c, now, "server:elsewhere:25", "down"))
    assert pumping.drain() == [("john", "send")] * 2
    assert pumping.log.faults == TOLD
    assert pumping.capacity.in_flight == 2


def test_a_fault_while_a_job_is_taken_leaks_no_place(desk: Desk) -> None:
    """The line has entered already: its place is given back, and its job is still waiting."""
    fill(desk, ("jane", "send", 1), ("john", "send", 1))

    def lead_seconds(settings: EffectiveSettings) -> float:
        if settings.user == "jane":
            raise FAULT
        return 0.0

    desk.server.lead_seconds = lead_seconds  # type: ignore[method-assign] # a transport's fault
    pumping = Pumping(desk)
    pumping.by_user[""] = replace(limited_settings(), mailbox_emails_per_min=30)
    assert pumping.drain() == [("john", "send")]
    assert pumping.capacity.in_flight == 1
    assert pumping.log.faults == TOLD
    assert desk.query("SELECT state FROM delivery WHERE user_id = 'jane'") == [("waiting",)]


def test_a_fault_is_told_once_as_long_as_it_goes_on() -> None:
    """Once for a company; another company's, another kind, and one that came back are told too."""
    log, clock = FaultLog(), FakeClock()
    faults = Faults(log, lambda: clock.steady)
    for _ in range(20):
        for user in ("jane", "john"):
            faults.tell(JANE._replace(user=user), FAULT)
        clock.advance(FORGET_SECONDS / 2)
    assert log.faults == TOLD
    faults.tell(JANE._replace(company="beta"), FAULT)
    faults.tell(JANE, KeyError("port"))
    assert len(log.faults) == 3
    clock.advance(FORGET_SECONDS + 1)
    faults.tell(JANE, FAULT)
    assert len(log.faults) == 4
