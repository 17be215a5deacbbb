"""The drill-down's lower half: what all companies share: delivery, tokens, workers, RabbitMQ."""

from __future__ import annotations

from deploy.grafana import queries
from deploy.grafana.frame import Band
from deploy.grafana.overview import CLASS_COLORS
from deploy.grafana.panels import (
    PER_MINUTE,
    SECONDS,
    Look,
    Query,
    Step,
    graph,
    heatmap,
    stat,
)
from deploy.grafana.tables import Column, table
from deploy.prometheus.thresholds import DAY, Thresholds
from worker.telemetry import metrics


def delivery() -> list[Band]:
    """How mail is delivered: phases, connections, refusals, waits."""
    phases = graph(
        "How long the phases take, 95th",
        "connect: DNS to AUTH. preface: MAIL to 354. data: to the reply. A slow server shows in"
        " data; a slow network or TLS in connect. Above the reply time-out, mail becomes unknown.",
        [
            Query(
                queries.quantile(0.95, metrics.DELIVERY, "transport", "phase"),
                "{{transport}} {{phase}}",
            )
        ],
        unit=SECONDS,
        look=Look(log=True),
    )
    connections = graph(
        "Connections, by server",
        "Of all worker processes. All busy with jobs waiting for their turn: more connections would"
        " help, if the server allows them. None with jobs waiting: the server is held or away.",
        [
            Query(
                f"sum by (server, state) ({queries.of(metrics.CONNECTIONS)})",
                "{{server}} {{state}}",
            )
        ],
        look=Look(stacked=True, steps=True),
    )
    attempts = graph(
        "Attempts that were not accepted",
        "A minute, by way and class. throttled: lower the limit. credential: a password has changed."
        " unreachable: network or server. deferred and refused: by recipient, mostly no fault.",
        [
            Query(
                queries.per_minute(
                    metrics.ATTEMPTS, "transport", "class", where=('class!="accepted"',)
                ),
                "{{transport}} {{class}}",
            )
        ],
        unit=PER_MINUTE,
        look=Look(stacked=True, bars=True),
        colors={f"/ {name}$/": color for name, color in CLASS_COLORS.items()},
    )
    recipients = graph(
        "Recipients, by the server's last word",
        "A minute. Providers limit recipients as well as emails, and close accounts whose refused"
        " share is high: clean the list.",
        [
            Query(
                queries.per_minute(metrics.RECIPIENTS, "transport", "state"),
                "{{transport}} {{state}}",
            )
        ],
        unit=PER_MINUTE,
        look=Look(stacked=True, bars=True),
        colors={"/ accepted$/": "green", "/ deferred$/": "yellow", "/ refused$/": "red"},
    )
    bucket = queries.of(metrics.QUEUE_WAIT, 'kind="send"', suffix="_bucket")
    waits = heatmap(
        "Single sends: from publishing to the first attempt's end",
        "The stronger the colour, the more of them. Good is one band that stays low; dates that were asked for are in it,"
        " far up. A band that climbs: something stands in the way of everybody.",
        Query(f"sum by (le) (increase({bucket}[$__rate_interval]))", "{{le}}", form="heatmap"),
    )
    slots = graph(
        "The wait for a slot or a turn",
        "From when a job could have gone to the end of its attempt. Batches wait for their limits;"
        " single sends should wait for nothing but their server.",
        [
            Query(queries.quantile(share, metrics.SLOT_WAIT, "kind"), f"{{{{kind}}}}, {word}")
            for share, word in ((0.5, "median"), (0.95, "95th"))
        ],
        unit=SECONDS,
        look=Look(log=True),
    )
    return [
        Band(8, [(8, phases), (8, connections), (8, attempts)], title="Delivery, all companies"),
        Band(8, [(8, waits), (8, slots), (8, recipients)]),
    ]


