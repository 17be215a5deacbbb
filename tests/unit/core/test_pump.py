"""The pump: which job goes next, what it passes by, and when it looks again."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from config.errors import UnknownCompany
from tests.support.fakes import AWAY, OK, jobs, limited_settings
from tests.support.jobs import make_job
from tests.support.pumping import Pumping, fill
from worker.capacity import Capacity, Caps
from worker.ledger import endings, holds
from worker.ledger.lanes import Lane
from worker.ledger.rows import Settlement, State
from worker.outcome import Outcome
from worker.pump import REFRESH_SECONDS, Pump

if TYPE_CHECKING:
    from tests.support.fakes import Desk
    from worker.work import Work

SERVER = "server:127.0.0.1:25"
SENT = Settlement(State.SENT, Outcome.SENT, reply=str(OK), event=Outcome.SENT, accepted=True)


@pytest.fixture
def pumping(desk: Desk) -> Pumping:
    """A pump in virtual time over an empty ledger."""
    return Pumping(desk)


def settle(desk: Desk, work: Work) -> None:
    """The server has taken it."""
    claim = work.claim
    desk.ledger.call(
        lambda c, now: endings.settle(c, now, claim.job_id, claim.token, 1, SENT, begun=False)
    )


def test_single_sends_go_before_batches(pumping: Pumping) -> None:
    """A password reset does not stand behind a batch that came first."""
    fill(pumping.desk, ("jane", "batch", 2), ("john", "send", 2))
    kinds = [kind for _, kind in pumping.drain()]
    assert kinds == ["send", "send", "batch", "batch"]


def test_lanes_take_turns_whatever_their_depth(pumping: Pumping) -> None:
    """Ten mails of Jane do not stand before John's two."""
    fill(pumping.desk, ("jane", "batch", 5), ("john", "batch", 2))
    users = [user for user, _ in pumping.drain()]
    assert users[:4] in (["jane", "john"] * 2, ["john", "jane"] * 2)
    assert users[4:] == ["jane"] * 3


def test_turns_are_kept_when_the_lanes_are_read_again(pumping: Pumping) -> None:
    """The lane served longest ago goes first after a refresh too."""
    fill(pumping.desk, ("jane", "batch", 4), ("john", "batch", 4), ("zoe", "batch", 4))
    users = []
    for _ in range(12):
        work = pumping.next()
        assert work is not None
        users.append(work.claim.user)
        pumping.desk.clock.advance(REFRESH_SECONDS)
    assert [sorted(users[i : i + 3]) for i in range(0, 12, 3)] == [["jane", "john", "zoe"]] * 4


def test_an_empty_ledger_costs_one_look_a_quarter_second(pumping: Pumping) -> None:
    """Idle, it waits whole quarters of a second, and asks for no settings."""
    assert pumping.next(1.0) is None
    assert pumping.wake.waits == [REFRESH_SECONDS] * 4
    assert pumping.looks == []


def test_a_nudge_wakes_it_at_once(pumping: Pumping) -> None:
    """A job that comes in while the pump waits is taken without the wait's rest."""

    def arrive() -> None:
        fill(pumping.desk, ("jane", "send", 1))
        pumping.pump.nudge(Lane("acme", "jane", "send"))

    before = pumping.desk.clock.steady
    pumping.wake.meanwhile.append(arrive)
    work = pumping.next(5.0)
    assert work is not None
    assert work.claim.user == "jane"
    assert pumping.desk.clock.steady - before < 0.01


def test_a_nudge_between_look_and_wait_is_not_lost(pumping: Pumping) -> None:
    """Told before it waits, it does not wait at all."""
    assert pumping.next(0.1) is None  # the lanes were just read, and empty
    fill(pumping.desk, ("jane", "send", 1))
    pumping.pump.nudge(Lane("acme", "jane", "send"))
    waits = len(pumping.wake.waits)
    assert pumping.next(0.1) is not None
    assert len(pumping.wake.waits) == waits


def test_nudges_from_another_thread_reach_a_pump_that_waits(desk: Desk) -> None:
    """With a real condition and real threads: what is nudged is handed out."""
    pump = Pump(Pumping(desk, monotonic=time.monotonic).pump._s)
    found: list[object] = []
    consumer = threading.Thread(target=lambda: found.append(pump.next(10.0)))
    consumer.start()
    fill(desk, ("jane", "send", 1))
    pump.nudge(Lane("acme", "jane", "send"))
    consumer.join(10.0)
    assert not consumer.is_alive()
    assert found != [None]


