"""From one fact to its metrics and its line in the log: the one place where both are made."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from worker.outcome import Outcome, RecipientState
from worker.telemetry.instruments import Instruments, instruments
from worker.telemetry.logs import get_logger
from worker.telemetry.metrics import AttemptClass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.outcome import Fact
    from worker.telemetry.logs import Logger

_ENDS: Final = frozenset({Outcome.SENT, Outcome.DRAFTED, Outcome.DEAD})
_ALARMING: Final = frozenset({Outcome.HELD, Outcome.DEAD, Outcome.UNKNOWN})
_BY_OUTCOME: Final = {
    Outcome.SENT: AttemptClass.ACCEPTED,
    Outcome.DRAFTED: AttemptClass.ACCEPTED,
    Outcome.DEFERRED: AttemptClass.DEFERRED,
    Outcome.UNKNOWN: AttemptClass.UNKNOWN,
}
_CREDENTIAL_CODES: Final = frozenset({"530", "534", "535", "538", "401"})
"""Replies that speak of the authentication (RFC 4954 6; Graph's, RFC 9110 15.5.2)."""


class Reporter:
    """Told of every outcome by delivery; cheap, for it is called for every mail.

    Args:
        log: where the lines go; taken now, so configure the logs first.
    """

    def __init__(self, log: Logger | None = None, meter: Instruments | None = None) -> None:
        log = (log or get_logger("postmeter.delivery")).bind()
        self._lines: dict[bool, Callable[..., object]] = {True: log.warning, False: log.info}
        meter = meter or instruments()
        self._emails = cache(meter.emails_of)
        self._attempts = cache(meter.attempts.labels)
        self._recipients = cache(meter.recipients.labels)
        self._queue_wait = cache(meter.queue_wait.labels)
        self._slot_wait = cache(meter.slot_wait.labels)
        for attempt_class in AttemptClass:
            self._attempts("smtp", attempt_class.value)
        for state in RecipientState:
            self._recipients("smtp", state.value)

    def __call__(self, fact: Fact) -> None:
        """Count an outcome and write its line."""
        self._count(fact)
        fields = {
            "job_id": fact.job_id,
            "company": fact.company,
            "user": fact.user,
            "kind": fact.kind,
            "transport": fact.transport,
            "attempts": fact.attempts,
            "recipients": len(fact.recipients) or None,
            "batch_id": fact.batch_id,
            "message_id": fact.message_id,
            "trace_id": trace_id(fact.traceparent),
            "reason": fact.reason,
            "reply": fact.reply,
            "missed": [
                f"{r.address}: {r.reply}" for r in fact.recipients if not _accepted(r.state)
            ],
            "seconds": None if fact.delivery_seconds is None else round(fact.delivery_seconds, 4),
        }
        line = self._lines[fact.outcome in _ALARMING]
        line(fact.outcome.value, **{key: value for key, value in fields.items() if value})

    def _count(self, fact: Fact) -> None:
        if fact.outcome is not Outcome.CANCELLED:  # counted when its event is published
            self._emails(fact.kind, fact.transport, fact.company)[fact.outcome].inc()
        if fact.outcome in _ENDS:
            # Only at the end, when the last word on each recipient is known, so none counts twice.
            for recipient in fact.recipients:
                self._recipients(fact.transport, recipient.state.value).inc()
        found = attempt_class(fact)
        if found is None:
            return
        self._attempts(fact.transport, found.value).inc()
        begun = fact.data_seconds is not None
        if fact.outcome is Outcome.HELD:
            return
        if fact.queue_wait_seconds is not None and fact.attempts - begun <= 0:
            self._queue_wait(fact.kind).observe(fact.queue_wait_seconds)
        if fact.slot_wait_seconds is not None:
            self._slot_wait(fact.kind).observe(fact.slot_wait_seconds)


def count_event(row: Mapping[str, Any]) -> None:
    """Count a published event that no process of the worker has a fact of.

    A job is cancelled by a command, which ends before anybody could ask it for its counts, or as a
    duplicate; every other outcome was counted by whoever made it.

    Args:
        row: the job's kind, transport and company, and the event.
    """
    if row["event"] == Outcome.CANCELLED:
        emails = instruments().emails_of(row["kind"], row["transport"], row["company"])
        emails[Outcome.CANCELLED].inc()


def attempt_class(fact: Fact) -> AttemptClass | None:
    """What an attempt came to, or None where no attempt was made (expired, cancelled)."""
    if fact.outcome is Outcome.CANCELLED or fact.delivery_seconds is None:
        return None
    known = _BY_OUTCOME.get(fact.outcome)
    if known is not None:
        return known
    code = fact.reply[:3]
    if fact.outcome is Outcome.DEAD:
        # In HTTP it is 4xx that refuses for good; in SMTP a dead mail's 4yz ran out of time.
        refused = code.startswith("5") or not code or fact.transport == "microsoft-365"
        return AttemptClass.REFUSED if refused else AttemptClass.DEFERRED
    if code in _CREDENTIAL_CODES:
        return AttemptClass.CREDENTIAL
    return AttemptClass.THROTTLED if code else AttemptClass.UNREACHABLE


def trace_id(traceparent: str | None) -> str | None:
    """The trace's id in a ``traceparent`` (W3C Trace Context 3.2.2), if it has one."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) > 1 else None


def _accepted(state: RecipientState) -> bool:
    return state is RecipientState.ACCEPTED
