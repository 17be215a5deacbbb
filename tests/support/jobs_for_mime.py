"""Jobs for the tests of rendering: one small text to one recipient, and any field can be set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from producers.job import Job


def make_mime_job(**changes: Any) -> Job:
    """Return a job of jane of acme to bob, changed as asked."""
    fields: dict[str, Any] = {
        "id": "01936d3e-5b7c-7000-8000-000000000001",
        "kind": "send",
        "company": "acme",
        "user": "jane",
        "to": ("bob@example.nz",),
        "subject": "Hello",
        "text": "Kia ora",
        "enqueued_at": datetime(2026, 11, 24, tzinfo=UTC),
    }
    return Job(**(fields | changes))
