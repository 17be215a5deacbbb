"""The test login by SMTP: every step is shown, no secret is, and what fails says what to change."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.online import LOGIN, PASSWORD, Online
from tests.support.rabbitmq import free_port
from tests.support.smtpd import Silence, SmtpServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.certificates import Certificates

USERS = {"jane": PASSWORD}
IN_CLEAR = (
    'transport_security = "none"\nallow_cleartext_password = true\nauthorisation = "required"'
)
SECURED = 'transport_security = "tls"\nauthorisation = "required"'


@pytest.fixture
def online(tmp_path: Path) -> Online:
    """A tree to be tried."""
    return Online(tmp_path)


def trusting(certs: Certificates) -> str:
    """Settings that know the test's authority."""
    return f'[tls]\nca_file = "{certs.ca_file}"\n'


def test_every_step_of_a_mail_is_shown(online: Online, certs: Certificates) -> None:
    """From DNS to the reply to the mail, as a person reads it; nothing is said that is not shown."""
    with SmtpServer(tls=certs.server_context, users=USERS) as server:
        online.write(server.port, SECURED, user=LOGIN, more=trusting(certs))
        told = online.run("--to", "kim@customers.example")
        (mail,) = server.mails
    shown = [line[:10].strip() for line in told.splitlines()[1:]]
    assert [name for name in shown if name] == [
        "DNS", "TCP", "greeting", "EHLO", "TLS", "EHLO", "AUTH", "mail", "OK",
    ]  # fmt: skip
    for line in (
        f"acme/jane, send by smtp at 127.0.0.1:{server.port}",
        "TLSv1.3, TLS_AES_256_GCM_SHA384",
        "certificate for localhost, 127.0.0.1",
        "offered: PLAIN, LOGIN, CRAM-MD5",
        "C: AUTH PLAIN ***",
        "S: 235 2.7.0 Authentication successful",
        "C: MAIL FROM:<j…e@acme.example>",
        "C: RCPT TO:<k…m@customers.example>",
        f"127.0.0.1:{server.port}: the mail was accepted",
    ):
        assert line in told
    assert (mail.sender, mail.recipients) == ("jane@acme.example", ["kim@customers.example"])
    assert b"Subject: Postmeter: a test" in mail.content


def test_without_an_address_nothing_is_sent(online: Online) -> None:
    """A login is tried and ended politely; the server has seen no MAIL."""
    with SmtpServer(users=USERS, auth_in_clear=True) as server:
        online.write(server.port, IN_CLEAR, user=LOGIN)
        told = online.json()
        said = [line for session in server.sessions for line in session.transcript]
    assert (told["ok"], told["failed"]) == (True, None)
    assert told["reason"] == f"127.0.0.1:{server.port}: logged in; no mail was sent"
    assert said[-2:] == ["C: QUIT", "S: 221 2.0.0 Bye"]
    assert not [line for line in said if line.startswith("C: MAIL")]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("password", [PASSWORD, "another"])
def test_no_way_of_logging_in_shows_the_password(
    online: Online, mechanism: str, password: str
) -> None:
    """Neither in clear nor encoded, whether it is right or wrong."""
    with SmtpServer(
        users={"jane": password}, mechanisms=(mechanism,), auth_in_clear=True
    ) as server:
        online.write(server.port, IN_CLEAR, user=LOGIN)
        told = online.run(exits=0 if password == PASSWORD else 1)
    assert f"C: AUTH {mechanism}" in told
    for secret in (f"\0jane\0{PASSWORD}", PASSWORD, "jane"):
        assert base64.b64encode(secret.encode()).decode() not in told
    assert ("the server refused the login: check username" in told) is (password != PASSWORD)


def test_a_server_that_repeats_the_password_is_not_believed(online: Online) -> None:
    """Whatever a reply holds, what was told to the server is hidden in it."""
    encoded = base64.b64encode(f"\0jane\0{PASSWORD}".encode()).decode()
    with SmtpServer(users=USERS, auth_in_clear=True) as server:
        server.on("auth", f"535 5.7.8 cannot take {PASSWORD} or {encoded}")
        online.write(server.port, IN_CLEAR, user=LOGIN)
        said = online.lines(exits=1)["AUTH"]
    assert said[-1] == "S: 535 5.7.8 cannot take *** or ***"


def test_implicit_tls_meets_a_greeting_in_clear(online: Online, certs: Certificates) -> None:
    """The greeting is shown, with what its STARTTLS offers and the key to set."""
    with SmtpServer(tls=certs.server_context) as server:
        online.write(
            server.port, f'{SECURED}\ntls_mode = "implicit"', user=LOGIN, more=trusting(certs)
        )
        told = online.json(exits=1)
    assert told["failed"] == "TLS"
    assert "the server does not start with TLS on this port" in told["reason"]
    assert told["found"][:3] == [
        "the port greets in clear: 220 scripted.example.nz ESMTP",
        'so TLS does not start with the connection: set tls_mode = "starttls"',
        "STARTTLS offers TLS 1.2, TLS 1.3",
    ]


