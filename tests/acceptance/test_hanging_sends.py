"""Servers that hang keep what was sent to them, and nothing else that is sent singly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producers import Email
from tests.support.office import open_office
from tests.support.scripted import until, write_company
from tests.support.smtpd import Silence, SmtpServer

if TYPE_CHECKING:
    from pathlib import Path

HUNG = 100  # for each server: more than a queue hands out at once
LONGER_THAN_THE_TEST_SECONDS = 600


def test_single_sends_go_on_while_two_servers_hang(tmp_path: Path) -> None:
    """More mails than a queue hands out wait for two servers' replies: a third server gets its own."""
    with (
        SmtpServer() as first,
        SmtpServer() as second,
        open_office(tmp_path / "office") as office,
    ):
        settings = office.fleet.root / "settings"
        for name, server in (("first", first), ("second", second)):
            server.on("dot", Silence())
            write_company(
                settings, name, server.port, reply_timeout_seconds=LONGER_THAN_THE_TEST_SECONDS
            )
        email = Email("kim@customers.example", "Hello", text="Hi")
        for _ in range(HUNG):
            for name in ("first", "second"):
                office.producer.send(email, company=name)
        until(lambda: bool(first.open_sessions and second.open_sessions), "both to hang", 60.0)
        assert [office.seconds_for_a_good_job() for _ in range(3)]
        assert first.mails == second.mails == []
        assert first.open_sessions
        assert second.open_sessions
        first.drop_all()
        second.drop_all()
