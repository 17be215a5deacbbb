"""From what the server said of each recipient to what the ledger records; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.ledger.rows import Settlement, State
from worker.outcome import Outcome, RecipientState

if TYPE_CHECKING:
    from worker.outcome import Draft, RecipientReply, Reply


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


def not_taken(
    recipients: tuple[RecipientReply, ...], state: RecipientState, reply: Reply | None
) -> tuple[RecipientReply, ...]:
    """What was said of recipients whose RCPT was accepted, but not the mail itself.

    They share the reply to the mail; where none came nothing is settled about them.
    """
    return tuple(
        replace(r, state=state, reply=reply) if reply and r.state is RecipientState.ACCEPTED else r
        for r in recipients
        if reply or r.state is not RecipientState.ACCEPTED
    )


def ended(recipients: tuple[RecipientReply, ...], reply: Reply | None) -> Settlement:
    """No recipient is left to try: sent if the server ever took the mail for one, else dead."""
    missed = [r for r in recipients if r.state is not RecipientState.ACCEPTED]
    if len(missed) == len(recipients):
        words = f"no recipient was accepted: {missed[0].reply}"
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


def given_up(
    reason: str,
    reply: Reply | None,
    recipients: tuple[RecipientReply, ...],
    *,
    perhaps_sent: bool = False,
) -> Settlement:
    """Nothing more is tried: sent if an earlier attempt was taken for some recipient, else dead.

    Where the reply to an earlier attempt never came (``perhaps_sent``) it is unknown and a person's
    to decide: who sends a dead mail again would send that one twice.
    """
    missed = sum(r.state is not RecipientState.ACCEPTED for r in recipients)
    if missed == len(recipients):
        if not perhaps_sent:
            return dead(reason, reply, recipients)
        return Settlement(
            State.UNKNOWN,
            Outcome.UNKNOWN,
            reason=f"{reason}; the reply to an earlier attempt never came",
            reply=str(reply or ""),
            event=Outcome.UNKNOWN,
            recipients=recipients,
        )
    return Settlement(
        State.SENT,
        Outcome.SENT,
        reason=f"{missed} of {len(recipients)} recipients missed: {reason}",
        reply=str(reply or ""),
        event=Outcome.SENT,
        recipients=recipients,
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


def deferred_until(
    due_at: float,
    backoff_seconds: float,
    reason: str,
    reply: Reply | None,
    recipients: tuple[RecipientReply, ...],
) -> Settlement:
    """Tried again at ``due_at`` (Unix seconds), after that much of ``retry_for``."""
    return Settlement(
        State.WAITING,
        Outcome.DEFERRED,
        reason=reason,
        due_at=due_at,
        backoff_seconds=backoff_seconds,
        reply=str(reply or ""),
        event=Outcome.DEFERRED,
        recipients=recipients,
    )


def drafted(draft: Draft, reply: Reply | None, transport: str) -> Settlement:
    """Made, and not sent: a person does that."""
    return Settlement(
        State.DRAFTED,
        Outcome.DRAFTED,
        reply=str(reply or ""),
        transport=transport,
        event=Outcome.DRAFTED,
        draft=draft,
    )
