"""A reply that never came: resent once, or kept for a person; never a third copy by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.scripted import (
    REPLY_TIMEOUT_SECONDS,
    commands,
    mails_of,
    make_due,
    postmeter,
    told,
    until,
    write_company,
)
from tests.support.smtpd import Drop, Silence, SmtpServer
from tests.support.waiting import GENEROUS_SECONDS
from worker.ledger.rows import State
from worker.outcome import RecipientState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office
    from tests.support.smtpd_script import Action

KEPT_HOUSE_SECONDS = REPLY_TIMEOUT_SECONDS + GENEROUS_SECONDS
"""By when an unknown is resent, if it is at all."""
BROKEN: dict[str, Action] = {"cut after the dot": Drop(), "silent after the dot": Silence()}


class Witness(SmtpServer):
    """A server that remembers what came whole, even where it never replied."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[tuple[float, str]] = []

    def action_for(self, step: str, argument: str) -> Action | None:
        """Note the mail, then do what the script says."""
        if step == "dot":
            self.whole.append((time.monotonic(), argument))
        return super().action_for(step, argument)

    def copies_of(self, subject: str) -> list[tuple[float, str]]:
        """Each copy of a mail, with when it had come."""
        return [copy for copy in self.whole if f"Subject: {subject}\r\n" in copy[1]]


@pytest.fixture(scope="module")
def server() -> Iterator[Witness]:
    """A server that may take a mail and say nothing."""
    with Witness() as running:
        yield running


@pytest.fixture(scope="module")
def desk(server: Witness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A worker for ``resender`` (the default) and for ``holder``, who decides in person."""
    root = tmp_path_factory.mktemp("unknown")
    write_company(root / "settings", "resender", server.port)
    write_company(root / "settings", "holder", server.port, delivery='on_unknown = "hold"')
    with open_office(root) as running:
        yield running


def lose(desk: Office, server: Witness, company: str, subject: str, times: int) -> str:
    """Send an email whose first copies get no reply, and wait until it is unknown."""
    server.on("dot", Drop(), when=f"Subject: {subject}\r\n", times=times)
    email = Email("kim@customers.example", subject, text="Hello Kim")
    job_id = desk.producer.send(email, company=company).job_id
    desk.wait_for(job_id, State.UNKNOWN)
    return job_id


@pytest.mark.parametrize("how", BROKEN)
def test_an_unknown_email_is_resent_once_unchanged(desk: Office, server: Witness, how: str) -> None:
    """After the reply time-out the same bytes go again: one Message-ID, one Date; then it is sent."""
    server.on("dot", BROKEN[how], when=f"Subject: {how}\r\n", times=1)
    email = Email("kim@customers.example", how, text="Hello Kim")
    job_id = desk.producer.send(email, company="resender").job_id
    lost = desk.wait_for(job_id, State.UNKNOWN)
    assert lost.body is not None
    assert "after the whole mail was sent" in lost.reason
    row = desk.wait_for(job_id, State.SENT, timeout_seconds=KEPT_HOUSE_SECONDS)
    (first_at, first), (second_at, second) = server.copies_of(how)
    assert first == second
    assert first.count("\r\nDate: ") == first.count("\r\nMessage-ID: ") == 1
    assert second_at - first_at >= REPLY_TIMEOUT_SECONDS
    assert row.attempts == 2
    assert [each["outcome"] for each in told(desk, job_id)["attempts"]] == ["unknown", "sent"]


def test_an_email_unknown_twice_waits_for_a_person(desk: Office, server: Witness) -> None:
    """There is one resend and no more: the second unknown stays, is listed, and keeps its text."""
    job_id = lose(desk, server, "resender", "Lost twice", times=2)
    until(lambda: len(server.copies_of("Lost twice")) == 2, "a resend", KEPT_HOUSE_SECONDS)
    desk.wait_for(job_id, State.UNKNOWN)
    later = lose(desk, server, "resender", "Lost later", times=1)
    desk.wait_for(later, State.SENT, timeout_seconds=KEPT_HOUSE_SECONDS)
    row = desk.wait_for(job_id, State.UNKNOWN)
    assert (row.attempts, row.body is None) == (2, False)
    assert len(server.copies_of("Lost twice")) == 2
    assert job_id in postmeter(desk, "unknown", "list")


def test_on_unknown_hold_leaves_it_to_a_person(desk: Office, server: Witness) -> None:
    """Nothing is resent by itself; ``resend`` sends the same bytes, ``mark-sent`` none."""
    again = lose(desk, server, "holder", "Held again", times=1)
    marked = lose(desk, server, "holder", "Held marked", times=1)
    other = lose(desk, server, "resender", "Not held", times=1)
    desk.wait_for(other, State.SENT, timeout_seconds=KEPT_HOUSE_SECONDS)
    assert [desk.wait_for(job_id, State.UNKNOWN).attempts for job_id in (again, marked)] == [1, 1]
    postmeter(desk, "unknown", "resend", again)
    postmeter(desk, "unknown", "mark-sent", marked)
    assert desk.wait_for(again, State.SENT).attempts == 2
    (_, first), (_, second) = server.copies_of("Held again")
    assert first == second
    row = desk.wait_for(marked, State.SENT, "marked as sent by an operator")
    assert (row.attempts, row.body) == (1, None)
    assert len(server.copies_of("Held marked")) == 1


def test_a_resend_leaves_out_who_has_the_mail(desk: Office, server: Witness) -> None:
    """Whom an earlier attempt has reached, no resend of a later one reaches again."""
    server.on("rcpt", "450 4.2.1 mailbox busy", when="slow@", times=1)
    email = Email(["quick@customers.example", "slow@customers.example"], "Parted", text="Hello")
    receipt = desk.producer.send(email, company="resender")
    desk.wait_for(
        receipt.job_id, State.WAITING, "1 of 2 recipients deferred: 450 4.2.1 mailbox busy"
    )
    server.on("dot", Drop(), when="Subject: Parted", times=1)
    make_due(desk, receipt.job_id)
    desk.wait_for(receipt.job_id, State.UNKNOWN)
    row = desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=KEPT_HOUSE_SECONDS)
    assert [each["outcome"] for each in told(desk, receipt.job_id)["attempts"]] == [
        "deferred",
        "unknown",
        "sent",
    ]
    taken = [mail.recipients for mail in mails_of(server, receipt.message_id)]
    assert taken == [["quick@customers.example"], ["slow@customers.example"]]
    assert len([each for each in commands(server, "RCPT") if "quick@" in each]) == 1
    assert {each.state for each in row.recipients} == {RecipientState.ACCEPTED}
