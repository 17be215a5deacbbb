"""From the producer to a real mail server: pinned TLS with a password, and access tokens."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support import dovecot
from tests.support.authority import Authority
from tests.support.mailserver import MISSING, MailServer
from tests.support.office import open_office
from tests.support.scripted import held, told, until, write_company
from tests.support.secrets_watch import secret
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers import Receipt
    from tests.support.office import Office

pytestmark = pytest.mark.postfix

SECURE = """\
transport_security = "tls1.3"
authorisation = "required"
[tls]
ca_file = "{ca_file}"
"""
BY_TOKEN = """\
authentication_model = "oauth2"
[tls]
ca_file = "{ca_file}"
{registration}
"""
MAILBOX = "shared@acme.test"
EACH = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A worker, the mail server it meets, and whose tokens that takes."""

    office: Office
    server: MailServer
    authority: Authority

    def send(self, company: str, user: str, count: int) -> list[Receipt]:
        """Publish so many single sends."""
        email = Email("kim@customers.example", "Hello", text="Hello Kim")
        producer = self.office.producer
        return [producer.send(email, company=company, user=user) for _ in range(count)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One of each; skips where there is no mail server to start, but fails in CI."""
    if not MailServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    root = tmp_path_factory.mktemp("real")
    with Authority(root / "authority", upn=MAILBOX, length=2500) as authority:
        minter = authority.minter
        tokens = dovecot.TokenKeys({dovecot.KEY: minter.public_pem}, (minter.issuer,))
        with (
            MailServer({"jane": secret("pass word")}, tokens) as server,
            open_office(root / "office") as office,
        ):
            yield Place(office, server, authority)


def test_an_email_reaches_a_postfix_that_wants_tls_and_a_login(place: Place) -> None:
    """The status says sent, and Postfix's log has TLS 1.3 and one login of the user."""
    write_company(
        place.office.fleet.root / "settings",
        "secure",
        place.server.ports["authenticated"],
        address=place.server.address,
        smtp=SECURE.format(ca_file=place.server.ca_file),
        users={"jane": ""},
        passwords={"jane": secret("pass word")},
    )
    for receipt in place.send("secure", "jane", 2):
        row = place.office.wait_for(receipt.job_id, State.SENT)
        assert "queued as" in row.reply
        assert told(place.office, receipt.job_id)["state"] == "sent"
    sessions = place.server.sessions("authenticated")
    assert {session.tls for session in sessions} == {"TLSv1.3"}
    assert {user for session in sessions for user in session.users} == {("PLAIN", "jane")}
    assert {session.tried for session in sessions if session.over} <= {1}


def test_a_wrong_client_secret_is_one_hold_and_its_mail_flows_when_it_is_put_right(
    place: Place,
) -> None:
    """Two users, one app: held together without calling the server, sent without a restart."""
    office, authority = place.office, place.authority
    registration = authority.toml(client_secret="expired")
    smtp = BY_TOKEN.format(ca_file=place.server.ca_file, registration=registration)
    mailbox = f'username = "{MAILBOX}"\n'
    write_company(
        office.fleet.root / "settings",
        "cloudy",
        place.server.ports["tokens-only"],
        address=place.server.address,
        smtp=smtp,
        users={"jane": mailbox, "kim": mailbox},
    )
    receipts = place.send("cloudy", "jane", EACH) + place.send("cloudy", "kim", EACH)
    until(lambda: bool(held(office)), "a hold on the app registration")
    (target,) = held(office)
    assert target.startswith(f"credential:_app/{authority.client_id}#")
    assert place.server.sessions("tokens-only") == []

    company = office.fleet.root / "settings/companies/cloudy/company.toml"
    office.settings_file(
        "companies/cloudy/company.toml",
        company.read_text().replace(registration, authority.toml()),
    )
    for receipt in receipts:
        office.wait_for(receipt.job_id, State.SENT)
        assert len(told(office, receipt.job_id)["attempts"]) == 1
    until(lambda: not held(office), "the end of the hold")
    assert authority.grants().count("client_credentials") <= len(receipts)
    sessions = place.server.sessions("tokens-only")
    assert [user for each in sessions for user in each.users] == [("XOAUTH2", MAILBOX)] * 2 * EACH
    assert {session.tls for session in sessions} == {"TLSv1.3"}
    said = office.fleet.log.read_text()
    assert not [token for token in authority.issued if token in said]
    assert authority.client_secret not in said
