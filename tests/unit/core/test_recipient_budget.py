"""A mailbox's recipients of the day: asked before connecting, counted at begin, held until they fit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from config.effective import Provenance
from tests.support.fakes import LATER, OK, heard
from tests.support.jobs import JOB_ID, make_job
from tests.support.settings import make_settings
from worker.holding import outdated, targets_of
from worker.ledger import holds, recipients
from worker.ledger.ledger import Ledger
from worker.ledger.recipients import BUCKET_SECONDS, DAY_SECONDS
from worker.ledger.rows import State
from worker.outcome import Transmission
from worker.pace import Budget, budget_of
from worker.telemetry.standing import HOLD_REASONS

if TYPE_CHECKING:
    from tests.support.fakes import Desk
    from worker.ledger.holds import Hold

SCOPE = "mailbox:acme/jane:recipients"
A, B, C = "ann@example.org", "bob@example.org", "cas@example.org"


def allow(desk: Desk, limit: int) -> None:
    """Let the mailbox write to so many in a day."""
    written = {"mailbox_recipients_per_day": Provenance("oauth2", "jane.toml", "email.x")}
    desk.settings = make_settings(mailbox_recipients_per_day=limit, provenance=written)


def spend(desk: Desk, count: int, limit: int) -> None:
    """Let other mails have used up so many."""
    desk.ledger.call(lambda c, now: recipients.spend(c, now, Budget(SCOPE, limit, count)))


def used(desk: Desk) -> int:
    """How many are used up."""
    return Ledger.read(desk.ledger, lambda c, now: recipients.used(c, now, SCOPE))


def deliver(desk: Desk, *, direct: bool = False, **fields: Any) -> None:
    """Deliver the test's job once."""
    job = make_job(**fields)
    delivery = desk.direct(job) if direct else desk.claimed(job, accept=desk.find(job.id) is None)
    asyncio.run(delivery.run())


def held(desk: Desk) -> Hold:
    """The one hold there is."""
    (found,) = Ledger.read(desk.ledger, lambda c, _: holds.all_holds(c))
    return found


@pytest.mark.parametrize("direct", [True, False])
def test_every_recipient_counts_when_the_mail_begins(desk: Desk, *, direct: bool) -> None:
    """An email to three counts three, hidden ones too."""
    allow(desk, 10)
    deliver(desk, direct=direct, to=[A], cc=[B], bcc=[C])
    assert (desk.row(JOB_ID).state, used(desk)) == (State.SENT, 3)


def test_a_retry_counts_whoever_is_left(desk: Desk) -> None:
    """Who was accepted is not written to again; who was deferred counts again."""
    allow(desk, 10)
    deferred = Transmission((heard(A, OK), heard(B, LATER)), OK)
    desk.server.after.append(deferred)
    deliver(desk, to=[A, B])
    assert (desk.row(JOB_ID).state, used(desk)) == (State.WAITING, 2)
    desk.clock.advance(3600)
    deliver(desk, to=[A, B])
    assert (desk.row(JOB_ID).state, used(desk)) == (State.SENT, 3)


@pytest.mark.parametrize("direct", [True, False])
def test_a_day_that_is_used_up_holds_the_mailbox_until_they_fit(
    desk: Desk, *, direct: bool
) -> None:
    """Nobody is connected to, no attempt counts; the probe is at the very time, a day ahead."""
    allow(desk, 10)
    desk.clock.advance(-desk.clock.wall % BUCKET_SECONDS)
    spend(desk, 9, 10)
    deliver(desk, direct=direct, to=[A, B])
    row, hold = desk.row(JOB_ID), held(desk)
    assert (row.state, row.attempts, desk.server.called_at) == (State.WAITING, 0, [])
    assert (
        row.reason
        == hold.reason
        == (
            "mailbox:acme/jane:recipients has reached its mailbox_recipients_per_day:"
            " 9 of 10 are used, and 2 more fit in 24.2 h"
        )
    )
    assert any(words in hold.reason for words in HOLD_REASONS["throttled"])
    assert hold.target == f"scope:{SCOPE}"
    assert hold.next_probe_at == desk.clock.wall + DAY_SECONDS + BUCKET_SECONDS
    assert hold.target in targets_of(desk.settings)
    desk.clock.advance(DAY_SECONDS + BUCKET_SECONDS)
    deliver(desk, to=[A, B])
    assert (desk.row(JOB_ID).state, used(desk)) == (State.SENT, 2)


def test_who_is_overtaken_at_begin_sends_nothing(desk: Desk) -> None:
    """Between the look and the begin another worker used them up: the mail waits, uncounted."""
    allow(desk, 10)
    delivery = desk.claimed(make_job(to=[A, B]))
    real = desk.server.deliver

    async def overtaken(*arguments: Any) -> Transmission:
        await desk.ledger.run(lambda c, now: recipients.spend(c, now, Budget(SCOPE, 10, 9)))
        return await real(*arguments)

    desk.server.deliver = overtaken  # type: ignore[assignment,method-assign]  # the test's own script
    asyncio.run(delivery.run())
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts, desk.server.begun_at) == (State.WAITING, 0, [])
    assert row.reason == f"others have just used up the recipients of {SCOPE}"
    assert used(desk) == 9


def test_a_mail_with_more_than_any_day_allows_is_dead(desk: Desk) -> None:
    """It would wait for ever, and hold everybody else's."""
    allow(desk, 2)
    deliver(desk, to=[A, B, C])
    row = desk.row(JOB_ID)
    assert (row.state, desk.holds()) == (State.DEAD, [])
    assert row.reason == "the mail has 3 recipients, and mailbox_recipients_per_day allows 2"


def test_nothing_is_counted_where_nothing_is_limited(desk: Desk) -> None:
    """Without the key, and for drafts, no mail pays for it."""
    deliver(desk)
    assert desk.query("SELECT * FROM recipients") == []
    assert budget_of(make_settings(kind="compose", mailbox_recipients_per_day=5), 1) is None
    assert budget_of(make_settings(mailbox_recipients_per_day=5), 1) == Budget(SCOPE, 5, 1)


def test_new_settings_end_the_hold(desk: Desk) -> None:
    """More may be allowed now; a cap on connections and a batch's scope stay as they are."""
    scopes = [f"scope:{SCOPE}", "scope:conn:acme/jane", "scope:company:acme"]
    assert outdated(scopes, lambda *_: desk.settings, frozenset) == scopes[:1]
