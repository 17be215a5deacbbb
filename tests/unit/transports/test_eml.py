"""The unsent message: what a person's mail program needs of a draft, and what it must not have."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING, Any

import pytest

from producers.job import Attachment
from tests.support.deliveries import Begun, deliver, make_mail, run
from tests.support.jobs_for_mime import make_mime_job
from tests.support.settings import make_settings
from worker.composing import Composer
from worker.errors import Rejected
from worker.transports import eml
from worker.transports.eml import EmlTransport, unsent

if TYPE_CHECKING:
    from email.message import EmailMessage

DATE = 1_800_000_000.0


def draft(settings: dict[str, Any] | None = None, **fields: Any) -> tuple[bytes, EmailMessage]:
    """The file that a worker leaves of a job, and what the standard library reads in it."""
    job = make_mime_job(kind="compose", **fields)
    jane = make_settings(kind="compose", transport="accredo-mailer", **(settings or {}))
    begin = Begun()
    mail = Composer(None)(job, jane, DATE, frozenset())
    made = run("asyncio", deliver(EmlTransport(), jane, mail=mail, begin=begin)).draft
    assert begin.count == 0
    assert made is not None
    assert made.content is not None
    return made.content, message_from_bytes(made.content, policy=SMTP)


def test_a_draft_opens_for_editing_and_has_nothing_that_sending_gives() -> None:
    """X-Unsent is first, Bcc is there, Date and Message-ID are not; no defect, CRLF everywhere."""
    content, message = draft(bcc=("Archiv für alle <archive@example.nz>", "boss@example.nz"))
    assert content.startswith(b"X-Unsent: 1\r\nBcc: ")
    assert content.count(b"\n") == content.count(b"\r\n")
    assert [each.addr_spec for each in message["Bcc"].addresses] == [
        "archive@example.nz",
        "boss@example.nz",
    ]
    assert message["Bcc"].addresses[0].display_name == "Archiv für alle"
    assert (message["Date"], message["Message-ID"]) == (None, None)
    assert str(message["From"]) == "Jane Smith <jane@example.nz>"
    assert (message["To"], message["Subject"]) == ("bob@example.nz", "Hello")
    assert message.defects == []


def test_a_draft_for_hidden_recipients_alone_names_no_to() -> None:
    """``undisclosed-recipients:;`` is what a sent mail shows; nobody could send to it."""
    content, message = draft(to=(), bcc=("archive@example.nz",))
    assert b"undisclosed" not in content
    assert (message["To"], message["Bcc"]) == (None, "archive@example.nz")


def test_long_headers_survive_and_nobodys_own_x_unsent_counts() -> None:
    """Folded lines stay with their field; a job's X-Unsent and no other field of its own is dropped."""
    everyone = tuple(f"Person Number {n} <p{n}@example.nz>" for n in range(30))
    subject = "Ein langer Betreff mit Umlauten äöü " * 8
    _, message = draft(to=everyone, subject=subject, headers={"x-unsent": "0", "X-Invoice": "4711"})
    assert len(message["To"].addresses) == 30
    assert message["Subject"].split() == subject.split()
    assert (message.get_all("X-Unsent"), message["X-Invoice"]) == (["1"], "4711")
    assert message["Bcc"] is None


def test_the_users_tab_fills_the_draft() -> None:
    """Signature in both forms, cc, bcc, reply-to and receipt; Mail Format plain leaves the text."""
    tab: dict[str, Any] = {
        "signature": "Jane",
        "cc": ("boss@example.nz",),
        "bcc": ("archive@example.nz",),
        "reply_to": ("office@example.nz",),
        "request_read_receipt": True,
    }
    _, message = draft(tab, apply_user_defaults=True)
    assert (message["Cc"], message["Bcc"]) == ("boss@example.nz", "archive@example.nz")
    assert message["Reply-To"] == "office@example.nz"
    assert message["Disposition-Notification-To"] == "jane@example.nz"
    parts = {part.get_content_type(): part for part in message.walk()}
    assert parts["text/plain"].get_content() == "Kia ora\r\n\r\nJane\r\n"
    assert parts["text/html"].get_content().split() == ["Kia", "ora<br><br>", "Jane"]
    _, plain = draft({**tab, "mail_format": "plain"}, apply_user_defaults=True)
    assert plain.get_content_type() == "text/plain"


def test_attachments_are_in_the_draft_as_they_were() -> None:
    """Every byte, name and type; the body before them."""
    whole = bytes(range(256)) * 40
    attached = Attachment(name="bill.pdf", content_type="application/pdf", content=whole)
    _, message = draft(html="<p>Hi</p>", attachments=(attached,))
    (part,) = message.iter_attachments()
    assert (part.get_filename(), part.get_content_type()) == ("bill.pdf", "application/pdf")
    assert part.get_content() == whole
    body = message.get_body()
    assert body is not None
    assert body.get_content_type() == "text/html"


def test_what_is_too_large_to_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says how large it is, how large it may be, and the other way."""
    monkeypatch.setattr(eml, "MOST_BYTES", 1 << 20)
    mail = make_mail(content=b"Subject: x\r\n\r\n" + bytes(3 << 20))
    with pytest.raises(Rejected, match=r"has 3 MiB, and at most 1 are kept .* microsoft-365"):
        run("asyncio", deliver(EmlTransport(), make_settings(), mail=mail))


def test_a_mail_without_a_body_stays_one() -> None:
    """Header lines that end without an empty line are no reason to lose one."""
    assert unsent(b"From: a@b.nz\r\nDate: x\r\n y\r\nTo: c@d.nz", ()) == (
        b"X-Unsent: 1\r\nFrom: a@b.nz\r\nTo: c@d.nz"
    )


def test_there_is_nothing_to_wait_for_or_to_close() -> None:
    """No server: no lead, and closing twice is nothing."""
    transport = EmlTransport()
    assert transport.lead_seconds(make_settings()) == 0.0
    run("asyncio", transport.close())
    run("asyncio", transport.close())