def credentials() -> list[Band]:
    """What the credentials and tokens are good for, and for how long."""
    numbers = Thresholds()
    tokens = table(
        "Access tokens",
        "Until the token that was last fetched ends; a new one is fetched before, while mail goes."
        " In the past while mail waits: see `postmeter holds`.",
        [
            Query(
                f"{queries.once(metrics.TOKEN_EXPIRES, 'owner', 'resource')} - time()",
                now=True,
                form="table",
            ),
        ],
        [
            Column("owner", "Owner"),
            Column("resource", "For", width=90),
            Column("Value", "Ends in", SECONDS, (Step("red"), Step("green", 0.0)), width=130),
        ],
        by="owner",
        nothing="-",
    )
    requests = graph(
        "Requests for access tokens",
        "In a minute, by what came of them. failed: the authority refuses or is away; the old token"
        " serves as long as it is good.",
        [
            Query(
                queries.per_minute(metrics.TOKEN_REQUESTS, "owner", "result"),
                "{{owner}} {{result}}",
            )
        ],
        unit=PER_MINUTE,
        look=Look(stacked=True, bars=True),
        colors={"/ fetched$/": "green", "/ failed$/": "red"},
    )
    ends = table(
        "Secrets and certificates",
        f"Until each ends. Register a new one {numbers.credential_seconds / DAY:g} days before;"
        " from its end on no token is given and the mail is held.",
        [
            Query(
                f"min by (owner) ({queries.of(metrics.CREDENTIAL_EXPIRES)}) - time()",
                now=True,
                form="table",
            )
        ],
        [
            Column("owner", "Owner"),
            Column(
                "Value",
                "Ends in",
                SECONDS,
                (
                    Step("red"),
                    Step("orange", numbers.credential_critical_seconds),
                    Step("green", numbers.credential_seconds),
                ),
                width=130,
            ),
        ],
        by="owner",
        nothing="-",
    )
    return [
        Band(6, [(8, tokens), (8, requests), (8, ends)], title="Tokens and credentials"),
    ]


def workers() -> list[Band]:
    """The worker processes, and the settings that they have read."""
    ready, workers = metrics.WORKERS_READY, metrics.WORKERS
    counts = graph(
        "Worker processes",
        "With a heartbeat, and those of them that reach ledger and broker. Bad: ready below alive,"
        " or fewer than you run; 0: nothing is delivered. died: in a step of the graph; they were"
        " started again, the log says how each ended.",
        [
            Query(queries.once(workers), "alive"),
            Query(queries.once(ready), "ready"),
            Query(
                f"sum(increase({queries.of(metrics.WORKER_RESTARTS)}[$__rate_interval]))", "died"
            ),
        ],
        look=Look(steps=True),
        colors={"alive": "blue", "ready": "green", "died": "red"},
    )
    errors = graph(
        "Settings errors",
        "By context; what was right before stays in force. Above 0: an edit has no effect until"
        " `postmeter settings check` is content.",
        [Query(queries.once(metrics.SETTINGS_ERRORS, "context"), "{{context}}")],
        look=Look(stacked=True, steps=True, most=1),
    )
    figures = [
        stat(
            "Version",
            "Which versions serve. Two: a deployment is on its way, or has stopped half-way.",
            Query(f"count by (version) ({queries.of(metrics.BUILD)})", "{{version}}", now=True),
            text="name",
            spark=False,
        ),
        stat(
            "Hosts scraped",
            "Targets of Prometheus that answer. Fewer than you run: their worker has ended, or"
            " listens elsewhere.",
            Query(f"sum({queries.of('up')})"),
            steps=(Step("red"), Step("green", 1)),
        ),
        stat(
            "Ledger",
            "Whether every host can read and write the ledger. Down: one cannot; nothing is taken in or"
            " sent there, and nothing is lost.",
            Query(f"min({queries.of(metrics.LEDGER_UP)})"),
            words={1: "up", 0: "down"},
            steps=(Step("red"), Step("green", 1)),
        ),
        stat(
            "Settings read",
            "How long ago settings were read because they had changed. An edit that does not bring"
            " it to 0 within seconds has not been seen.",
            Query(f"time() - max({queries.of(metrics.SETTINGS_LOADED)})"),
            unit=SECONDS,
            decimals=0,
            spark=False,
        ),
    ]
    return [
        Band(
            6,
            [(3, figure) for figure in figures] + [(6, counts), (6, errors)],
            title="Workers",
        )
    ]


def broker() -> list[Band]:
    """The queues of RabbitMQ; empty with the embedded inbox."""
    ready = graph(
        "Messages that wait in RabbitMQ",
        "Jobs are taken into the ledger within moments, so these are near 0. Growing: no worker"
        " takes in, or the ledger is away. In the dead queue: what could not even be recorded.",
        [
            Query(queries.broker("messages_ready", "queue"), "{{queue}} ready"),
            Query(queries.broker("messages_unacked", "queue"), "{{queue}} in hand"),
        ],
        look=Look(stacked=True, steps=True),
    )
    consumers = graph(
        "Consumers",
        "One for each worker process and queue. 0 while workers are ready: a fault; they suspend"
        " their consumers while the ledger is away.",
        [Query(queries.broker("consumers", "queue"), "{{queue}}")],
        look=Look(steps=True),
    )
    events = graph(
        "Events not yet published",
        "What applications have not been told yet. Near 0, with waves while batches leave; growing:"
        " the broker is away, or takes none. Also with the embedded inbox.",
        [Query(queries.once(metrics.UNPUBLISHED), "events")],
        look=Look(steps=True),
    )
    return [
        Band(7, [(8, ready), (8, consumers), (8, events)], title="RabbitMQ (where there is one)"),
    ]
