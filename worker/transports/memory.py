"""A transport that keeps mails in memory: for tests, and for whoever builds on delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.outcome import RecipientReply, RecipientState, Reply, Transmission

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from worker.transports.base import Begin, Mail


@dataclass(frozen=True, slots=True)
class Delivered:
    """One mail that the memory accepted, and whose it was."""

    mail: Mail
    account: str


class MemoryTransport:
    """Accepts every mail, calling ``begin`` as a real transport does.

    Args:
        fail: asked before ``begin`` for each mail; what it returns is raised.

    Attributes:
        delivered: the mails, in the order in which they were accepted.
    """

    def __init__(self, fail: Callable[[Mail], Exception | None] | None = None) -> None:
        self._fail = fail
        self.delivered: list[Delivered] = []

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Keep the mail; raises what ``fail`` or ``begin`` say."""
        failure = self._fail(mail) if self._fail is not None else None
        if failure is not None:
            raise failure
        await begin()
        self.delivered.append(Delivered(mail, settings.account))
        reply = Reply(250, f"kept as {len(self.delivered)}", "2.0.0")
        accepted = RecipientState.ACCEPTED
        return Transmission(
            tuple(RecipientReply(to, accepted, reply) for to in mail.recipients), reply
        )

    def lead_seconds(self, settings: EffectiveSettings) -> float:  # noqa: ARG002 - same for all
        """Return 0: memory is at hand."""
        return 0.0

    async def close(self) -> None:
        """Do nothing: there is no connection; the mails stay."""
