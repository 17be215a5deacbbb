"""A real Postfix: every security with every authorisation, as its own log tells it."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tests.support.deliveries import deliver, make_mail, run
from tests.support.jobs_for_mime import make_mime_job
from tests.support.postfix import MISSING, PostfixServer
from tests.support.settings import make_settings
from worker.errors import Held, Rejected
from worker.mime import render
from worker.outcome import RecipientState, TargetKind
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.certificates import Certificates
    from worker.outcome import Transmission
    from worker.transports.base import Mail

pytestmark = pytest.mark.postfix

# security: the listener it meets, and the TLS version that must appear in the log
SECURITIES = {
    "none": ("clear", None),
    "ssl": ("implicit", "TLSv1.3"),
    "tls": ("starttls", "TLSv1.3"),
    "tls1.2": ("tls12", "TLSv1.2"),
    "tls1.3": ("tls13", "TLSv1.3"),
}
AUTHORISATIONS: dict[str, dict[str, Any]] = {
    "none": {"username": "jane", "password": SecretStr("pass word")},
    "required": {"username": "jane", "password": SecretStr("pass word")},
    "optional": {"username": "kiosk"},
}


@pytest.fixture(scope="module")
def postfix(certs: Certificates) -> Iterator[PostfixServer]:
    """A running private Postfix; skips where there is none to start, but fails in CI."""
    if not PostfixServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with PostfixServer(certs, {"jane": "pass word", "kiosk": ""}) as server:
        yield server


def settings_for(
    postfix: PostfixServer, certs: Certificates, listener: str, security: str, **changes: Any
) -> Any:
    """Settings that meet one listener."""
    fields: dict[str, Any] = {
        "port": postfix.ports[listener],
        "transport_security": security,
        "tls_mode": "implicit" if listener == "implicit" else "starttls",
        "ca_file": certs.ca_file,
        "connection_timeout_ms": 15_000,
    }
    return make_settings(**(fields | changes))


async def attempt(settings: Any, mail: Mail | None = None) -> Transmission:
    """One mail over a new transport."""
    transport = SmtpTransport()
    try:
        return await deliver(transport, settings, mail=mail)
    finally:
        await transport.close()


@pytest.mark.parametrize("authorisation", AUTHORISATIONS)
@pytest.mark.parametrize("security", SECURITIES)
def test_security_and_authorisation_as_the_server_saw_them(
    postfix: PostfixServer, certs: Certificates, loop_kind: str, security: str, authorisation: str
) -> None:
    """The mail is queued; the log has AUTH only where asked for, and the TLS version pinned."""
    listener, version = SECURITIES[security]
    settings = settings_for(
        postfix,
        certs,
        listener,
        security,
        authorisation=authorisation,
        allow_cleartext_password=security == "none",
        **AUTHORISATIONS[authorisation],
    )
    since = len(postfix.log)
    transmission = run(loop_kind, attempt(settings))
    assert transmission.reply is not None
    assert "queued as" in transmission.reply.text
    log = postfix.session_log(listener, since)
    user = AUTHORISATIONS[authorisation]["username"]
    logins = re.findall(r"sasl_method=(\S+), sasl_username=(\S+)", log)
    assert logins == ([] if authorisation == "none" else [("PLAIN", user)])
    assert ("auth=1" in log) is (authorisation != "none")
    assert re.findall(r"TLS connection established from .*?: (TLSv\S+)", log) == (
        [version] if version else []
    )
    assert "improper command pipelining" not in log


@pytest.mark.parametrize(("listener", "security"), [("tls12", "tls1.3"), ("tls13", "tls1.2")])
def test_server_without_the_pinned_version_is_held(
    postfix: PostfixServer, certs: Certificates, listener: str, security: str
) -> None:
    """A pin is never loosened."""
    with pytest.raises(Held, match=re.escape(f'transport_security is "{security}"')):
        asyncio.run(attempt(settings_for(postfix, certs, listener, security)))


def test_wrong_password_holds_the_credential(postfix: PostfixServer, certs: Certificates) -> None:
    """Postfix's 535 after Dovecot's refusal; one failed login in the log, not three."""
    since = len(postfix.log)
    settings = settings_for(
        postfix,
        certs,
        "starttls",
        "tls",
        authorisation="required",
        username="jane",
        password=SecretStr("wrong"),
    )
    with pytest.raises(Held) as caught:
        asyncio.run(attempt(settings))
    assert caught.value.target.kind is TargetKind.CREDENTIAL
    log = postfix.session_log("starttls", since)
    assert log.count("authentication failed") == 1


def test_login_that_is_missing_is_a_refusal_to_relay(
    postfix: PostfixServer, certs: Certificates
) -> None:
    """A server that wants a login refuses the recipient; the connection serves the next mail."""
    settings = settings_for(postfix, certs, "authenticated", "tls")
    transmission = asyncio.run(attempt(settings))
    assert transmission.reply is None
    assert transmission.recipients[0].state is RecipientState.REFUSED


def test_many_mails_of_every_kind(
    postfix: PostfixServer, certs: Certificates, loop_kind: str
) -> None:
    """Rendered mails, pipelined over few connections, are all queued and no rule is broken."""
    settings = settings_for(postfix, certs, "starttls", "tls1.3")
    since = len(postfix.log)
    jobs = [
        make_mime_job(text="." * number + "\n.\nKia ora, ā\n", html=html)
        for number in range(10)
        for html in (None, "<p>é</p>")
    ]
    mails = [render(job, settings, message_id=job.message_id, date=0.0) for job in jobs]

    async def main() -> list[Transmission]:
        transport = SmtpTransport()
        done = [deliver(transport, settings, mail=mail) for mail in mails]
        transmissions = await asyncio.gather(*done)
        await transport.close()
        return transmissions

    for transmission in run(loop_kind, main()):
        assert transmission.reply is not None
        assert transmission.reply.code == 250
    log = postfix.session_log("starttls", since)
    assert "improper command pipelining" not in log
    assert "bare" not in log


def test_too_large_is_known_before_mail(postfix: PostfixServer, certs: Certificates) -> None:
    """Postfix's SIZE is compared here, so an oversized mail costs no slot."""
    settings = settings_for(postfix, certs, "starttls", "tls")
    mail = make_mail(content=b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 600_000)
    with pytest.raises(Rejected, match="at most 1000000") as caught:
        asyncio.run(attempt(settings, mail))
    assert not caught.value.mail_sent
