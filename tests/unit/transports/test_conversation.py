"""What a test login writes down: every line, no secret, addresses shortened, in the order said."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.support.jwts import make_minter
from tests.support.secrets_watch import secret
from worker.transports.certificate import described
from worker.transports.conversation import Conversation
from worker.transports.trial_tokens import claims_of

PASSWORD = secret("jane")
WORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30)


def lines(conversation: Conversation) -> list[str]:
    """Everything that was written down."""
    return [line for step in conversation.steps for line in step.lines]


def test_a_login_is_hidden_and_what_follows_is_not() -> None:
    """Each line from AUTH to the last reply to it; MAIL is shown again."""
    told = Conversation()
    told.step("AUTH")
    told.client("AUTH LOGIN amFuZQ==")
    told.server(334, "UGFzc3dvcmQ6")
    told.client("c2VjcmV0")
    told.server(235, "2.7.0 Authentication successful")
    told.step("mail")
    told.client("MAIL FROM:<jane@acme.example>")
    told.server(250, "2.1.0 Ok")
    assert [(step.name, step.lines) for step in told.steps] == [
        ("AUTH", ["C: AUTH LOGIN ***", "S: 334 ***", "C: ***", "S: 235 2.7.0 Authentication successful"]),
        ("mail", ["C: MAIL FROM:<j…e@acme.example>", "S: 250 2.1.0 Ok"]),
    ]  # fmt: skip


def test_a_reply_of_many_lines_is_shown_as_it_came() -> None:
    """With its code on each; control characters take no effect."""
    told = Conversation()
    told.step("EHLO")
    told.server(250, "mx.example.nz\nSIZE 1000\nAUTH PLAIN\x1b[2J")
    assert lines(told) == ["S: 250-mx.example.nz", "S: 250-SIZE 1000", "S: 250 AUTH PLAIN?[2J"]


def test_a_step_that_says_nothing_is_not_written_but_known() -> None:
    """A failure can be told of it, and each line is told with its step as it comes."""
    heard: list[tuple[str, str]] = []
    told = Conversation(lambda step, line: heard.append((step, line)))
    assert told.under_way == "settings"
    told.step("DNS")
    told.step("TCP")
    assert (told.steps, told.under_way) == ([], "TCP")
    told.note("connected")
    assert heard == [("TCP", "connected")]


@given(before=WORDS, after=WORDS, encoded=st.booleans(), logging_in=st.booleans())
def test_no_reply_shows_what_is_hidden(
    before: str, after: str, encoded: bool, logging_in: bool
) -> None:
    """Wherever a server puts the password, in clear or within something in base64."""
    told = Conversation()
    told.hide(PASSWORD)
    told.step("AUTH")
    if logging_in:
        told.client("AUTH PLAIN")
    said = f"{before}{PASSWORD}{after}"
    told.server(535, base64.b64encode(said.encode()).decode() if encoded else said)
    (line,) = lines(told)[-1:]
    assert PASSWORD not in line
    assert not encoded or base64.b64encode(said.encode()).decode() not in line


def test_a_long_run_in_a_login_is_a_token() -> None:
    """Also where nobody knows it: a server may answer with one of its own."""
    told = Conversation()
    told.step("AUTH")
    told.client("AUTH XOAUTH2")
    told.server(535, f"5.7.3 {'Ab1_' * 12} no")
    assert lines(told)[-1] == "S: 535 5.7.3 *** no"


def test_a_token_says_what_it_is_for() -> None:
    """Audience, end and permissions; neither itself nor who it is for."""
    token = make_minter().mint(
        upn="jane@acme.test", aud="https://outlook.office365.com", roles=["SMTP.SendAsApp"]
    )
    audience, ends, permissions = claims_of(token)
    assert audience == "audience: https://outlook.office365.com"
    assert ends.startswith("valid until 20")
    assert permissions == "permissions: SMTP.SendAsApp"


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "eyJ.W10.x", "..", "a.\u00e9.c"])
def test_a_token_that_is_no_jwt_is_said_to_be_none(token: str) -> None:
    """Personal accounts have tokens that only Microsoft can read."""
    assert claims_of(token) == ["a token that only its server can read"]


def certificate(*names: str, common: str = "") -> bytes:
    """A certificate in DER until the end of 2030."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme CA")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, 23, 59, tzinfo=UTC))
    )
    if names:
        found = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = made.add_extension(found, critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("der", "whom"),
    [
        (certificate("mx.example.nz", common="old"), "mx.example.nz"),
        (certificate(common="mx.example.nz"), "mx.example.nz"),
        (certificate(), "no name"),
        (certificate(*(f"mx{n}.example" for n in range(6))),
         "mx0.example, mx1.example, mx2.example, mx3.example and 2 more"),
    ],
)  # fmt: skip
def test_a_certificate_is_described_in_two_lines(der: bytes, whom: str) -> None:
    """Whom it names, and until when; the subject's name counts only where there is no other."""
    assert described(der) == [f"certificate for {whom}", "by Acme CA, until 2030-12-31 23:59 UTC"]


def test_what_is_no_certificate_is_said_to_be_none() -> None:
    """It is what a server sent, so it may be anything."""
    assert described(b"\x30\x03abc") == ["its certificate cannot be read"]
