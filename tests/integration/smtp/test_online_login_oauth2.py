"""The test login with access tokens: the token first, what it says of itself, and never itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.authority import Authority, Fault
from tests.support.online import Online
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.jwts import Minter
    from tests.support.mailserver import MailServer

MAILBOX = "jane@acme.test"


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory, minter: Minter) -> Iterator[Authority]:
    """One whose tokens the mail server takes, as long as they are for its mailbox."""
    with Authority(tmp_path_factory.mktemp("authority")) as authority:
        authority.minter, authority.upn = minter, MAILBOX
        yield authority


@pytest.fixture
def online(tmp_path: Path) -> Online:
    """A tree to be tried."""
    return Online(tmp_path)


def write(
    online: Online, authority: Authority, port: int, ca_file: Path, grant: str = "client-secret"
) -> None:
    """Write a company that logs in with tokens."""
    online.write(
        port,
        'authentication_model = "oauth2"\n',
        user=f'username = "{MAILBOX}"\n',
        more=f'[tls]\nca_file = "{ca_file}"\n{authority.toml(grant)}',
    )


@pytest.mark.postfix
def test_a_token_is_described_and_logs_in(
    online: Online, authority: Authority, mailserver: MailServer
) -> None:
    """Authority, application, audience, end and permissions; the login itself is hidden."""
    online.address = mailserver.address
    write(online, authority, mailserver.ports["submission"], mailserver.ca_file)
    steps = online.lines()
    (token,) = authority.issued
    assert list(steps)[2:] == ["token", "DNS", "TCP", "greeting", "EHLO", "TLS", "AUTH"]
    assert steps["token"][:4] == [
        f"authority: {authority.url}/{authority.tenant}",
        f"application: {authority.client_id}, by client-secret",
        "mailbox: j…e@acme.test",
        "audience: https://outlook.office365.com",
    ]
    assert re.fullmatch(r"valid until 20\d\d-\d\d-\d\d \d\d:\d\d UTC", steps["token"][4])
    assert steps["AUTH"][1:4] == ["C: AUTH XOAUTH2", "S: 334 ***", "C: ***"]
    assert steps["AUTH"][4].startswith("S: 235 ")
    assert token not in str(steps)
    assert authority.client_secret not in str(steps)


@pytest.mark.postfix
def test_a_refused_token_says_what_the_server_says_of_it(
    online: Online, authority: Authority, mailserver: MailServer
) -> None:
    """The status and the schemes of the server's JSON are shown, and where to look next."""
    online.address = mailserver.address
    authority.minter = replace(authority.minter, issuer="https://elsewhere.test/v2.0")
    write(online, authority, mailserver.ports["submission"], mailserver.ca_file)
    told = online.json(exits=1)
    assert told["failed"] == "AUTH"
    assert "the server refused the access token" in told["reason"]
    said = told["steps"][-1]["lines"]
    assert said[2:5] == ["S: 334 ***", "C: ***", "S: 334 status 401, schemes bearer"]
    assert said[5] == "C: (an empty line)"
    assert authority.grants() == ["client_credentials"]


def test_an_authority_that_refuses_is_the_first_step(online: Online, authority: Authority) -> None:
    """The server is not asked; the sentence names the application and what to change."""
    authority.failing = Fault(status=401, error="invalid_client", code=7000222)
    write(online, authority, 1, authority.ca_file)
    told = online.json(exits=1)
    assert (told["failed"], [step["step"] for step in told["steps"]]) == ("token", ["token"])
    assert "(invalid_client, AADSTS7000222): put a client secret that is valid" in told["reason"]
    assert f"application: {authority.client_id}, by client-secret" in told["steps"][0]["lines"]
    assert authority.client_secret not in str(told)


def test_whoever_has_not_signed_in_is_told_to(
    online: Online, authority: Authority, tmp_path: Path
) -> None:
    """A login by device code is in the ledger; without one the command that makes it is named."""
    write(online, authority, 1, authority.ca_file, "device-code")
    assert "there is no ledger" in online.run(exits=3)
    Ledger(f"sqlite:///{tmp_path / 'state' / 'ledger.db'}").close()
    told = online.json(exits=1)
    assert told["failed"] == "token"
    assert "postmeter login jane --company acme" in told["reason"]
