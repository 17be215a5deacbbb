"""The producer's own part, without a broker: contexts, batches, the outbox, the embedded inbox."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

import producers
from producers import (
    BatchAborted,
    BrokerUnavailable,
    Email,
    InvalidJob,
    JobTooLarge,
    Producer,
    ProducerClosed,
)
from producers.embedded import inbox_path
from producers.envelope import decode
from producers.inbox import Inbox
from producers.testing import InMemoryProducer
from tests.support.producing import HELLO, emails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_exported_members() -> None:
    """Everything public is exported, sorted, and nothing else."""
    names = [
        name
        for name, value in vars(producers).items()
        if isinstance(value, type) or callable(value)
    ]
    assert producers.__all__ == sorted(name for name in names if not name.startswith("_"))


def test_send_fills_in_the_context() -> None:
    """The producer's company and user, those of the call, or none."""
    producer = InMemoryProducer(company="acme", user="jane")
    producer.send(HELLO)
    producer.send(HELLO, company="bolt", user=None)
    producer.send(HELLO, company=None)
    contexts = [(job.company, job.user) for job in producer.outbox]
    assert contexts == [("acme", "jane"), ("bolt", None), (None, "jane")]
    producer.clear()
    assert producer.outbox == []


def test_receipt_and_compose() -> None:
    """A receipt names the job; only a draft gets the user's defaults by itself."""
    producer = InMemoryProducer(company="acme")
    receipt = producer.send(HELLO)
    producer.compose(HELLO)
    producer.send(Email("a@example.org", "x", text="", apply_user_defaults=True))
    sent, draft, asked = producer.outbox
    assert (receipt.job_id, receipt.message_id) == (sent.id, sent.message_id)
    assert [(j.kind, j.apply_user_defaults) for j in (sent, draft, asked)] == [
        ("send", False), ("compose", True), ("send", True),
    ]  # fmt: skip


def test_every_field_of_an_email_arrives() -> None:
    """Nothing that an Email holds is lost on the way into the job."""
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "text": "t", "html": "h", "sender": "s@example.org", "cc": "c@example.org;d@example.org",
        "bcc": ["b@example.org"], "reply_to": "r@example.org", "headers": {"X-A": "1"},
        "attachments": [producers.Attachment(name="a", content=b"x")], "read_receipt": True,
        "idempotency_key": "k", "send_at": now + timedelta(hours=1), "expires_at": now + timedelta(days=1),
        "apply_user_defaults": True, "metadata": {"m": "1"},
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }  # fmt: skip
    producer = InMemoryProducer()
    producer.send(Email("jane@example.org", "Hello", **values))
    (job,) = producer.outbox
    assert job.cc == ("c@example.org", "d@example.org")
    expected = {**values, "cc": job.cc, "bcc": ("b@example.org",), "reply_to": ("r@example.org",)}
    expected["attachments"] = tuple(values["attachments"])
    assert {name: getattr(job, name) for name in expected} == expected


def test_an_email_shows_no_address() -> None:
    """An email in a log line gives nothing away."""
    assert "jane" not in repr(HELLO)
    assert "jane" not in repr(Email(["jane@example.org"], "x", text="y"))


def test_a_bad_row_ends_the_batch() -> None:
    """Row 5,000 of 10,000: what was before it is confirmed, nothing after it is sent."""
    producer = InMemoryProducer(company="acme")
    with pytest.raises(BatchAborted) as caught:
        producer.batch(emails(10_000, bad=5_000), batch_id="november")
    error = caught.value
    assert (error.batch_id, error.confirmed, error.index) == ("november", 5_000, 5_000)
    assert isinstance(error.cause, InvalidJob)
    assert error.cause.index == 5_000
    assert "a comma separates nothing here" in str(error)
    assert len(producer.outbox) == 5_000


def test_a_bad_row_is_collected() -> None:
    """Row 5,000 of 10,000: the other 9,999 are sent, with their own places."""
    producer = InMemoryProducer(company="acme")
    receipt = producer.batch(emails(10_000, bad=5_000), on_invalid="collect")
    assert receipt.confirmed == 9_999
    assert [error.index for error in receipt.invalid] == [5_000]
    assert [job.batch_index for job in producer.outbox[4_999:5_001]] == [4_999, 5_001]


def test_what_is_wrong_with_every_email_is_never_collected() -> None:
    """A wrong company would otherwise give as many errors as there are emails."""
    with pytest.raises(BatchAborted, match="company: not a company id"):
        InMemoryProducer().batch(emails(3), company="Acme", on_invalid="collect")


