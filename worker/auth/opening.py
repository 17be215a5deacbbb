"""The tokens of one process, wired: the ledger's logins, the key they are sealed with, the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.auth.tokens import MsalTokens
from worker.telemetry.instruments import instruments

if TYPE_CHECKING:
    from pathlib import Path

    from worker.auth.sources import Sources
    from worker.ledger.ledger import Ledger


def open_tokens(ledger: Ledger, key_file: Path) -> MsalTokens:
    """Make them; MSAL is loaded with the first token that is wanted.

    Args:
        key_file: of the key that logins are sealed with (``config.process.login_key_file``).
    """

    def load() -> Sources:
        from worker.auth.logins import Logins
        from worker.auth.sealing import Sealer
        from worker.auth.sources import Sources

        return Sources(Logins(ledger, Sealer(key_file)))

    return MsalTokens(load, note_token=_note_token, note_failure=_note_failure)


def _note_token(owner: str, resource: str, ends_at: float) -> None:
    meter = instruments()
    meter.token_expires.note(owner, resource, ends_at=ends_at)
    meter.token_requests_of(owner, resource)["fetched"].inc()


def _note_failure(owner: str, resource: str) -> None:
    instruments().token_requests_of(owner, resource)["failed"].inc()
