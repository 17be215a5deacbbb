"""From a name to a login: security, authorisation, and a sentence for everything that fails."""

from __future__ import annotations

import base64
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tests.support.deliveries import deliver, run
from tests.support.secrets_watch import secret
from tests.support.settings import make_settings
from tests.support.smtpd import Delay, Drop, Raw, Silence, SmtpServer
from worker.errors import Held
from worker.outcome import TargetKind
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.certificates import Certificates

USERS = {"jane": secret("pass word")}
WORD = USERS["jane"]
LOGIN = {"username": "jane", "password": SecretStr(WORD)}


async def attempt(server_port: int, **changes: Any) -> None:
    """One mail over a new transport."""
    transport = SmtpTransport()
    try:
        await deliver(transport, make_settings(port=server_port, **changes))
    finally:
        await transport.close()


def held(port: int, loop_kind: str = "asyncio", **changes: Any) -> Held:
    """The hold that one attempt ends with."""
    with pytest.raises(Held) as caught:
        run(loop_kind, attempt(port, **changes))
    assert "pass word" not in repr(caught.value) + str(caught.value.__cause__)
    assert not caught.value.mail_sent
    return caught.value


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("security", "version"),
    [("ssl", "TLSv1.3"), ("tls", "TLSv1.3"), ("tls1.2", "TLSv1.2"), ("tls1.3", "TLSv1.3")],
)
def test_security_gives_the_version_asked_for(
    loop_kind: str, certs: Certificates, security: str, version: str, implicit: bool
) -> None:
    """Ssl and tls take the best both sides have; tls1.x is exactly that, both ways to start."""
    with SmtpServer(tls=certs.server_context, implicit=implicit, users=USERS) as server:
        mode = "implicit" if implicit else "auto"
        changes = {"transport_security": security, "ca_file": certs.ca_file, "tls_mode": mode}
        run(loop_kind, attempt(server.port, authorisation="required", **changes, **LOGIN))
        assert server.sessions[0].tls_version == version
        assert server.sessions[0].user == "jane"
        assert len(server.mails) == 1
        assert server.violations == []


