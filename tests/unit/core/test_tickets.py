"""Tickets: a job's way through one attempt, with a row and without."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fakes import AWAY, Desk, limited_settings
from tests.support.jobs import JOB_ID, make_job
from worker.errors import BeginRefused, LedgerUnavailable
from worker.ledger.rows import State
from worker.settlements import dead
from worker.tickets import SETTLE_AGAIN_SECONDS, until_recorded

SCOPE = "mailbox:acme/jane"


def test_a_row_is_recorded_as_often_as_it_takes(desk: Desk) -> None:
    """A claimed job is nobody else's: it waits for the ledger, a second at a time."""
    ticket = desk.claimed(make_job()).ticket
    answers = [LedgerUnavailable(AWAY), LedgerUnavailable(AWAY), None]

    async def record() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "recorded"

    assert asyncio.run(until_recorded(ticket, record, desk.sleep)) == "recorded"
    assert desk.sleeps == [SETTLE_AGAIN_SECONDS] * 2


def test_without_a_row_the_message_comes_again(desk: Desk) -> None:
    """Nothing is recorded and nothing waited for: RabbitMQ has it."""
    ticket = desk.direct(make_job()).ticket

    async def record() -> None:
        raise LedgerUnavailable(AWAY)

    with pytest.raises(LedgerUnavailable):
        asyncio.run(until_recorded(ticket, record, desk.sleep))
    assert desk.sleeps == []


@pytest.mark.parametrize("direct", [True, False])
def test_a_ticket_begins_once(desk: Desk, *, direct: bool) -> None:
    """The second begin is refused, and the row stays in DATA as the first left it."""
    desk.settings = limited_settings(mailbox_emails_per_min=2, pace="burst")
    ticket = (desk.direct if direct else desk.claimed)(make_job()).ticket
    asyncio.run(ticket.begin(desk.settings))
    assert (ticket.begun, ticket.has_row) == (True, True)
    with pytest.raises(BeginRefused):
        asyncio.run(ticket.begin(desk.settings))
    assert (desk.row(JOB_ID).state, desk.row(JOB_ID).attempts) == ("data", 1)


@pytest.mark.parametrize("direct", [True, False])
def test_a_begin_that_was_refused_has_not_begun(desk: Desk, *, direct: bool) -> None:
    """Where the ledger is away ``begun`` stays false, or a later failure would look unknown."""
    ticket = (desk.direct if direct else desk.claimed)(make_job()).ticket
    desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable):
        asyncio.run(ticket.begin(desk.settings))
    assert not ticket.begun
    assert ticket.has_row is not direct


@pytest.mark.parametrize("direct", [True, False])
def test_a_settlement_counts_once(desk: Desk, *, direct: bool) -> None:
    """Repeated after an answer that was lost: no second attempt, no other reason."""
    ticket = (desk.direct if direct else desk.claimed)(make_job()).ticket
    assert asyncio.run(ticket.settle(dead("first"), mail_sent=False))
    assert not asyncio.run(ticket.settle(dead("second"), mail_sent=False))
    assert (desk.row(JOB_ID).reason, desk.row(JOB_ID).attempts) == ("first", 1)


@pytest.mark.parametrize("mail_sent", [True, False])
def test_only_mail_uses_a_slot(desk: Desk, *, mail_sent: bool) -> None:
    """What reached the server rests a window; what did not is free at once."""
    desk.settings = limited_settings(mailbox_emails_per_min=2, pace="burst")
    ticket = desk.claimed(make_job()).ticket
    asyncio.run(ticket.settle(dead("no"), mail_sent=mail_sent))
    assert desk.free_slots(SCOPE) == 2 - mail_sent


@pytest.mark.parametrize("direct", [True, False])
def test_put_back_it_waits_with_its_reason(desk: Desk, *, direct: bool) -> None:
    """A row that waits, due when it was said, its slot free."""
    desk.settings = limited_settings(mailbox_emails_per_min=2, pace="burst")
    ticket = (desk.direct if direct else desk.claimed)(make_job()).ticket
    due_at = desk.clock.wall + 5.0
    assert asyncio.run(ticket.put_back(due_at=due_at, reason="stopped"))
    row = desk.row(JOB_ID)
    assert (row.state, row.due_at, row.reason) == (State.WAITING, due_at, "stopped")
    assert direct or desk.free_slots(SCOPE) == 2


def test_a_second_copy_is_not_adopted(desk: Desk) -> None:
    """The job has a row of another copy: settling this one changes nothing."""
    first, second = (desk.direct(make_job()).ticket for _ in range(2))
    asyncio.run(first.begin(desk.settings))
    assert not asyncio.run(second.settle(dead("of a copy")))
    assert not second.has_row
    assert desk.row(JOB_ID).state == "data"
