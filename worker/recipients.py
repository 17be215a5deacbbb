"""Whether a mailbox may write to a mail's recipients today, asked before anybody is connected to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from worker.errors import Held, Rejected
from worker.ledger import recipients as counts
from worker.outcome import HoldTarget, TargetKind
from worker.pace import budget_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from worker.ledger.clock import Now
    from worker.ledger.ledger import Ledger
    from worker.pace import Budget


async def room_for(ledger: Ledger, settings: EffectiveSettings, recipients: int) -> Budget | None:
    """Return what a mail that fits now takes, for its begin to count; None where nothing is counted.

    Raises:
        Held: the mailbox's day is used up; the hold ends when enough of it is free.
        Rejected: the mail has more recipients than any day allows.
        LedgerUnavailable: the ledger is away.
    """
    budget = budget_of(settings, recipients)
    if budget is None:
        return None
    key = "mailbox_recipients_per_day"
    if budget.recipients > budget.limit:
        raise Rejected(
            f"the mail has {budget.recipients:,} recipients, and {key} allows {budget.limit:,}"
        )
    used, wait_seconds = await ledger.run(partial(_look, budget=budget))
    if wait_seconds > 0:
        raise Held(
            f"{budget.scope} has reached its {key}: {used:,} of {budget.limit:,} are used, and"
            f" {budget.recipients:,} more fit in {wait_seconds / 3600:.1f} h",
            target=HoldTarget(TargetKind.SCOPE, budget.scope),
            retry_after_seconds=wait_seconds,
            time_is_known=True,
        )
    return budget


def _look(connection: Connection, now: Now, *, budget: Budget) -> tuple[int, float]:
    used = counts.used(connection, now, budget.scope)
    return used, counts.wait_seconds(connection, now, budget)
