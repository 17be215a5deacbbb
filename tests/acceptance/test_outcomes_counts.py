"""Nothing is lost from sight: at every moment each email of a batch is in exactly one state."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.scripted import postmeter, until, write_company
from tests.support.smtpd import Delay, Drop, SmtpServer
from tests.support.waiting import GENEROUS_SECONDS
from worker.ledger import queries
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

WINDOW_SECONDS = 5.0
COUNT = 400
PACED = 'transport_security = "none"\nbatch_emails_per_min = 200'
"""A minute is five seconds long here, so 40 a second."""
KILLS = 4


@pytest.fixture(scope="module")
def server() -> Iterator[SmtpServer]:
    """A server that is slow, refuses some mails and loses others."""
    with SmtpServer() as running:
        running.on("rcpt", "550 5.1.1 no such user", when="gone")
        running.on("rcpt", "451 4.3.0 later", when="later")
        running.on("dot", Drop(), when="Subject: lost")
        running.on("dot", Delay(1.0), when="Subject: slow")
        yield running


@pytest.fixture(scope="module")
def desk(server: SmtpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Two processes; ``counted`` has a limit, so that its mail waits in the ledger."""
    root = tmp_path_factory.mktemp("counts")
    write_company(root / "settings", "counted", server.port, smtp=PACED)
    with open_office(root, processes=2, window_seconds=WINDOW_SECONDS) as running:
        yield running


def publish(desk: Office, batch_id: str, subjects: list[str]) -> None:
    """Publish a batch and wait until all of it is in the ledger."""
    emails = [
        Email(f"{subject}{n}@mail.example", subject, text="Hello")
        for n, subject in enumerate(subjects)
    ]
    desk.producer.batch(emails, company="counted", batch_id=batch_id)
    until(lambda: sum(counts(desk, batch_id).values()) == len(subjects), "all taken in")


def counts(desk: Office, batch_id: str) -> dict[State, int]:
    """How many emails of a batch are in each state, at one moment."""
    found = desk.fleet.ledger.read(lambda c, _: queries.batch_counts(c, batch_id))
    return found.get("counted", {})


def test_every_email_is_in_one_state_at_every_moment(desk: Office) -> None:
    """While workers are killed, the states of a batch add up to what was published."""
    kinds = random.Random(4).choices(("ok", "gone", "later", "lost"), (85, 5, 5, 5), k=COUNT)
    publish(desk, "killed", kinds)
    seen: set[State] = set()

    def look() -> None:
        now = counts(desk, "killed")
        assert sum(now.values()) == COUNT
        seen.update(now)
        time.sleep(random.uniform(0.0, 0.02))

    for _ in range(KILLS):
        assert desk.fleet.signal_one(signal.SIGKILL) is not None
        again_at = time.monotonic() + 1.5
        while time.monotonic() < again_at:
            look()
    wanted = {State.WAITING, State.CLAIMED, State.SENT, State.DEAD, State.UNKNOWN}
    deadline = time.monotonic() + GENEROUS_SECONDS
    while not seen >= wanted:
        assert time.monotonic() < deadline, f"never seen: {wanted - seen}"
        look()
    told = json.loads(postmeter(desk, "batch", "status", "killed", "--json"))
    assert sum(told["jobs"].values()) == COUNT
    postmeter(desk, "batch", "cancel", "killed")


def test_a_cancelled_batch_ends_what_it_has_begun(desk: Office, server: SmtpServer) -> None:
    """What is in DATA is sent, what waits is cancelled; nothing more arrives, the sum holds."""
    desk.wait_until_all_ready()
    until(lambda: len(desk.fleet.worker_pids()) == 2, "two processes")
    publish(desk, "stopped", ["slow"] * COUNT)
    until(lambda: counts(desk, "stopped").get(State.DATA, 0) > 5, "mails in DATA")
    told = json.loads(postmeter(desk, "batch", "cancel", "stopped", "--json"))
    assert told["cancelled"] > 0
    assert sum(told["jobs"].values()) == COUNT
    began = counts(desk, "stopped")
    assert sum(began.values()) == COUNT
    assert began.get(State.WAITING, 0) == began.get(State.CLAIMED, 0) == 0
    until(lambda: counts(desk, "stopped").get(State.DATA, 0) == 0, "the end of DATA")
    ended = counts(desk, "stopped")
    assert ended == {State.SENT: COUNT - told["cancelled"], State.CANCELLED: told["cancelled"]}
    arrived = sum(b"Subject: slow" in mail.content for mail in server.mails)
    assert arrived == ended[State.SENT]