def test_a_scope_without_a_slot_is_not_asked_again_until_its_time(pumping: Pumping) -> None:
    """One slot a minute: after it is taken nothing asks the ledger for the lane until it rests."""
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=1, pace="burst")
    fill(pumping.desk, ("jane", "send", 2))
    first = pumping.next()
    assert first is not None
    settle(pumping.desk, first)
    asked = pumping.desk.tokens
    assert pumping.next(50.0) is None
    assert pumping.desk.tokens - asked <= 2
    second = pumping.next(15.0)
    assert second is not None
    assert second.claim.not_before_steady >= first.claim.not_before_steady + 60.0


def test_a_lane_without_a_slot_does_not_stop_the_next(pumping: Pumping) -> None:
    """Jane's mailbox is at its limit; John's mail goes."""
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=1, pace="burst")
    fill(pumping.desk, ("jane", "send", 3), ("john", "send", 2))
    assert sorted(pumping.drain()) == [("jane", "send"), ("john", "send"), ("john", "send")]


def test_a_limit_that_is_raised_counts_at_once(pumping: Pumping) -> None:
    """The old limit blocks for a minute; the new one is asked without waiting for that."""
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=1, pace="burst")
    fill(pumping.desk, ("jane", "send", 3))
    first = pumping.next()
    assert first is not None
    settle(pumping.desk, first)
    assert pumping.next() is None
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=3, pace="burst")
    assert len(pumping.drain(0.5)) == 2


def test_a_slot_that_comes_back_is_asked_for_again(pumping: Pumping) -> None:
    """A job put back unused frees its slot: the next one does not wait for a minute."""
    desk = pumping.desk
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=1, pace="burst")
    fill(desk, ("jane", "send", 2))
    work = pumping.next()
    assert work is not None
    assert pumping.next() is None
    claim, later = work.claim, desk.clock.wall + 900
    desk.ledger.call(lambda c, now: endings.release(c, now, claim, due_at=later, reason="down"))
    pumping.pump.done({"work": work})
    before = desk.clock.steady
    again = pumping.next(5.0)
    assert again is not None
    assert again.claim.job_id != claim.job_id
    assert desk.clock.steady - before <= REFRESH_SECONDS


def test_a_slot_that_was_used_is_asked_for_once_more_and_no_more(pumping: Pumping) -> None:
    """Each end of a job costs at most one question for what its limit has."""
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=1, pace="burst")
    fill(pumping.desk, ("jane", "send", 2))
    work = pumping.next()
    assert work is not None
    assert pumping.next() is None
    settle(pumping.desk, work)
    pumping.pump.done({"work": work})
    asked = pumping.desk.ledger.calls
    assert pumping.next(50.0) is None
    assert pumping.desk.ledger.calls - asked <= 1


def test_a_dead_worker_asks_for_nothing_until_it_looks_again(pumping: Pumping) -> None:
    """Without its lease no line has anything for it: one question for all, four times a second."""
    fill(pumping.desk, *((f"user{n}", "send", 1) for n in range(9)))
    pumping.desk.ledger.call(lambda c, _: c.exec_driver_sql("DELETE FROM worker"))
    asked = pumping.desk.ledger.calls
    assert pumping.next(1.0) is None
    assert pumping.desk.ledger.calls - asked <= 5


def test_a_lost_probe_stops_what_is_held_until_the_holds_are_read(pumping: Pumping) -> None:
    """Another worker tries the server out: its nine lines cost one question, the others flow."""
    desk = pumping.desk
    pumping.by_user["john"] = limited_settings(server_address="127.0.0.2")
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, SERVER, "down"))
    desk.clock.advance(holds.FIRST_PROBE_SECONDS)
    assert pumping.next() is None
    fill(desk, *((f"user{n}", "send", 1) for n in range(9)), ("john", "send", 1))
    for n in range(9):
        pumping.pump.nudge(Lane("acme", f"user{n}", "send"))
    pumping.pump.nudge(Lane("acme", "john", "send"))
    desk.ledger.call(
        lambda c, now: holds.start_probes(c, now, [SERVER], worker="w2", token="theirs")
    )
    asked = desk.ledger.calls
    assert pumping.drain(2.0) == [("john", "send")]
    assert desk.ledger.calls - asked <= 4


