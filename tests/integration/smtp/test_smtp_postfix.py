"""A real Postfix and what comes after the login; ``test_smtp_matrix`` has the way up to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.deliveries import deliver, make_mail, run
from tests.support.jobs_for_mime import make_mime_job
from tests.support.settings import make_settings
from worker.errors import Rejected
from worker.mime import render
from worker.outcome import RecipientState
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from tests.support.mailserver import MailServer
    from worker.outcome import Transmission
    from worker.transports.base import Mail

pytestmark = pytest.mark.postfix


def settings_for(server: MailServer, listener: str, security: str = "tls") -> Any:
    """Settings that meet one listener, without a login."""
    return make_settings(
        server_address=server.address,
        port=server.ports[listener],
        transport_security=security,
        ca_file=server.ca_file,
        connection_timeout_ms=60_000,
    )


async def attempt(settings: Any, mail: Mail | None = None) -> Transmission:
    """One mail over a new transport."""
    transport = SmtpTransport()
    try:
        return await deliver(transport, settings, mail=mail)
    finally:
        await transport.close()


def test_login_that_is_missing_is_a_refusal_to_relay(mailserver: MailServer) -> None:
    """A server that wants a login refuses the recipient; the connection serves the next mail."""
    transmission = asyncio.run(attempt(settings_for(mailserver, "authenticated")))
    assert transmission.reply is None
    assert transmission.recipients[0].state is RecipientState.REFUSED


def test_many_mails_of_every_kind(mailserver: MailServer, loop_kind: str) -> None:
    """Rendered mails, pipelined over few connections, are all queued and no rule is broken."""
    settings = settings_for(mailserver, "starttls", "tls1.3")
    name = f"many-{loop_kind}.test"
    jobs = [
        make_mime_job(text="." * number + "\n.\nKia ora, ā\n", html=html)
        for number in range(10)
        for html in (None, "<p>é</p>")
    ]
    mails = [render(job, settings, message_id=job.message_id, date=0.0) for job in jobs]

    async def main() -> list[Transmission]:
        transport = SmtpTransport(ehlo_name=name)
        done = [deliver(transport, settings, mail=mail) for mail in mails]
        transmissions = await asyncio.gather(*done)
        await transport.close()
        return transmissions

    for transmission in run(loop_kind, main()):
        assert transmission.reply is not None
        assert transmission.reply.code == 250
    lines = [line for session in mailserver.sessions_of(name, 1) for line in session.lines]
    assert not [line for line in lines if "improper command pipelining" in line or "bare" in line]


def test_too_large_is_known_before_mail(mailserver: MailServer) -> None:
    """Postfix's SIZE is compared here, so an oversized mail costs no slot."""
    mail = make_mail(content=b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 600_000)
    with pytest.raises(Rejected, match="at most 1000000") as caught:
        asyncio.run(attempt(settings_for(mailserver, "starttls"), mail))
    assert not caught.value.mail_sent
