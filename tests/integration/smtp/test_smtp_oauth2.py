"""Logins with access tokens, which a real Dovecot checks by their signature."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.deliveries import deliver, run
from tests.support.fake_tokens import FakeTokens
from tests.support.jwts import make_minter
from tests.support.settings import make_settings
from worker.errors import Held
from worker.outcome import HoldTarget, TargetKind
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from tests.support.jwts import Minter
    from tests.support.mailserver import MailServer

pytestmark = pytest.mark.postfix

MAILBOX = "jane@acme.test"


class Office:
    """Accounts with OAuth2 that meet the mail server; every attempt greets by its own name."""

    def __init__(self, server: MailServer, name: str) -> None:
        self.server = server
        self.name = name

    def settings(self, listener: str = "submission", **changes: Any) -> Any:
        """The settings of jane, who logs in with a token."""
        fields: dict[str, Any] = {
            "server_address": self.server.address,
            "port": self.server.ports[listener],
            "ca_file": self.server.ca_file,
            "transport_security": "tls",
            "authorisation": "required",
            "authentication_model": "oauth2",
            "username": MAILBOX,
            "connection_timeout_ms": 60_000,
        }
        return make_settings(**(fields | changes))

    async def attempt(
        self, tokens: FakeTokens, listener: str = "submission", **changes: Any
    ) -> Any:
        """One mail over a new transport."""
        transport = SmtpTransport(ehlo_name=self.name, tokens=tokens)
        try:
            return await deliver(transport, self.settings(listener, **changes))
        finally:
            await transport.close()

    def held(self, tokens: FakeTokens, listener: str = "submission", **changes: Any) -> Held:
        """The hold that one attempt ends with."""
        with pytest.raises(Held) as caught:
            asyncio.run(self.attempt(tokens, listener, **changes))
        return caught.value


@pytest.fixture
def office(mailserver: MailServer, request: pytest.FixtureRequest) -> Office:
    """The mail server under a name that only this test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return Office(mailserver, f"{name}.test")


@pytest.mark.parametrize("length", [500, 1500, 2500, 4000])
def test_a_token_of_any_length_logs_in(
    office: Office, minter: Minter, loop_kind: str, length: int
) -> None:
    """Also one that is longer than the server's longest command line: it never stands in that."""
    token = minter.mint(upn=MAILBOX, length=length)
    assert len(token) >= length
    run(loop_kind, office.attempt(FakeTokens(token)))
    session = office.server.session(office.name)
    assert session.users == [("XOAUTH2", MAILBOX)]
    assert (session.tried, session.logins) == (1, 1)


def _bad_tokens(minter: Minter) -> dict[str, str]:
    return {
        "expired": minter.mint(upn=MAILBOX, lifetime_seconds=-60),
        "other-issuer": minter.mint(upn=MAILBOX, iss="https://elsewhere.test/v2.0"),
        "other-user": minter.mint(upn="bob@acme.test"),
        "other-key": make_minter(minter.issuer).mint(upn=MAILBOX),
        "no-jwt": "abc.def",
        "long-and-expired": minter.mint(upn=MAILBOX, lifetime_seconds=-60, length=4000),
    }


@pytest.mark.parametrize(
    "fault", ["expired", "other-issuer", "other-user", "other-key", "no-jwt", "long-and-expired"]
)
def test_a_refused_token_holds_the_mailbox(office: Office, minter: Minter, fault: str) -> None:
    """One login in the log, and the reason has what the server said of it, but not the token."""
    token = _bad_tokens(minter)[fault]
    tokens = FakeTokens(token)
    error = office.held(tokens)
    settings = office.settings()
    assert error.target == HoldTarget(TargetKind.CREDENTIAL, settings.credential)
    assert "refused the access token (535 5.7.8 to auth; status 40" in error.reason
    assert "schemes bearer)" in error.reason
    assert "check username" in error.reason
    assert token not in f"{error!r} {error.reply} {error.__cause__!r}"
    assert MAILBOX not in error.reason
    assert tokens.refusals == 1
    session = office.server.session(office.name)
    assert (session.tried, session.logins, session.users) == (1, 0, [])