def test_what_blocks_is_forgotten_when_it_blocks_no_more(pumping: Pumping) -> None:
    """A limit that was changed a thousand times leaves nothing behind."""
    for number in range(1, 6):
        pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=number, pace="burst")
        fill(pumping.desk, ("jane", "send", number + 1))
        pumping.drain()
    pumping.desk.clock.advance(100.0)
    pumping.by_user["jane"] = limited_settings()
    pumping.drain()
    assert pumping.pump._waits._blocked == {}


def test_a_held_lane_is_passed_by(pumping: Pumping) -> None:
    """A hold whose probe is not due: nothing is taken, and no slot or place is used."""
    desk = pumping.desk
    pumping.by_user["john"] = limited_settings(server_address="127.0.0.2")
    fill(desk, ("jane", "send", 1), ("john", "send", 1))
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, SERVER, "down"))
    assert pumping.drain() == [("john", "send")]
    assert pumping.capacity.in_flight == 1


def test_one_job_probes_when_its_time_has_come(pumping: Pumping) -> None:
    """The first due job tries the hold out; while it does, nobody else goes there."""
    desk = pumping.desk
    fill(desk, ("jane", "send", 2), ("john", "send", 2))
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, SERVER, "down"))
    assert pumping.next(holds.FIRST_PROBE_SECONDS - 0.5) is None
    probe = pumping.next(1.0)
    assert probe is not None
    assert probe.claim.probes == (SERVER,)
    assert pumping.next(2.0) is None
    assert desk.query("SELECT probe_token FROM hold") == [(probe.claim.token,)]


def test_everybody_goes_when_the_hold_has_ended(pumping: Pumping) -> None:
    """Within a quarter of a second after the hold is gone its lanes are served."""
    desk = pumping.desk
    fill(desk, ("jane", "send", 2))
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, SERVER, "down"))
    assert pumping.next() is None
    desk.ledger.call(lambda c, _: holds.clear_hold(c, SERVER))
    assert len(pumping.drain(REFRESH_SECONDS + 0.01)) == 2


def test_a_hold_put_by_this_process_counts_at_once(pumping: Pumping) -> None:
    """Else the same mail would be taken and put back for a quarter of a second."""
    desk = pumping.desk
    fill(desk, ("jane", "send", 2))
    assert pumping.next() is not None
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, SERVER, "down"))
    desk.ledger.holds_put += 1
    assert pumping.next(0.01) is None


@pytest.fixture
def narrow(desk: Desk) -> Pumping:
    """A pump with room for one single send."""
    caps = Caps(kinds={"send": 1, "batch": 1}, server=4, account=4)
    return Pumping(desk, capacity=Capacity(caps))


def test_without_room_a_job_stays_and_one_that_leaves_wakes_the_pump(narrow: Pumping) -> None:
    """The second job is taken the moment the first is done, without the wait's rest."""
    fill(narrow.desk, ("jane", "send", 2))
    first = narrow.next()
    assert first is not None
    before = narrow.desk.clock.steady
    narrow.wake.meanwhile.append(lambda: narrow.pump.done({"work": first}))
    assert narrow.next(5.0) is not None
    assert narrow.desk.clock.steady == before
    assert narrow.capacity.in_flight == 1


def test_without_room_for_sends_batches_still_go(narrow: Pumping) -> None:
    """A kind that is full stops nothing but itself."""
    fill(narrow.desk, ("jane", "send", 2), ("john", "batch", 2))
    assert narrow.drain() == [("jane", "send"), ("john", "batch")]


def test_no_room_makes_no_hot_loop(narrow: Pumping) -> None:
    """While nobody leaves it looks four times a second, and takes nothing."""
    fill(narrow.desk, ("jane", "send", 2))
    assert narrow.next() is not None
    tokens = narrow.desk.tokens
    assert narrow.next(2.0) is None
    assert len(narrow.wake.waits) <= 9
    assert narrow.desk.tokens == tokens


