"""Intake: whether a job goes at once or waits, and that no place in flight is lost over it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from config.errors import UnknownCompany
from producers.envelope import encode
from producers.topology import Topology
from tests.support.fakes import AWAY, WORKER, limited_settings
from tests.support.jobs import JOB_ID, make_job
from tests.support.pumping import FaultLog
from worker.capacity import Capacity, Caps
from worker.errors import LedgerUnavailable
from worker.faults import Faults
from worker.holding import Holding
from worker.intake import Gate, Intake
from worker.ledger.holds import Hold
from worker.ledger.lanes import Lane
from worker.ledger.rows import State
from worker.shortcut import Shortcut

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from tests.support.fakes import Desk
    from worker.pump import Pump

QUEUES = Topology()
LANE = Lane("acme", "", "send")
NO_ROOM = Caps(kinds={"send": 0}, server=0, account=0)


@dataclass
class Bell:
    """In place of the pump: what it was told."""

    lanes: list[Lane] = field(default_factory=list)
    left: int = 0

    def nudge(self, lane: Lane) -> None:
        """Note the lane."""
        self.lanes.append(lane)

    def room(self) -> None:
        """Note that somebody has left."""
        self.left += 1


class Door:
    """An intake over a desk, whose every condition a test can change."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.bell = Bell()
        self.settings: EffectiveSettings | Exception = limited_settings()
        self.holding = Holding()
        self.capacity = Capacity()
        self.shortcut = Shortcut()
        self.log = FaultLog()
        self.faults = Faults(self.log, lambda: self.desk.clock.steady)

    def resolve(self, _company: str | None, _user: str | None, _kind: str) -> EffectiveSettings:
        """The settings in force, or why there are none."""
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings

    def take_in(self, *, redelivered: bool = False, **fields: Any) -> None:
        """Take in the test's job."""
        gate = Gate(
            self.resolve,
            self.holding,
            self.capacity,
            self.shortcut,
            self.desk.new_token,
            self.faults,
        )
        intake = Intake(self.desk.tools, gate, cast("Pump", self.bell), WORKER)
        envelope = encode(make_job(**fields), QUEUES.send)
        asyncio.run(intake.take_in(envelope, QUEUES.send, redelivered=redelivered))


@pytest.fixture
def door(desk: Desk) -> Door:
    """An intake through which everything goes at once."""
    return Door(desk)


def test_what_waits_for_nothing_goes_at_once(door: Door) -> None:
    """Sent in the call, its place given back, the pump told that there is room."""
    door.take_in()
    assert door.desk.row(JOB_ID).state is State.SENT
    assert (door.capacity.in_flight, door.bell.left, door.bell.lanes) == (0, 1, [])


def hold_server(door: Door) -> None:
    """Something the job needs is held."""
    door.holding.replace([Hold("server:127.0.0.1:25", "down", 0.0, None, 0.0, 1, None)])


def pause_company(door: Door) -> None:
    """A person has paused every single send of the company."""
    pause = Hold("company:acme:send", "paused", 0.0, None, 1e18, 0, None, "operator", "ann")
    door.holding.replace([pause])
    door.settings = limited_settings(context="acme", company="acme")


def limit(door: Door) -> None:
    """A limit binds it."""
    door.settings = limited_settings(mailbox_emails_per_min=30)


def unknown(door: Door) -> None:
    """There are no settings."""
    door.settings = UnknownCompany("company acme is not configured")


def faulty(door: Door) -> None:
    """To look at the settings meets a fault of ours."""
    door.settings = ValueError("a fault")


def broken(door: Door) -> None:
    """The settings are there and wrong."""
    door.settings = limited_settings(held_reason="smtp.port: missing")


def full(door: Door) -> None:
    """Nothing more may be in flight."""
    door.capacity = Capacity(NO_ROOM)


def many_on_the_short_way(door: Door) -> None:
    """As much is being delivered straight from the queue as may stay unacknowledged."""
    while door.shortcut.try_enter(limited_settings()):
        continue


def draft_first(door: Door) -> None:
    """A draft is made in a mailbox before it begins: of two copies one must have the claim."""
    door.settings = limited_settings(transport="microsoft-365")


