"""From what the server said of each recipient to what the ledger records; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.ledger.rows import Settlement, State
from worker.outcome import Outcome, RecipientState

if TYPE_CHECKING:
    from worker.outcome import RecipientReply, Reply


def is_open(recipient: RecipientReply) -> bool:
    """Whether a recipient is still to be tried."""
    return recipient.state is RecipientState.DEFERRED


def merged(
    earlier: tuple[RecipientReply, ...], later: tuple[RecipientReply, ...]
) -> tuple[RecipientReply, ...]:
    """Every recipient's last word, in the order in which they were first heard of."""
    last = {r.address: r for r in earlier}
    last.update({r.address: r for r in later})
    return tuple(last.values())


def ended(
    recipients: tuple[RecipientReply, ...], reply: Reply | None, over: str = ""
) -> Settlement:
    """No recipient is left to try: sent if the server ever took the mail for one, else dead."""
    missed = [r for r in recipients if r.state is not RecipientState.ACCEPTED]
    if len(missed) == len(recipients):
        words = over or f"no recipient was accepted: {missed[0].reply}"
        return dead(words, reply or missed[0].reply, recipients)
    reason = ""
    if missed:
        reason = f"{len(missed)} of {len(recipients)} recipients missed: {missed[0].reply}"
    return Settlement(
        State.SENT,
        Outcome.SENT,
        reason=reason,
        reply=str(reply or ""),
        event=Outcome.SENT,
        recipients=recipients,
        accepted=reply is not None,
    )


def dead(
    reason: str, reply: Reply | None = None, recipients: tuple[RecipientReply, ...] = ()
) -> Settlement:
    """Kept with its reason until a person decides."""
    return Settlement(
        State.DEAD,
        Outcome.DEAD,
        reason=reason,
        reply=str(reply or ""),
        event=Outcome.DEAD,
        recipients=recipients,
    )
