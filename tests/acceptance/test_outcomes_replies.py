"""What a server's reply makes of an email, from the producer to what `postmeter status` says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.scripted import commands, mails_of, make_due, postmeter, told, write_company
from tests.support.smtpd import EXTENSIONS, SmtpServer
from tests.support.waiting import GENEROUS_SECONDS
from worker.ledger.rows import State
from worker.outcome import RecipientState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

SHORTEST_SECONDS, LONGEST_SECONDS = 30.0, 45.0
"""The bounds of the first back-off."""
SIZE = 4000
HELLO = Email("kim@customers.example", "Hello", text="Hello Kim")


@pytest.fixture(scope="module")
def server() -> Iterator[SmtpServer]:
    """A server that does what the test at hand says, and takes mails up to ``SIZE`` octets."""
    extensions = tuple(f"SIZE {SIZE}" if each.startswith("SIZE") else each for each in EXTENSIONS)
    with SmtpServer(extensions=extensions) as running:
        yield running


@pytest.fixture(scope="module")
def desk(server: SmtpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A worker whose company ``strict`` has that server; ``brief`` tries for a second only."""
    root = tmp_path_factory.mktemp("replies")
    write_company(root / "settings", "strict", server.port)
    write_company(root / "settings", "brief", server.port, delivery='retry_for = "1s"')
    with open_office(root) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_script(server: SmtpServer) -> None:
    """Each test writes the server's script anew."""
    server.rules.clear()


def test_an_accepted_email_is_sent(desk: Office, server: SmtpServer) -> None:
    """The row is final with the server's words, the text is gone from it, one mail has arrived."""
    receipt = desk.producer.send(HELLO, company="strict")
    row = desk.wait_for(receipt.job_id, State.SENT)
    assert (row.reply, row.attempts, row.body) == ("250 2.0.0 Ok: queued", 1, None)
    (mail,) = mails_of(server, receipt.message_id)
    assert mail.recipients == ["kim@customers.example"]
    status = told(desk, receipt.job_id)
    assert [each["outcome"] for each in status["attempts"]] == ["sent"]
    assert status["recipients"][0]["state"] == "accepted"


def test_a_partial_refusal_is_settled_one_by_one(desk: Office, server: SmtpServer) -> None:
    """Who got the mail never gets it again, who was refused is told, who was deferred is retried."""
    server.on("rcpt", "550 5.1.1 no such user", when="gone@")
    server.on("rcpt", "450 4.2.1 mailbox busy", when="busy@", times=1)
    everyone = ["ok@customers.example", "gone@customers.example", "busy@customers.example"]
    receipt = desk.producer.send(Email(everyone, "Hello", text="Hello"), company="strict")
    row = desk.wait_for(
        receipt.job_id,
        State.WAITING,
        "1 of 3 recipients deferred: 450 4.2.1 mailbox busy",
    )
    # The row was written a moment after it was decided when to try again.
    assert SHORTEST_SECONDS - 10 <= row.due_at - row.updated_at <= LONGEST_SECONDS
    make_due(desk, receipt.job_id)
    row = desk.wait_for(receipt.job_id, State.SENT)
    first, second = mails_of(server, receipt.message_id)
    assert (first.recipients, second.recipients) == (everyone[:1], everyone[2:])
    assert first.content == second.content
    assert {each.address: each.state for each in row.recipients} == {
        everyone[0]: RecipientState.ACCEPTED,
        everyone[1]: RecipientState.REFUSED,
        everyone[2]: RecipientState.ACCEPTED,
    }
    assert row.reason == "1 of 3 recipients missed: 550 5.1.1 no such user"
    outcomes = [each["outcome"] for each in told(desk, receipt.job_id)["attempts"]]
    assert outcomes == ["deferred", "sent"]


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_a_refusal_for_good_is_dead_with_the_servers_words(
    desk: Office, server: SmtpServer, step: str
) -> None:
    """A 550 at any step ends the email, and its status tells what the server said."""
    server.on(step, "550 5.7.1 we do not like it")
    receipt = desk.producer.send(HELLO, company="strict")
    row = desk.wait_for(receipt.job_id, State.DEAD)
    assert (row.attempts, row.reply) == (1, "550 5.7.1 we do not like it")
    assert row.body is not None
    assert mails_of(server, receipt.message_id) == []
    status = told(desk, receipt.job_id)
    assert (status["state"], status["reply"]) == ("dead", "550 5.7.1 we do not like it")
    assert "we do not like it" in postmeter(desk, "status", receipt.job_id)
    assert receipt.job_id in postmeter(desk, "dead", "list")


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_a_refusal_for_now_is_tried_again(desk: Office, server: SmtpServer, step: str) -> None:
    """A 451 at any step puts the email off, its status says until when, then it arrives."""
    server.on(step, "451 4.3.0 try again later", times=1)
    receipt = desk.producer.send(HELLO, company="strict")
    deadline = time.monotonic() + GENEROUS_SECONDS
    while not (row := desk.row(receipt.job_id)) or not row.attempts or row.state is State.DATA:
        assert time.monotonic() < deadline
    assert (row.state, row.attempts) == (State.WAITING, 1)
    # The row was written a moment after it was decided when to try again.
    assert SHORTEST_SECONDS - 10 <= row.due_at - row.updated_at <= LONGEST_SECONDS
    status = told(desk, receipt.job_id)
    assert status["due_at"] is not None
    assert status["forecast"]["leaves_at"] == status["due_at"]
    shown = postmeter(desk, "status", receipt.job_id)
    assert "not before" in shown
    assert "try again later" in shown
    make_due(desk, receipt.job_id)
    assert desk.wait_for(receipt.job_id, State.SENT).attempts == 2
    assert len(mails_of(server, receipt.message_id)) == 1


def test_a_mail_whose_time_is_over_is_dead(desk: Office, server: SmtpServer) -> None:
    """When ``retry_for`` has passed, the last refusal is final."""
    server.on("dot", "451 4.3.0 try again later")
    receipt = desk.producer.send(HELLO, company="brief")
    row = desk.wait_for(receipt.job_id, State.DEAD)
    assert row.attempts == 2
    assert row.reason.startswith("out of time after 2 attempts: ")
    assert row.reply == "451 4.3.0 try again later"


def test_a_mail_larger_than_the_server_takes_is_not_tried(desk: Office, server: SmtpServer) -> None:
    """What exceeds the SIZE that the server offers is dead without a MAIL (RFC 1870)."""
    before = len(commands(server, "MAIL"))
    large = Email("kim@customers.example", "Hello", text="Hello Kim\n" * SIZE)
    receipt = desk.producer.send(large, company="strict")
    row = desk.wait_for(receipt.job_id, State.DEAD)
    assert row.reason.endswith(f"bytes, the server takes at most {SIZE}")
    assert len(commands(server, "MAIL")) == before
