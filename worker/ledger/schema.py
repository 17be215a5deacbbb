"""The tables of the ledger.

Columns named ``…_at`` are Unix time in seconds; those named ``…_steady`` are seconds on the steady
clock (see ``clock``). Migrations (``migrations/``) make these tables; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

NEVER = 1e18
"""A ``…_steady`` that never comes: the slot is in DATA and comes free by settle or reap only."""

boot = Table(
    "boot",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("boot_id", String(64), nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    # What the kernel of its host knows the process by (worker/kin.py); empty where nothing.
    Column("process", String(255), nullable=False, server_default=""),
    Column("version", String(32), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("beat_steady", Float, nullable=False),
    # Why the worker is not ready, in one line; empty while it is.
    Column("trouble", Text, nullable=False, server_default=""),
)

delivery = Table(
    "delivery",
    metadata,
    Column("job_id", String(80), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("company", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("batch_id", String(80)),
    Column("batch_index", Integer),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("prio", Integer, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("reason", Text, nullable=False, server_default=""),
    # The envelope as it was published; NULL once the state is final.
    Column("body", LargeBinary),
    Column("subject", Text, nullable=False, server_default=""),
    # The application's own words, as JSON: they go with every event, also after ``sent``.
    Column("metadata", Text, nullable=False, server_default=""),
    Column("message_id", Text, nullable=False, server_default=""),
    Column("date_at", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("resends", Integer, nullable=False, server_default="0"),
    # The sum of the back-offs so far: what ``retry_for`` is measured by, so that held time and
    # waiting for a slot do not count.
    Column("backoff_seconds", Float, nullable=False, server_default="0"),
    Column("on_unknown", String(16), nullable=False, server_default="hold"),
    Column("resend_after_seconds", Float, nullable=False, server_default="600"),
    Column("first_attempt_at", Float),
    Column("worker", String(64)),
    Column("claim", String(64)),
    Column("recipients", Text, nullable=False, server_default="[]"),
    Column("transport", String(32), nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    # The name of the event still to be published for this row.
    Column("event", String(16)),
    Column("enqueued_at", Float, nullable=False),
    Column("accepted_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index(
        "delivery_key",
        "company",
        "kind",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL AND state NOT IN ('dead', 'cancelled')"),
        postgresql_where=text("idempotency_key IS NOT NULL AND state NOT IN ('dead', 'cancelled')"),
    ),
    Index(
        "delivery_line",
        "company",
        "user_id",
        "kind",
        "prio",
        "due_at",
        "seq",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index(
        "delivery_expiry",
        "expires_at",
        sqlite_where=text("state = 'waiting' AND expires_at IS NOT NULL"),
        postgresql_where=text("state = 'waiting' AND expires_at IS NOT NULL"),
    ),
    Index(
        "delivery_owner",
        "worker",
        sqlite_where=text("worker IS NOT NULL"),
        postgresql_where=text("worker IS NOT NULL"),
    ),
    Index(
        "delivery_event",
        "event",
        sqlite_where=text("event IS NOT NULL"),
        postgresql_where=text("event IS NOT NULL"),
    ),
    Index("delivery_batch", "batch_id", "state"),
    Index("delivery_state", "state", "updated_at"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("job_id", String(80), nullable=False),
    Column("n", Integer, nullable=False),
    Column("company", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("worker", String(64), nullable=False),
    Column("begun_at", Float, nullable=False),
    Column("ended_at", Float),
    # When the reply came, for counting what a window holds; NULL unless accepted.
    Column("accepted_steady", Float),
    Column("outcome", String(16), nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("job_id", "n"),
    Index(
        "attempt_window",
        "accepted_steady",
        sqlite_where=text("accepted_steady IS NOT NULL"),
        postgresql_where=text("accepted_steady IS NOT NULL"),
    ),
)

scope = Table(
    "scope",
    metadata,
    Column("id", String(160), primary_key=True),
    # The soft gap: before this nobody begins, so that mail leaves evenly.
    Column("next_steady", Float, nullable=False),
)

slot = Table(
    "slot",
    metadata,
    Column("scope", String(160), nullable=False),
    Column("number", Integer, nullable=False),
    Column("usable_steady", Float, nullable=False),
    Column("window_seconds", Float, nullable=False),
    Column("worker", String(64)),
    Column("token", String(64)),
    Column("in_data", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("scope", "number"),
    Index(
        "slot_free",
        "scope",
        "usable_steady",
        "number",
        sqlite_where=text("worker IS NULL"),
        postgresql_where=text("worker IS NULL"),
    ),
    Index(
        "slot_token",
        "token",
        sqlite_where=text("token IS NOT NULL"),
        postgresql_where=text("token IS NOT NULL"),
    ),
)

hold = Table(
    "hold",
    metadata,
    Column("target", String(255), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since_at", Float, nullable=False),
    # NULL: until a person or a probe ends it.
    Column("until_at", Float),
    Column("next_probe_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, server_default="1"),
    Column("probe_worker", String(64)),
    Column("probe_token", String(64)),
)

lane = Table(
    "lane",
    metadata,
    Column("company", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    # The earliest date of a waiting job; NULL where none waits.
    Column("next_due_at", Float),
    # When the lane last had its turn: the one longest ago goes next.
    Column("served_steady", Float, nullable=False, server_default="0"),
    PrimaryKeyConstraint("company", "user_id", "kind"),
    Index(
        "lane_due",
        "next_due_at",
        sqlite_where=text("next_due_at IS NOT NULL"),
        postgresql_where=text("next_due_at IS NOT NULL"),
    ),
)
