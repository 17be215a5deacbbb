"""A test login: connects and logs in as a delivery does, and sends one mail if there is one.

It is no delivery: it needs no ledger, takes no slot and no place, and nothing counts it. Where the
server counts by itself (Exchange: 30 mails a minute, 3 connections for a mailbox) it does count.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.errors import AttemptError, Held
from worker.outcome import RecipientState
from worker.replies import Stage, classify
from worker.transports.connect import Connector
from worker.transports.diagnosis import look_closer
from worker.transports.failures import Party
from worker.transports.transaction import Timeouts, Transaction, check
from worker.transports.watched import WatchedAttempt
from worker.transports.wire import ConnectionBroken

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.outcome import Transmission
    from worker.transports.base import Mail, Tokens
    from worker.transports.connect import Connected
    from worker.transports.conversation import Conversation

MAIL: Final = "mail"
_GOODBYE_SECONDS: Final = 2.0
_OF_TLS: Final = frozenset({"TLS", "greeting"})
"""The steps whose failure may be another way of TLS than the settings'."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a test login ended.

    Attributes:
        failed: the step that failed; None where none did.
        reason: a sentence: what came of it, or why it failed and what to change.
        found: what the server does instead, where it was asked.
    """

    failed: str | None
    reason: str
    found: tuple[str, ...] = ()


async def try_smtp(
    settings: EffectiveSettings,
    conversation: Conversation,
    *,
    tokens: Tokens | None = None,
    mail: Mail | None = None,
) -> Verdict:
    """Connect, secure, log in and, with a mail, send it; what is said is in the conversation."""

    def attempt(settings: EffectiveSettings, party: Party) -> WatchedAttempt:
        return WatchedAttempt(settings, party, conversation)

    connector = Connector(tokens=tokens, attempt=attempt)
    try:
        connected = await connector.connect(settings)
    except Held as held:
        failed = conversation.under_way
        silent = failed in _OF_TLS and held.reply is None
        found = await look_closer(settings, connector.name_for) if silent else ()
        return Verdict(failed, held.reason, tuple(found))
    try:
        if mail is None:
            done = "logged in" if settings.authorisation != "none" else "connected"
            return Verdict(None, f"{settings.server}: {done}; no mail was sent")
        conversation.step(MAIL)
        return await _send(settings, connected, mail)
    finally:
        connected.wire.quit(_GOODBYE_SECONDS)
        await asyncio.wait([connected.wire.closed], timeout=_GOODBYE_SECONDS)


async def _send(settings: EffectiveSettings, connected: Connected, mail: Mail) -> Verdict:
    transaction = Transaction(
        wire=connected.wire,
        extensions=connected.extensions,
        timeouts=Timeouts(content_seconds=settings.reply_timeout_seconds),
        party=Party.of(settings),
        mail=mail,
    )
    try:
        check(mail, connected.extensions)
        return verdict_of(settings, await transaction.run(begin))
    except AttemptError as error:
        return Verdict(MAIL, error.reason)
    except ConnectionBroken as broken:
        return Verdict(MAIL, f"{settings.server}: {broken.reason}")


def verdict_of(settings: EffectiveSettings, transmission: Transmission) -> Verdict:
    """What a mail came to that the server has answered."""
    refused = [
        each for each in transmission.recipients if each.state is not RecipientState.ACCEPTED
    ]
    if refused:
        said = refused[0].reply
        codes = f"{said.code} {said.enhanced}" if said.enhanced else str(said.code)
        reason = classify(said, Stage.RCPT).reason
        return Verdict(MAIL, f"{settings.server}: {reason} ({codes} to rcpt)")
    if transmission.draft is not None:
        return Verdict(None, f"a draft was made: {transmission.draft.web_link}")
    return Verdict(None, f"{settings.server}: the mail was accepted")


async def begin() -> None:
    """No ledger has to agree."""
