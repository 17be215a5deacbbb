"""A job as Graph's JSON: every field in its place, small files within, and what cannot be carried."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from producers.job import Attachment
from tests.support.graph_desk import MAILBOX, graph_settings
from tests.support.graphd_shapes import MESSAGE
from tests.support.jobs import make_job
from worker import mime
from worker.errors import Rejected
from worker.transports.base import Mail
from worker.transports.graph_message import (
    JOB_PROPERTY,
    MOST_ATTACHMENT_BYTES,
    MOST_REQUEST_BYTES,
    Message,
    message_of,
    uncarried,
)

if TYPE_CHECKING:
    from pathlib import Path

    from producers.job import Job


def mail_of(job: Job, recipients: tuple[str, ...] | None = None) -> Mail:
    """The mail of a job, as the worker renders it, for all or for those who are left."""
    rendered = mime.render(job, graph_settings(), message_id=job.message_id, date=0.0)
    return replace(rendered, job=job, recipients=recipients or rendered.recipients)


def drafted(message: Message) -> dict[str, Any]:
    """What Graph reads of it, which must have the published shape."""
    value: dict[str, Any] = json.loads(message.content)
    MESSAGE(value, "message")
    return value


def file_of(size: int, name: str = "a.pdf", **more: Any) -> Attachment:
    """An attachment of so many bytes."""
    return Attachment(name=name, content_type="application/pdf", content=b"x" * size, **more)


def test_every_field_of_a_job_has_its_place() -> None:
    """Recipients with names, the answer's address, receipt, importance, ids and properties."""
    job = make_job(
        sender=f"Jane Smith <{MAILBOX}>",
        to=["Ann Lee <ann@example.org>", "bob@bücher.example"],
        cc=["cc@example.org"],
        bcc=["hidden@example.org"],
        reply_to=["answers@example.nz"],
        subject="Rechnung 7 für März",
        text="Hello",
        html="<p>Hello</p>",
        read_receipt=True,
        headers={
            "X-Invoice": "7",
            "Importance": "High",
            "List-Unsubscribe": "<https://example.nz/u?id=1>",
        },
    )
    message = message_of(mail_of(job), graph_settings())
    assert message.apart == ()
    assert drafted(message) == {
        "subject": "Rechnung 7 für März",
        "body": {"contentType": "html", "content": "<p>Hello</p>"},
        "from": {"emailAddress": {"address": MAILBOX, "name": "Jane Smith"}},
        "toRecipients": [
            {"emailAddress": {"address": "ann@example.org", "name": "Ann Lee"}},
            {"emailAddress": {"address": "bob@xn--bcher-kva.example"}},
        ],
        "ccRecipients": [{"emailAddress": {"address": "cc@example.org"}}],
        "bccRecipients": [{"emailAddress": {"address": "hidden@example.org"}}],
        "replyTo": [{"emailAddress": {"address": "answers@example.nz"}}],
        "internetMessageId": job.message_id,
        "internetMessageHeaders": [{"name": "X-Invoice", "value": "7"}],
        "singleValueExtendedProperties": [
            {"id": JOB_PROPERTY, "value": job.id},
            {"id": "String 0x1045", "value": "<https://example.nz/u?id=1>"},
        ],
        "importance": "high",
        "isReadReceiptRequested": True,
    }


def test_what_a_job_does_not_say_is_not_said() -> None:
    """No empty list goes out (Graph refuses one of headers), and the user's own name is From."""
    value = drafted(message_of(mail_of(make_job()), graph_settings()))
    assert set(value) == {
        "subject",
        "body",
        "from",
        "toRecipients",
        "internetMessageId",
        "singleValueExtendedProperties",
    }
    assert value["body"] == {"contentType": "text", "content": "Hello Jane"}
    assert value["from"] == {"emailAddress": {"address": MAILBOX, "name": "Jane Smith"}}


def test_who_has_the_mail_already_gets_it_no_second_time() -> None:
    """Graph makes the envelope of To, Cc and Bcc: only those who are left stand there."""
    job = make_job(to=["a@example.org", "b@example.org"], bcc=["c@example.org"])
    value = drafted(message_of(mail_of(job, recipients=("b@example.org",)), graph_settings()))
    assert value["toRecipients"] == [{"emailAddress": {"address": "b@example.org"}}]
    assert "bccRecipients" not in value


