"""The job: what it accepts, what it refuses and with which words, what is derived from it."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from producers.errors import InvalidJob
from producers.job import MAX_AHEAD, Attachment, Job
from tests.support.jobs import JOB_ID, NOW, make_job

ID_RULE = "not a company id: use a-z, 0-9, '-' and '_', a letter or digit first, at most 63"
USER_RULE = (
    "not a user id: use a-z, 0-9, '-', '_' and single dots, a letter or digit first, at most 63"
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"company": "Acme"}, f"company: {ID_RULE} (got 'Acme')"),
        ({"company": "a/b"}, f"company: {ID_RULE} (got 'a/b')"),
        ({"company": ".."}, f"company: {ID_RULE} (got '..')"),
        ({"company": "_system"}, f"company: {ID_RULE} (got '_system')"),
        ({"company": "a" * 64}, f"company: {ID_RULE} (got '{'a' * 27}...{'a' * 28}')"),
        ({"user": "a..b"}, f"user: {USER_RULE} (got 'a..b')"),
        ({"user": "Jane"}, f"user: {USER_RULE} (got 'Jane')"),
        (
            {"to": "a@example.org, b@example.org"},
            (
                "to.0: a comma separates nothing here: use ';' or a list, and quote a name that has a"
                " comma (got 'a@example.org, b@example.org')"
            ),
        ),
        ({"to": []}, "to: no recipients: give at least one in to, cc or bcc"),
        ({"to": [7]}, "to.0: Input should be a valid string (got 7)"),
        (
            {"to": 7},
            "to: give a list of addresses, or one string that separates them by ';' (got 7)",
        ),
        ({"text": None}, "text: give text, html or both"),
        ({"text": "a\0b"}, "text: a NUL character cannot be mailed"),
        (
            {"send_at": datetime(2026, 11, 25)},  # noqa: DTZ001 the naive datetime is the point
            (
                "send_at: a time without a time zone: use datetime.now(UTC) or add an offset"
                " (got datetime.datetime(2026, 11, 25, 0, 0))"
            ),
        ),
        (
            {"expires_at": NOW, "send_at": NOW},
            "expires_at: the job would expire before its send_at",
        ),
        (
            {"send_at": "soon"},
            "send_at: not a time: write RFC 3339, such as 2026-11-24T08:00:00Z (got 'soon')",
        ),
        ({"send_at": 5}, "send_at: not a time: give a datetime with a time zone (got 5)"),
        (
            {"send_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))},
            "send_at: this time is outside the calendar (got ",
        ),
        ({"headers": {"Bcc": "x@example.org"}}, "headers: Bcc cannot be set as a header: use bcc"),
        (
            {"headers": {"FROM": "x@example.org"}},
            "headers: FROM cannot be set as a header: use sender",
        ),
        (
            {"headers": {"Content-Type": "text/html"}},
            "headers: Content-Type cannot be set as a header: it describes the whole message",
        ),
        (
            {"headers": {"X-A": "1\r\nBcc: x@example.org"}},
            (
                "headers: the value of X-A must be one line of at most 10000 characters without control"
                " characters"
            ),
        ),
        (
            {"headers": {"X A": "1"}},
            "headers: a header name is 1 to 76 printable ASCII characters without ':'",
        ),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers: the same header twice, in another case"),
        ({"headers": {f"X-{n}": "1" for n in range(101)}}, "headers: at most 100 headers"),
        (
            {"metadata": {"a": "x" * 1001}},
            "metadata: at most 50 entries of at most 1000 characters",
        ),
        ({"id": "1"}, "id: not a UUID in lower case with its four hyphens (RFC 9562) (got '1')"),
        ({"kind": "later"}, "kind: Input should be 'send', 'batch' or 'compose' (got 'later')"),
        ({"batch_id": "b"}, "batch_id: give batch_id and batch_index together, or neither"),
        (
            {"batch_id": "b", "batch_index": -1},
            "batch_index: use a number from 0 to 2^53 - 1 (got -1)",
        ),
        (
            {"idempotency_key": ""},
            "idempotency_key: use 1 to 200 characters, no control characters (got '')",
        ),
        ({"colour": "red"}, "colour: is not a field of a job (got 'red')"),
        ({"schema_version": 2}, "schema_version: this package writes 1"),
        ({"read_receipt": 1}, "read_receipt: Input should be a valid boolean (got 1)"),
        (
            {"traceparent": "x"},
            "traceparent: not a W3C traceparent, such as 00-4bf9…-00f0…-01 (got 'x')",
        ),
        (
            {"error_report": True},
            "job: an error report is the system's, and its recipients are set there",
        ),
        ({"sender": "nobody"}, "sender: not an email address: it has no @ (got 'nobody')"),
    ],
)
def test_refuses(fields: dict[str, Any], message: str) -> None:
    """Each mistake gives one line: the field, what is allowed, the value shortened."""
    with pytest.raises(InvalidJob) as caught:
        make_job(**fields)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    if not message.endswith("(got "):
        assert str(caught.value) == message


@pytest.mark.parametrize("subject", ["a\nb", "a\rBcc: x", "a\0", "a\u2028b", "x" * 1001])
def test_subject_is_one_line(subject: str) -> None:
    """Nothing can be smuggled into the header block through the subject."""
    with pytest.raises(InvalidJob, match="subject: a subject is one line"):
        make_job(subject=subject)


def test_more_than_500_recipients() -> None:
    """The limit is over to, cc and bcc together, and over each alone."""
    many = [f"u{n}@example.org" for n in range(400)]
    with pytest.raises(InvalidJob, match="to: 800 recipients in to, cc and bcc; at most 500"):
        make_job(to=many, cc=many)
    with pytest.raises(InvalidJob, match="to: at most 500 recipients in one job"):
        make_job(to=many + many)
    assert len(make_job(to=many, bcc=many[:100]).recipients) == 500


def test_a_year_ahead() -> None:
    """send_at may be a year ahead of the time that is passed in, no more."""
    make_job(send_at=NOW + MAX_AHEAD).check_times(NOW)
    late = make_job(send_at=NOW + MAX_AHEAD + timedelta(seconds=1))
    with pytest.raises(InvalidJob, match="send_at: at most one year ahead"):
        late.check_times(NOW)


def test_an_error_never_shows_the_mail() -> None:
    """Bodies, headers and attachments stay out of the message of an error."""
    secret = "the-reset-token"
    for fields in (
        {"text": f"{secret}\0"},
        {"headers": {"X-A": f"{secret}\n"}},
        {"metadata": {"a": secret * 100}},
        {"attachments": [{"name": "a", "content": f"!{secret}"}]},
    ):
        with pytest.raises(InvalidJob) as caught:
            make_job(**fields)
        assert secret not in str(caught.value)


def test_repr_shows_neither_mail_nor_address() -> None:
    """A job in a log line or a traceback gives nothing away."""
    job = make_job(attachments=[Attachment(name="a.txt", content=b"secret")])
    assert repr(job) == f"Job(id='{JOB_ID}', kind='send', company='acme')"
    assert "secret" not in repr(job.attachments)


def test_frozen() -> None:
    """A job does not change after it was checked."""
    job = make_job()
    with pytest.raises(ValueError, match="frozen"):
        job.subject = "other"  # type: ignore[misc]  # that it is refused is the point


def test_times_are_utc() -> None:
    """Times with any offset are kept as UTC."""
    job = make_job(send_at="2026-11-24T21:00:00+13:00")
    assert job.send_at == NOW
    assert job.send_at is not None
    assert job.send_at.tzinfo is UTC


def test_round_trip() -> None:
    """Everything a job can hold survives JSON; what is at its default is left out."""
    job = make_job(
        kind="batch",
        user="jane.doe",
        batch_id="november",
        batch_index=3,
        idempotency_key="invoice-1",
        sender="Büro <buero@example.org>",
        reply_to="r@example.org",
        to='"Doe, Jane" <jane@example.org>; b@example.org',
        cc=["c@example.org"],
        bcc=["d@example.org"],
        html="<p>ü</p>",
        headers={"List-Unsubscribe": "<https://example.org/u>"},
        attachments=[
            Attachment(name="a.bin", content=bytes(range(256)), content_id="logo@example.org"),
            Attachment(
                name="b.pdf",
                content_type="application/pdf",
                reference="x/b.pdf",
                size=1,
                sha256="0" * 64,
            ),
        ],
        read_receipt=True,
        apply_user_defaults=True,
        expires_at=NOW + timedelta(days=2),
        send_at=NOW + timedelta(days=1),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        metadata={"invoice": "1"},
    )
    assert Job.read(json.loads(job.to_json())) == job
    assert set(json.loads(make_job().to_json())) == {
        "schema_version",
        "id",
        "kind",
        "company",
        "to",
        "subject",
        "text",
        "enqueued_at",
    }


def test_reading_ignores_unknown_fields() -> None:
    """A newer producer of the same version may add fields, on the job and on attachments."""
    fields = json.loads(make_job(attachments=[Attachment(name="a", content=b"x")]).to_json())
    fields["colour"] = "red"
    fields["attachments"][0]["colour"] = "red"
    assert Job.read(fields).attachments[0].content == b"x"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a"}, "give either content or reference"),
        ({"name": "a", "content": b"x", "reference": "x"}, "give either content or reference"),
        ({"name": "a", "reference": "x"}, "a reference needs size and sha256"),
        ({"name": "a", "content": b"x", "size": 2}, "size is not the length of content"),
        ({"name": "a", "content": b"x", "sha256": "0" * 64}, "sha256 is not the digest of content"),
        ({"name": "a", "content": "@@@"}, "not base64"),
        ({"name": "a", "content": 5}, "give bytes"),
        ({"name": "../a", "content": b"x"}, "a file name has"),
        ({"name": "a\r\nb", "content": b"x"}, "a file name has"),
        ({"name": "a", "content": b"x", "content_type": "nonsense"}, "not a type of one part"),
        (
            {"name": "a", "content": b"x", "content_type": "multipart/mixed"},
            "not a type of one part",
        ),
        ({"name": "a", "content": b"x", "content_type": "a/b; c=\r\n"}, "not a type of one part"),
        ({"name": "a", "content": b"x", "content_id": "<x>"}, "a content id is"),
        (
            {"name": "a", "reference": "../x", "size": 1, "sha256": "0" * 64},
            "a reference is a relative path",
        ),
        (
            {"name": "a", "reference": "/x", "size": 1, "sha256": "0" * 64},
            "a reference is a relative path",
        ),
    ],
)
def test_attachment_refuses(fields: dict[str, Any], message: str) -> None:
    """An attachment has one source and nothing that could leave its place or its header."""
    with pytest.raises(InvalidJob, match=message):
        Attachment(**fields)


def test_message_id_is_the_same_for_every_copy() -> None:
    """It is derived from the id and the sender's domain, which is turned into ASCII."""
    assert make_job().message_id == f"<{JOB_ID}@postmeter.local>"
    assert make_job(sender="A <a@Example.ORG>").message_id == f"<{JOB_ID}@example.org>"
    assert make_job(sender="a@bücher.example").message_id == f"<{JOB_ID}@xn--bcher-kva.example>"
    assert make_job(sender="a@[192.0.2.1]").message_id == f"<{JOB_ID}@postmeter.local>"


