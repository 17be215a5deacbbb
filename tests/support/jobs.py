"""Jobs for tests: a good one, with what a test wants otherwise."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from producers.envelope import encode
from producers.job import Job

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
JOB_ID = "019f0000-0000-7000-8000-000000000001"


def make_job(**fields: Any) -> Job:
    """A valid job of kind send, changed by ``fields``."""
    values: dict[str, Any] = {
        "id": JOB_ID,
        "kind": "send",
        "company": "acme",
        "to": ["jane@example.org"],
        "subject": "Hello",
        "text": "Hello Jane",
        "enqueued_at": NOW,
    }
    return Job(**{**values, **fields})


def envelope(queue: str = "postmeter.send", **changes: Any) -> dict[str, Any]:
    """The decoded envelope of a valid job; ``changes`` replace its keys."""
    decoded: dict[str, Any] = json.loads(encode(make_job(), queue))
    return {**decoded, **changes}
