"""A mailbox that has written to enough people today: its mail waits, others' flows, more is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.scripted import held, told, until, write_company
from tests.support.smtpd import SmtpServer
from worker.ledger.recipients import DAY_SECONDS
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

PEOPLE = [f"kim{n}@customers.example" for n in range(3)]
TARGET = "scope:mailbox:crowd/robot:recipients"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A worker of one process."""
    with open_office(tmp_path_factory.mktemp("recipients")) as running:
        yield running


def test_a_day_that_is_used_up_keeps_its_mail_until_more_is_allowed(desk: Office) -> None:
    """No server is asked for what does not fit; the hold knows its end, and new settings end it."""
    settings = desk.fleet.root / "settings"
    with SmtpServer() as server:
        limit = "mailbox_recipients_per_day = 5\n"
        write_company(settings, "crowd", server.port, users={"robot": limit, "ann": limit})
        both = [
            desk.producer.send(
                Email(PEOPLE, "Hello", text="Hello"), company="crowd", user="robot"
            ).job_id
            for _ in range(2)
        ]
        until(lambda: len(those(desk, both, State.WAITING)) == 1 and TARGET in held(desk), "a hold")
        other = desk.producer.send(
            Email(PEOPLE, "Hello", text="Hello"), company="crowd", user="ann"
        )
        desk.wait_for(other.job_id, State.SENT)
        (kept,) = those(desk, both, State.WAITING)
        (sent,) = (job_id for job_id in both if job_id != kept)
        desk.wait_for(sent, State.SENT)
        assert told(desk, kept)["attempts"] == []
        assert "has reached its mailbox_recipients_per_day" in held(desk)[TARGET].reason
        hold = held(desk)[TARGET]
        assert hold.next_probe_at - hold.since_at >= DAY_SECONDS
        assert len(server.mails) == 2

        user = settings / "companies/crowd/users/robot.toml"
        user.write_text(user.read_text().replace("= 5", "= 6"))
        desk.wait_for(kept, State.SENT)
        assert TARGET not in held(desk)
        assert len(server.mails) == 3


def those(desk: Office, job_ids: list[str], state: State) -> list[str]:
    """Which of the jobs are in the ledger, and in this state."""
    rows = [desk.row(job_id) for job_id in job_ids]
    return [row.job_id for row in rows if row is not None and row.state is state]