def test_small_files_go_within_and_large_ones_apart() -> None:
    """As many as fit into the request, the smallest first; their order is kept."""
    job = make_job(
        html="<img src='cid:logo'>",
        attachments=(
            file_of(2_000_000, "big.pdf"),
            file_of(1_000_000, "medium.pdf"),
            file_of(10, "logo.png", content_id="logo"),
            file_of(2_500_000, "huge.pdf"),
        ),
    )
    message = message_of(mail_of(job), graph_settings())
    assert message.within == ("medium.pdf", "logo.png")
    assert [part.name for part in message.apart] == ["big.pdf", "huge.pdf"]
    assert len(message.content) <= MOST_REQUEST_BYTES
    medium, logo = drafted(message)["attachments"]
    assert base64.b64decode(medium["contentBytes"]) == b"x" * 1_000_000
    assert (medium["isInline"], logo["isInline"], logo["contentId"]) == (False, True, "logo")


@pytest.mark.parametrize("size", [2_900_000, 2_920_000, 2_924_000, 2_924_700, 2_930_000])
def test_no_request_is_ever_larger_than_graph_takes(size: int) -> None:
    """Around the bound a file is within or apart, and the request always small enough."""
    message = message_of(mail_of(make_job(attachments=(file_of(size),))), graph_settings())
    assert len(message.content) <= MOST_REQUEST_BYTES
    assert len(message.within) + len(message.apart) == 1


def test_a_file_on_disk_is_a_part_without_being_read(tmp_path: Path) -> None:
    """By reference the bytes may be a file, whose size alone is looked at."""
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    attachment = Attachment(name="big.bin", reference="big.bin", size=50_000_000, sha256="0" * 64)
    job = make_job(attachments=(attachment,))
    mail = Mail(job.id, MAILBOX, job.to, b"", job=job, contents={"big.bin": path})
    (part,) = message_of(mail, graph_settings()).apart
    assert (part.size, part.content) == (50_000_000, path)


def test_what_is_too_large_or_missing_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A text over 4 MB, a file over 150 MB, and a reference without bytes."""
    long = make_job(text="x" * (MOST_REQUEST_BYTES + 1))
    with pytest.raises(Rejected, match="the mail's text is larger than the 4 MB"):
        message_of(mail_of(long), graph_settings())
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(MOST_ATTACHMENT_BYTES + 1)
    attachment = Attachment(name="big.bin", reference="big.bin", size=1, sha256="0" * 64)
    job = make_job(attachments=(attachment,))
    mail = Mail(job.id, MAILBOX, job.to, b"", job=job, contents={"big.bin": path})
    with pytest.raises(Rejected, match=r"'big\.bin' is larger than the 150 MB"):
        message_of(mail, graph_settings())
    missing = Mail(job.id, MAILBOX, job.to, b"", job=job)
    with pytest.raises(Rejected, match=r"the content of attachment 'big\.bin' is not there"):
        message_of(missing, graph_settings())


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (
            {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
            "the header List-Unsubscribe-Post",
        ),
        ({"In-Reply-To": "<1@example.nz>"}, "the header In-Reply-To"),
        ({"Importance": "immense"}, "the header Importance"),
        ({f"X-{n}": "v" for n in range(6)}, "6 headers of its own"),
        ({"X-Long": "v" * 1000}, "the header X-Long is longer"),
    ],
)
def test_what_graph_cannot_carry_is_named(headers: dict[str, str], reason: str) -> None:
    """One sentence that names the header."""
    assert reason in (uncarried(make_job(headers=headers)) or "")


@pytest.mark.parametrize(
    ("header", "importance"),
    [("X-Priority", {"1": "high", "3": "normal", "5": "low"}), ("Priority", {"urgent": "high"})],
)
def test_importance_is_read_of_what_mails_have(header: str, importance: dict[str, str]) -> None:
    """Outlook's header stays as well; the others have no place but this one."""
    for value, level in importance.items():
        job = make_job(headers={header: value})
        assert uncarried(job) is None
        assert drafted(message_of(mail_of(job), graph_settings()))["importance"] == level
