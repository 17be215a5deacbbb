"""Mails as bytes: the standard library reads back what was meant, and the wire rules hold."""

from __future__ import annotations

import email
import re
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, compat32
from email.policy import default as default_policy
from email.utils import getaddresses
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.job import Attachment
from tests.support.jobs_for_mime import make_mime_job
from tests.support.settings import make_settings
from worker.errors import Rejected
from worker.mime import render

if TYPE_CHECKING:
    from worker.transports.base import Mail

DATE_AT = 1795478400.0
MESSAGE_ID = make_mime_job().message_id
PRINTABLE = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn", "Co"])
LINES = st.lists(st.text(PRINTABLE, max_size=200), max_size=15).map("\n".join)
WORDS = st.lists(st.text(PRINTABLE, max_size=90), max_size=8).map(" ".join)
NAMES = st.text(PRINTABLE, min_size=1, max_size=60).filter(
    lambda name: not set(name) & set('<>",\\') and name.strip() == name
)


def make(**changes: Any) -> Mail:
    """Render a job of user jane."""
    return render(make_mime_job(**changes), make_settings(), message_id=MESSAGE_ID, date=DATE_AT)


def read(mail: Mail) -> EmailMessage:
    """Parse with the standard library's modern policy."""
    return email.message_from_bytes(mail.content, policy=default_policy)


def check_wire(mail: Mail) -> None:
    """CRLF only, no line over 998 octets, encoded words of at most 75, ASCII unless SMTPUTF8."""
    lines = mail.content.split(b"\r\n")
    assert lines[-1] == b""
    assert not [line for line in lines if b"\n" in line or b"\r" in line]
    assert max(map(len, lines)) <= 998
    header = mail.content.partition(b"\r\n\r\n")[0]
    assert not [word for word in re.findall(rb"=\?utf-8\?[bq]\?[^?]*\?=", header) if len(word) > 75]
    assert not [line for line in header.split(b"\r\n") if not line.strip()]
    assert mail.eight_bit == (not mail.content.isascii())


def body(message: EmailMessage, kind: str) -> str:
    """The text of a part, its line ends as in the job."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_simple_mail_byte_for_byte_as_the_library_writes_it() -> None:
    """An ASCII text mail is the same, byte for byte, as the standard library's."""
    mail = make(text="Kia ora\n\n.dot\nFrom here\n", headers={"X-Order": "42"})
    library = EmailMessage(policy=SMTP)
    library["From"] = "Jane Smith <jane@example.nz>"
    library["To"] = "bob@example.nz"
    library["Subject"] = "Hello"
    library["Date"] = "Tue, 24 Nov 2026 00:00:00 +0000"
    library["Message-ID"] = make_mime_job().message_id
    library["X-Order"] = "42"
    library.set_content("Kia ora\n\n.dot\nFrom here\n")
    expected = library.as_bytes()
    # The library puts MIME-Version last.
    moved = b"MIME-Version: 1.0\r\n"
    assert mail.content.replace(moved, b"") == expected.replace(moved, b"")
    check_wire(mail)


@given(text=LINES, html=LINES)
@example(text="x" * 2000, html="é" * 2000)
@example(text="tail \n\t\n", html="=\n.\n..\n")
@example(text="", html="\n\n")
@example(text="--=_x\n", html="a\x0bb\x0cc\x1cd\x85e\u2028f".replace("\x0b", ""))
def test_bodies_are_read_back(text: str, html: str) -> None:
    """Any text and html comes back from the library's parser as it went in."""
    mail = make(text=text, html=html)
    check_wire(mail)
    message = read(mail)
    assert message.get_content_type() == "multipart/alternative"
    assert not message.defects
    for kind, sent in (("plain", text), ("html", html)):
        assert body(message, kind).removesuffix("\n") == sent.removesuffix("\n")


@given(subject=WORDS)
@example(subject="=?utf-8?q?not_encoded?=")
@example(subject="a " * 400)
@example(subject="x" * 1000)
@example(subject="  two  spaces  ")
@example(subject="ü" * 300)
def test_subject_is_read_back(subject: str) -> None:
    """Any subject comes back, but for space around it."""
    mail = make(subject=subject)
    check_wire(mail)
    assert str(read(mail)["Subject"]).split() == subject.split()


