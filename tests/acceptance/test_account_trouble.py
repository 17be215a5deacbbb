"""One account's login is refused: its neighbour notices nothing, its mail waits, and flows when it is right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from producers import Email
from producers.identity import batch_job_id
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.scripted import held, until, write_company, write_password
from tests.support.secrets_watch import secret
from tests.support.smtpd import SmtpServer
from worker.ledger.rows import State

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.office import Office

LIMIT, WINDOW_SECONDS = 50, 5.0
ROUND_SECONDS = 20.0
SHARE = 0.95
PATIENCE_SECONDS = 60.0
RIGHT, WRONG = secret("correct horse"), secret("battery staple")
LOGIN = f"""\
transport_security = "none"
allow_cleartext_password = true
authorisation = "required"
batch_emails_per_min = {LIMIT}
"""


def publish_batch(desk: Office, user: str, count: int) -> list[str]:
    """Publish a batch of one user; the ids of its jobs."""
    emails = [Email(f"k{n}@customers.example", "Hello", text="Hi") for n in range(count)]
    batch_id = desk.producer.batch(emails, company="shared", user=user).batch_id
    return [batch_job_id("shared", batch_id, n) for n in range(count)]


def sent_in_a_round(server: SmtpServer) -> int:
    """How many mails of the good account the server takes while a round lasts."""
    since = time.monotonic()
    time.sleep(ROUND_SECONDS)
    until_at = since + ROUND_SECONDS
    mails = [mail for mail in list(server.mails) if since <= mail.at < until_at]
    return sum(mail.session.user == "bob" for mail in mails)


def refused_logins(server: SmtpServer) -> int:
    """How often the server has refused a login."""
    lines = [line for session in list(server.sessions) for line in list(session.transcript)]
    return sum(line.startswith("S: 535") for line in lines)


@pytest.mark.slow
def test_an_account_that_cannot_log_in_takes_nothing_from_its_neighbour(tmp_path: Path) -> None:
    """At 600 a minute, same company and server: the good one keeps 95 %, the other loses no attempt."""
    with (
        SmtpServer(users={"jane": RIGHT, "bob": RIGHT}, auth_in_clear=True) as server,
        open_office(
            tmp_path / "office",
            companies=(Company("acme", None),),
            processes=2,
            window_seconds=WINDOW_SECONDS,
        ) as desk,
    ):
        settings = desk.fleet.root / "settings"
        write_company(
            settings,
            "shared",
            server.port,
            smtp=LOGIN,
            users={"jane": "", "bob": ""},
            passwords={"jane": WRONG, "bob": RIGHT},
        )
        publish_batch(desk, "bob", int(4 * LIMIT * ROUND_SECONDS / WINDOW_SECONDS))
        until(lambda: len(server.mails) > LIMIT, "a steady flow", PATIENCE_SECONDS)
        alone = sent_in_a_round(server)
        waiting = publish_batch(desk, "jane", 100)
        for n in range(20):
            email = Email(f"s{n}@customers.example", "Hello", text="Hi")
            waiting.append(desk.producer.send(email, company="shared", user="jane").job_id)
        until(lambda: any("shared/jane#" in each for each in held(desk)), "a hold")
        beside = sent_in_a_round(server)
        assert alone > 0
        assert beside >= SHARE * alone
        # Two processes may both have been at the login when the first was refused.
        assert refused_logins(server) <= 1 + desk.fleet.processes + ROUND_SECONDS / 5
        for job_id in waiting:
            row = desk.wait_for(job_id, State.WAITING)
            assert (row.attempts, row.body is None) == (0, False)
        pids = desk.fleet.worker_pids()
        write_password(settings / "companies/shared/users", "jane", RIGHT)
        for job_id in waiting:
            row = desk.wait_for(job_id, State.SENT, timeout_seconds=2 * PATIENCE_SECONDS)
            assert row.attempts == 1
        assert desk.fleet.worker_pids() == pids
