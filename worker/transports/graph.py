"""Delivery through Microsoft Graph: a draft that is committed, one send, and looks instead of a second.

Graph has no idempotency: what was answered with an error, or not at all, may have been delivered. So
the mail is made as a draft under an immutable id, the id is committed in the ledger, and only then is
it sent. Whatever is not plainly accepted is looked after; the same draft may be sent again, another
one never (graph/outlook-immutable-id).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from worker.errors import BeginRefused, Deferred, Held, LedgerUnavailable, Rejected, Unknown
from worker.outcome import Reply, Transmission, taken_whole
from worker.transports.graph_draft import DraftMaker
from worker.transports.graph_failures import Missing, Unsure
from worker.transports.graph_mailbox import GraphMailbox
from worker.transports.graph_message import message_of, uncarried

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.effective import EffectiveSettings
    from worker.transports.base import Begin, Drafts, Mail, Transport
    from worker.transports.graph_client import GraphClient

LOOKS_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""The pauses before each look at a mail of which nobody knows whether it was sent: the copy in Sent
Items may come late. Together they take no longer than ``reply_timeout``; what is still open then
rests for as long, and is looked at again."""
_FIRST_LEAD_SECONDS: Final = 0.5
_WEIGHT: Final = 0.2
_ACCEPTED: Final = 202
_CREATED: Final = 201


@dataclass(slots=True)
class _Course:
    """One delivery on its way.

    Attributes:
        is_usual: whether what it takes says how long the next mail will take.
    """

    box: GraphMailbox
    is_usual: bool
    remote_id: str = ""
    started: float = 0.0
    begun: float = 0.0


class GraphTransport:
    """Delivers mails through Graph; one instance a process, on one event loop.

    Args:
        client: sends the requests.
        drafts: what the ledger remembers.
        smtp: delivers what Graph cannot carry, where the settings say so.
        observe: told how many seconds each phase took: ``preface`` (until the draft is whole),
            ``data`` (from the request to send until it is known what came of it).
        sleep: the pauses.
    """

    def __init__(
        self,
        client: GraphClient,
        drafts: Drafts,
        *,
        smtp: Transport | None = None,
        observe: Callable[[str, float], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._drafts = drafts
        self._smtp = smtp
        self._observe = observe or (lambda _phase, _seconds: None)
        self._sleep = sleep
        self._leads: dict[str, float] = {}

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Deliver one mail, or leave its draft where that is the job; see ``Transport.deliver``."""
        assert mail.job is not None
        reason = uncarried(mail.job)
        if reason is not None:
            return await self._otherwise(reason, mail, settings, begin)
        self._client.heed(settings)  # before an intention that the next attempt would look after
        started, message = perf_counter(), message_of(mail, settings)
        box = GraphMailbox(self._client, settings, mail.job_id)
        course = _Course(box, is_usual=not (message.apart or mail.attempts), started=started)
        ready = await DraftMaker(course.box, self._drafts, mail, message, self._sleep).ready()
        course.remote_id = ready.draft.remote_id
        if mail.job.kind == "compose":
            reply = Reply(_CREATED, "saved as a draft in the mailbox")
            return Transmission((), reply, draft=ready.draft)
        if ready.sent:
            reply = Reply(_ACCEPTED, "an earlier attempt had sent it")
            return taken_whole(mail.recipients, reply, earlier=True)
        try:
            reply = Reply(_ACCEPTED, await self._send(course, begin))
        finally:
            if course.begun:
                self._observe("data", perf_counter() - course.begun)
        return taken_whole(mail.recipients, reply)

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """How long ``deliver`` is expected to need before it calls ``begin``."""
        return self._leads.get(settings.account, _FIRST_LEAD_SECONDS)

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._client.close()

    async def _send(self, course: _Course, begin: Begin) -> str:
        """Send the draft; what the server said of it.

        Raises:
            Held, Rejected: Graph says so, and has not sent it.
            Unknown: it may have been sent.
        """

        async def begin_now() -> None:
            self._learn(course)
            await begin()
            course.begun = perf_counter()

        try:
            accepted = await course.box.send(course.remote_id, begin_now)
        except (Unsure, Missing) as unsure:
            if await self._was_sent(course):
                return "it is in Sent Items"
            raise Unknown(
                f"{course.box.settings.server}: {unsure}; it is not in Sent Items yet, and"
                " the same draft is looked at before it is sent again"
            ) from unsure
        return f"accepted {accepted.request_id}".strip()

    async def _was_sent(self, course: _Course) -> bool:
        """Look, with growing pauses, whether the mail has left."""
        patience = course.box.settings.reply_timeout_seconds
        for number, pause_seconds in enumerate(LOOKS_SECONDS, start=1):
            if sum(LOOKS_SECONDS[:number]) > patience:
                break
            await self._sleep(pause_seconds)
            try:
                if await self._is_sent(course):
                    return True
            except (Unsure, Held, Rejected, BeginRefused, LedgerUnavailable):
                continue
        return False

    async def _is_sent(self, course: _Course) -> bool:
        try:
            return not (await course.box.look(course.remote_id)).is_draft
        except Missing:
            return any(not each.is_draft for each in await course.box.find())

    async def _otherwise(
        self, reason: str, mail: Mail, settings: EffectiveSettings, begin: Begin
    ) -> Transmission:
        """Refuse what Graph cannot carry, or let it go by SMTP."""
        by_smtp = settings.uncarried == "smtp"
        assert mail.job is not None
        if not by_smtp or self._smtp is None or mail.job.kind == "compose":
            raise Rejected(f"{reason}; send such mail by SMTP")
        if settings.server_address is None:
            raise Rejected(f"{reason}, and there is no smtp.server_address to send it by")
        try:
            return await self._smtp.deliver(mail, replace(settings, transport="smtp"), begin)
        except Held as held:
            # The job's line is Graph's: nobody there would wait for a hold on the SMTP server.
            raise Deferred(
                held.reason,
                reply=held.reply,
                mail_sent=held.mail_sent,
                retry_after_seconds=held.retry_after_seconds,
            ) from held

    def _learn(self, course: _Course) -> None:
        """Learn from the usual ones: a mail that is early waits for its time in a place of the app."""
        seconds, account = perf_counter() - course.started, course.box.settings.account
        self._observe("preface", seconds)
        if course.is_usual:
            start = self._leads.get(account, seconds)
            self._leads[account] = start + _WEIGHT * (seconds - start)