def test_fingerprint_covers_what_shapes_the_mail() -> None:
    """Ids, times, trace and metadata do not count; everything that shapes the mail does."""
    first = make_job().fingerprint()
    same = make_job(
        id=JOB_ID.replace("1", "2"),
        idempotency_key="k",
        enqueued_at=NOW + timedelta(days=1),
        send_at=NOW + timedelta(days=2),
        expires_at=NOW + timedelta(days=3),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        metadata={"a": "b"},
    )
    assert same.fingerprint() == first
    others: list[dict[str, Any]] = [
        {"kind": "compose"},
        {"company": "bolt"},
        {"user": "jane"},
        {"sender": "a@example.org"},
        {"to": ["x@example.org"]},
        {"cc": ["x@example.org"]},
        {"bcc": ["x@example.org"]},
        {"reply_to": ["x@example.org"]},
        {"subject": "x"},
        {"text": "x"},
        {"html": "x"},
        {"headers": {"X-A": "1"}},
        {"read_receipt": True},
        {"apply_user_defaults": True},
        {"attachments": [Attachment(name="a", content=b"x")]},
        {"attachments": [Attachment(name="a", content=b"y")]},
    ]
    prints = {first, *(make_job(**other).fingerprint() for other in others)}
    assert len(prints) == len(others) + 1


def test_attachments_by_content_or_reference_are_the_same_mail() -> None:
    """The digest counts, not the way the bytes travel."""
    digest = hashlib.sha256(b"x").hexdigest()
    inline = make_job(attachments=[Attachment(name="a", content=base64.b64encode(b"x").decode())])
    referred = make_job(attachments=[Attachment(name="a", reference="a", size=1, sha256=digest)])
    assert inline.fingerprint() == referred.fingerprint()
