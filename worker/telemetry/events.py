"""Outcomes for applications: from rows whose event is due to the events exchange, at least once."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from producers.schema_event import EVENT_VERSION
from worker.ledger import outbox
from worker.ledger.drafts import kind_of
from worker.ledger.outbox import Mark
from worker.ledger.rows import load_recipients
from worker.telemetry.report import count_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.ledger.ledger import Ledger

BATCH: Final = 200
"""How many events one step publishes."""
REST_STEPS: Final = 8
"""For how many steps a pump rests at the most when another one did its work."""


class Publisher(Protocol):
    """Where events go (``worker.broker.events``)."""

    def publish(self, batch: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Publish routing keys and bodies; for each, in order, whether it is safe now."""


class EventPump:
    """Publishes what is due, and strikes out what was confirmed.

    Every worker process may have one. Two that meet publish the same rows twice, which consumers
    must expect anyway; the one that strikes out last notices, and rests for a few steps.

    Args:
        count: told of each event that this pump has struck out: of two pumps, one is.
    """

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        *,
        randint: Callable[[int, int], int] = random.randint,
        count: Callable[[Mapping[str, Any]], None] = count_event,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._randint = randint
        self._count = count
        self._rest = 0

    def step(self) -> int:
        """Publish one batch; how many rows were struck out. Blocks: call it in a thread.

        Raises:
            LedgerUnavailable: nothing is lost; what was published may be published again.
        """
        if self._rest:
            self._rest -= 1
            return 0
        rows = self._ledger.read(lambda c, _: outbox.due_events(c, BATCH))
        if not rows:
            return 0
        confirmed = self._publisher.publish([(routing_key(row), body(row)) for row in rows])
        marks = [
            Mark(row["job_id"], row["event"], row["updated_at"])
            for row, ok in zip(rows, confirmed, strict=True)
            if ok
        ]
        if not marks:
            return 0
        struck = self._ledger.call(partial(outbox.strike_out, marks=marks))
        own = set(struck)
        for row in rows:
            if Mark(row["job_id"], row["event"], row["updated_at"]) in own:
                self._count(row)
        if len(struck) < len(marks) / 2:
            self._rest = self._randint(1, REST_STEPS)
        return len(struck)


def routing_key(row: Mapping[str, Any]) -> str:
    """Return ``<outcome>.<company>.<kind>``."""
    return f"{row['event']}.{row['company']}.{row['kind']}"


def body(row: Mapping[str, Any]) -> bytes:
    """Write the JSON of one event.

    It goes to the application that published the job, so recipients are whole, with the server's
    words, and the job's own ``metadata`` comes back.
    """
    fields = {
        "event": row["event"],
        "event_version": EVENT_VERSION,
        "outcome": row["event"],
        "job_id": row["job_id"],
        "message_id": row["message_id"],
        "company": row["company"],
        "user": row["user_id"] or None,
        "kind": row["kind"],
        "batch_id": row["batch_id"],
        "batch_index": row["batch_index"],
        "reason": row["reason"],
        "attempts": row["attempts"],
        "transport": row["transport"] or None,
        "reply": row["reply"] or None,
        "recipients": [
            {
                "address": one.address,
                "state": one.state.value,
                "code": one.reply.code,
                "enhanced": one.reply.enhanced,
                "text": one.reply.text,
            }
            for one in load_recipients(row["recipients"])
        ],
        "enqueued_at": _iso(row["enqueued_at"]),
        "accepted_at": _iso(row["accepted_at"]),
        "first_attempt_at": _iso(row["first_attempt_at"]),
        "at": _iso(row["updated_at"]),
    }
    if row["event"] == "drafted":
        fields["draft"] = kind_of(is_file=bool(row["draft_is_file"]))
        fields["web_link"] = row["web_link"] or None
    if row["metadata"]:
        fields["metadata"] = json.loads(row["metadata"])
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _iso(unix_seconds: float | None) -> str | None:
    if unix_seconds is None:
        return None
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds")
