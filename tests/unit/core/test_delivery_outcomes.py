"""Delivery: what each answer of a server comes to, in the row, the slots and the report."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import (
    LATER,
    NEVER,
    OK,
    all_accepted,
    heard,
    limited_settings,
)
from tests.support.jobs import JOB_ID, NOW, make_job
from tests.support.settings import make_settings
from worker.errors import Deferred, Held, Rejected, Unknown
from worker.ledger import holds, housekeeping
from worker.ledger.rows import State
from worker.outcome import HoldTarget, RecipientState, TargetKind, Transmission

if TYPE_CHECKING:
    from tests.support.fakes import Desk

SCOPE = "mailbox:acme/jane"
SERVER = HoldTarget(TargetKind.SERVER, "127.0.0.1:25")
A, B = "ann@example.org", "bob@example.org"


def limited(desk: Desk) -> None:
    """Let jobs come under a limit of two a minute of the mailbox."""
    desk.settings = limited_settings(mailbox_emails_per_min=2, pace="burst")


def deliver(desk: Desk, *, direct: bool = False, **fields: object) -> None:
    """Deliver the test's job once."""
    job = make_job(**fields)
    delivery = desk.direct(job) if direct else desk.claimed(job, accept=desk.find(job.id) is None)
    asyncio.run(delivery.run())


@pytest.mark.parametrize("direct", [True, False])
def test_what_the_server_takes_is_sent(desk: Desk, *, direct: bool) -> None:
    """A mail taken for everybody is final, counted once, with its times."""
    deliver(desk, direct=direct)
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts, row.reply, row.body) == (State.SENT, 1, str(OK), None)
    (fact,) = desk.facts
    assert (fact.outcome, fact.attempts, fact.data_seconds) == ("sent", 1, 0.0)
    assert fact.queue_wait_seconds == desk.clock.wall - NOW.timestamp()


def test_a_partial_refusal_is_sent_and_says_who_was_missed(desk: Desk) -> None:
    """One recipient taken, one refused for good: sent, with the refusal in the reason."""
    desk.server.after.append(Transmission((heard(A, OK), heard(B, NEVER)), OK))
    deliver(desk, to=[A, B])
    row = desk.row(JOB_ID)
    assert row.state is State.SENT
    assert row.reason == f"1 of 2 recipients missed: {NEVER}"
    assert [r.state for r in row.recipients] == ["accepted", "refused"]


@pytest.mark.parametrize("direct", [True, False])
def test_all_refused_is_dead_without_a_begin(desk: Desk, *, direct: bool) -> None:
    """Nobody was accepted, so nothing began: dead, one attempt, the slot used."""
    limited(desk)
    desk.server.unasked.append(Transmission((heard(A, NEVER),), None))
    deliver(desk, direct=direct, to=[A])
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts) == (State.DEAD, 1)
    assert row.reason == f"no recipient was accepted: {NEVER}"
    assert desk.server.begun_at == []
    if not direct:
        assert desk.free_slots(SCOPE) == 1


def test_only_the_deferred_recipients_are_tried_again(desk: Desk) -> None:
    """A partial deferral waits; the next attempt goes to who is left, and then it is sent."""
    desk.server.after.append(Transmission((heard(A, OK), heard(B, LATER)), OK))
    deliver(desk, to=[A, B])
    row = desk.row(JOB_ID)
    assert row.state is State.WAITING
    assert row.due_at == desk.clock.wall + 30.0
    assert row.reason == f"1 of 2 recipients deferred: {LATER}"
    desk.clock.advance(31.0)
    deliver(desk, to=[A, B])
    assert [mail.recipients for mail in desk.server.mails] == [(A, B), (B,)]
    assert [r.state for r in desk.row(JOB_ID).recipients] == ["accepted", "accepted"]
    assert desk.outcomes == ["deferred", "sent"]


def test_both_attempts_have_the_same_date(desk: Desk) -> None:
    """The Date is fixed at the first attempt, however late the second is."""
    desk.server.after.append(Deferred("later", reply=LATER))
    deliver(desk)
    desk.clock.advance(3600.0)
    deliver(desk)
    assert desk.server.mails[0].content == desk.server.mails[1].content


