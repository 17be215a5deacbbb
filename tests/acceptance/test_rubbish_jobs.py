"""A job that can never be sent: dead with a one-line reason, and the next good job is prompt."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.office import as_bytes, good_envelope, new_id, raw_id
from worker.ledger.rows import State

if TYPE_CHECKING:
    from tests.support.office import Office

MISSING = object()
"""In place of a value: the field is left out."""
COMPANY = "not a company id: use a-z, 0-9, '-' and '_', a letter or digit first, at most 63"
USER = "not a user id: use a-z, 0-9, '-', '_' and single dots, a letter or digit first, at most 63"
ONE_LINE = "must be one line of at most 10000 characters without control characters"
CONTROL = "a control character or line break is not allowed in an address"
PDF = b"%PDF-1.7 not really"
FILE = {
    "name": "invoice.pdf",
    "reference": "2026/invoice.pdf",
    "size": len(PDF),
    "sha256": hashlib.sha256(PDF).hexdigest(),
}

UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "no version": ({"schema_version": MISSING}, "job.schema_version: is missing"),
    "no subject": ({"subject": MISSING}, "job.subject: is missing"),
    "no id": ({"id": MISSING}, "job.id: is missing"),
    "an id of another make": (
        {"id": "42"},
        "job.id: not a UUID in lower case with its four hyphens (RFC 9562)",
    ),
    "a number as subject": ({"subject": 7}, "job.subject: Input should be a valid string"),
    "a number as recipients": (
        {"to": 7},
        "job.to: give a list of addresses, or one string that separates them by ';'",
    ),
    "a word as boolean": (
        {"read_receipt": "yes"},
        "job.read_receipt: Input should be a valid boolean",
    ),
    "an unknown kind": (
        {"kind": "fax"},
        "job.kind: Input should be 'send', 'batch' or 'compose'",
    ),
    "neither text nor html": ({"text": MISSING}, "job.text: give text, html or both"),
    "no @": ({"to": ["jane"]}, "job.to.0: not an email address: it has no @"),
    "a bad domain": (
        {"cc": ["jane@exa mple.org"]},
        "job.cc.0: not an email address: the domain after the @ is not a domain name",
    ),
    "a comma": (
        {"to": "jane@example.org,kim@example.org"},
        (
            "job.to.0: a comma separates nothing here: use ';' or a list, and quote a name that has"
            " a comma"
        ),
    ),
    "a header in an address": (
        {"to": ["jane@example.org\nBcc: all@example.org"]},
        f"job.to.0: {CONTROL}",
    ),
    "a header in the sender": ({"sender": "a@b.example\r\nX: y"}, f"job.sender: {CONTROL}"),
    "a header in the subject": (
        {"subject": "Hello\r\nBcc: all@example.org"},
        "job.subject: a subject is one line of at most 1000 characters without control characters",
    ),
    "a header in a header": (
        {"headers": {"X-Campaign": "spring\r\nBcc: all@example.org"}},
        f"job.headers: the value of X-Campaign {ONE_LINE}",
    ),
    "a header in a header's name": (
        {"headers": {"X: y\r\nBcc": "all@example.org"}},
        "job.headers: a header name is 1 to 76 printable ASCII characters without ':'",
    ),
    "a header of ours": (
        {"headers": {"Bcc": "all@example.org"}},
        "job.headers: Bcc cannot be set as a header: use bcc",
    ),
    "a company with a slash": ({"company": "acme/users"}, f"job.company: {COMPANY}"),
    "a company with dots": ({"company": ".."}, f"job.company: {COMPANY}"),
    "a company in upper case": ({"company": "Acme"}, f"job.company: {COMPANY}"),
    "the system as a company": ({"company": "_system"}, f"job.company: {COMPANY}"),
    "a user with a slash": ({"user": "../robot"}, f"job.user: {USER}"),
    "a user with two dots": ({"user": "ro..bot"}, f"job.user: {USER}"),
    "no recipients": (
        {"to": []},
        "job.to: no recipients: give at least one in to, cc or bcc",
    ),
    "too many in one field": (
        {"to": [f"u{n}@example.org" for n in range(501)]},
        "job.to: at most 500 recipients in one job",
    ),
    "too many in all fields": (
        {
            "to": [f"u{n}@example.org" for n in range(300)],
            "bcc": [f"v{n}@example.org" for n in range(201)],
        },
        "job.to: 501 recipients in to, cc and bcc; at most 500 in one job",
    ),
    "bad base64": (
        {"attachments": [{"name": "a.txt", "content": "a=b"}]},
        "job.attachments.0.content: not base64 (RFC 4648 4, with padding, without line breaks)",
    ),
    "a path as an attachment's name": (
        {"attachments": [{"name": "../a.txt", "content": ""}]},
        "job.attachments.0.name: a file name has 1 to 255 characters, no path, no controls",
    ),
    "a reference out of the folder": (
        {"attachments": [{**FILE, "reference": "../settings/system.toml"}]},
        (
            "job.attachments.0.reference: a reference is a relative path without '.', '..' and empty"
            " parts"
        ),
    ),
    "a reference without a digest": (
        {"attachments": [{"name": "a.pdf", "reference": "a.pdf"}]},
        "job.attachments.0: a reference needs size and sha256",
    ),
    "a date of another make": (
        {"send_at": "tomorrow"},
        "job.send_at: not a time: write RFC 3339, such as 2026-11-24T08:00:00Z",
    ),
    "a date without a zone": (
        {"send_at": "2026-11-24T08:00:00"},
        "job.send_at: a time without a time zone: use datetime.now(UTC) or add an offset",
    ),
    "a date beyond a year": (
        {"send_at": (datetime.now(UTC) + timedelta(days=370)).isoformat()},
        "job.send_at: at most one year ahead",
    ),
    "expiry before the date": (
        {"send_at": "2026-11-24T08:00:00Z", "expires_at": "2026-11-24T07:00:00Z"},
        "job.expires_at: the job would expire before its send_at",
    ),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "sender not allowed": (
        {"sender": "ceo@bank.example"},
        "sender not allowed: an address at bank.example is not in allowed_from of acme/robot",
    ),
    "expired": (
        {"expires_at": datetime.now(UTC).isoformat()},
        "expired: expires_at passed before it could be sent",
    ),
    "a file that is not there": (
        {"attachments": [{**FILE, "reference": "gone.pdf"}]},
        "attachment 'invoice.pdf' cannot be read: No such file or directory",
    ),
    "a file that is another": (
        {"attachments": [{**FILE, "reference": "other.pdf"}]},
        "attachment 'invoice.pdf' is not what was published: its SHA-256 differs",
    ),
    "a link out of the folder": (
        {"attachments": [{**FILE, "reference": "link.pdf"}]},
        "attachment 'invoice.pdf': its reference leaves the attachments' folder",
    ),
    "nobody to report errors to": (
        {"company": MISSING, "to": MISSING, "error_report": True, "user": "root"},
        "an error report has no recipients: set error_reports_to in [system] of system.toml",
    ),
}


def changed(office: Office, fields: dict[str, Any]) -> tuple[str, bytes]:
    """The id and the bytes of a good job with some fields changed or left out."""
    envelope = good_envelope(office.queues.send)
    job = {**envelope["kwargs"]["job"], **fields}
    envelope["kwargs"]["job"] = {key: value for key, value in job.items() if value is not MISSING}
    return envelope["message_id"], as_bytes(envelope)


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_job_that_breaks_the_contract_is_buried(office: Office, case: str) -> None:
    """A field that is missing, wrong or dangerous makes the message a dead letter, as it came."""
    fields, reason = UNREADABLE[case]
    _, body = changed(office, fields)
    office.put(body)
    assert office.delivers_promptly()
    row = office.wait_for(raw_id(body), State.DEAD, reason)
    assert row.reason.isprintable()
    assert row.body == body


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_that_must_not_be_sent_is_dead(office: Office, case: str) -> None:
    """A good job that settings, dates or files forbid is dead before a byte of it has left."""
    folder = office.fleet.root / "attachments"
    (folder / "other.pdf").write_bytes(b"%PDF-1.7 another one")
    if not (folder / "link.pdf").is_symlink():
        (folder / "link.pdf").symlink_to(office.fleet.root / "settings" / "system.toml")
    fields, reason = REFUSED[case]
    job_id, body = changed(office, fields)
    office.put(body)
    assert office.delivers_promptly()
    row = office.wait_for(job_id, State.DEAD, reason)
    assert row.reason.isprintable()
    assert (row.attempts, row.body) == (1, body)
    assert row.transport == ""


def test_a_batch_job_is_judged_alike(office: Office) -> None:
    """What comes in by the queue of batches is read with the same eyes."""
    queue = office.queues.batch
    envelope = good_envelope(queue, kind="batch", batch_id="november", batch_index=0)
    envelope["kwargs"]["job"]["batch_index"] = MISSING
    del envelope["kwargs"]["job"]["batch_index"]
    body = as_bytes(envelope)
    office.put(body, queue)
    assert office.delivers_promptly()
    office.wait_for(
        raw_id(body),
        State.DEAD,
        "job.batch_id: give batch_id and batch_index together, or neither",
    )


def test_the_same_job_again_is_sent_once(office: Office) -> None:
    """Copies of a job with its id change nothing, however often they come."""
    job_id, body = changed(office, {})
    for _ in range(3):
        office.put(body)
    assert office.delivers_promptly()
    row = office.wait_for(job_id, State.SENT)
    arrived = [mail for mail in office.fleet.arrivals() if mail.message_id == row.message_id]
    assert len(arrived) == 1


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({}, State.CANCELLED, "duplicate of {first}: same idempotency key"),
        (
            {"subject": "Another"},
            State.DEAD,
            "idempotency-conflict: key {key!r} was used by {first} for another content",
        ),
        (
            {"subject": "Another", "sender": "ceo@bank.example"},
            State.DEAD,
            "idempotency-conflict: key {key!r} was used by {first} for another content",
        ),
    ],
    ids=["same content", "other content", "other content that is refused"],
)
def test_a_key_that_was_used_stands_for_one_mail(
    office: Office, fields: dict[str, Any], state: State, reason: str
) -> None:
    """A second job under a used key has a row that names the first, and is not sent."""
    key = f"invoice-{new_id()}"
    first, body = changed(office, {"idempotency_key": key})
    office.put(body)
    office.wait_for(first, State.SENT)
    second, copy = changed(office, {"idempotency_key": key, **fields})
    office.put(copy)
    assert office.delivers_promptly()
    row = office.wait_for(second, state, reason.format(first=first, key=key))
    assert row.attempts == 0
    assert all(mail.message_id != row.message_id for mail in office.fleet.arrivals())