@pytest.mark.parametrize("security", ["tls1.2", "tls1.3"])
def test_other_version_is_refused(certs: Certificates, tmp_path: Path, security: str) -> None:
    """A server that has only the other version holds the server, naming the setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.chain_file, certs.key_file)
    only = ssl.TLSVersion.TLSv1_3 if security == "tls1.2" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = context.maximum_version = only
    with SmtpServer(tls=context) as server:
        error = held(server.port, transport_security=security, ca_file=certs.ca_file)
        assert f'transport_security is "{security}"' in error.reason
        assert error.target.kind is TargetKind.SERVER


def test_never_opportunistic(loop_kind: str) -> None:
    """Without STARTTLS on offer no mail leaves in clear; the sentence names tls_mode."""
    with SmtpServer() as server:
        error = held(server.port, loop_kind, transport_security="tls")
        assert 'tls_mode = "implicit"' in error.reason
        assert server.mails == []


def test_untrusted_certificate_holds_the_server(loop_kind: str, certs: Certificates) -> None:
    """An unknown authority and a wrong name are told apart from a network fault."""
    for implicit in (False, True):
        with SmtpServer(tls=certs.server_context, implicit=implicit) as server:
            mode = "implicit" if implicit else "starttls"
            error = held(server.port, loop_kind, transport_security="tls", tls_mode=mode)
            assert "certificate is not trusted" in error.reason
            assert "ca_file" in error.reason


def test_unverified_certificate_is_taken_where_asked(certs: Certificates) -> None:
    """verify_certificate = false takes any certificate."""
    with SmtpServer(tls=certs.server_context) as server:
        run(
            "asyncio",
            attempt(server.port, transport_security="tls", verify_certificate=False),
        )
        assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), ("no certificate", "no PEM file")]
)
def test_ca_file_that_cannot_be_used(tmp_path: Path, content: str | None, words: str) -> None:
    """A CA file that is missing or is none holds the server and names the key."""
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    error = held(9, transport_security="tls", ca_file=ca_file)
    assert "ca_file cannot be used" in error.reason
    assert words in error.reason


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_each_mechanism_logs_in(loop_kind: str, mechanism: str) -> None:
    """PLAIN, LOGIN and CRAM-MD5 work, in clear only where the settings allow it."""
    with SmtpServer(users=USERS, mechanisms=(mechanism,), auth_in_clear=True) as server:
        changes = {"authorisation": "required", "allow_cleartext_password": True, **LOGIN}
        run(loop_kind, attempt(server.port, **changes))
        assert server.sessions[0].user == "jane"
        assert f"C: AUTH {mechanism}" in server.sessions[0].transcript


def test_refused_login_is_tried_once(loop_kind: str) -> None:
    """After a 535 no other mechanism is tried; the credential is held, its password in no text."""
    with SmtpServer(users={"jane": "other"}, auth_in_clear=True) as server:
        changes: dict[str, Any] = {"authorisation": "required", "allow_cleartext_password": True}
        changes |= LOGIN
        error = held(server.port, loop_kind, **changes)
        assert error.target.kind is TargetKind.CREDENTIAL
        assert error.target.key == make_settings(**changes).credential
        assert error.reply is not None
        assert error.reply.code == 535
        tried = [line for line in server.sessions[0].transcript if line.startswith("C: AUTH")]
        assert tried == ["C: AUTH PLAIN"]


def test_what_a_server_repeats_of_a_login_is_not_kept(loop_kind: str) -> None:
    """A reply stands in the ledger and in logs: a password in it, plain or encoded, is masked."""
    encoded = [base64.b64encode(each.encode()).decode() for each in ("\0jane\0" + WORD, WORD)]
    with SmtpServer(users={"jane": "other"}, auth_in_clear=True) as server:
        server.on("auth", f"535 5.7.8 no ({WORD}) in AUTH PLAIN {encoded[0]}, {encoded[1]}; sorry")
        changes: dict[str, Any] = {"authorisation": "required", "allow_cleartext_password": True}
        error = held(server.port, loop_kind, **changes | LOGIN)
    assert error.reply is not None
    assert error.reply.text == "no (***) in AUTH PLAIN ***, ***; sorry"
    assert not any(each in repr(error.__cause__) for each in encoded)


def test_none_never_logs_in(loop_kind: str) -> None:
    """Authorisation = none sends no AUTH, even where it is offered and a password is set."""
    with SmtpServer(users=USERS, auth_in_clear=True) as server:
        run(loop_kind, attempt(server.port, authorisation="none", **LOGIN))
        assert not [line for line in server.sessions[0].transcript if "C: AUTH" in line]
        assert len(server.mails) == 1


def test_optional_sends_an_empty_password(loop_kind: str) -> None:
    """Authorisation = optional logs in with the user name alone."""
    with SmtpServer(users={"jane": ""}, auth_in_clear=True) as server:
        changes = {"authorisation": "optional", "allow_cleartext_password": True}
        run(loop_kind, attempt(server.port, username="jane", **changes))
        assert server.sessions[0].user == "jane"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"authorisation": "required", "password": SecretStr("x")}, "needs a username"),
        ({"authorisation": "optional"}, "needs a username"),
        ({"authorisation": "required", "username": "jane"}, "needs a password"),
        ({"authorisation": "required", **LOGIN}, "no password is sent without TLS"),
        (
            {"authorisation": "required", "allow_cleartext_password": True, **LOGIN},
            'set authorisation = "none"',
        ),
    ],
)
def test_login_that_cannot_be_holds_the_account(changes: dict[str, Any], words: str) -> None:
    """What is missing for a login holds the account, with the key to set."""
    with SmtpServer() as server:
        error = held(server.port, **changes)
        assert error.target.kind is TargetKind.ACCOUNT
        assert words in error.reason
        assert server.mails == []


def test_unknown_mechanisms_hold_the_account() -> None:
    """A server that offers only what passwords do not fit is named with its offer."""
    with SmtpServer(users=USERS, mechanisms=("GSSAPI",), auth_in_clear=True) as server:
        changes: dict[str, Any] = {"authorisation": "required", "allow_cleartext_password": True}
        changes |= LOGIN
        error = held(server.port, **changes)
        assert "gssapi" in error.reason
        assert error.target.kind is TargetKind.ACCOUNT


@pytest.mark.parametrize("step", ["connect", "ehlo"])
@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Silence(), "no answer within 300 ms"),
        (Drop(), "closed the connection"),
        (Raw(b"nonsense\r\n"), "no SMTP reply"),
        ("554 5.3.2 go away", "554"),
        ("421 4.3.2 busy", "421"),
    ],
)
def test_bad_greetings_hold_the_server(
    loop_kind: str, step: str, action: Silence | Drop | Raw | str, words: str
) -> None:
    """Whatever is wrong before the first mail, the server is held with what happened."""
    with SmtpServer() as server:
        server.on(step, action)
        error = held(server.port, loop_kind, connection_timeout_ms=300)
        assert error.target.kind is TargetKind.SERVER
        assert words in error.reason
        server.wait_until(lambda: not server.open_sessions)


def test_one_time_limit_for_the_whole(loop_kind: str, certs: Certificates) -> None:
    """Steps that are each in time, but not together, are too late."""
    with SmtpServer(tls=certs.server_context) as server:
        for step in ("connect", "ehlo", "starttls"):
            server.on(step, Delay(0.15))
        changes = {"transport_security": "tls", "ca_file": certs.ca_file}
        error = held(server.port, loop_kind, connection_timeout_ms=350, **changes)
        assert "no answer within 350 ms" in error.reason


def test_refused_and_unknown_names() -> None:
    """Nothing listening and a name without address each have their sentence."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert "connection was refused" in held(probe.getsockname()[1]).reason
    error = held(25, server_address="nowhere.invalid")
    assert "name cannot be found" in error.reason
    assert str(error.target) == "server:nowhere.invalid:25"


def test_old_server_without_ehlo(loop_kind: str) -> None:
    """Where EHLO is unknown, HELO does, without security and login."""
    with SmtpServer() as server:
        server.on("ehlo", "502 5.5.2 not implemented")
        run(loop_kind, attempt(server.port))
        assert server.mails[0].mail_command == "MAIL FROM:<jane@example.nz>"