@given(names=st.lists(NAMES, min_size=1, max_size=12))
@example(names=["O'Neil", "Smith; John (NZ)", "Ā Ē Ī", "=?x?q?y?=", "dot. com", "@"])
def test_display_names_are_read_back(names: list[str]) -> None:
    """Any display name comes back with its address, however many there are."""
    mail = make(to=tuple(f'"{name}" <u{i}@example.nz>' for i, name in enumerate(names)))
    check_wire(mail)
    # The modern parser of Python 3.11 puts a space between encoded words of one name; RFC 2047 6.2
    # has none there, and the older one follows it.
    raw = email.message_from_bytes(mail.content, policy=compat32)["To"]
    found = getaddresses([raw.replace("\r\n", "")])
    assert [address for _, address in found] == [f"u{i}@example.nz" for i in range(len(names))]
    assert [str(make_header(decode_header(name))) for name, _ in found] == names
    assert mail.recipients == tuple(f"u{i}@example.nz" for i in range(len(names)))


def test_long_unsubscribe_link_stays_whole() -> None:
    """A long List-Unsubscribe is folded between its links, never inside one or in encoded words."""
    links = [f"<https://example.nz/u/{'a' * 400}>", f"<mailto:u@example.nz?subject={'b' * 90}>"]
    mail = make(headers={"List-Unsubscribe": ", ".join(links)})
    check_wire(mail)
    header = mail.content.partition(b"\r\n\r\n")[0].decode()
    assert all(link in header for link in links)
    assert "=?" not in header
    assert header.replace("\r\n ", " ").count(", ".join(links)) == 1


def test_no_bcc_on_the_wire() -> None:
    """Bcc recipients get a copy; no header names them, even when they are the only ones."""
    mail = make(cc=("Eve <eve@example.nz>",), bcc=("secret@example.nz", "bob@example.nz"))
    assert mail.recipients == ("bob@example.nz", "eve@example.nz", "secret@example.nz")
    assert b"secret" not in mail.content
    assert b"bcc" not in mail.content.lower()
    alone = make(to=(), bcc=("secret@example.nz",))
    assert str(read(alone)["To"]) == "undisclosed-recipients:;"


def test_one_copy_for_whom_is_named_twice() -> None:
    """The same address in to, cc and bcc, with or without a name, is one recipient."""
    mail = make(to=("Bob <bob@bücher.example>",), cc=("bob@xn--bcher-kva.example",))
    assert mail.recipients == ("bob@xn--bcher-kva.example",)


def test_international_domain_becomes_ascii() -> None:
    """An IDN domain is written in A-labels on the envelope and in the header."""
    mail = make(to=("Jürg <jürg.test@bücher.example>".replace("jürg", "jurg"),))
    assert mail.recipients == ("jurg.test@xn--bcher-kva.example",)
    assert not mail.smtputf8
    assert read(mail)["To"].addresses[0].display_name == "Jürg"


def test_international_local_part_needs_smtputf8() -> None:
    """A local part that is not ASCII stays as it is, in UTF-8, and says so."""
    mail = make(to=("Пётр <пётр@bücher.example>",))
    assert mail.recipients == ("пётр@xn--bcher-kva.example",)
    assert mail.smtputf8
    assert mail.eight_bit
    check_wire(mail)


@pytest.mark.parametrize(
    ("sender", "address", "expected"),
    [
        (None, "jane@example.nz", "Jane Smith <jane@example.nz>"),
        ("jane@example.nz", "jane@example.nz", "Jane Smith <jane@example.nz>"),
        ("Other <jane@example.nz>", "jane@example.nz", "Other <jane@example.nz>"),
        ("robot@example.nz", "jane@example.nz", "robot@example.nz"),
        ("robot@example.nz", None, "robot@example.nz"),
    ],
)
def test_sender_is_the_jobs_or_the_users(
    sender: str | None, address: str | None, expected: str
) -> None:
    """From is the job's sender, else the user's address; the user's name goes with it alone."""
    mail = render(
        make_mime_job(sender=sender),
        make_settings(address=address),
        message_id=MESSAGE_ID,
        date=DATE_AT,
    )
    assert str(read(mail)["From"]) == expected
    assert mail.sender == expected.partition("<")[2].rstrip(">") or expected


def test_no_sender_is_a_sentence() -> None:
    """Neither job nor user has an address: dead, naming the key and the user."""
    with pytest.raises(Rejected, match="no sender: set address in the file of user 'jane'"):
        render(make_mime_job(), make_settings(address=None), message_id=MESSAGE_ID, date=DATE_AT)