@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_greeting_is_awaited_where_tls_comes_first(
    online: Online, certs: Certificates, security: str
) -> None:
    """The server says nothing; asked with TLS it answers, and the key to set is named."""
    smtp = f'transport_security = "{security}"\nconnection_timeout_ms = 1000'
    with SmtpServer(tls=certs.server_context, implicit=True) as server:
        online.write(server.port, smtp, more=trusting(certs))
        told = online.json(exits=1)
    also = 'transport_security = "tls" and ' if security == "none" else ""
    assert told["failed"] == "greeting"
    assert told["found"][:2] == [
        "the port starts with TLS, and offers TLS 1.2, TLS 1.3",
        f'so set {also}tls_mode = "implicit"',
    ]


@pytest.mark.parametrize("implicit", [False, True])
def test_the_versions_that_a_server_does_offer_are_named(
    online: Online, certs: Certificates, implicit: bool
) -> None:
    """A pin that fails is followed by one question for each version, on a connection of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.chain_file, certs.key_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    mode = "implicit" if implicit else "starttls"
    with SmtpServer(tls=context, implicit=implicit) as server:
        smtp = f'transport_security = "tls1.3"\ntls_mode = "{mode}"'
        online.write(server.port, smtp, more=trusting(certs))
        told = online.json(exits=1)
    assert told["failed"] == "TLS"
    assert 'transport_security is "tls1.3"' in told["reason"]
    offers = [line for line in told["found"] if "offers" in line]
    assert [line.rpartition("offers ")[2] for line in offers] == ["TLS 1.2"]


def test_a_certificate_that_nobody_knows_is_described(online: Online, certs: Certificates) -> None:
    """Its names, who signed it and until when, so that a person sees whose it is."""
    with SmtpServer(tls=certs.server_context) as server:
        online.write(server.port, 'transport_security = "tls"')
        told = online.json(exits=1)
    assert (told["failed"], "set ca_file" in told["reason"]) == ("TLS", True)
    assert told["found"][-2] == "certificate for localhost, 127.0.0.1"
    assert "until" in told["found"][-1]


def test_each_step_that_fails_is_named(online: Online) -> None:
    """No name, no port, a silent server, a refused greeting, EHLO, recipient: each its own step."""
    online.write(free_port())
    assert online.json(exits=1)["failed"] == "TCP"
    with SmtpServer() as server:
        online.write(server.port)
        server.on("rcpt", "550 5.1.1 no such user", times=1)
        told = online.json("--to", "kim@customers.example", exits=1)
        assert told["failed"] == "mail"
        assert told["reason"].endswith("there is no such recipient (550 5.1.1 to rcpt)")
        server.on("mail", "432 4.3.2 Concurrent connections limit exceeded", times=1)
        told = online.json("--to", "kim@customers.example", exits=1)
        assert told["reason"].endswith("(other programs count) (432 4.3.2 to mail)")
        server.on("ehlo", "550 5.7.1 not you", times=1)
        server.on("helo", "550 5.7.1 not you", times=1)
        assert online.json(exits=1)["failed"] == "EHLO"
        server.on("connect", "554 5.3.2 go away", times=1)
        told = online.json(exits=1)
        assert (told["failed"], told["found"]) == ("greeting", [])
        assert told["steps"][-1]["lines"] == ["S: 554 5.3.2 go away"]
        server.on("connect", Silence())
        online.write(server.port, 'transport_security = "none"\nconnection_timeout_ms = 1000')
        assert online.json(exits=1)["found"] == [
            "the port neither greets nor takes TLS: it may be no mail server's"
        ]
    online.tree.company(
        text='[smtp]\nserver_address = "no-such-host.invalid"\ntransport_security = "none"\n'
    )
    told = online.json(exits=1)
    assert told["failed"] == "DNS"
    assert "the name cannot be found" in told["reason"]


def test_what_cannot_be_tried_is_said_at_once(online: Online) -> None:
    """Exit 2 where the settings are to blame or nobody would be asked."""
    with SmtpServer() as server:
        online.write(server.port, IN_CLEAR)
        told = online.json(exits=1)
        assert (told["failed"], told["steps"]) == ("settings", [])
        assert "needs a username" in told["reason"]
        assert "asks no server" in online.run("--kind", "compose", exits=2)
        online.write(server.port, "batch_emails_per_min = 0")
        assert "batch_emails_per_min" in online.run(exits=2)
        online.tree.company(text="[web]\nallow_microsoft_365 = false\n")
        assert "smtp.server_address" in online.run(exits=2)
        assert server.sessions == []
