"""The pace: which limits a job comes under, and what their slots are.

A limit of N emails per minute is N slots, each usable once a minute; a slot comes free 60 seconds
after the server's reply. For one slot: acceptance₂ ≥ begin₂ ≥ settle₁ + 60 s ≥ acceptance₁ + 60 s.
So N slots give at most N acceptances in any 60 s at the server, for any delay, stall, crash or
number of processes. The statements that hold this are in ``ledger/slots.py``.

Beside the bound there is a soft gap, so that mail leaves evenly; it carries no promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

WINDOW_SECONDS = 60.0
CATCH_UP_SECONDS = 1.0
"""How far the soft gap may lag behind the clock: a pause is made up for by this much at most."""
GAP_SHARE = 0.998
"""A little under the even gap, so that rounding never costs a slot."""
AHEAD_SECONDS = 3.0
"""The most that a slot is taken before it is usable, to connect and send MAIL and RCPT."""
CEILING = "all"
"""The scope of the one limit over every batch."""


@dataclass(frozen=True, slots=True, order=True)
class Limit:
    """One limit that a job comes under: ``limit`` emails in any ``window_seconds`` of a scope.

    Attributes:
        scope: what the limit is kept for, as ``company:acme`` or ``mailbox:acme/jane``.
        limit: how many slots.
        window_seconds: how long a slot rests after the server's reply.
        even: whether mail leaves evenly; else as fast as slots allow.
        layer: where the number comes from, for metrics and explanations.
    """

    scope: str
    limit: int
    window_seconds: float = WINDOW_SECONDS
    even: bool = True
    layer: str = "default"

    @property
    def gap_seconds(self) -> float:
        """The soft gap between two emails of the scope."""
        return GAP_SHARE * self.window_seconds / self.limit if self.even else 0.0


def next_stamp(limit: Limit, stamp_steady: float, now_steady: float) -> float:
    """Before when the scope's next email shall not begin, after one was given out at ``stamp``."""
    return max(stamp_steady, now_steady - CATCH_UP_SECONDS) + limit.gap_seconds


def scope_of_context(context: str) -> str:
    """The scope of a context's batch limit: ``system`` or ``company:acme``."""
    return "system" if context == "_system" else f"company:{context}"


def scope_of_mailbox(account: str) -> str:
    """The scope of a mailbox's own limit."""
    return f"mailbox:{account}"


def scope_of_connections(account: str) -> str:
    """The scope of the cap on a mailbox's connections."""
    return f"conn:{account}"


def limits_of(settings: EffectiveSettings, window_seconds: float = WINDOW_SECONDS) -> list[Limit]:
    """List the limits that a job under these settings comes under, in lock order.

    A batch comes under its context's limit, the ceiling over every batch and the mailbox's; a
    single send only under the mailbox's, so it never waits for a batch.
    """
    even = settings.pace == "even"
    limits = []

    def add(scope: str, number: int | None, key: str) -> None:
        if number is not None:
            limits.append(Limit(scope, number, window_seconds, even, settings.limit_layer(key)))

    if settings.kind == "batch":
        add(
            scope_of_context(settings.context),
            settings.batch_emails_per_min,
            "batch_emails_per_min",
        )
        add(CEILING, settings.all_batch_emails_per_min, "all_batch_emails_per_min")
    add(
        scope_of_mailbox(settings.account),
        settings.mailbox_emails_per_min,
        "mailbox_emails_per_min",
    )
    return sorted(limits)
