"""Every metric: its name, labels and buckets. What worker processes count with: ``instruments``.

``docs/metrics.md`` is made from this list. Labels are ids of settings or small enumerations, never
an address or a job's id. Gauges that the ledger answers are read by the process that serves them
(``gauges``), so they are the same whoever is asked: take ``max by``, not ``sum by``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WAIT_BUCKETS: Final = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0),
    *(300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0),
)
DELIVERY_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


class Kind(StrEnum):
    """What Prometheus calls a metric's type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus shows it.
        help: what it measures, in one sentence.
        tells: what an operator learns from it.
    """

    name: str
    kind: Kind
    help: str
    tells: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class WaitReason(StrEnum):
    """Why a job waits."""

    LIMIT = "limit"
    DAY = "day"
    DATE = "date"
    RETRY = "retry"
    HELD = "held"
    PAUSED = "paused"
    SETTINGS = "settings"
    TURN = "turn"
    VERSION = "version"


class AttemptClass(StrEnum):
    """What one attempt came to, by who or what decided it."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    THROTTLED = "throttled"
    CREDENTIAL = "credential"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


LIMIT = Metric(
    "postmeter_limit_emails_per_minute",
    Kind.GAUGE,
    "The limit in force for a scope, and the layer of the settings it comes from.",
    "Absent for a scope without a limit. Compare it with the window.",
    ("scope", "layer"),
)
LIMIT_PER_DAY = Metric(
    "postmeter_limit_emails_per_day",
    Kind.GAUGE,
    "The daily limit in force for a scope, and the layer of the settings it comes from.",
    "Absent for a scope without one (`…:day`). The utilisation of that scope says how much is used.",
    ("scope", "layer"),
)
LIMIT_WAITING = Metric(
    "postmeter_limit_waiting_jobs",
    Kind.GAUGE,
    "Due jobs that this limit keeps waiting: of several at once, the one that binds now.",
    "The scope to look at, and the layer that set it, where mail leaves later than somebody wants.",
    ("scope", "layer"),
)
WINDOW = Metric(
    "postmeter_window_emails",
    Kind.GAUGE,
    "Emails that servers accepted in the last 60 seconds, of all workers together.",
    "Counted from the record of attempts, which the limiter does not use.",
    ("scope",),
)
WORST_WINDOW = Metric(
    "postmeter_window_worst_emails",
    Kind.GAUGE,
    "The most emails accepted in any 60 seconds since a day before the metrics process started.",
    "Above the largest limit of that time: a fault in Postmeter; report it. After a restart that day"
    " is counted again, 10,000 attempts a second, as far as the ledger still has them.",
    ("scope",),
)
UTILISATION = Metric(
    "postmeter_limit_utilisation_ratio",
    Kind.GAUGE,
    "Emails accepted in the last 60 seconds, divided by the limit; a day's: its slots in use.",
    "Near 1 with jobs waiting: the limit is the bottleneck. Low with jobs waiting: look at another"
    " scope of the same mail, and at holds.",
    ("scope",),
)
DRAIN_ETA = Metric(
    "postmeter_drain_eta_seconds",
    Kind.GAUGE,
    "In how many seconds what is due now will have left: all limits at once, turns with others.",
    "Absent for a company whose jobs come under no limit, or are held until a person or a probe ends"
    " it: what nobody can tell.",
    ("company",),
)
EMAILS = Metric(
    "postmeter_emails_total",
    Kind.COUNTER,
    "Outcomes of jobs; a job that is deferred twice and then sent counts three times.",
    "Rates of sent, and of dead and unknown, which a person should look at.",
    ("kind", "transport", "company", "outcome"),
)
ATTEMPTS = Metric(
    "postmeter_attempts_total",
    Kind.COUNTER,
    "Attempts to deliver, by what they came to: " + ", ".join(AttemptClass) + ".",
    "A rise of throttled: lower the limit. Of credential: a password has changed.",
    ("transport", "class"),
)
RECIPIENTS = Metric(
    "postmeter_recipients_total",
    Kind.COUNTER,
    "Recipients of jobs that are sent or dead, by the server's last word on each.",
    "Providers limit recipients as well as emails.",
    ("transport", "state"),
)
QUEUE_WAIT = Metric(
    "postmeter_queue_wait_seconds",
    Kind.HISTOGRAM,
    "From publishing to the end of the first attempt, dates that were asked for included.",
    "The time to get through, as the application sees it.",
    ("kind",),
    WAIT_BUCKETS,
)
DELIVERY = Metric(
    "postmeter_delivery_seconds",
    Kind.HISTOGRAM,
    "How long the phases take: connect (DNS to AUTH), preface (MAIL to 354), data (to the reply).",
    "A slow server shows in data; a slow network or TLS in connect.",
    ("transport", "phase"),
    DELIVERY_BUCKETS,
)
SLOT_WAIT = Metric(
    "postmeter_slot_wait_seconds",
    Kind.HISTOGRAM,
    "From when a job could have gone to the end of its attempt: the wait for a slot or a turn.",
    "How much longer mail takes because of limits. Unlike the queue's wait it knows no dates.",
    ("kind",),
    WAIT_BUCKETS,
)
WAITING = Metric(
    "postmeter_waiting_jobs",
    Kind.GAUGE,
    "Jobs that wait in the ledger, by reason: " + ", ".join(WaitReason) + ".",
    "settings: a person must act. held: look at `postmeter holds`. paused: somebody wanted it. limit,"
    " day (a day's cap is used up): they leave by themselves.",
    ("company", "kind", "reason"),
)
OLDEST_WAITING = Metric(
    "postmeter_oldest_waiting_timestamp_seconds",
    Kind.GAUGE,
    "Since when the job that has been due the longest could have gone, in Unix time, by why it waits.",
    "Absent while nothing is due. `time() - min(x)` is the age of the line.",
    ("company", "kind", "reason"),
)
DEAD = Metric(
    "postmeter_dead_letters",
    Kind.GAUGE,
    "Jobs that will not be sent unless a person decides so.",
    "See `postmeter dead list`.",
)
UNKNOWN = Metric(
    "postmeter_unknown_jobs",
    Kind.GAUGE,
    "Jobs of which nobody knows whether the server took them, and that only a person can decide.",
    "See `postmeter unknown list`. One whose late reply may still come, or that is sent again once by"
    " itself, counts when that time is over.",
    ("company",),
)
UNPUBLISHED = Metric(
    "postmeter_events_unpublished",
    Kind.GAUGE,
    "Events that are written in the ledger and not yet published to the broker.",
    "Rising: the broker is away or takes none; applications do not hear what became of their mail.",
)
HOLDS = Metric(
    "postmeter_holds",
    Kind.GAUGE,
    "Holds in force, by what they stand on and by reason.",
    "See `postmeter holds`.",
    ("target_kind", "reason"),
)
CONNECTIONS = Metric(
    "postmeter_smtp_connections",
    Kind.GAUGE,
    "Open connections to SMTP servers, of all worker processes, by state: idle, busy.",
    "All busy with jobs waiting: more connections would help, if the server allows them.",
    ("server", "state"),
)
TOKEN_EXPIRES = Metric(
    "postmeter_token_expires_timestamp_seconds",
    Kind.GAUGE,
    "When the access token that was last fetched ends, by owner and by what it is for: smtp, graph.",
    "In the past while mail waits: see `postmeter holds`. The owner is an app registration"
    " (`_app/<client id>`) or the account that a person has signed in for.",
    ("owner", "resource"),
)
TOKEN_REQUESTS = Metric(
    "postmeter_token_requests_total",
    Kind.COUNTER,
    "Requests for an access token, by owner, what it is for, and result: fetched, failed.",
    "failed rising: see `postmeter holds` and the log; the old token serves as long as it is good.",
    ("owner", "resource", "result"),
)
CREDENTIAL_EXPIRES = Metric(
    "postmeter_credential_expires_timestamp_seconds",
    Kind.GAUGE,
    "When the certificate or client secret of an app registration ends, in Unix time.",
    "Register a new one before that. Of a client secret only Entra knows: write its day in"
    " `client_secret_expires`. Told from the settings, before anything is sent.",
    ("owner",),
)
SETTINGS_LOADED = Metric(
    "postmeter_settings_loaded_timestamp_seconds",
    Kind.GAUGE,
    "When settings were last read because they had changed, in Unix time.",
    "An edit that does not move it has not been seen.",
)
SETTINGS_ERRORS = Metric(
    "postmeter_settings_errors",
    Kind.GAUGE,
    "Errors in the settings of a context; what was right before stays in force.",
    "Above 0: see `postmeter settings check`.",
    ("context",),
)
WORKERS = Metric(
    "postmeter_workers",
    Kind.GAUGE,
    "Worker processes with a heartbeat.",
    "0: nothing is delivered.",
)
WORKERS_READY = Metric(
    "postmeter_workers_ready",
    Kind.GAUGE,
    "Worker processes with a heartbeat that reach both the ledger and the broker.",
    "Below postmeter_workers: some take nothing in; /readyz and the log say why.",
)
WORKER_RESTARTS = Metric(
    "postmeter_worker_restarts_total",
    Kind.COUNTER,
    "Worker processes of this host that were started in place of one that died.",
    "Rising: they crash or are killed (memory); the log has each end with its exit code.",
)
LEDGER_UP = Metric(
    "postmeter_ledger_up",
    Kind.GAUGE,
    "1 while the ledger can be read and written, else 0; what cannot be read is absent.",
    "0: nothing is taken in or sent.",
)
BUILD = Metric(
    "postmeter_build_info",
    Kind.GAUGE,
    "Always 1; the label has the version.",
    "Which version serves.",
    ("version",),
)

ALL: Final = (
    *(LIMIT, LIMIT_PER_DAY, LIMIT_WAITING, WINDOW, WORST_WINDOW, UTILISATION, DRAIN_ETA),
    *(EMAILS, ATTEMPTS, RECIPIENTS, QUEUE_WAIT, DELIVERY, SLOT_WAIT),
    *(WAITING, OLDEST_WAITING, DEAD, UNKNOWN, UNPUBLISHED, HOLDS, CONNECTIONS),
    *(TOKEN_EXPIRES, TOKEN_REQUESTS, CREDENTIAL_EXPIRES),
    *(SETTINGS_LOADED, SETTINGS_ERRORS),
    *(WORKERS, WORKERS_READY, WORKER_RESTARTS, LEDGER_UP, BUILD),
)