def test_who_leaves_disturbs_no_pump_that_has_room(pumping: Pumping) -> None:
    """Every delivery that ends would else be a look at every lane."""
    fill(pumping.desk, ("jane", "send", 1))
    work = pumping.next()
    assert work is not None
    pumping.wake.meanwhile.append(lambda: pumping.pump.done({"work": work}))
    assert pumping.next(REFRESH_SECONDS) is None
    assert len(pumping.wake.waits) == 1
    assert pumping.capacity.in_flight == 0


def test_paused_it_hands_out_nothing_and_resumed_at_once(pumping: Pumping) -> None:
    """While the ledger is away nothing is claimed."""
    fill(pumping.desk, ("jane", "send", 1))
    pumping.pump.pause()
    assert pumping.next(1.0) is None
    assert pumping.desk.tokens == 0
    before = pumping.desk.clock.steady
    pumping.wake.meanwhile.append(pumping.pump.resume)
    assert pumping.next(1.0) is not None
    assert pumping.desk.clock.steady == before


@pytest.mark.parametrize("away", [[True], [False, True]], ids=["reading", "taking"])
def test_a_ledger_that_is_away_is_told_of_and_leaks_no_place(
    pumping: Pumping, away: list[bool]
) -> None:
    """Whichever statement fails: reported, the place in flight given back, later it goes on."""
    fill(pumping.desk, ("jane", "send", 1))
    pumping.desk.ledger.away.extend(away)
    assert pumping.next(0.01) is None
    assert [str(error) for error in pumping.away] == [AWAY]
    assert pumping.capacity.in_flight == 0
    assert pumping.next(1.0) is not None


def test_a_lane_without_settings_is_explained_and_stops_nobody(pumping: Pumping) -> None:
    """Its jobs stay and are told why; the others go."""
    error = UnknownCompany("company acme is not configured")
    pumping.by_user["jane"] = error
    fill(pumping.desk, ("jane", "send", 1), ("john", "send", 1))
    assert pumping.drain() == [("john", "send")]
    assert (Lane("acme", "jane", "send"), str(error), error) in pumping.explained


def test_settings_that_hold_a_context_are_explained_too(pumping: Pumping) -> None:
    """Settings that are there but not usable: the reason is theirs, and no error."""
    pumping.by_user["jane"] = replace(
        limited_settings(), held_reason="smtp.port: 99999 is too large"
    )
    fill(pumping.desk, ("jane", "send", 1))
    assert pumping.next() is None
    lane = Lane("acme", "jane", "send")
    assert (lane, "smtp.port: 99999 is too large", None) in pumping.explained


def test_settings_that_come_later_are_seen(pumping: Pumping) -> None:
    """A lane that could not be served is served when its settings are there."""
    pumping.by_user["jane"] = UnknownCompany("not yet")
    fill(pumping.desk, ("jane", "send", 1))
    assert pumping.next() is None
    del pumping.by_user["jane"]
    assert pumping.next(REFRESH_SECONDS + 0.01) is not None


def test_the_systems_own_lane_is_asked_for_without_a_company(pumping: Pumping) -> None:
    """A job that names no company goes by the system's settings."""
    pumping.desk.accept(make_job(company=None))
    work = pumping.next()
    assert work is not None
    assert work.settings.context == "_system"


def test_a_slot_is_taken_ahead_by_the_lead_alone(pumping: Pumping) -> None:
    """Half a second of lead: the slot is in hand before it is usable, and not much before."""
    desk = pumping.desk
    desk.server._lead_seconds = 0.5
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=6)
    fill(desk, ("jane", "send", 2))
    assert pumping.next() is not None
    work = pumping.next(20.0)
    assert work is not None
    ahead = work.claim.not_before_steady - desk.clock.steady
    assert 0.5 <= ahead <= 0.66


def test_a_thousand_waiting_jobs_cost_no_more_than_one(pumping: Pumping) -> None:
    """What blocks is asked by lane: the depth of the line changes nothing."""
    pumping.by_user["jane"] = limited_settings(mailbox_emails_per_min=1, pace="burst")
    pumping.desk.accept(*jobs(30, user="jane"))
    assert pumping.next() is not None
    asked = len(pumping.looks)
    pumping.next(1.0)
    assert len(pumping.looks) - asked <= 6