def test_a_mail_that_was_not_taken_keeps_its_recipients(desk: Desk) -> None:
    """RCPT was accepted and the mail deferred: nobody has got it, so everybody is tried again."""
    desk.server.after.append(
        Deferred("greylisted", reply=LATER, recipients=(heard(A, OK), heard(B, NEVER)))
    )
    deliver(desk, to=[A, B])
    states = {r.address: r.state for r in desk.row(JOB_ID).recipients}
    assert states == {A: RecipientState.DEFERRED, B: RecipientState.REFUSED}
    desk.clock.advance(31.0)
    deliver(desk, to=[A, B])
    assert desk.server.mails[1].recipients == (A,)
    assert desk.row(JOB_ID).state is State.SENT


def test_a_connection_that_broke_in_the_mail_settles_nobody(desk: Desk) -> None:
    """No reply to the mail: whose RCPT was accepted is still to be served, and has no last word."""
    desk.server.after.append(Deferred("broken", recipients=(heard(A, OK),)))
    deliver(desk, to=[A])
    assert desk.row(JOB_ID).recipients == ()
    desk.clock.advance(31.0)
    deliver(desk, to=[A])
    assert desk.server.mails[1].recipients == (A,)


def test_what_was_not_taken_is_not_sent_when_its_time_is_over(desk: Desk) -> None:
    """Accepted RCPTs of a mail that was deferred to the end do not make it sent."""
    desk.settings = make_settings(retry_for_seconds=0.0)
    desk.server.after.append(Deferred("greylisted", reply=LATER, recipients=(heard(A, OK),)))
    deliver(desk, to=[A])
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.DEAD, "out of time after 1 attempts: greylisted")
    assert [r.state for r in row.recipients] == ["deferred"]


def test_a_mail_refused_after_rcpt_is_refused_for_all(desk: Desk) -> None:
    """550 to the mail itself: nobody got it, and the row says so of each recipient."""
    desk.server.after.append(Rejected("spam", reply=NEVER, recipients=(heard(A, OK),)))
    deliver(desk, to=[A])
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.DEAD, "spam")
    assert [r.state for r in row.recipients] == ["refused"]


def test_a_rejected_retry_does_not_forget_who_has_the_mail(desk: Desk) -> None:
    """Ann has it since the first attempt: the job is sent, not dead, or a retry would double it."""
    desk.server.after.append(Transmission((heard(A, OK), heard(B, LATER)), OK))
    deliver(desk, to=[A, B])
    desk.clock.advance(31.0)
    desk.server.after.append(Rejected("spam", reply=NEVER, recipients=(heard(B, OK),)))
    deliver(desk, to=[A, B])
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.SENT, "1 of 2 recipients missed: spam")
    assert [r.state for r in row.recipients] == ["accepted", "refused"]


def test_out_of_time_after_a_partial_delivery_is_sent(desk: Desk) -> None:
    """What one recipient has stays sent when the time for the other is over."""
    desk.settings = make_settings(retry_for_seconds=30.0)
    partial = Transmission((heard(A, OK), heard(B, LATER)), OK)
    desk.server.after.append(partial)
    deliver(desk, to=[A, B])
    desk.clock.advance(31.0)
    desk.server.unasked.append(Transmission((heard(B, LATER),), None))
    deliver(desk, to=[A, B])
    row = desk.row(JOB_ID)
    assert row.state is State.SENT
    assert row.reason.startswith("1 of 2 recipients missed: out of time after 2 attempts: ")


def test_back_off_doubles_and_ends_when_the_time_is_over(desk: Desk) -> None:
    """30 s, 60 s, what is left; then dead with the last reason."""
    desk.settings = make_settings(retry_for_seconds=100.0)
    waits = []
    for _ in range(4):
        desk.server.before.append(Deferred("later", reply=LATER))
        deliver(desk)
        row = desk.row(JOB_ID)
        if row.state is State.WAITING:
            waits.append(row.due_at - desk.clock.wall)
            desk.clock.advance(waits[-1])
    assert waits == [30.0, 60.0, 10.0]
    assert (row.state, row.attempts) == (State.DEAD, 4)
    assert row.reason == "out of time after 4 attempts: later"


def lose_the_reply(desk: Desk) -> None:
    """Send the mail, hear nothing, and let its rest pass: it may go once more."""
    desk.server.after.append(Unknown("no reply"))
    deliver(desk)
    desk.clock.advance(601.0)
    assert desk.ledger.call(housekeeping.resend_unknown) == [JOB_ID]


