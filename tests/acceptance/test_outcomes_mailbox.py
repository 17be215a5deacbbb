"""A mailbox's own limits: its connections, and its emails per minute, single ones first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.scripted import until, write_company
from tests.support.smtpd import Delay, SmtpServer
from worker.demo.figures import worst_window
from worker.ledger import queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tests.support.office import Office
    from tests.support.smtpd_script import Action
    from worker.ledger.clock import Now
    from worker.ledger.queries import AttemptRecord

WINDOW_SECONDS = 5.0
CONNECTIONS, PER_WINDOW, WAVES = 2, 20, 6


class Doorman(SmtpServer):
    """A server that counts who is in."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def action_for(self, step: str, argument: str) -> Action | None:
        """Count on arrival."""
        if step == "connect":
            self.most = max(self.most, len(self.open_sessions))
        return super().action_for(step, argument)


@pytest.fixture(scope="module")
def doorman() -> Iterator[Doorman]:
    """The server of ``narrow``, where every mail takes a while."""
    with Doorman() as server:
        server.on("dot", Delay(0.15))
        yield server


@pytest.fixture(scope="module")
def clock() -> Iterator[SmtpServer]:
    """The server of ``steady``."""
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def desk(
    doorman: Doorman, clock: SmtpServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    """Two processes; ``narrow`` may use few connections, ``steady`` send a few emails a minute."""
    settings = tmp_path_factory.mktemp("mailbox") / "settings"
    users = {"robot": f"mailbox_connections = {CONNECTIONS}\n"}
    write_company(settings, "narrow", doorman.port, users=users)
    users = {"robot": f"mailbox_emails_per_min = {PER_WINDOW}\n"}
    write_company(settings, "steady", clock.port, users=users)
    with open_office(settings.parent, processes=2, window_seconds=WINDOW_SECONDS) as running:
        yield running


def attempts(connection: Connection, _now: Now, *, job_id: str) -> list[AttemptRecord]:
    """The attempts of one email."""
    return queries.attempts_of(connection, job_id)


def test_connections_are_capped_over_all_processes(desk: Office, doorman: Doorman) -> None:
    """The server never has more connections of the mailbox than the cap, whoever sends.

    One process may take a whole wave for itself, so waves are sent until both have taken part.
    """
    workers: set[str] = set()
    for wave in range(WAVES):
        if len(workers) == 2:
            break
        sent = [
            desk.producer.send(
                Email(f"kim{wave}-{n}@customers.example", "Hello", text="Hello Kim"),
                company="narrow",
            )
            for n in range(40)
        ]
        expected = (wave + 1) * len(sent)
        until(lambda expected=expected: len(doorman.mails) == expected, "all mails")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        workers |= {
            attempt.worker
            for receipt in sent
            for attempt in desk.fleet.ledger.read(partial(attempts, job_id=receipt.job_id))
        }
    assert doorman.most == CONNECTIONS
    assert len(workers) == 2


def test_single_sends_go_first_under_the_mailboxes_limit(desk: Office, clock: SmtpServer) -> None:
    """Sends and a batch share the limit: no window holds more, and a send passes the batch."""
    batch = [Email(f"b{n}@mail.example", "Batch", text="Hello") for n in range(2 * PER_WINDOW)]
    desk.producer.batch(batch, company="steady")
    until(lambda: len(clock.mails) >= PER_WINDOW // 2, "half a window's mails")
    sends = [Email(f"s{n}@mail.example", "Send", text="Hello") for n in range(PER_WINDOW // 2)]
    before = len(clock.mails)
    for email in sends:
        desk.producer.send(email, company="steady")
    until(lambda: len(clock.mails) == len(batch) + len(sends), "all mails")
    order = [b"Subject: Send" in mail.content for mail in clock.mails[before:]]
    last_send = len(order) - order[::-1].index(True)
    # What was taken before the sends came: at the most one slot ahead in each process.
    assert last_send - len(sends) <= 4
    times = [mail.at for mail in clock.mails]
    assert worst_window(times, WINDOW_SECONDS) <= PER_WINDOW
