"""A server that hangs and one that refuses take nothing of what another company sends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.rabbitmq import free_port
from tests.support.scripted import held, postmeter, until, write_company
from tests.support.smtpd import Silence, SmtpServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.office import Office

LIMIT, WINDOW_SECONDS = 50, 5.0
ROUND_SECONDS = 15.0
SHARE = 0.95
BURDEN = 500
PATIENCE_SECONDS = 30.0


def sent_in_a_round(office: Office) -> int:
    """How many mails of the paced company arrive while a round lasts."""
    until_at = time.monotonic() + ROUND_SECONDS
    since = until_at - ROUND_SECONDS
    time.sleep(ROUND_SECONDS)
    return sum(since <= mail.at < until_at for mail in office.fleet.arrivals())


def burden(office: Office, company: str, target: str) -> None:
    """Publish much for a company that cannot send, singly and as a batch, and try it anew."""
    emails = [Email(f"k{n}@customers.example", "Hello", text="Hi") for n in range(BURDEN)]
    office.producer.batch(emails, company=company)
    for email in emails:
        office.producer.send(email, company=company)
    if target in held(office):
        postmeter(office, "holds", "clear", target)


@pytest.mark.slow
def test_a_neighbour_keeps_95_percent(tmp_path: Path) -> None:
    """At 600 a minute, beside nothing, beside a server that hangs, and beside one that refuses."""
    with (
        SmtpServer() as hanging,
        open_office(
            tmp_path / "office",
            companies=(Company("acme", None), Company("paced", LIMIT)),
            window_seconds=WINDOW_SECONDS,
        ) as office,
    ):
        hanging.on("connect", Silence())
        settings = office.fleet.root / "settings"
        write_company(settings, "hangs", hanging.port)
        port = free_port()
        write_company(settings, "refuses", port)
        office.fleet.publish_batch("paced", int(5 * LIMIT * ROUND_SECONDS / WINDOW_SECONDS))
        time.sleep(WINDOW_SECONDS)
        alone = sent_in_a_round(office)
        burden(office, "hangs", f"server:127.0.0.1:{hanging.port}")
        until(lambda: len(hanging.sessions) > 0, "a connection that hangs", PATIENCE_SECONDS)
        beside_hanging = sent_in_a_round(office)
        burden(office, "refuses", f"server:127.0.0.1:{port}")
        until(lambda: f"server:127.0.0.1:{port}" in held(office), "a hold", PATIENCE_SECONDS)
        beside_refusing = sent_in_a_round(office)
        assert alone > 0
        assert beside_hanging >= SHARE * alone
        assert beside_refusing >= SHARE * alone
