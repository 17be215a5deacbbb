"""What an account logs in with, with which mechanism, and what a server says of a bad token."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtplib.auth import auth_xoauth2_encode
from pydantic import SecretStr

from tests.support.fake_tokens import FakeTokens
from tests.support.settings import make_settings
from worker.errors import Held
from worker.outcome import HoldTarget, Reply, TargetKind
from worker.transports.credentials import Credentials
from worker.transports.failures import Party, login_refused
from worker.transports.login import Login, PasswordLogin, TokenLogin, choose, complaint_of

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

PARTY = Party("mx:587", "acme/jane", "acme/jane#1")
BY_TOKEN: dict[str, Any] = {
    "authentication_model": "oauth2",
    "authorisation": "required",
    "transport_security": "tls",
}
BY_PASSWORD = BY_TOKEN | {"authentication_model": "basic"}


def login_of(settings: EffectiveSettings, tokens: FakeTokens | None = None) -> Login | None:
    """What the account would log in with."""
    return asyncio.run(Credentials(tokens).of(settings, PARTY))


def test_each_model_has_its_login() -> None:
    """None where there is none; a password; a token for the user name, else for the address."""
    tokens = FakeTokens("t")
    assert login_of(make_settings(**BY_TOKEN | {"authorisation": "none"}), tokens) is None
    named = make_settings(**BY_PASSWORD, username="jane", password=SecretStr("p"))
    assert login_of(named, tokens) == PasswordLogin("jane", "p")
    assert tokens.asked == []
    mailbox = make_settings(**BY_TOKEN, username="shared@example.nz")
    assert login_of(mailbox, tokens) == TokenLogin("shared@example.nz", "t")
    assert login_of(make_settings(**BY_TOKEN), tokens) == TokenLogin("jane@example.nz", "t")
    assert tokens.asked == ["smtp", "smtp"]


@pytest.mark.parametrize(
    ("changes", "tokens", "words"),
    [
        (BY_PASSWORD, None, "needs a username"),
        (BY_PASSWORD | {"username": "jane"}, None, "needs a password"),
        (BY_TOKEN | {"address": None}, None, '"oauth2" needs a username'),
        (BY_TOKEN, None, "access tokens cannot be had here"),
        (BY_TOKEN | {"transport_security": "none"}, FakeTokens("t"), "no access token is sent"),
    ],
)
def test_what_is_missing_holds_the_account(
    changes: dict[str, Any], tokens: FakeTokens | None, words: str
) -> None:
    """Before anybody is asked for anything."""
    with pytest.raises(Held, match=words) as caught:
        login_of(make_settings(**changes), tokens)
    assert caught.value.target == HoldTarget(TargetKind.ACCOUNT, "acme/jane")
    assert tokens is None or tokens.asked == []


def test_secrets_are_in_no_repr() -> None:
    """A traceback that shows a login shows no secret."""
    assert "secret" not in repr((PasswordLogin("jane", "secret"), TokenLogin("jane", "secret")))


@pytest.mark.parametrize(
    ("login", "offered", "chosen"),
    [
        (PasswordLogin("j", "p"), ["login", "plain", "xoauth2"], "plain"),
        (PasswordLogin("j", "p"), ["xoauth2", "cram-md5", "login"], "login"),
        (PasswordLogin("j", "p"), ["cram-md5"], "cram-md5"),
        (TokenLogin("j", "t"), ["plain", "login", "xoauth2"], "xoauth2"),
    ],
)
def test_one_mechanism_is_chosen(login: Login, offered: list[str], chosen: str) -> None:
    """The best that both know, and for a token XOAUTH2 alone."""
    assert choose(login, offered, secured=True, party=PARTY) == chosen


@pytest.mark.parametrize(
    ("login", "offered", "words"),
    [
        (PasswordLogin("j", "p"), None, 'offers no login: set authorisation = "none"'),
        (TokenLogin("j", "t"), None, 'offers no login: authentication_model = "oauth2" needs'),
        (PasswordLogin("j", "p"), ["xoauth2"], "offers only xoauth2 to log in; with a password"),
        (TokenLogin("j", "t"), ["plain", "login"], "offers only plain, login to log in; authen"),
        (TokenLogin("j", "t"), [], "offers only unnamed ways"),
    ],
)
def test_nothing_that_fits_holds_the_account(
    login: Login, offered: list[str] | None, words: str
) -> None:
    """The sentence has what is offered and what is needed."""
    with pytest.raises(Held, match=words) as caught:
        choose(login, offered, secured=True, party=PARTY)
    assert caught.value.target.kind is TargetKind.ACCOUNT


@pytest.mark.parametrize(
    ("challenge", "complaint"),
    [
        ({"status": "401", "schemes": "bearer", "scope": "mail"}, "status 401, schemes bearer"),
        ({"status": 400, "schemes": "Bearer"}, "status 400, schemes Bearer"),
        ({"status": "401"}, "status 401"),
        ({"status": "your token eyJ0eXAi is bad", "schemes": "x" * 41}, ""),
        ({}, ""),
        (["status"], ""),
    ],
)
def test_the_complaint_has_status_and_schemes_only(challenge: object, complaint: str) -> None:
    """Whatever else a server writes there goes nowhere: it could be the token."""
    encoded = base64.b64encode(json.dumps(challenge).encode()).decode()
    assert complaint_of(encoded) == complaint


DEEP = base64.b64encode(b"[" * 6000).decode()


@pytest.mark.parametrize("challenge", ["", "no base64!", "bm8ganNvbg==", "/w==", "ä", DEEP])
def test_a_challenge_that_is_no_json_says_nothing(challenge: str) -> None:
    """It is answered with an empty line all the same."""
    assert complaint_of(challenge) == ""


@pytest.mark.parametrize(
    ("reply", "complaint", "words", "kind"),
    [
        (Reply(535, "no", "5.7.8"), None, "check username and password (535", "credential"),
        (
            Reply(535, "no", "5.7.3"),
            "",
            "refused the access token (535 5.7.3 to auth)",
            "credential",
        ),
        (Reply(535, "no"), "status 401", "access token (535 to auth; status 401)", "credential"),
        (
            Reply(535, "SmtpClientAuthentication is disabled for the Tenant", "5.7.139"),
            "",
            "does not let this mailbox log in",
            "credential",
        ),
        (Reply(454, "later", "4.7.0"), "", "cannot check logins now", "account"),
        (Reply(451, "later"), "", "cannot check logins now", "account"),
    ],
)
def test_what_a_refused_login_means(
    reply: Reply, complaint: str | None, words: str, kind: str
) -> None:
    """The table of replies comes first; where it has no row, a token is not called a password."""
    error = login_refused(reply, PARTY, complaint)
    assert isinstance(error, Held)
    assert words in error.reason
    assert error.target.kind == kind
    assert error.reply is reply


def test_a_token_is_masked_in_a_reply_that_repeats_a_part_of_it() -> None:
    """Servers cut what they repeat; the words beside it stay as they are."""
    login = TokenLogin("jane@example.nz", "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJ4In0.c2lnbmF0dXJl" * 9)
    sent = auth_xoauth2_encode(login.mailbox, login.token).decode()
    said = f"500 5.5.2 authentication-mechanism not known: {sent[:80]} {login.token[:50]}"
    assert login.masked(said) == "500 5.5.2 authentication-mechanism not known: *** ***"
    assert PasswordLogin("jane", "no").masked("no, not now") == "no, not now"


def test_after_a_failure_that_is_not_the_tokens() -> None:
    """A password has no second try, nor has a token whose server was the trouble."""
    settings = make_settings(**BY_TOKEN)
    tokens = FakeTokens("t", "u")
    credentials = Credentials(tokens)
    refused = Held("no", target=HoldTarget(TargetKind.CREDENTIAL, "acme/jane#1"))
    busy = Held("no", target=HoldTarget(TargetKind.SERVER, "mx:587"))

    async def after(held: Held, login: Login | None) -> Login | None:
        return await credentials.after(held, login, settings, PARTY)

    assert asyncio.run(after(refused, PasswordLogin("j", "p"))) is None
    assert asyncio.run(after(refused, None)) is None
    assert asyncio.run(after(busy, TokenLogin("j", "t"))) is None
    assert tokens.asked == []
    assert asyncio.run(after(refused, TokenLogin("j", "t"))) == TokenLogin("jane@example.nz", "u")
    assert asyncio.run(after(refused, TokenLogin("j", "u"))) is None
    assert tokens.refusals == 2
