"""Composing: a draft is recorded in one step with its content, and needs no server and no slot."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fakes import WORKER, limited_settings
from tests.support.jobs import JOB_ID, make_job
from tests.support.pumping import Pumping, fill
from tests.support.settings import make_settings
from worker.composing import Composer
from worker.drafts import LedgerDrafts
from worker.errors import BeginRefused, LedgerUnavailable
from worker.holding import Holding, targets_of
from worker.ledger import drafts, operations
from worker.ledger.holds import Hold, Origin, put_hold
from worker.ledger.ledger import Ledger
from worker.ledger.rows import State
from worker.outcome import Draft, Transmission
from worker.transports.eml import EmlTransport

if TYPE_CHECKING:
    from tests.support.fakes import Desk
    from worker.delivery import Delivery

REMOTE = Draft("AAMk=", "https://outlook.example.net/AAMk=")


def composing(desk: Desk, *, direct: bool, **tools: Any) -> Delivery:
    """The delivery of a draft, which a real worker would make as a file."""
    desk.settings = make_settings(kind="compose", transport="accredo-mailer")
    tools = {
        "transports": {"accredo-mailer": EmlTransport()},
        "render": Composer(None),
        **tools,
    }
    job = make_job(kind="compose")
    return desk.direct(job, **tools) if direct else desk.claimed(job, **tools)


def content(desk: Desk) -> bytes | None:
    """The file that is kept with the job."""
    return Ledger.read(desk.ledger, lambda c, _: drafts.content_of(c, JOB_ID))


@pytest.mark.parametrize("direct", [True, False])
def test_a_draft_is_final_with_its_content(desk: Desk, *, direct: bool) -> None:
    """One attempt, no begin, no slot; the body is gone, and what was reported says drafted."""
    asyncio.run(composing(desk, direct=direct).run())
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts, row.body) == (State.DRAFTED, 1, None)
    assert (row.transport, row.worker) == ("accredo-mailer", None)
    assert (content(desk) or b"").startswith(b"X-Unsent: 1\r\n")
    assert desk.query("SELECT * FROM attempt") == desk.query("SELECT * FROM slot") == []
    (fact,) = desk.facts
    assert (fact.outcome, fact.transport, fact.attempts) == ("drafted", "accredo-mailer", 0)


def test_a_direct_draft_that_the_ledger_did_not_take_comes_again(desk: Desk) -> None:
    """Neither row nor draft, and the message is not acknowledged; the next time it is drafted."""
    delivery = composing(desk, direct=True)
    desk.ledger.away.append(True)
    with pytest.raises(LedgerUnavailable):
        asyncio.run(delivery.run())
    assert (desk.find(JOB_ID), content(desk), desk.outcomes) == (None, None, [])
    asyncio.run(composing(desk, direct=True).run())
    assert (desk.row(JOB_ID).state, desk.outcomes) == (State.DRAFTED, ["drafted"])


def test_a_claimed_draft_is_recorded_as_soon_as_the_ledger_is_back(desk: Desk) -> None:
    """State and content are one commit, however often it takes."""
    delivery = composing(desk, direct=False)
    desk.ledger.away.extend([True, True])
    asyncio.run(delivery.run())
    assert (desk.row(JOB_ID).state, desk.ledger.lost) == (State.DRAFTED, 2)
    assert content(desk) is not None


def test_two_copies_leave_one_draft(desk: Desk) -> None:
    """The first to be recorded counts, and one outcome is told."""
    first, second = composing(desk, direct=True), composing(desk, direct=True)
    asyncio.run(first.run())
    asyncio.run(second.run())
    assert (desk.row(JOB_ID).state, desk.outcomes) == (State.DRAFTED, ["drafted"])
    assert len(desk.query("SELECT job_id FROM draft")) == 1


ACCOUNT = Hold("account:acme/jane", "432 too many at once", 0.0, None, 2e9, 1, None)
PAUSE = ACCOUNT._replace(reason="on leave", origin=Origin.OPERATOR, held_by="ann")


def test_what_a_server_said_of_an_account_keeps_no_draft_waiting(desk: Desk) -> None:
    """A file asks no server, so it goes at once and tries nothing out; a mail of the same waits."""
    pumping = Pumping(desk)
    pumping.by_user["jane"] = make_settings(transport="accredo-mailer")
    fill(desk, ("jane", "compose", 1), ("john", "send", 1))
    for user in ("jane", "john"):
        held = partial(put_hold, target=f"account:acme/{user}", reason="432 too many at once")
        desk.ledger.call(held)
    assert pumping.drain() == [("jane", "compose")]
    assert desk.query("SELECT target FROM hold WHERE probe_token IS NOT NULL") == []


def test_no_server_and_no_limit_keeps_a_draft_waiting() -> None:
    """What holds it is a person's pause; a server, a password or connections are not its way."""
    limited = limited_settings(
        kind="compose",
        transport="accredo-mailer",
        mailbox_emails_per_min=1,
        mailbox_connections=1,
        batch_emails_per_min=1,
    )
    assert targets_of(limited) == (
        "all",
        "all:compose",
        "company:acme",
        "company:acme:compose",
        "account:acme/jane",
        "account:acme/jane:compose",
    )
    assert limited.server == ""
    holding = Holding()
    holding.replace([ACCOUNT, PAUSE])
    assert holding.of(limited) == [PAUSE]
    in_a_mailbox = limited_settings(kind="compose", transport="microsoft-365")
    assert holding.of(in_a_mailbox) == [ACCOUNT, PAUSE]


def test_a_draft_in_a_mailbox_is_kept_with_its_link(desk: Desk) -> None:
    """What a transport made elsewhere is in the row's draft, and its claim was shown to it."""
    desk.server.unasked.append(Transmission((), None, draft=REMOTE))
    asyncio.run(desk.claimed(make_job(kind="compose")).run())
    assert desk.row(JOB_ID).state is State.DRAFTED
    assert desk.server.mails[0].claim == "t1"
    found = Ledger.read(desk.ledger, lambda c, _: drafts.find(c, JOB_ID))
    assert found is not None
    assert (found.remote_id, found.web_link, found.size_bytes) == (
        REMOTE.remote_id,
        REMOTE.web_link,
        None,
    )


def test_transports_remember_what_they_make(desk: Desk) -> None:
    """Nothing, an intention, a draft: each is committed when the call returns."""
    claim = desk.claim(make_job(kind="compose"))
    kept = LedgerDrafts(desk.ledger)

    async def story() -> list[Draft | None]:
        seen = [await kept.find(JOB_ID)]
        await kept.intend(JOB_ID, claim=claim.token)
        seen.append(await kept.find(JOB_ID))
        await kept.remember(JOB_ID, REMOTE, claim=claim.token)
        seen.append(await kept.find(JOB_ID))
        return seen

    assert asyncio.run(story()) == [None, Draft(), REMOTE]


def test_who_has_lost_the_job_is_told(desk: Desk) -> None:
    """A cancelled job gets no draft: the transport ends as after a refused begin."""
    claim = desk.claim(make_job(kind="compose"))
    desk.ledger.call(partial(operations.cancel, job_id=JOB_ID, reason="not wanted"))
    kept = LedgerDrafts(desk.ledger)
    with pytest.raises(BeginRefused):
        asyncio.run(kept.intend(JOB_ID, claim=claim.token))
    with pytest.raises(BeginRefused):
        asyncio.run(kept.remember(JOB_ID, REMOTE, claim=claim.token))
    assert asyncio.run(kept.find(JOB_ID)) is None
    assert desk.query("SELECT id FROM worker") == [(WORKER,)]