def test_out_of_time_after_a_lost_reply_is_unknown_and_not_dead(desk: Desk) -> None:
    """The first attempt may have been accepted: a person decides, and is told so."""
    desk.settings = make_settings(retry_for_seconds=30.0)
    lose_the_reply(desk)
    for _ in range(2):
        desk.server.before.append(Deferred("later", reply=LATER))
        deliver(desk)
        desk.clock.advance(31.0)
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts) == (State.UNKNOWN, 3)
    assert row.reason.endswith("later; the reply to an earlier attempt never came")
    assert desk.ledger.call(housekeeping.resend_unknown) == []


def test_a_refusal_after_a_lost_reply_is_dead(desk: Desk) -> None:
    """The server has said what it thinks of this mail."""
    lose_the_reply(desk)
    desk.server.before.append(Rejected("spam", reply=NEVER))
    deliver(desk)
    assert desk.row(JOB_ID).state is State.DEAD


@pytest.mark.parametrize("direct", [True, False])
def test_a_held_server_leaves_the_mail_waiting_and_uncounted(desk: Desk, *, direct: bool) -> None:
    """Nothing was sent: the target is held, the job waits at once, the slot is free again."""
    limited(desk)
    desk.server.before.append(Held("connection refused", target=SERVER))
    deliver(desk, direct=direct)
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts, row.due_at) == (State.WAITING, 0, desk.clock.wall)
    assert row.reason == "connection refused"
    assert desk.holds() == [str(SERVER)]
    assert desk.outcomes == ["held"]
    if not direct:
        assert desk.free_slots(SCOPE) == 2


def test_a_hold_after_mail_uses_the_slot_but_no_attempt(desk: Desk) -> None:
    """421 to MAIL reached the server: its slot rests, and the mail is not to blame."""
    limited(desk)
    desk.server.before.append(Held("421", target=SERVER, reply=LATER, mail_sent=True))
    deliver(desk)
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts) == (State.WAITING, 0)
    assert desk.free_slots(SCOPE) == 1


@pytest.mark.parametrize(
    ("asked", "after", "note"),
    [
        (90.0, 90.0, ""),
        (0.0, 1.0, "; it asks for 0 s, and gets 1 s"),
        (-7.0, 1.0, "; it asks for -7 s, and gets 1 s"),
        (float("nan"), 1.0, "; it asks for nan s, and gets 1 s"),
        (31_536_000.0, 3600.0, "; it asks for 31536000 s, and gets 3600 s"),
    ],
)
def test_an_absurd_wish_is_not_granted(desk: Desk, asked: float, after: float, note: str) -> None:
    """Whatever a server asks for, it is tried again between a second and an hour from now."""
    desk.server.before.append(Held("429", target=SERVER, retry_after_seconds=asked))
    deliver(desk)
    ((reason, probe_at),) = desk.query("SELECT reason, next_probe_at FROM hold")
    assert (reason, probe_at - desk.clock.wall) == (f"429{note}", pytest.approx(after))
    assert desk.row(JOB_ID).reason == f"429{note}"


def test_a_hold_after_begin_never_leaves_the_job_in_data(desk: Desk) -> None:
    """Whatever a transport says of MAIL, what has begun is settled, not put back."""
    desk.server.after.append(Held("421", target=SERVER))
    deliver(desk)
    assert desk.row(JOB_ID).state is State.WAITING


def probed(desk: Desk) -> None:
    """Hold the server, and let the next delivery be its probe."""
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, str(SERVER), "down"))
    desk.clock.advance(holds.FIRST_PROBE_SECONDS)
    asyncio.run(desk.claimed(make_job(), probes=(str(SERVER),)).run())


def test_a_probe_that_is_answered_ends_the_hold(desk: Desk) -> None:
    """A reply of any kind to the mail shows that the server works again."""
    probed(desk)
    assert desk.holds() == []


def test_a_probe_that_fails_waits_twice_as_long(desk: Desk) -> None:
    """The hold stays, its next probe is later, and another may try then."""
    desk.server.before.append(Held("still down", target=SERVER))
    probed(desk)
    ((reason, failures, after, worker),) = desk.query(
        "SELECT reason, failures, next_probe_at, probe_worker FROM hold"
    )
    assert (reason, failures, worker) == ("still down", 2, None)
    assert after == desk.clock.wall + 2 * holds.FIRST_PROBE_SECONDS


