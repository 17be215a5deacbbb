"""Writes ``schema/``: the JSON Schemas of a job and an event, and the AsyncAPI page.

Run ``python -m producers.schema_build`` after a change; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from .envelope import MAX_JOB_BYTES
from .fields import ID_PATTERN, MAX_RECIPIENTS, USER_PATTERN
from .job import SCHEMA_VERSION, Job
from .schema_event import EVENT_VERSION, OUTCOMES, event_schema
from .topology import Topology

FOLDER: Final = Path(__file__).with_name("schema")
_PATTERNS: Final = {"company": f"^{ID_PATTERN}$", "user": f"^{USER_PATTERN}$"}
_NOTES: Final = {
    "schema_version": "Raised when a field must be understood; a newer one is held, not refused.",
    "id": "A UUID in lower case; the same in every copy.",
    "kind": "send: at once. batch: at the company's pace. compose: a draft.",
    "company": "Whose settings apply; absent: the system's.",
    "user": "Whose Email tab applies; absent: the default user's.",
    "to": f"addr or Name <addr>; at most {MAX_RECIPIENTS} in to, cc and bcc together, at least one.",
    "error_report": "The worker fills in the system's error_reports_to.",
    "send_at": "Not before; at most a year ahead.",
    "expires_at": "Not after.",
    "text": "text, html or both.",
    "html": "text, html or both.",
}


def job_schema() -> dict[str, Any]:
    """The JSON Schema of a job (draft 2020-12), as a reader takes it: unknown fields are allowed."""
    schema = Job.model_json_schema(mode="validation")
    _open(schema)
    properties = schema["properties"]
    properties["schema_version"] = {"const": SCHEMA_VERSION, "type": "integer"}
    for name, note in _NOTES.items():
        properties[name]["description"] = note
    for name, pattern in _PATTERNS.items():
        properties[name]["anyOf"][0]["pattern"] = pattern
    schema["required"] = ["schema_version", *schema["required"]]
    schema["title"] = f"Postmeter job, version {SCHEMA_VERSION}"
    schema["description"] = "One email to handle."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:postmeter:job:v{SCHEMA_VERSION}",
        **schema,
    }


def _open(schema: Any) -> None:
    """Take out what is strict only when written, and the titles made from field names."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.pop("additionalProperties", None)
        if isinstance(schema.get("title"), str):
            del schema["title"]
        for value in schema.values():
            _open(value)
    elif isinstance(schema, list):
        for value in schema:
            _open(value)


def asyncapi() -> str:
    """The AsyncAPI 3.0 page: channels, envelope, events. JSON is YAML, so it is written as JSON."""
    topology = Topology()
    channels = {
        kind: {
            "address": queue,
            "description": about,
            "messages": {"job": {"$ref": "#/components/messages/job"}},
            "bindings": {
                "amqp": {"is": "queue", "queue": {"name": queue, "durable": True}},
            },
            "x-arguments": topology.arguments(queue),
        }
        for kind, queue, about in (
            ("send", topology.send, "Jobs of kind send and compose, for the actor send."),
            ("batch", topology.batch, "Jobs of kind batch, for the actor batch."),
        )
    }
    page = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Postmeter",
            "version": str(SCHEMA_VERSION),
            "description": (
                "Publish a persistent message to the default exchange with the queue's name as"
                " routing key, mandatory, and wait for the confirm. Dramatiq's JSON envelope; its"
                f" options are empty. At most {MAX_JOB_BYTES} bytes."
            ),
        },
        "channels": {
            **channels,
            "events": {
                "address": "{outcome}.{company}.{kind}",
                "description": (
                    f"Outcomes: {', '.join(OUTCOMES)}."
                    " The company of the system is _system. At least once."
                ),
                "messages": {"event": {"$ref": "#/components/messages/event"}},
                "bindings": {
                    "amqp": {
                        "is": "routingKey",
                        "exchange": {"name": topology.events, "type": "topic", "durable": True},
                    }
                },
            },
        },
        "operations": {
            **{
                kind: {"action": "send", "channel": {"$ref": f"#/channels/{kind}"}}
                for kind in channels
            },
            "events": {"action": "receive", "channel": {"$ref": "#/channels/events"}},
        },
        "components": {
            "messages": {
                "job": {
                    "contentType": "application/json",
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": _envelope_schema(),
                    },
                },
                "event": {
                    "contentType": "application/json",
                    "payload": {"$ref": f"./event.v{EVENT_VERSION}.json"},
                },
            }
        },
    }
    return _dump(page)


def _envelope_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "queue_name": {"type": "string"},
            "actor_name": {"enum": ["send", "batch"]},
            "args": {"type": "array", "maxItems": 0},
            "kwargs": {
                "type": "object",
                "properties": {"job": {"$ref": f"./job.v{SCHEMA_VERSION}.json"}},
                "required": ["job"],
                "additionalProperties": False,
            },
            "options": {"type": "object"},
            "message_id": {"type": "string", "description": "The job's id."},
            "message_timestamp": {"type": "integer", "description": "Milliseconds since 1970."},
        },
        "required": [
            "queue_name",
            "actor_name",
            "args",
            "kwargs",
            "options",
            "message_id",
            "message_timestamp",
        ],
    }


def files() -> dict[str, str]:
    """What belongs into ``schema/``: name and content."""
    return {
        f"job.v{SCHEMA_VERSION}.json": _dump(job_schema()),
        f"event.v{EVENT_VERSION}.json": _dump(event_schema()),
        "asyncapi.yaml": asyncapi(),
    }


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
