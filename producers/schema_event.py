"""The JSON Schema of an event, as a reader takes it: unknown fields are allowed.

Workers write events (``worker/telemetry/events.py``); a test compares what they write.
"""

from __future__ import annotations

from typing import Any, Final

EVENT_VERSION: Final = 1
OUTCOMES: Final = ("sent", "drafted", "deferred", "held", "dead", "unknown", "cancelled")

_TEXT: Final = {"type": "string"}
_MAY_BE_TEXT: Final = {"type": ["string", "null"]}
_TIME: Final = {"type": "string", "format": "date-time"}
_ALWAYS: Final[dict[str, Any]] = {
    "event": {"enum": list(OUTCOMES), "description": "What became of the job, so far or for good."},
    "event_version": {"const": EVENT_VERSION, "type": "integer"},
    "outcome": {"enum": list(OUTCOMES), "description": "The same as event."},
    "job_id": _TEXT,
    "message_id": _TEXT,
    "company": {**_TEXT, "description": "The system's is _system."},
    "user": _MAY_BE_TEXT,
    "kind": {**_TEXT, "description": "send, batch, compose; unreadable where it was no job."},
    "batch_id": _MAY_BE_TEXT,
    "batch_index": {"type": ["integer", "null"], "minimum": 0},
    "reason": {**_TEXT, "description": "Why, in one line; empty where nothing is to be said."},
    "attempts": {"type": "integer", "minimum": 0},
    "transport": {**_MAY_BE_TEXT, "description": "The way of the last attempt."},
    "reply": {**_MAY_BE_TEXT, "description": "The server's last words."},
    "recipients": {
        "type": "array",
        "description": "Every recipient's last word so far.",
        "items": {
            "type": "object",
            "properties": {
                "address": _TEXT,
                "state": {"enum": ["accepted", "deferred", "refused"]},
                "code": {"type": "integer"},
                "enhanced": _MAY_BE_TEXT,
                "text": _TEXT,
            },
            "required": ["address", "state", "code", "enhanced", "text"],
        },
    },
    "enqueued_at": _TIME,
    "accepted_at": {**_TIME, "description": "When a worker took the job in."},
    "first_attempt_at": {"type": ["string", "null"], "format": "date-time"},
    "at": {**_TIME, "description": "When the outcome was recorded."},
}
_SOMETIMES: Final[dict[str, Any]] = {
    "metadata": {
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "The job's own; absent where it has none.",
    },
    "draft": {
        "enum": ["eml", "microsoft-365"],
        "description": "Only with drafted: an unsent message that the command"
        " postmeter status JOB --eml FILE writes, or a draft in the user's mailbox.",
    },
    "web_link": {
        **_MAY_BE_TEXT,
        "description": "Only with drafted: where a person opens the draft; null for a file.",
    },
}


def event_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:postmeter:event:v{EVENT_VERSION}",
        "title": f"Postmeter event, version {EVENT_VERSION}",
        "description": "One outcome of one job, published at least once.",
        "type": "object",
        "properties": {**_ALWAYS, **_SOMETIMES},
        "required": list(_ALWAYS),
        "if": {"properties": {"event": {"const": "drafted"}}},
        "then": {"required": ["draft", "web_link"]},
    }