def test_a_probe_that_says_nothing_of_the_server_leaves_the_hold(desk: Desk) -> None:
    """A mail that could not be sent at all is no proof; the right to probe is free again."""
    desk.refuses = "sender not allowed"
    probed(desk)
    assert desk.query("SELECT target, probe_token FROM hold") == [(str(SERVER), None)]


def test_a_lost_reply_is_unknown_and_due_after_the_reply_time(desk: Desk) -> None:
    """DATA was begun: unknown, sent again only after as long as a reply may take."""
    desk.server.after.append(Unknown("no reply", mail_sent=True))
    deliver(desk)
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.UNKNOWN, "no reply")
    assert row.due_at == desk.clock.wall + desk.settings.reply_timeout_seconds


@pytest.mark.parametrize("direct", [True, False])
def test_an_expired_job_is_dead_before_anything_is_sent(desk: Desk, *, direct: bool) -> None:
    """expires_at has passed: no transport is asked, and no slot is used."""
    limited(desk)
    desk.clock.wall = NOW.timestamp()
    job = make_job(expires_at=NOW + timedelta(seconds=5))
    delivery = desk.direct(job) if direct else desk.claimed(job)
    desk.clock.advance(5.0)
    asyncio.run(delivery.run())
    assert desk.row(JOB_ID).reason == "expired: expires_at passed before it could be sent"
    assert (desk.outcomes, desk.server.mails) == (["dead"], [])
    if not direct:
        assert desk.free_slots(SCOPE) == 2


def test_a_sender_that_may_not_send_wastes_no_slot(desk: Desk) -> None:
    """A batch of wrong rows must not eat the minute of its company's good mail."""
    limited(desk)
    desk.refuses = "sender not allowed: an address at example.com"
    deliver(desk)
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.DEAD, desk.refuses)
    assert desk.free_slots(SCOPE) == 2


def test_a_mail_that_cannot_be_rendered_is_dead(desk: Desk) -> None:
    """The composer's reason stands in the row, and the slot is free."""
    limited(desk)

    def render(*_: object) -> None:
        raise Rejected("attachment 'a' cannot be read")

    asyncio.run(desk.claimed(make_job(), render=render).run())
    assert desk.row(JOB_ID).reason == "attachment 'a' cannot be read"
    assert desk.free_slots(SCOPE) == 2


def test_what_reached_the_server_used_its_slot_even_if_refused(desk: Desk) -> None:
    """A 550 to MAIL is an answer: the slot rests a whole window."""
    limited(desk)
    desk.server.before.append(Rejected("refused", reply=NEVER, mail_sent=True))
    deliver(desk)
    assert desk.free_slots(SCOPE) == 1
    desk.clock.advance(60.0)
    assert desk.free_slots(SCOPE) == 2


def test_it_connects_by_the_lead_and_begins_not_before_its_slot(desk: Desk) -> None:
    """A slot taken ahead is waited for twice: less the lead before connecting, and before begin."""
    desk.settings = limited_settings(mailbox_emails_per_min=60)
    desk.server._lead_seconds = 0.4
    asyncio.run(desk.claimed(make_job()).run())
    delivery = desk.claimed(make_job(id=JOB_ID.replace("1", "2")))
    not_before = delivery.ticket.not_before_steady
    assert not_before is not None
    assert not_before > desk.clock.steady
    asyncio.run(delivery.run())
    assert desk.server.called_at[1] == pytest.approx(not_before - 0.4)
    assert desk.server.begun_at[1] >= not_before


def test_a_clock_that_sleeps_short_never_lets_it_begin_early(desk: Desk) -> None:
    """Timers may fire early: begin looks at the clock again until its time has come."""
    desk.settings = limited_settings(mailbox_emails_per_min=60)
    asyncio.run(desk.claimed(make_job()).run())

    async def short(seconds: float) -> None:
        await desk.sleep(max(seconds / 2, 0.001))

    delivery = desk.claimed(make_job(id=JOB_ID.replace("1", "2")), sleep=short)
    asyncio.run(delivery.run())
    assert delivery.ticket.not_before_steady is not None
    assert desk.server.begun_at[1] >= delivery.ticket.not_before_steady
    assert len(desk.sleeps) > 2


def test_all_accepted_says_the_same_as_a_server(desk: Desk) -> None:
    """The script's usual answer names exactly the mail's recipients."""
    deliver(desk, to=[A, B])
    answered = all_accepted(desk.server.mails[0]).recipients
    assert desk.row(JOB_ID).recipients == answered
