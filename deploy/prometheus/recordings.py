"""The recording rules: what hosts tell alike made one, counters summed, the budget, the workers wanted.

Gauges of the ledger are the same on every host: ``max by``. Counters are each host's own: ``sum by``
of rates.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from deploy.prometheus.model import Recording
from deploy.prometheus.thresholds import DAY, HOUR, MINUTE
from worker.telemetry import metrics

if TYPE_CHECKING:
    from deploy.prometheus.model import Dialect

LIMIT: Final = f"scope:{metrics.LIMIT.name}:max"
WINDOW: Final = f"scope:{metrics.WINDOW.name}:max"
WORST_WINDOW: Final = f"scope:{metrics.WORST_WINDOW.name}:max"
LIMIT_WAITING: Final = f"scope:{metrics.LIMIT_WAITING.name}:max"
WAITING: Final = f"company_kind_reason:{metrics.WAITING.name}:max"
DRAIN_ETA: Final = f"company:{metrics.DRAIN_ETA.name}:max"
HOLDS: Final = f"target_kind_reason:{metrics.HOLDS.name}:max"
DEAD: Final = f"job:{metrics.DEAD.name}:max"
UNKNOWN: Final = f"company:{metrics.UNKNOWN.name}:max"
UNPUBLISHED: Final = f"job:{metrics.UNPUBLISHED.name}:max"
EMAILS: Final = "company_kind_outcome:postmeter_emails:rate5m"
ATTEMPTS: Final = "transport_class:postmeter_attempts:rate5m"
FAILED: Final = "job:postmeter_emails_failed:rate5m"
ENDED: Final = "job:postmeter_emails_ended:rate5m"
BUDGET_LEFT: Final = "job:postmeter_error_budget_left:ratio"
IN_TIME: Final = "job:postmeter_sends_in_time:ratio_rate5m"
WORKERS_WANTED: Final = "postmeter:workers_wanted"

OUTCOMES_FAILED: Final = "dead|unknown"
OUTCOMES_ENDED: Final = f"sent|drafted|{OUTCOMES_FAILED}"
BY_THE_DAY: Final = 'scope=~".+:day"'
NOT_BY_THE_DAY: Final = 'scope!~".+:day"'

BURN_WINDOWS: Final = (
    *(5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR),
    *(DAY, 3 * DAY),
)


def burn(window_seconds: float) -> str:
    """The name of the share of failures over a window; ``…:ratio_rate1h``."""
    hours, minutes = divmod(round(window_seconds / MINUTE), 60)
    days = hours // 24
    written = f"{days}d" if days else f"{hours}h" if hours else f"{minutes}m"
    return f"job:postmeter_emails_failed:ratio_rate{written}"


def standing(dialect: Dialect) -> list[Recording]:
    """How things stand, once for all hosts."""
    named = (
        (LIMIT, metrics.LIMIT, ("scope",)),
        (WINDOW, metrics.WINDOW, ("scope",)),
        (WORST_WINDOW, metrics.WORST_WINDOW, ("scope",)),
        (LIMIT_WAITING, metrics.LIMIT_WAITING, ("scope",)),
        (WAITING, metrics.WAITING, ("company", "kind", "reason")),
        (DRAIN_ETA, metrics.DRAIN_ETA, ("company",)),
        (HOLDS, metrics.HOLDS, ("target_kind", "reason")),
        (DEAD, metrics.DEAD, ()),
        (UNKNOWN, metrics.UNKNOWN, ("company",)),
        (UNPUBLISHED, metrics.UNPUBLISHED, ()),
    )
    return [
        *(
            Recording(name, f"max {dialect.by(*labels)} ({metric.name})")
            for name, metric, labels in named
        ),
        Recording(WORKERS_WANTED, workers_wanted(dialect)),
    ]


def workers_wanted(dialect: Dialect) -> str:
    """How many worker processes can be used now; more would send nothing more.

    Of the mail that a limit keeps, what that limit lets through in a minute, or what waits if that is
    less; of mail without a limit, what must leave a minute so that all has left in some minutes. By
    what one process sends, and at least one: somebody must take in what comes.
    """
    numbers = dialect.thresholds
    waits = f"({LIMIT_WAITING}{{{NOT_BY_THE_DAY}}} > 0)"
    limited = f"sum {dialect.by()} (({waits} < {LIMIT}) or ({LIMIT} and {waits}))"
    minutes = numbers.unlimited_drain_seconds / MINUTE
    unlimited = f'sum {dialect.by()} ({WAITING}{{reason="turn"}}) / {minutes:g}'
    nothing = f"0 * max {dialect.by()} ({metrics.LEDGER_UP.name})"
    return (
        f"clamp_min(ceil((({limited} or {nothing}) + ({unlimited} or {nothing}))"
        f" / {numbers.process_emails_per_minute:g}), 1)"
    )


def flow(dialect: Dialect) -> list[Recording]:
    """What comes of mail, a second."""
    rate = partial(_rate, dialect)
    bucket, count = f"{metrics.SLOT_WAIT.name}_bucket", f"{metrics.SLOT_WAIT.name}_count"
    sends = '{kind="send"}'
    in_time = f'{{kind="send", le="{dialect.thresholds.in_time_seconds:.1f}"}}'

    return [
        Recording(EMAILS, rate(metrics.EMAILS.name, "company", "kind", "outcome")),
        Recording(ATTEMPTS, rate(metrics.ATTEMPTS.name, "transport", "class")),
        Recording(
            IN_TIME,
            f"{rate(bucket + in_time)} / ({rate(count + sends)} > 0)",
        ),
    ]


def _rate(dialect: Dialect, selector: str, *labels: str) -> str:
    """How many a second, of all hosts."""
    return f"sum {dialect.by(*labels)} (rate({selector}[{dialect.time(5 * MINUTE)}]))"


def budget(dialect: Dialect) -> list[Recording]:
    """The share of failures over each window, and how much of the budget is left.

    Averages of what was written down before, weighted by traffic: cheap over a month.
    """
    numbers = dialect.thresholds

    def share(window_seconds: float) -> str:
        window = dialect.time(window_seconds)
        failed, ended = (f"avg_over_time({name}[{window}])" for name in (FAILED, ENDED))
        return f"{failed} / ({ended} > 0)"

    whole = share(numbers.budget_days * DAY)
    emails = metrics.EMAILS.name
    return [
        Recording(FAILED, _rate(dialect, f'{emails}{{outcome=~"{OUTCOMES_FAILED}"}}')),
        Recording(ENDED, _rate(dialect, f'{emails}{{outcome=~"{OUTCOMES_ENDED}"}}')),
        *(Recording(burn(window), share(window)) for window in BURN_WINDOWS),
        Recording(BUDGET_LEFT, f"1 - ({whole}) / {1 - numbers.objective:.10g}"),
    ]
