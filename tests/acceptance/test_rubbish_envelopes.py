"""Whatever bytes arrive: one row with a one-line reason, and the next good job is prompt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from producers.envelope import MAX_JOB_BYTES
from tests.support.office import as_bytes, good_envelope, raw_id
from worker.ledger.rows import UNREADABLE, State

if TYPE_CHECKING:
    from tests.support.office import Office

NOT_JSON: dict[bytes, str] = {
    b"": "not JSON: Expecting value at character 0",
    b"Dear Jane, your invoice is attached.": "not JSON: Expecting value at character 0",
    b'{"queue_name": "postmeter.send"': "not JSON: Expecting ',' delimiter at character 31",
    b"\xff\xfe{}": "not JSON: not UTF-8",
    b"[" * 100_000: "not JSON: nested too deep",
    b'{"a": 1, "a": 2}': "not JSON: a key stands twice in one object",
    b'{"a": NaN}': "not JSON: NaN is no JSON number",
    b'["send"]': "not a Dramatiq envelope: not a JSON object",
    b'{"to": "jane@example.org"}': "not a Dramatiq envelope: queue_name is missing",
}
ENVELOPES: dict[str, tuple[dict[str, Any], str]] = {
    "no kwargs": ({"kwargs": None}, "not a Dramatiq envelope: kwargs is not an object"),
    "unknown actor": (
        {"actor_name": "send_invoice"},
        "unknown actor 'send_invoice': use send or batch",
    ),
    "the actor of another kind": (
        {"actor_name": "batch"},
        "job.kind: send is not for the actor batch",
    ),
    "another queue": (
        {"queue_name": "default"},
        "the envelope names the queue 'default', but came from {queue}",
    ),
    "smuggled delay": (
        {"options": {"eta": 1_800_000_000_000}},
        "Dramatiq's option 'eta' has no effect here: use the job's send_at",
    ),
    "smuggled pipe": (
        {"options": {"pipe_target": {"queue_name": "default"}}},
        "Dramatiq's option 'pipe_target' has no effect here: use the events exchange",
    ),
    "smuggled retries": (
        {"options": {"max_retries": 0}},
        "Dramatiq's option 'max_retries' has no effect here: use the setting delivery.retry_for",
    ),
    "smuggled time limit": (
        {"options": {"time_limit": 1}},
        (
            "Dramatiq's option 'time_limit' has no effect here: use nothing:"
            " a delivery is never cut short"
        ),
    ),
    "positional arguments": (
        {"args": ["jane@example.org"]},
        "args: must be empty: everything is in kwargs.job",
    ),
    "another keyword": ({"kwargs": {"mail": {}}}, "kwargs: must have the one key job"),
}


def is_buried(office: Office, body: bytes, reason: str) -> None:
    """Publish a message that is no job: it is dead with this line, and a good job is prompt."""
    office.put(body)
    assert office.delivers_promptly()
    row = office.wait_for(raw_id(body), State.DEAD, reason)
    assert (row.kind, row.body, row.attempts) == (UNREADABLE, body, 0)
    assert row.reason.isprintable()


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:24]))
def test_what_is_no_envelope_is_buried(office: Office, body: bytes) -> None:
    """Bytes that are no JSON, or no envelope, become a dead letter that keeps them."""
    is_buried(office, body, NOT_JSON[body])


@pytest.mark.parametrize("case", ENVELOPES)
def test_an_envelope_for_somebody_else_is_buried(office: Office, case: str) -> None:
    """Actor, queue, options and arguments are checked: none of them reaches Dramatiq."""
    changes, reason = ENVELOPES[case]
    queue = office.queues.send
    body = as_bytes({**good_envelope(queue), **changes})
    is_buried(office, body, reason.format(queue=queue))


def test_a_message_that_is_too_large_is_buried(office: Office) -> None:
    """More than 12 MiB is kept as a dead letter, unread, and what came after it is not held up."""
    fields = {"text": "x" * MAX_JOB_BYTES}
    envelope = good_envelope(office.queues.send)
    envelope["kwargs"]["job"].update(fields)
    body = as_bytes(envelope)
    is_buried(office, body, f"too large: {len(body)} bytes, at most {MAX_JOB_BYTES}")


def test_the_same_rubbish_twice_is_one_row(office: Office) -> None:
    """A row is named by its bytes, so copies that a publisher repeats pile up nowhere."""
    body = b"again and again"
    for _ in range(3):
        is_buried(office, body, "not JSON: Expecting value at character 0")


def test_a_newer_schema_is_held(office: Office) -> None:
    """A job of a version to come waits for a worker that knows it; it is not dead."""
    envelope = good_envelope(office.queues.send)
    envelope["kwargs"]["job"]["schema_version"] = 2
    body = as_bytes(envelope)
    office.put(body)
    assert office.delivers_promptly()
    row = office.wait_for(
        raw_id(body),
        State.WAITING,
        "job.schema_version: 2 is newer than this worker, which knows 1: upgrade it",
    )
    assert row.kind == UNREADABLE
    assert row.body is not None
    assert json.loads(row.body) == envelope
