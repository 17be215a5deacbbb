"""How Alembic runs here: on the connection that ``worker.ledger.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from worker.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller holds the one transaction that all steps share
)
context.run_migrations()
