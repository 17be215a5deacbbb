"""Alembic's migrations of the ledger; ``upgrade.py`` beside this package runs them."""
