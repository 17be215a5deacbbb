"""The alerts: each a symptom or a deadline, with somebody to act, and a page of ``docs/runbook``.

What a person wanted is no alarm: a pause, a date, a day's cap that is used up, a batch that leaves at
its limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.prometheus import recordings
from deploy.prometheus.model import Alert
from deploy.prometheus.persons import persons
from deploy.prometheus.phrases import (
    COMPANY,
    HELD_TARGET,
    HOLD,
    SETTINGS_FIRST,
    VALUE,
    counted,
    either,
)
from deploy.prometheus.thresholds import BUDGET_SECONDS, DAY, HOUR, MINUTE
from worker.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.prometheus.model import Dialect, Severity

LIMIT_SEEN_SECONDS: Final = 5 * MINUTE
"""How long a limit that was lowered still counts: longer than the window that it allowed."""

BRIDGED_SECONDS: Final = 3 * MINUTE
"""For so long what waited still counts: the one email that is tried again meanwhile is in hand."""


def alerts(dialect: Dialect) -> list[Alert]:
    """Every alert, the worst first."""
    return [
        *_promise(dialect),
        *_symptoms(dialect),
        *_budget(dialect),
        *_processes(dialect),
        *_refusals(dialect),
        *persons(dialect),
    ]


def _promise(dialect: Dialect) -> Iterator[Alert]:
    limit, window, worst = recordings.LIMIT, recordings.WINDOW, recordings.WORST_WINDOW
    seen, twice = dialect.time(LIMIT_SEEN_SECONDS), dialect.time(2 * LIMIT_SEEN_SECONDS)
    hour = dialect.time(HOUR)
    now = (
        f"({window} > max_over_time({limit}[{seen}])"
        f" and count_over_time({limit}[{seen}]) >= count_over_time({window}[{seen}]))"
    )
    moments_ago = (
        f"({worst} > max_over_time({worst}[{hour}] offset {seen})"
        f" and {worst} > max_over_time({limit}[{twice}])"
        f" and count_over_time({limit}[{twice}]) >= count_over_time({worst}[{twice}])"
        f" and {worst} offset {dialect.time(30 * MINUTE)})"
    )
    yield Alert(
        name="PostmeterLimitExceeded",
        severity="critical",
        expr=f"{now} or {moments_ago}",
        for_seconds=0,
        summary=f"{{{{ $labels.scope }}}} sent more than its limit: {VALUE} emails in 60 seconds",
        description=f"Servers accepted {VALUE} emails of {{{{ $labels.scope }}}} within 60 seconds,"
        " more than any limit that was in force. The clock of the ledger has jumped, or this is a"
        " fault in Postmeter. Pause the scope if the provider must not see it.",
    )


def _symptoms(dialect: Dialect) -> Iterator[Alert]:
    numbers = dialect.thresholds
    where = "{{ $labels.scope }}{{ $labels.company }}"
    limited = f"{recordings.LIMIT_WAITING}{{{recordings.NOT_BY_THE_DAY}}} > 0"
    moved = (
        f"sum {dialect.by('company', 'kind')} (increase({metrics.EMAILS.name}"
        f'{{outcome!~"held|cancelled"}}[{dialect.time(5 * MINUTE)}]))'
    )
    yield Alert(
        name="PostmeterDeliveryStalled",
        severity="critical",
        expr=f"(({limited}) unless ({recordings.WINDOW} > 0))"
        f' or ((max {dialect.by("company", "kind")} ({recordings.WAITING}{{reason="turn"}}) > 0)'
        f" unless ({moved} > 0))",
        for_seconds=numbers.stalled_seconds,
        summary=f"{counted('email')} of {where} may leave, none does",
        description=f"{counted('due email')} of {where} {either('is', 'are')} neither"
        f" held nor paused, and none has left for {_spoken(numbers.stalled_seconds)}. Look at the"
        " workers and at how long the server takes to reply.",
    )
    waits = f'sum {dialect.by("company")} ({recordings.WAITING}{{reason=~"limit|turn"}}) > 0'
    yield Alert(
        name="PostmeterDrainTooLong",
        severity="warning",
        expr=f"{recordings.DRAIN_ETA} > {dialect.seconds(numbers.drain_seconds)}"
        f" and {dialect.on('company')} ({waits})",
        for_seconds=15 * MINUTE,
        summary="What is due of {{ $labels.company }} takes {{ $value | humanizeDuration }} to leave",
        description="At the limits in force the emails of {{ $labels.company }} that are due now will"
        " have left in {{ $value | humanizeDuration }}. Raise the limit that binds, or tell who waits.",
    )
    yield from _too_old(dialect)


def _too_old(dialect: Dialect) -> Iterator[Alert]:
    numbers = dialect.thresholds
    rows: tuple[tuple[Severity, str, str, float], ...] = (
        (
            "critical",
            "single send",
            'kind="send", reason=~"limit|turn|held|settings"',
            numbers.send_age_seconds,
        ),
        (
            "warning",
            "batch email",
            'kind!="send", reason=~"turn|held|settings"',
            numbers.batch_age_seconds,
        ),
    )
    for severity, what, selector, age_seconds in rows:
        series = f"{metrics.OLDEST_WAITING.name}{{{selector}}}"
        bridged = f"max_over_time({series}[{dialect.time(BRIDGED_SECONDS)}])"
        oldest = f"min {dialect.by('company')} ({bridged})"
        yield Alert(
            name="PostmeterJobsTooOld",
            severity=severity,
            expr=f"time() - {oldest} > {dialect.seconds(age_seconds)}",
            for_seconds=5 * MINUTE,
            summary=f"A {what} of {COMPANY} has been due for {{{{ $value | humanizeDuration }}}}",
            description=f"The oldest {what} of {COMPANY} could have gone"
            " {{ $value | humanizeDuration }} ago and waits for no date, pause or day's cap. See what"
            f" it waits for with `postmeter lanes`{SETTINGS_FIRST}.",
        )


def _budget(dialect: Dialect) -> Iterator[Alert]:
    numbers = dialect.thresholds
    rows: tuple[tuple[Severity, float, tuple[tuple[float, float, float], ...]], ...] = (
        ("critical", 2 * MINUTE, ((HOUR, 5 * MINUTE, 14.4), (6 * HOUR, 30 * MINUTE, 6))),
        ("warning", 15 * MINUTE, ((DAY, 2 * HOUR, 3), (3 * DAY, 6 * HOUR, 1))),
    )
    for severity, for_seconds, windows in rows:
        conditions = []
        for long, short, factor in windows:
            share = f"{factor * (1 - numbers.objective):.10g}"
            count = (
                f"sum_over_time({recordings.FAILED}[{dialect.time(long)}])"
                f" * {dialect.interval_seconds(BUDGET_SECONDS):g}"
            )
            conditions.append(
                f"({recordings.burn(long)} > {share} and {recordings.burn(short)} > {share}"
                f" and {count} >= {numbers.least_failures})"
            )
        yield Alert(
            name="PostmeterErrorBudgetBurn",
            severity=severity,
            expr=" or ".join(conditions),
            for_seconds=for_seconds,
            summary="{{ $value | humanizePercentage }} of the emails that end are not delivered",
            description="{{ $value | humanizePercentage }} of the emails that ended were dead or"
            f" unknown; the objective is that {100 * numbers.objective:.10g}% are accepted. See the"
            " reasons with `postmeter dead list` and `postmeter unknown list`.",
        )


def _processes(dialect: Dialect) -> Iterator[Alert]:
    up = f'up{{job="{dialect.job}"}}'
    workers, ready = metrics.WORKERS.name, metrics.WORKERS_READY.name
    by, ledger = dialect.by(), metrics.LEDGER_UP.name
    yield Alert(
        name="PostmeterWorkerAbsent",
        severity="critical",
        expr=f"max {by} ({workers}) == 0 or max {by} ({up}) == 0 or absent({up})",
        for_seconds=2 * MINUTE,
        summary="No Postmeter worker is at work",
        description="No worker process has a heartbeat, or Prometheus reaches no worker at all. Nothing"
        " is taken in or sent; producers' emails wait safely in the broker.",
    )
    yield Alert(
        name="PostmeterWorkerNotReady",
        severity="critical",
        expr=f"max {by} ({ready}) == 0 and max {by} ({workers}) > 0",
        for_seconds=2 * MINUTE,
        summary="No Postmeter worker is ready",
        description="Every worker process complains of the ledger or the broker, so nothing new is"
        " taken in. /readyz of a worker says why in one line.",
    )
    yield Alert(
        name="PostmeterWorkerNotReady",
        severity="warning",
        expr=f"max {by} ({workers} - {ready}) > 0 and max {by} ({ready}) > 0",
        for_seconds=5 * MINUTE,
        summary=f"{counted('Postmeter worker process', many='es')} {either('is', 'are')} not ready",
        description=f"{counted('worker process', many='es')} {either('does', 'do')} not reach the ledger or"
        " the broker; the others go on. /readyz of the host says why in one line.",
    )
    quarter = dialect.time(15 * MINUTE)
    died = f"sum {dialect.by('instance')} (increase({metrics.WORKER_RESTARTS.name}[{quarter}]))"
    yield Alert(
        name="PostmeterWorkerCrashing",
        severity="warning",
        expr=f"{died} > {dialect.thresholds.restarts}",
        for_seconds=0,
        summary="Worker processes at {{ $labels.instance }} die again and again",
        description=f"Within 15 minutes {VALUE} worker processes at {{{{ $labels.instance }}}} have"
        " died and were started again. What they had in DATA is unknown, everything else is tried"
        " again. The log has each end with its exit code; -9 is mostly the lack of memory.",
    )
    yield Alert(
        name="PostmeterLedgerDown",
        severity="critical",
        expr=f"max {by} ({ledger}) == 0",
        for_seconds=MINUTE,
        summary="Postmeter's ledger cannot be read and written",
        description="No host can use the ledger, so nothing is taken in or sent, and nothing is lost."
        " Bring the database back; workers go on by themselves.",
    )
    yield Alert(
        name="PostmeterLedgerDown",
        severity="warning",
        expr=f"min {dialect.by('instance')} ({ledger}) == 0 and {dialect.on()} max {by} ({ledger}) == 1",
        for_seconds=5 * MINUTE,
        summary="{{ $labels.instance }} cannot use Postmeter's ledger, others can",
        description="The worker at {{ $labels.instance }} cannot read and write the ledger; look at its"
        " network, its credentials and its disk. Other hosts go on.",
    )
    yield Alert(
        name="PostmeterTargetDown",
        severity="warning",
        expr=f"{up} == 0",
        for_seconds=5 * MINUTE,
        summary="Prometheus cannot scrape the worker at {{ $labels.instance }}",
        description="{{ $labels.instance }} does not answer on its metrics port: the worker there has"
        " ended, or listens elsewhere (POSTMETER_METRICS_HOST, POSTMETER_METRICS_PORT).",
    )


def _refusals(dialect: Dialect) -> Iterator[Alert]:
    numbers = dialect.thresholds
    held = f'{recordings.WAITING}{{reason="held"}}'
    bridged = f"max_over_time({held}[{dialect.time(BRIDGED_SECONDS)}])"
    held_mail = f"sum {dialect.by()} ({bridged}) > 0"
    refused = 'target_kind=~"account|credential|server", reason!~"paused|throttled|busy"'
    yield Alert(
        name="PostmeterAccountHeld",
        severity="warning",
        expr=f"{recordings.HOLDS}{{{refused}}} > 0 and {dialect.on()} ({held_mail})",
        for_seconds=numbers.held_seconds,
        summary=f"Mail is held: {HOLD}",
        description=f"{counted('hold')} on {HELD_TARGET}"
        f" {either('keeps', 'keep')} mail back ({HOLD}). `postmeter holds` names"
        f" {either('it', 'them')} and says what to do; a changed password ends"
        f" {either('it', 'one')} at once.",
    )
    window = dialect.time(15 * MINUTE)
    throttled, tried = (
        f"sum {dialect.by('transport')} (increase({metrics.ATTEMPTS.name}{selector}[{window}]))"
        for selector in ('{class="throttled"}', "")
    )
    slowed = f'avg_over_time({recordings.HOLDS}{{reason=~"throttled|busy"}}[{window}]) > 0.5'
    yield Alert(
        name="PostmeterThrottled",
        severity="warning",
        expr=f"({throttled} / ({tried} > 0) > {numbers.throttled_ratio:g}"
        f" and {throttled} >= {numbers.throttled_attempts})"
        f" or ({slowed} and {dialect.on()} ({held_mail}))",
        for_seconds=15 * MINUTE,
        summary="A server slows mail down: {{ $labels.transport }}{{ $labels.target_kind }}",
        description="Servers have answered for a while that it is too much or that they are busy."
        " Lower the limit to what the provider takes; `postmeter holds` has its words.",
    )
    token = ("owner", "resource")
    failed = f'{metrics.TOKEN_REQUESTS.name}{{result="failed"}}'
    yield Alert(
        name="PostmeterTokenExpired",
        severity="critical",
        expr=f"time() - max {dialect.by(*token)} ({metrics.TOKEN_EXPIRES.name}) > 0"
        f" and sum {dialect.by(*token)} (increase({failed}[{dialect.time(HOUR)}])) > 0"
        f" and {dialect.on()} ({held_mail})",
        for_seconds=2 * MINUTE,
        summary="The access token of {{ $labels.owner }} has ended and no new one is had",
        description="The token of {{ $labels.owner }} for {{ $labels.resource }} ended"
        " {{ $value | humanizeDuration }} ago, requests for a new one fail, and mail waits."
        " `postmeter holds` has what the authority answered.",
    )


def _spoken(seconds: float) -> str:
    return f"{seconds / MINUTE:g} minutes"


NAMES: Final = (
    *("PostmeterLimitExceeded", "PostmeterDeliveryStalled", "PostmeterDrainTooLong"),
    *("PostmeterJobsTooOld", "PostmeterErrorBudgetBurn", "PostmeterWorkerAbsent"),
    *("PostmeterWorkerNotReady", "PostmeterLedgerDown", "PostmeterTargetDown"),
    *("PostmeterAccountHeld", "PostmeterThrottled", "PostmeterTokenExpired"),
    *("PostmeterCredentialExpiring", "PostmeterDeadLetters", "PostmeterSettingsInvalid"),
    *("PostmeterUnknownEmails", "PostmeterWorkerCrashing"),
)
