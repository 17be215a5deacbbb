"""The first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BUSY = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 500,
}
"""Small tables whose rows change many times a second (PostgreSQL's storage parameters)."""


def upgrade() -> None:
    """Make every table of the first version."""
    op.create_table(
        "attempt",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("company", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("accepted_steady", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("job_id", "n"),
    )
    op.create_index(
        "attempt_window",
        "attempt",
        ["accepted_steady"],
        unique=False,
        sqlite_where=sa.text("accepted_steady IS NOT NULL"),
        postgresql_where=sa.text("accepted_steady IS NOT NULL"),
    )
    op.create_table(
        "boot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "delivery",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("company", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("batch_index", sa.Integer(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("prio", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("metadata", sa.Text(), server_default="", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("date_at", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resends", sa.Integer(), server_default="0", nullable=False),
        sa.Column("backoff_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("on_unknown", sa.String(), server_default="hold", nullable=False),
        sa.Column("resend_after_seconds", sa.Float(), server_default="600", nullable=False),
        sa.Column("first_attempt_at", sa.Float(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("recipients", sa.Text(), server_default="[]", nullable=False),
        sa.Column("transport", sa.String(), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), server_default="", nullable=False),
        sa.Column("event", sa.String(), nullable=True),
        sa.Column("enqueued_at", sa.Float(), nullable=False),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("delivery_batch", "delivery", ["batch_id", "company", "state"], unique=False)
    op.create_index(
        "delivery_event",
        "delivery",
        ["event"],
        unique=False,
        sqlite_where=sa.text("event IS NOT NULL"),
        postgresql_where=sa.text("event IS NOT NULL"),
    )
    op.create_index(
        "delivery_expiry",
        "delivery",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('waiting', 'paused') AND expires_at IS NOT NULL"),
        postgresql_where=sa.text("state IN ('waiting', 'paused') AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "delivery_key",
        "delivery",
        ["company", "kind", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL AND state NOT IN ('dead', 'cancelled')"),
        postgresql_where=sa.text(
            "idempotency_key IS NOT NULL AND state NOT IN ('dead', 'cancelled')"
        ),
    )
    op.create_index(
        "delivery_line",
        "delivery",
        ["company", "user_id", "kind", "prio", "due_at", "seq"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "delivery_owner",
        "delivery",
        ["worker"],
        unique=False,
        sqlite_where=sa.text("worker IS NOT NULL"),
        postgresql_where=sa.text("worker IS NOT NULL"),
    )
    op.create_index(
        "delivery_paused",
        "delivery",
        ["company", "batch_id", "prio", "due_at", "seq", "kind"],
        unique=False,
        sqlite_where=sa.text("state = 'paused'"),
        postgresql_where=sa.text("state = 'paused'"),
    )
    op.create_index("delivery_state", "delivery", ["state", "updated_at"], unique=False)
    op.create_table(
        "draft",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("remote_id", sa.Text(), server_default="", nullable=False),
        sa.Column("web_link", sa.Text(), server_default="", nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_table(
        "hold",
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), server_default="feedback", nullable=False),
        sa.Column("held_by", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since_at", sa.Float(), nullable=False),
        sa.Column("until_at", sa.Float(), nullable=True),
        sa.Column("next_probe_at", sa.Float(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="1", nullable=False),
        sa.Column("probe_worker", sa.String(), nullable=True),
        sa.Column("probe_token", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("target", "origin"),
    )
    op.create_table(
        "lane",
        sa.Column("company", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("next_due_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("company", "user_id", "kind"),
        postgresql_with=BUSY,
    )
    op.create_index(
        "lane_due",
        "lane",
        ["next_due_at"],
        unique=False,
        sqlite_where=sa.text("next_due_at IS NOT NULL"),
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    )
    op.create_table(
        "login",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("cache", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "recipients",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "bucket"),
        postgresql_with=BUSY,
    )
    op.create_table(
        "scope",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("next_steady", sa.Float(), nullable=False),
        sa.Column("gap_seconds", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with=BUSY,
    )
    op.create_table(
        "slot",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("usable_steady", sa.Float(), nullable=False),
        sa.Column("window_seconds", sa.Float(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("in_data", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("scope", "number"),
        postgresql_with=BUSY,
    )
    op.create_index(
        "slot_free",
        "slot",
        ["scope", "usable_steady", "number"],
        unique=False,
        sqlite_where=sa.text("worker IS NULL"),
        postgresql_where=sa.text("worker IS NULL"),
    )
    op.create_index(
        "slot_owner",
        "slot",
        ["worker"],
        unique=False,
        sqlite_where=sa.text("worker IS NOT NULL"),
        postgresql_where=sa.text("worker IS NOT NULL"),
    )
    op.create_index(
        "slot_token",
        "slot",
        ["token"],
        unique=False,
        sqlite_where=sa.text("token IS NOT NULL"),
        postgresql_where=sa.text("token IS NOT NULL"),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("beat_steady", sa.Float(), nullable=False),
        sa.Column("trouble", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with=BUSY,
    )