def test_receipt_reply_to_and_headers() -> None:
    """The other headers are there where they are asked for, and nothing is added unasked."""
    plain = read(make())
    assert {"Reply-To", "Disposition-Notification-To", "Auto-Submitted", "Cc"}.isdisjoint(plain)
    message = read(
        make(
            read_receipt=True,
            reply_to=("Office <office@example.nz>", "b@example.nz"),
            headers={"Auto-Submitted": "auto-generated", "X-Nämlich".replace("ä", "a"): "schön"},
        )
    )
    assert message["Disposition-Notification-To"] == "jane@example.nz"
    assert message["Reply-To"] == "Office <office@example.nz>, b@example.nz"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Namlich"] == "schön"
    assert message["Date"] == "Tue, 24 Nov 2026 00:00:00 +0000"


def test_attachments_inline_images_and_texts() -> None:
    """mixed(alternative(plain, related(html, image)), file, file): every byte comes back."""
    image, pdf = bytes(range(256)) * 40, b"%PDF-1.7" * 1000
    mail = make(
        text="Grüße\n" * 30,
        html='<img src="cid:logo"> Grüße',
        attachments=(
            Attachment(name="logo.png", content_type="image/png", content=image, content_id="logo"),
            Attachment(name="Rechnung März 😀.pdf", content_type="application/pdf", content=pdf),
            Attachment(name="a.csv", content_type="text/csv; charset=utf-8", content=b"a;\xc3\xa9"),
            Attachment(name="m.eml", content_type="message/rfc822", content=b"Subject: x\n\nlong"),
        ),
    )
    check_wire(mail)
    assert max(map(len, mail.content.split(b"\r\n"))) <= 80
    message = read(mail)
    assert message["Message-ID"] == make_mime_job().message_id
    assert body(message, "plain") == "Grüße\n" * 30
    assert body(message, "html").rstrip() == '<img src="cid:logo"> Grüße'
    related = [part for part in message.walk() if part["Content-ID"] == "<logo>"]
    assert [part.get_content() for part in related] == [image]
    assert related[0].get_content_disposition() == "inline"
    files = {
        part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()
    }
    assert files == {
        "Rechnung März 😀.pdf": pdf,
        "a.csv": b"a;\xc3\xa9",
        "m.eml": b"Subject: x\n\nlong",
    }
    assert len([part for part in message.walk() if part["MIME-Version"]]) == 1


def test_attachments_by_reference() -> None:
    """Their content is passed in, by reference or name; what is missing or another's is dead."""
    parts = [
        Attachment(
            name="a.pdf", reference=f"{day}/a.pdf", size=1, sha256=sha256(day.encode()).hexdigest()
        )
        for day in ("1", "2")
    ]
    job = make_mime_job(attachments=tuple(parts))

    def files(contents: dict[str, bytes]) -> list[object]:
        mail = render(job, make_settings(), message_id=MESSAGE_ID, date=0.0, contents=contents)
        return [part.get_content() for part in read(mail).iter_attachments()]

    assert files({"1/a.pdf": b"1", "2/a.pdf": b"2"}) == [b"1", b"2"]
    assert files({"1/a.pdf": b"1", "a.pdf": b"2"}) == [b"1", b"2"]
    for wrong in ({"a.pdf": b"2"}, {"1/a.pdf": b"2", "2/a.pdf": b"2"}, {}):
        with pytest.raises(Rejected, match=r"'a\.pdf' is not there"):
            files(wrong)


def test_same_job_same_bytes() -> None:
    """Rendered again, with text, html and attachments, the bytes are the same."""
    attachment = Attachment(name="a.bin", content=b"\0\1")
    changes: dict[str, Any] = {"html": "<p>é</p>", "attachments": (attachment,)}
    assert make(**changes).content == make(**changes).content
    assert make(html="<p>é</p>").content == make(html="<p>é</p>").content


def test_boundary_is_in_no_part() -> None:
    """A text that holds the very boundary gets another."""
    mark = read(make(html="x")).get_boundary()
    mail = make(text=f"--{mark}\nnot the end", html="x")
    assert read(mail).get_boundary() != mark
    assert body(read(mail), "plain") == f"--{mark}\nnot the end\n"
