"""The envelope: every wrong one gives its exact one-line reason, whatever it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.envelope import MAX_JOB_BYTES, decode, encode
from producers.errors import InvalidEnvelope, JobTooLarge
from producers.job import Job
from tests.support.jobs import NOW, envelope, make_job

QUEUE = "postmeter.send"


def refused(body: bytes) -> InvalidEnvelope:
    """The error that decoding this body raises."""
    with pytest.raises(InvalidEnvelope) as caught:
        decode(body, QUEUE, now=NOW)
    assert "\n" not in caught.value.reason
    assert caught.value.reason.isprintable()
    return caught.value


def with_job(**fields: Any) -> bytes:
    """An envelope whose job has these fields changed; None removes one."""
    whole = envelope()
    job = {**whole["kwargs"]["job"], **fields}
    whole["kwargs"]["job"] = {key: value for key, value in job.items() if value is not None}
    return json.dumps(whole).encode()


def test_round_trip() -> None:
    """What encode writes, decode reads, for every kind on its queue."""
    for kind in ("send", "compose"):
        job = make_job(kind=kind)
        assert decode(encode(job, QUEUE), QUEUE, now=NOW) == job
    batch = make_job(kind="batch", batch_id="b", batch_index=0)
    assert decode(encode(batch, "x.postmeter.batch"), "x.postmeter.batch", now=NOW) == batch


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON: Expecting value at character 0"),
        (b"hello", "not JSON: Expecting value at character 0"),
        (b"\xff\xfe", "not JSON: not UTF-8"),
        (b'{"a":NaN}', "not JSON: NaN is no JSON number"),
        (b'{"a":-Infinity}', "not JSON: -Infinity is no JSON number"),
        (b'{"a":1,"a":2}', "not JSON: a key stands twice in one object"),
        (b"[" * 200_000, "not JSON: nested too deep"),
        (b'{"a":' * 200_000, "not JSON: nested too deep"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON: a number with too many digits"),
        (b"[]", "not a Dramatiq envelope: not a JSON object"),
        (b'"x"', "not a Dramatiq envelope: not a JSON object"),
        (b"{}", "not a Dramatiq envelope: queue_name is missing"),
        (b"\x80\x04K\x01.", "not JSON: not UTF-8"),
        (b" " * (MAX_JOB_BYTES + 1), "too large: 12582913 bytes, at most 12582912"),
    ],
    ids=range(14),
)
def test_bodies_that_are_no_envelope(body: bytes, reason: str) -> None:
    """Bytes that are no JSON object of Dramatiq's shape."""
    assert refused(body).reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"actor_name": "deliver"}, "unknown actor 'deliver': use send or batch"),
        ({"actor_name": "x\n" * 40}, "unknown actor '" + "x\\n" * 20 + "': use send or batch"),
        (
            {"queue_name": "other"},
            "the envelope names the queue 'other', but came from postmeter.send",
        ),
        ({"queue_name": 5}, "not a Dramatiq envelope: queue_name is not a string"),
        ({"args": None}, "not a Dramatiq envelope: args is not a list"),
        (
            {"message_timestamp": True},
            "not a Dramatiq envelope: message_timestamp is not a whole number",
        ),
        ({"args": [1]}, "args: must be empty: everything is in kwargs.job"),
        ({"kwargs": {}}, "kwargs: must have the one key job"),
        ({"kwargs": {"job": {}, "x": 1}}, "kwargs: must have the one key job"),
        ({"kwargs": {"job": []}}, "job: not a JSON object"),
        ({"kwargs": {"job": {}}}, "job.schema_version: is missing"),
        ({"actor_name": "batch"}, "job.kind: send is not for the actor batch"),
    ],
)
def test_envelopes_that_do_not_fit(changes: dict[str, Any], reason: str) -> None:
    """An envelope whose own keys are wrong."""
    error = refused(json.dumps(envelope(**changes)).encode())
    assert error.reason == reason
    assert not error.hold


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("eta", "the job's send_at"),
        ("max_age", "the job's expires_at"),
        ("time_limit", "nothing: a delivery is never cut short"),
        ("max_retries", "the setting delivery.retry_for"),
        ("pipe_target", "the events exchange"),
        ("pipe_ignore", "the events exchange"),
        ("on_success", "the events exchange"),
        ("on_failure", "the events exchange"),
        ("group_completion_uuid", "the job's batch_id and the events exchange"),
        ("group_callbacks", "the job's batch_id and the events exchange"),
    ],
)
def test_smuggled_options(option: str, instead: str) -> None:
    """What would change a message's meaning in Dramatiq is refused, with what to use instead."""
    error = refused(json.dumps(envelope(options={option: 1})).encode())
    assert error.reason == f"Dramatiq's option '{option}' has no effect here: use {instead}"


def test_harmless_options_are_ignored() -> None:
    """What Dramatiq's own broker or a retry leaves behind does not matter, nor does a null."""
    options = {
        "redis_message_id": "x",
        "retries": 3,
        "traceback": "…",
        "broker_priority": 1,
        "eta": None,
    }
    body = json.dumps(envelope(options=options)).encode()
    assert decode(body, QUEUE, now=NOW) == make_job()


