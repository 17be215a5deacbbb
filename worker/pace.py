"""The pace: which limits a job comes under, and what their slots are.

A limit of N emails per minute is N slots, each usable once a minute; a slot comes free 60 seconds
after the server's reply. For one slot: acceptance₂ ≥ begin₂ ≥ settle₁ + 60 s ≥ acceptance₁ + 60 s.
So N slots give at most N acceptances in any 60 s at the server, for any delay, stall, crash or
number of processes. The statements that hold this are in ``ledger/slots.py``.

Beside the bound there is a soft gap, so that mail leaves evenly; it carries no promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from config.effective import source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from config.registration import Registration

Per = Literal["minute", "day"]
"""What a limit's number is counted in."""

WINDOW_SECONDS = 60.0
MINUTES: Final[dict[Per, int]] = {"minute": 1, "day": 24 * 60}
"""How many of the shortest windows each takes: where a test's minute is short, so is its day."""
CATCH_UP_SECONDS = 1.0
"""How far the soft gap may lag behind the clock: a pause is made up for by this much at most."""
IDLE_SECONDS = 15.0
"""A pause longer than this, and than any process needs to be found dead, was nobody's fault."""
GAP_SHARE = 0.99
"""A little under the even gap: what an outage left unused comes back by up to 0.6 s each minute,
instead of as the same hole a minute later."""
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
        per: what people count the number in.
        layer: where the number comes from, for metrics and explanations; like the next two no part
            of what the limit is.
        key: the dotted key that sets it.
        file: the file of the settings, or the variable, that has the key.
    """

    scope: str
    limit: int
    window_seconds: float = WINDOW_SECONDS
    even: bool = True
    per: Per = "minute"
    layer: str = field(default="default", compare=False)
    key: str = field(default="", compare=False)
    file: str | None = field(default=None, compare=False)

    @property
    def gap_seconds(self) -> float:
        """The soft gap between two emails of the scope."""
        return GAP_SHARE * self.window_seconds / self.limit if self.even else 0.0

    @property
    def emails_per_minute(self) -> float:
        """What it amounts to in the long run, so that a day can be told against a minute."""
        return self.limit / MINUTES[self.per]

    @property
    def source(self) -> str:
        """Where it is set: ``companies/acme/company.toml [smtp] batch_emails_per_min``."""
        return source_of(self.layer, self.file, self.key)

    def __str__(self) -> str:
        return f"{self.scope} allows {self.limit} a {self.per}"


def next_stamp(
    limit: Limit, stamp_steady: float, now_steady: float, begins_steady: float = -math.inf
) -> float:
    """Before when the scope's next email shall not begin, after one was given out at ``stamp``.

    A short pause, such as another process's death, is made up for. After an idle time nothing was
    missed; to begin with a burst would leave a hole a minute later, and a burst again after that.

    Args:
        begins_steady: when the email that was given out may begin, by its slot too.
    """
    idle_seconds = now_steady - max(stamp_steady, begins_steady)
    catch_up_seconds = CATCH_UP_SECONDS if idle_seconds <= IDLE_SECONDS else 0.0
    return max(stamp_steady, now_steady - catch_up_seconds) + limit.gap_seconds


def scope_of_context(context: str) -> str:
    """The scope of a context's batch limit: ``system`` or ``company:acme``."""
    return "system" if context == "_system" else f"company:{context}"


def scope_of_mailbox(account: str) -> str:
    """The scope of a mailbox's own limit."""
    return f"mailbox:{account}"


def scope_of_recipients(account: str) -> str:
    """The scope of what a mailbox may write to in a day."""
    return f"{scope_of_mailbox(account)}:recipients"


def is_of_recipients(scope: str) -> bool:
    """Whether a scope counts recipients: no id has a colon in it."""
    return scope.endswith(":recipients")


def account_of_recipients(scope: str) -> str:
    """The account whose recipients a scope counts."""
    return scope.removeprefix(scope_of_mailbox("")).removesuffix(":recipients")


def scope_of_connections(account: str) -> str:
    """The scope of the cap on a mailbox's connections."""
    return f"conn:{account}"


def scope_of_app(registration: Registration) -> str:
    """The scope of the cap on an app registration's requests: Graph counts them together."""
    return f"app:{registration.client_id or registration.grant}"


class Rule(NamedTuple):
    """A key that limits: which mail, counted for what, in which time.

    Attributes:
        name: the attribute of the effective settings.
        kinds: the kinds of job that come under it.
        scope: what the number is kept for.
        per: what it is counted in.
    """

    name: str
    kinds: frozenset[str]
    scope: Callable[[EffectiveSettings], str]
    per: Per = "minute"


_BATCHES: Final = frozenset({"batch"})
_MAILS: Final = frozenset({"batch", "send"})
"""A draft is no mail: making one uses up nothing that a server counts."""

RULES: Final = (
    Rule("batch_emails_per_min", _BATCHES, lambda s: scope_of_context(s.context)),
    Rule("batch_emails_per_day", _BATCHES, lambda s: scope_of_context(s.context), "day"),
    Rule("all_batch_emails_per_min", _BATCHES, lambda _: CEILING),
    Rule("all_batch_emails_per_day", _BATCHES, lambda _: CEILING, "day"),
    Rule("mailbox_emails_per_min", _MAILS, lambda s: scope_of_mailbox(s.account)),
    Rule("mailbox_emails_per_day", _MAILS, lambda s: scope_of_mailbox(s.account), "day"),
)
"""Every limit there is. A single send comes under none of a batch, so it never waits for one."""


def limits_of(settings: EffectiveSettings, window_seconds: float = WINDOW_SECONDS) -> list[Limit]:
    """List the limits that a job under these settings comes under, in lock order.

    A minute's limit spreads its mail as ``pace`` says; a day's is a bound and no pace, so what it
    leaves goes as fast as the others let it.
    """
    limits = []
    for name, kinds, scope_of, per in RULES:
        number: int | None = getattr(settings, name)
        if number is None or settings.kind not in kinds:
            continue
        scope, written = scope_of(settings), settings.provenance[name]
        limits.append(
            Limit(
                scope=scope if per == "minute" else f"{scope}:{per}",
                limit=number,
                window_seconds=window_seconds * MINUTES[per],
                even=per == "minute" and settings.pace == "even",
                per=per,
                layer=written.layer,
                key=written.key,
                file=written.file,
            )
        )
    return sorted(limits)


class Budget(NamedTuple):
    """What one mail takes of the recipients that its mailbox may write to in any 24 h.

    Attributes:
        recipients: how many the mail has; the ledger counts them when it begins.
    """

    scope: str
    limit: int
    recipients: int


def budget_of(settings: EffectiveSettings, recipients: int) -> Budget | None:
    """Return what a mail under these settings takes; None where nothing is counted."""
    limit = settings.mailbox_recipients_per_day
    if limit is None or settings.kind not in _MAILS:
        return None
    return Budget(scope_of_recipients(settings.account), limit, recipients)
