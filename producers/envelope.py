"""Job to message body and back: Dramatiq's JSON envelope, without Dramatiq.

Any language can write it: ``queue_name``, ``actor_name``, ``args`` (empty), ``kwargs`` (one key,
``job``), ``options`` (empty), ``message_id``, ``message_timestamp`` (milliseconds).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from .errors import InvalidEnvelope, InvalidJob, JobTooLarge
from .job import SCHEMA_VERSION, Job
from .topology import actor_for

#: Of an encoded message. RabbitMQ 4 refuses more than 16 MiB.
MAX_JOB_BYTES: Final = 12 * 1024 * 1024
_ACTORS: Final = ("send", "batch")
_ENVELOPE: Final[dict[str, tuple[type, str]]] = {
    "queue_name": (str, "a string"),
    "actor_name": (str, "a string"),
    "args": (list, "a list"),
    "kwargs": (dict, "an object"),
    "options": (dict, "an object"),
    "message_id": (str, "a string"),
    "message_timestamp": (int, "a whole number"),
}
_INSTEAD: Final[dict[str, str]] = {
    "eta": "the job's send_at",
    "delay": "the job's send_at",
    "max_age": "the job's expires_at",
    "time_limit": "nothing: a delivery is never cut short",
    "max_retries": "the setting delivery.retry_for",
    "min_backoff": "the setting delivery.retry_for",
    "max_backoff": "the setting delivery.retry_for",
    "retry_when": "the setting delivery.retry_for",
    "throws": "the setting delivery.retry_for",
    "store_results": "the events exchange",
    "result_ttl": "the events exchange",
    "on_success": "the events exchange",
    "on_failure": "the events exchange",
    "on_retry_exhausted": "the events exchange",
}
_INSTEAD_BY_PREFIX: Final[dict[str, str]] = {
    "pipe_": "the events exchange",
    "group_": "the job's batch_id and the events exchange",
}


def encode(job: Job, queue_name: str) -> bytes:
    """The body of the message that carries a job to a queue.

    Raises:
        JobTooLarge: it has more than ``MAX_JOB_BYTES``.
    """
    body = (
        f'{{"queue_name":{json.dumps(queue_name)},"actor_name":"{actor_for(job.kind)}","args":[],'
        f'"kwargs":{{"job":{job.to_json()}}},"options":{{}},"message_id":"{job.id}",'
        f'"message_timestamp":{int(job.enqueued_at.timestamp() * 1000)}}}'
    ).encode()
    if len(body) > MAX_JOB_BYTES:
        raise JobTooLarge(
            "job",
            f"{len(body)} bytes encoded, at most {MAX_JOB_BYTES}; attach large files by reference",
        )
    return body


def decode(body: bytes, queue_name: str, *, now: datetime | None = None) -> Job:
    """The job that a message from a queue carries.

    Whatever the body is, this returns a job or raises one error with a one-line reason.

    Raises:
        InvalidEnvelope: it carries none; with ``hold`` where a newer reader may know better.
    """
    if len(body) > MAX_JOB_BYTES:
        raise InvalidEnvelope(f"too large: {len(body)} bytes, at most {MAX_JOB_BYTES}")
    envelope = _object(body)
    for key, (wanted, name) in _ENVELOPE.items():
        if key not in envelope:
            raise InvalidEnvelope(f"not a Dramatiq envelope: {key} is missing")
        value = envelope[key]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise InvalidEnvelope(f"not a Dramatiq envelope: {key} is not {name}")
    actor = envelope["actor_name"]
    if actor not in _ACTORS:
        raise InvalidEnvelope(f"unknown actor {_name(actor)}: use send or batch")
    if envelope["queue_name"] != queue_name:
        raise InvalidEnvelope(
            f"the envelope names the queue {_name(envelope['queue_name'])}, but came from"
            f" {queue_name}"
        )
    _check_options(envelope["options"])
    fields = _job_fields(envelope)
    try:
        job = Job.read(fields)
        job.check_times(now or datetime.now(UTC))
    except InvalidJob as error:
        raise InvalidEnvelope(f"job.{error.field}: {error.problem}") from None
    if actor_for(job.kind) != actor:
        raise InvalidEnvelope(f"job.kind: {job.kind} is not for the actor {actor}")
    return job


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is (RFC 8259; no NaN, no key twice)."""
    try:
        decoded = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise InvalidEnvelope("not JSON: not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidEnvelope(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InvalidEnvelope("not JSON: nested too deep") from None
    except ValueError:  # more digits than Python turns into an integer
        raise InvalidEnvelope("not JSON: a number with too many digits") from None
    if not isinstance(decoded, dict):
        raise InvalidEnvelope("not a Dramatiq envelope: not a JSON object")
    return decoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise InvalidEnvelope("not JSON: a key stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise InvalidEnvelope(f"not JSON: {name} is no JSON number")


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what would change the meaning of a message in Dramatiq; ignore the rest."""
    for key, value in options.items():
        instead = _INSTEAD.get(key)
        for prefix, substitute in _INSTEAD_BY_PREFIX.items():
            if key.startswith(prefix):
                instead = substitute
        if instead is not None and value is not None:
            raise InvalidEnvelope(
                f"Dramatiq's option {_name(key)} has no effect here: use {instead}"
            )


def _job_fields(envelope: dict[str, Any]) -> dict[str, Any]:
    if envelope["args"]:
        raise InvalidEnvelope("args: must be empty: everything is in kwargs.job")
    if envelope["kwargs"].keys() != {"job"}:
        raise InvalidEnvelope("kwargs: must have the one key job")
    fields = envelope["kwargs"]["job"]
    if not isinstance(fields, dict):
        raise InvalidEnvelope("job: not a JSON object")
    version = fields.get("schema_version")
    if version is None:
        raise InvalidEnvelope("job.schema_version: is missing")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidEnvelope("job.schema_version: not a whole number from 1")
    if version > SCHEMA_VERSION:
        shown = version if version < 1 << 31 else "a very large number"
        raise InvalidEnvelope(
            f"job.schema_version: {shown} is newer than this worker, which knows"
            f" {SCHEMA_VERSION}: upgrade it",
            hold=True,
        )
    return fields


def _name(text: str) -> str:
    """A foreign name as one short, harmless line."""
    return ascii(text[:40])
