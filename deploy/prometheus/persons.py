"""Alerts of what a person must see to: a credential, emails given up or in doubt, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.prometheus import recordings
from deploy.prometheus.model import Alert
from deploy.prometheus.phrases import COMPANY, VALUE, counted, either, once_past
from deploy.prometheus.thresholds import HOUR, MINUTE
from worker.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.prometheus.model import Dialect, Severity


def persons(dialect: Dialect) -> Iterator[Alert]:
    """Every alert of that kind."""
    numbers = dialect.thresholds
    ends = f"min {dialect.by('owner')} ({metrics.CREDENTIAL_EXPIRES.name}) - time()"
    near = dialect.seconds(numbers.credential_seconds)
    here = dialect.seconds(numbers.credential_critical_seconds)
    rows: tuple[tuple[Severity, str], ...] = (
        ("critical", f"{ends} < {here}"),
        ("warning", f"({ends} < {near}) >= {here}"),
    )
    for severity, expr in rows:
        yield Alert(
            name="PostmeterCredentialExpiring",
            severity=severity,
            expr=expr,
            for_seconds=5 * MINUTE,
            summary="The secret or certificate of {{ $labels.owner }} "
            + once_past("has ended", "ends in {{ $value | humanizeDuration }}"),
            description=once_past("Now", "From then on")
            + " {{ $labels.owner }} gets no access token and its mail is held."
            " Register a new secret or certificate, and put it in its file: no restart is needed.",
        )
    dead = recordings.DEAD
    yield Alert(
        name="PostmeterDeadLetters",
        severity="warning",
        expr=f"{dead} - min_over_time({dead}[{dialect.time(HOUR)}]) > {numbers.dead_in_an_hour}",
        for_seconds=0,
        summary=f"{counted('email')} {either('was', 'were')} given up within the last hour",
        description=f"{VALUE} more {either('email', 'emails')} will not be sent unless somebody decides"
        f" so: see `postmeter dead list`, then retry or drop {either('it', 'them')}.",
    )
    yield Alert(
        name="PostmeterUnknownEmails",
        severity="warning",
        expr=f"{recordings.UNKNOWN} > {numbers.unknown_jobs}",
        for_seconds=5 * MINUTE,
        summary=f"{counted('email')} of {COMPANY} may or may not have been sent",
        description=f"Of {counted('email')} of {COMPANY} no reply came when the text was sent, and"
        f" nothing is done about {either('it', 'them')} unless somebody decides: see `postmeter"
        " unknown list` and the server's log, then mark as sent or send again.",
    )
    yield Alert(
        name="PostmeterSettingsInvalid",
        severity="warning",
        expr=f"max {dialect.by('context')} ({metrics.SETTINGS_ERRORS.name}) > 0",
        for_seconds=2 * MINUTE,
        summary=f"The settings of {{{{ $labels.context }}}} have {counted('error')}",
        description="What was right before stays in force, and an edit has no effect until no error is"
        " left: `postmeter settings check` names file, line and key.",
    )