def test_a_newer_schema_version_is_held() -> None:
    """A job of the future is kept for a newer worker; one of no version is not."""
    error = refused(with_job(schema_version=2))
    assert error.hold
    assert error.reason == (
        "job.schema_version: 2 is newer than this worker, which knows 1: upgrade it"
    )
    assert refused(with_job(schema_version=10**30)).hold
    for version in (0, -1, "1", True, 1.0):
        error = refused(with_job(schema_version=version))
        assert error.reason == "job.schema_version: not a whole number from 1"
        assert not error.hold


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "job.id: is missing"),
        ({"subject": None}, "job.subject: is missing"),
        ({"enqueued_at": None}, "job.enqueued_at: is missing"),
        ({"subject": 5}, "job.subject: Input should be a valid string"),
        ({"to": {"a": 1}}, "job.to: give a list of addresses, or one string that separates them by ';'"),
        ({"to": ["nobody"]}, "job.to.0: not an email address: it has no @"),
        ({"to": ["a@example.org\r\nBcc: b@example.org"]}, "job.to.0: a control character or line break is not allowed in an address"),
        ({"to": []}, "job.to: no recipients: give at least one in to, cc or bcc"),
        ({"to": ["a@example.org"] * 501}, "job.to: at most 500 recipients in one job"),
        ({"subject": "a\r\nBcc: x"}, "job.subject: a subject is one line of at most 1000 characters without control characters"),
        ({"headers": {"X-A": "a\nb"}}, "job.headers: the value of X-A must be one line of at most 10000 characters without control characters"),
        ({"company": "Acme"}, "job.company: not a company id: use a-z, 0-9, '-' and '_', a letter or digit first, at most 63"),
        ({"company": "a/b"}, "job.company: not a company id: use a-z, 0-9, '-' and '_', a letter or digit first, at most 63"),
        ({"company": ".."}, "job.company: not a company id: use a-z, 0-9, '-' and '_', a letter or digit first, at most 63"),
        ({"attachments": [{"name": "a", "content": "@"}]}, "job.attachments.0.content: not base64 (RFC 4648 4, with padding, without line breaks)"),
        ({"attachments": [5]}, "job.attachments.0: Input should be a valid dictionary or instance of Attachment"),
        ({"attachments": "x"}, "job.attachments: Input should be a valid tuple"),
        ({"send_at": (NOW + timedelta(days=367)).isoformat()}, "job.send_at: at most one year ahead"),
        ({"send_at": "2026-11-24T08:00:00"}, "job.send_at: a time without a time zone: use datetime.now(UTC) or add an offset"),
        ({"text": "\ud800"}, "job.text: half of a surrogate pair is no character"),
        ({"headers": {"\x1f": None}}, "job.headers.'\\x1f': Input should be a valid string"),
        ({"text": None}, "job.text: give text, html or both"),
    ],
)  # fmt: skip
def test_jobs_that_are_none(fields: dict[str, Any], reason: str) -> None:
    """A job with a fault: the field, what is allowed, and never the value."""
    error = refused(with_job(**fields))
    assert error.reason == reason
    assert not error.hold


def test_too_large_is_not_published() -> None:
    """A job of 13 MiB is refused before it is sent, with what to do instead."""
    with pytest.raises(JobTooLarge, match="at most 12582912; attach large files by reference"):
        encode(make_job(text="x" * (13 << 20)), QUEUE)


TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # half surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from([*Job.model_fields, "colour"])


def outcome(body: bytes) -> Job | None:
    """The job that a body carries, or None after a check of the reason."""
    try:
        return decode(body, QUEUE, now=NOW)
    except InvalidEnvelope as error:
        reason = error.reason
    assert reason.isprintable()
    return None


@settings(deadline=None)  # a loaded machine is no fault
@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """No bytes make decode do anything but raise InvalidEnvelope."""
    assert outcome(body) is None


@settings(deadline=None)  # a loaded machine is no fault
@given(st.dictionaries(FIELDS, JSON, max_size=5), st.dictionaries(TEXT, JSON, max_size=3))
def test_any_json(fields: dict[str, Any], options: dict[str, Any]) -> None:
    """Whatever stands in the fields and options: a job that can be encoded again, or a reason."""
    whole = envelope(options=options)
    whole["kwargs"]["job"].update(fields)
    job = outcome(json.dumps(whole).encode())
    assert job is None or outcome(encode(job, QUEUE)) == job


@settings(deadline=None)  # a loaded machine is no fault
@given(st.sampled_from([name for name in Job.model_fields if name != "schema_version"]), TEXT)
def test_any_text_in_a_field(name: str, text: str) -> None:
    """A text in any place, also within lists and maps, comes through whole or is refused."""
    for value in (text, [text], {"X-A": text}, {text: "x"}, [{"name": text, "content": ""}]):
        whole = envelope()
        whole["kwargs"]["job"][name] = value
        job = outcome(json.dumps(whole).encode())
        assert job is None or outcome(encode(job, QUEUE)) == job


@settings(deadline=None)  # a loaded machine is no fault
@given(st.sampled_from(list(envelope())), JSON)
def test_any_value_in_the_envelope(key: str, value: Any) -> None:
    """The envelope's own keys may hold anything too."""
    assert outcome(json.dumps(envelope(**{key: value})).encode()) in (None, make_job())


@settings(deadline=None)  # a loaded machine is no fault
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte(position: int, value: int) -> None:
    """A damaged body is a job or none, never an exception of another kind."""
    body = bytearray(encode(make_job(), QUEUE))
    body[position % len(body)] = value
    job = outcome(bytes(body))
    assert job is None or isinstance(job, Job)