def test_resumed_batches_have_the_same_ids() -> None:
    """From the start or from where it ended: every email has the id it had before."""
    producer = InMemoryProducer(company="acme")
    whole = producer.batch(emails(10), batch_id="b")
    first = [job.id for job in producer.outbox]
    producer.clear()
    producer.batch(list(emails(10))[4:], batch_id="b", start_index=4)
    assert [job.id for job in producer.outbox] == first[4:]
    assert whole.batch_id == "b"
    assert len(set(first)) == 10


def test_an_iterable_that_fails() -> None:
    """An error of the caller's own generator ends the batch, with the exact count."""

    def broken() -> Iterator[Email]:
        yield from emails(3)
        raise OSError("the file is gone")

    producer = InMemoryProducer()
    with pytest.raises(BatchAborted, match="ended at email 3 with 3 confirmed: the file is gone"):
        producer.batch(broken())


def test_progress_and_empty_batches() -> None:
    """Progress ends with the whole count; a batch of nothing is no error."""
    told: list[int] = []
    producer = InMemoryProducer()
    assert producer.batch([], progress=told.append).confirmed == 0
    assert producer.batch(emails(7), progress=told.append).confirmed == 7
    assert (told[0], told[-1]) == (0, 7)


def test_too_large() -> None:
    """A job of 13 MiB is refused before anything is sent."""
    producer = InMemoryProducer()
    with pytest.raises(JobTooLarge, match="attach large files by reference"):
        producer.send(Email("a@example.org", "x", text="x" * (13 << 20)))
    assert producer.outbox == []


def test_embedded(tmp_path: Path) -> None:
    """The embedded inbox behind the same producer: send, batch, publish again."""
    path = tmp_path / "inbox.db"
    with Producer(f"embedded:{path}", company="acme") as producer:
        producer.send(HELLO)
        assert producer.batch(emails(1_234)).confirmed == 1_234
    inbox = Inbox(path)
    assert inbox.depth("postmeter.batch") == 1_234
    (taken,) = inbox.take("postmeter.send", 10, "test")
    job = decode(taken.body, "postmeter.send")
    assert job.subject == "Hello"
    with Producer(f"embedded:{path}") as producer:
        assert producer.publish(job).job_id == job.id
    inbox.close()


def test_embedded_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is lost silently: the error carries the job, and a batch says how far it came."""
    path = tmp_path / "inbox.db"
    with Producer(f"embedded:{path}") as producer:
        producer.send(HELLO)
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE message")
        connection.close()
        with pytest.raises(BrokerUnavailable, match="cannot be written") as caught:
            producer.send(HELLO)
        assert caught.value.job is not None
        with pytest.raises(BatchAborted) as aborted:
            producer.batch(emails(5))
        assert (aborted.value.confirmed, aborted.value.index) == (0, 0)


def test_closed() -> None:
    """A closed producer says so, for every way of publishing."""
    producer = InMemoryProducer()
    producer.close()
    with pytest.raises(ProducerClosed):
        producer.send(HELLO)
    with pytest.raises(BatchAborted, match="this producer is closed"):
        producer.batch([HELLO])


def test_addresses_of_the_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment names the broker; an address of another kind is refused without repeating it."""
    monkeypatch.setenv("POSTMETER_BROKER_URL", f"embedded:{tmp_path / 'there.db'}")
    with Producer() as producer:
        producer.send(HELLO)
    assert (tmp_path / "there.db").exists()
    with pytest.raises(ValueError, match="redis: is not a way in") as caught:
        Producer("redis://user:secret@host")
    assert "secret" not in str(caught.value)


def test_where_the_inbox_is() -> None:
    """Named in the address, else in the state directory that a worker looks in too."""
    assert str(inbox_path("embedded:/x/y.db", {})) == "/x/y.db"
    assert str(inbox_path("embedded:", {"POSTMETER_STATE": "/s"})) == "/s/inbox.db"
    assert str(inbox_path("embedded:", {"XDG_STATE_HOME": "/h"})) == "/h/postmeter/inbox.db"
    plain = str(inbox_path("embedded:", {}))
    if os.geteuid() == 0:
        assert plain == "/var/lib/postmeter/inbox.db"
    else:
        assert plain.endswith("/.local/state/postmeter/inbox.db")
