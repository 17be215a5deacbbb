"""``on_unknown = "verify"`` over SMTP: what is in Sent Items is not sent again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import FakeClock
from tests.support.fakes import ScriptedServer
from tests.support.graph_desk import graph_settings
from tests.support.jobs import make_job
from worker.errors import Deferred, Held, Rejected
from worker.outcome import HoldTarget, RecipientState, TargetKind
from worker.transports.base import Mail
from worker.transports.graph_failures import Unsure
from worker.verifying import VerifyingTransport

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.outcome import Transmission

JOB = make_job(to=["a@example.org", "b@example.org"])


@dataclass
class Looker:
    """Looks in a Sent Items that a test fills."""

    answer: bool | Exception = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, settings: EffectiveSettings, job_id: str, message_id: str) -> bool:
        """Look."""
        assert settings.registration is not None
        self.asked.append((job_id, message_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def deliver(
    looker: Looker, *, attempts: int = 1, left: tuple[str, ...] = JOB.to, **changes: Any
) -> tuple[Transmission, ScriptedServer]:
    """One attempt over SMTP, for the recipients that are left."""
    server = ScriptedServer(lead_seconds=7.0)
    server.clock = FakeClock()
    transport = VerifyingTransport(server, looker)
    mail = Mail(JOB.id, "jane@example.nz", left, b"", job=JOB, attempts=attempts)
    settings = graph_settings(**({"transport": "smtp", "on_unknown": "verify"} | changes))
    assert transport.lead_seconds(settings) == 7.0

    async def begin() -> None:
        """Nothing to commit."""

    async def story() -> Transmission:
        try:
            return await transport.deliver(mail, settings, begin)
        finally:
            await transport.close()

    return asyncio.run(story()), server


def test_what_is_in_sent_items_is_not_sent_again() -> None:
    """The earlier attempt counts, for every recipient."""
    looker = Looker(answer=True)
    transmission, server = deliver(looker)
    assert server.mails == []
    assert transmission.earlier
    assert [each.state for each in transmission.recipients] == [RecipientState.ACCEPTED] * 2
    assert looker.asked == [(JOB.id, JOB.message_id)]


def test_what_is_not_there_is_sent() -> None:
    """As with resend, once."""
    _, server = deliver(Looker(answer=False))
    assert len(server.mails) == 1


def test_a_copy_that_was_for_others_says_nothing_of_those_who_are_left() -> None:
    """The server took the mail for one and put the other off: that one must get it, not be "sent"."""
    looker = Looker(answer=True)
    transmission, server = deliver(looker, left=JOB.to[1:])
    assert [mail.recipients for mail in server.mails] == [JOB.to[1:]]
    assert not transmission.earlier
    assert looker.asked == []


@pytest.mark.parametrize(
    "changes",
    [{"attempts": 0}, {"on_unknown": "resend"}, {"registration": None}],
    ids=["first-attempt", "resend", "no-registration"],
)
def test_nobody_looks_without_need(changes: dict[str, Any]) -> None:
    """A first attempt has nothing to find, and other settings ask for nothing."""
    looker = Looker(answer=True)
    _, server = deliver(looker, **changes)
    assert (looker.asked, len(server.mails)) == ([], 1)


@pytest.mark.parametrize(
    ("error", "wish"),
    [
        (Held("no", target=HoldTarget(TargetKind.ACCOUNT, "a"), retry_after_seconds=9.0), 9.0),
        (Rejected("no"), None),
        (Unsure("no"), None),
    ],
)
def test_while_nobody_can_look_the_mail_waits(error: Exception, wish: float | None) -> None:
    """It is neither sent again nor is anything held that other mails need."""
    with pytest.raises(Deferred, match="nobody could look in Sent Items: no") as caught:
        deliver(Looker(answer=error))
    assert caught.value.retry_after_seconds == wish
    assert not caught.value.mail_sent