@pytest.mark.parametrize(
    "obstacle",
    [
        hold_server,
        pause_company,
        limit,
        unknown,
        faulty,
        broken,
        full,
        many_on_the_short_way,
        draft_first,
    ],
)
def test_what_may_not_go_now_waits_in_its_lane(
    door: Door, obstacle: Callable[[Door], None]
) -> None:
    """One row, one nudge, no place in flight used, and nothing sent."""
    obstacle(door)
    door.take_in()
    assert door.desk.row(JOB_ID).state is State.WAITING
    assert door.bell.lanes == [LANE]
    assert door.desk.server.mails == []
    assert door.capacity.in_flight == 0


def test_a_fault_is_told_and_loses_no_mail(door: Door) -> None:
    """Told once for a company, however many jobs meet it; all of them wait."""
    faulty(door)
    door.take_in()
    door.take_in(id=JOB_ID.replace("1", "2"))
    assert door.log.faults == [("", "ValueError('a fault')")]
    assert door.desk.query("SELECT state FROM delivery") == [(State.WAITING,)] * 2


def test_a_batch_that_no_limit_binds_waits_while_it_is_paused(door: Door) -> None:
    """Another batch of the same company goes at once."""
    door.settings = limited_settings(kind="batch")
    hold = Hold("batch:acme/november", "paused", 0.0, None, 1e18, 0, None, "operator", "ann")
    door.holding.replace([hold])
    other = JOB_ID.replace("1", "2")
    door.take_in(kind="batch", batch_id="november", batch_index=0)
    door.take_in(kind="batch", batch_id="december", batch_index=0, id=other)
    assert door.desk.row(JOB_ID).state is State.WAITING
    assert door.desk.row(other).state is State.SENT


@pytest.mark.parametrize("caps", [Caps(), NO_ROOM])
def test_the_short_way_is_free_again_whether_it_was_gone_or_not(door: Door, caps: Caps) -> None:
    """Delivered, or turned away for want of another place: half of what the queue hands out is free."""
    door.capacity = Capacity(caps)
    door.take_in()
    assert sum(door.shortcut.try_enter(limited_settings()) for _ in range(64)) == 32


def test_a_date_ahead_is_waited_for_and_one_that_has_passed_is_not(door: Door) -> None:
    """send_at in the future: a row that is due then. In the past: at once."""
    wall = door.desk.clock.wall
    at = datetime.fromtimestamp(wall + 3600.0, UTC)
    door.take_in(send_at=at)
    assert (door.desk.row(JOB_ID).state, door.desk.row(JOB_ID).due_at) == (
        State.WAITING,
        wall + 3600.0,
    )
    other = JOB_ID.replace("1", "2")
    door.take_in(id=other, send_at=datetime.fromtimestamp(wall - 1.0, UTC))
    assert door.desk.row(other).state is State.SENT


def test_a_second_copy_of_a_waiting_job_tells_nobody(door: Door) -> None:
    """The first row is responsible; the pump was told of it."""
    limit(door)
    for _ in range(2):
        door.take_in()
    assert door.bell.lanes == [LANE]


def test_a_redelivered_copy_is_looked_up_before_it_connects(door: Door) -> None:
    """It was sent, and only its acknowledgement was lost: no server is troubled again."""
    door.take_in()
    door.take_in(redelivered=True)
    assert len(door.desk.server.mails) == 1
    assert door.desk.outcomes == ["sent"]


def test_redelivered_and_never_recorded_it_goes(door: Door) -> None:
    """The first worker died before it wrote a row: this copy is the job."""
    door.take_in(redelivered=True)
    assert door.desk.row(JOB_ID).state is State.SENT


@pytest.mark.parametrize("direct", [True, False])
def test_without_ledger_it_comes_again_and_loses_no_place(door: Door, *, direct: bool) -> None:
    """Neither way may acknowledge what was not recorded."""
    if not direct:
        limit(door)
    door.desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable, match=AWAY):
        door.take_in()
    assert (door.capacity.in_flight, door.bell.lanes) == (0, [])
    assert door.desk.find(JOB_ID) is None
