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

# Small tables whose rows change many times a second: room for the next version beside the old one,
# and a vacuum after some hundred changes instead of a share of the table.
_BUSY = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 500,
}

NEVER = 1e18
"""A ``…_steady`` that never comes: the slot is in DATA and comes free by settle or reap only."""

boot = Table(
    "boot",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("boot_id", String(), nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("id", String(), primary_key=True),
    Column("host", String(), nullable=False),
    Column("pid", Integer, nullable=False),
    # What the kernel of its host knows the process by (worker/kin.py); empty where nothing.
    Column("process", String(), nullable=False, server_default=""),
    Column("version", String(), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("beat_steady", Float, nullable=False),
    # Why the worker is not ready, in one line; empty while it is.
    Column("trouble", Text, nullable=False, server_default=""),
    postgresql_with=_BUSY,
)

delivery = Table(
    "delivery",
    metadata,
    Column("job_id", String(), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("company", String(), nullable=False),
    Column("user_id", String(), nullable=False),
    Column("kind", String(), nullable=False),
    Column("batch_id", String()),
    Column("batch_index", Integer),
    Column("idempotency_key", String()),
    Column("fingerprint", String(), nullable=False),
    Column("state", String(), nullable=False),
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
    Column("on_unknown", String(), nullable=False, server_default="hold"),
    Column("resend_after_seconds", Float, nullable=False, server_default="600"),
    Column("first_attempt_at", Float),
    Column("worker", String()),
    Column("claim", String()),
    Column("recipients", Text, nullable=False, server_default="[]"),
    Column("transport", String(), nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    # The name of the event still to be published for this row.
    Column("event", String()),
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
        sqlite_where=text("state IN ('waiting', 'paused') AND expires_at IS NOT NULL"),
        postgresql_where=text("state IN ('waiting', 'paused') AND expires_at IS NOT NULL"),
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
    Index("delivery_batch", "batch_id", "company", "state"),
    # The jobs of paused batches, in the order in which they go back into line.
    Index(
        "delivery_paused",
        "company",
        "batch_id",
        "prio",
        "due_at",
        "seq",
        "kind",
        sqlite_where=text("state = 'paused'"),
        postgresql_where=text("state = 'paused'"),
    ),
    Index("delivery_state", "state", "updated_at"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("job_id", String(), nullable=False),
    Column("n", Integer, nullable=False),
    Column("company", String(), nullable=False),
    Column("user_id", String(), nullable=False),
    Column("kind", String(), nullable=False),
    Column("worker", String(), nullable=False),
    Column("begun_at", Float, nullable=False),
    Column("ended_at", Float),
    # When the reply came, for counting what a window holds; NULL unless accepted.
    Column("accepted_steady", Float),
    Column("outcome", String(), nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("job_id", "n"),
    Index(
        "attempt_window",
        "accepted_steady",
        sqlite_where=text("accepted_steady IS NOT NULL"),
        postgresql_where=text("accepted_steady IS NOT NULL"),
    ),
)

# What was made of a job and not sent; see ``drafts``.
draft = Table(
    "draft",
    metadata,
    Column("job_id", String(), primary_key=True),
    Column("remote_id", Text, nullable=False, server_default=""),
    Column("web_link", Text, nullable=False, server_default=""),
    # The unsent message as a file; NULL where the draft is in a mailbox, or only intended.
    Column("content", LargeBinary),
    Column("made_at", Float, nullable=False),
)

# Who has signed in for an account by a device code; see ``logins``.
login = Table(
    "login",
    metadata,
    Column("account", String(), primary_key=True),
    # MSAL's cache with the refresh token, encrypted (worker/auth/sealing.py).
    Column("cache", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", Float, nullable=False),
)

scope = Table(
    "scope",
    metadata,
    Column("id", String(), primary_key=True),
    # The soft gap: before this nobody begins, so that mail leaves evenly.
    Column("next_steady", Float, nullable=False),
    # The gap that it was last moved by: a raised limit does not wait for the old one.
    Column("gap_seconds", Float, nullable=False, server_default="0"),
    postgresql_with=_BUSY,
)

slot = Table(
    "slot",
    metadata,
    Column("scope", String(), nullable=False),
    Column("number", Integer, nullable=False),
    Column("usable_steady", Float, nullable=False),
    Column("window_seconds", Float, nullable=False),
    Column("worker", String()),
    Column("token", String()),
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
    Index(
        "slot_owner",
        "worker",
        sqlite_where=text("worker IS NOT NULL"),
        postgresql_where=text("worker IS NOT NULL"),
    ),
    postgresql_with=_BUSY,
)

# Recipients that a mailbox has written to, by ten minutes; see ``recipients``.
recipients = Table(
    "recipients",
    metadata,
    Column("scope", String(), nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("counted", Integer, nullable=False),
    PrimaryKeyConstraint("scope", "bucket"),
    postgresql_with=_BUSY,
)

hold = Table(
    "hold",
    metadata,
    Column("target", String(), nullable=False),
    # Feedback and a person's pause may stand on one target.
    Column("origin", String(), nullable=False, server_default="feedback"),
    Column("held_by", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False),
    Column("since_at", Float, nullable=False),
    # NULL: until a person or a probe ends it.
    Column("until_at", Float),
    Column("next_probe_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, server_default="1"),
    Column("probe_worker", String()),
    Column("probe_token", String()),
    PrimaryKeyConstraint("target", "origin"),
)

lane = Table(
    "lane",
    metadata,
    Column("company", String(), nullable=False),
    Column("user_id", String(), nullable=False),
    Column("kind", String(), nullable=False),
    # The earliest date of a waiting job; NULL where none waits.
    Column("next_due_at", Float),
    PrimaryKeyConstraint("company", "user_id", "kind"),
    Index(
        "lane_due",
        "next_due_at",
        sqlite_where=text("next_due_at IS NOT NULL"),
        postgresql_where=text("next_due_at IS NOT NULL"),
    ),
    postgresql_with=_BUSY,
)