def test_a_token_that_went_bad_is_replaced_once(
    office: Office, minter: Minter, loop_kind: str
) -> None:
    """Refused, had anew, taken: on a second connection, and nobody hears of it."""
    tokens = FakeTokens(minter.mint(upn=MAILBOX, lifetime_seconds=-60), minter.mint(upn=MAILBOX))
    run(loop_kind, office.attempt(tokens))
    sessions = office.server.sessions_of(office.name, 2)
    assert [(each.tried, each.logins) for each in sessions] == [(1, 0), (1, 1)]
    assert tokens.refusals == 1


def test_two_refusals_are_enough(office: Office, minter: Minter) -> None:
    """A new token that is refused too holds the mailbox, though there were more to be had."""
    bad = _bad_tokens(minter)
    tokens = FakeTokens(bad["expired"], bad["other-user"], bad["no-jwt"])
    assert office.held(tokens).target.kind is TargetKind.CREDENTIAL
    assert tokens.refusals == 1
    assert len(office.server.sessions_of(office.name, 2)) == 2


def test_a_token_that_another_has_renewed_meanwhile_is_not_thrown_away(
    office: Office, minter: Minter
) -> None:
    """Where the token is another one by the time the old one is refused, it is simply tried."""

    class Renewed(FakeTokens):
        async def token(self, *arguments: Any) -> str:
            found = await super().token(*arguments)
            if len(self.asked) == 1:
                self.renew()
            return found

    tokens = Renewed(minter.mint(upn=MAILBOX, lifetime_seconds=-60), minter.mint(upn=MAILBOX))
    asyncio.run(office.attempt(tokens))
    assert tokens.refusals == 0


def test_a_token_is_not_offered_to_a_server_that_wants_passwords(
    office: Office, minter: Minter
) -> None:
    """Nor is a password tried instead: the account is held, naming both."""
    error = office.held(FakeTokens(minter.mint(upn=MAILBOX)), "passwords-only")
    assert error.target.kind is TargetKind.ACCOUNT
    assert "offers only plain to log in" in error.reason
    assert 'authentication_model = "oauth2" needs XOAUTH2' in error.reason
    assert office.server.session(office.name).tried == 0


def test_no_token_goes_over_a_connection_without_tls(office: Office) -> None:
    """It is as good as a password: nothing is asked for, and nobody is called."""
    tokens = FakeTokens("secret")
    error = office.held(tokens, "clear", transport_security="none")
    assert "no access token is sent without TLS" in error.reason
    assert tokens.asked == []


def test_a_token_that_cannot_be_had_calls_no_server(office: Office) -> None:
    """The hold is the one that the tokens raise, on the app registration say."""
    held = Held("no", target=HoldTarget(TargetKind.CREDENTIAL, "_app/x#1"))
    assert office.held(FakeTokens(error=held)) is held
    assert [s for s in office.server.all_sessions() if s.name == office.name] == []


def test_many_mails_ask_for_one_token(office: Office, minter: Minter) -> None:
    """The first connection goes ahead; mails on kept connections need no token."""
    tokens = FakeTokens(minter.mint(upn=MAILBOX, lifetime_seconds=-60))

    async def all_at_once() -> list[Any]:
        transport = SmtpTransport(ehlo_name=office.name, tokens=tokens)
        settings = office.settings()
        done = [deliver(transport, settings) for _ in range(50)]
        outcomes = await asyncio.gather(*done, return_exceptions=True)
        await transport.close()
        return outcomes

    assert {type(each) for each in asyncio.run(all_at_once())} == {Held}
    assert len(office.server.sessions_of(office.name, 1)) == 1
