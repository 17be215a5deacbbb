"""A job's draft in its mailbox: found again or made, and never two of it sent.

The ledger says what is known: nothing, that one was about to be made (an intention), one that is
not whole yet (no link), or a whole one, which a send may have begun. Only a whole one is ever sent,
so what is less may be thrown away and made anew; a whole one that a send may have begun is never
replaced.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.errors import (
    AttemptError,
    BeginRefused,
    Deferred,
    Held,
    LedgerUnavailable,
    Rejected,
    Unknown,
)
from worker.outcome import Draft
from worker.transports.graph_failures import Missing, Unsure, target_of
from worker.transports.graph_patience import PAUSES_SECONDS, passing_seconds, patiently
from worker.transports.graph_replies import Target
from worker.transports.graph_upload import attach_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.transports.base import Drafts, Mail
    from worker.transports.graph_mailbox import Found, GraphMailbox
    from worker.transports.graph_message import Message

LOOK_AGAIN_SECONDS: Final = (1.0, 2.0)
"""Between the looks before a draft is sent a second time, beside the rest of ``reply_timeout``."""
_VANISHED: Final = (
    "the draft is gone from the mailbox, and it may have been sent before: look in Sent Items, then"
    " mark the mail as sent, or publish it anew"
)


@dataclass(frozen=True, slots=True)
class Ready:
    """A job's whole draft.

    Attributes:
        sent: it is no draft any more: it was sent.
    """

    draft: Draft
    sent: bool = False


@dataclass(frozen=True, slots=True)
class DraftMaker:
    """Finds or makes the draft of one job.

    Args:
        message: what the draft is made of.
        sleep: between tries.
    """

    box: GraphMailbox
    drafts: Drafts
    mail: Mail
    message: Message
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def ready(self) -> Ready:
        """Return the whole draft, or say that it was sent.

        Raises:
            Held, Deferred, Rejected: there is none; nothing was sent.
            Unknown: a send may have begun, and nothing is to be found of it.
            BeginRefused: the job is another's.
        """
        known = await self.drafts.find(self.mail.job_id)
        try:
            return await self._ready(known)
        except Unsure as unsure:
            raise self._not_made(unsure) from unsure
        except Rejected as rejected:
            if known is None or not self._is_perhaps_sent(known):
                raise
            raise Unknown(
                f"{rejected.reason}; and the mail may have been sent before"
            ) from rejected
        except Missing as missing:
            raise Deferred(
                f"the draft vanished while it was made: {missing}", mail_sent=False
            ) from missing

    async def _ready(self, known: Draft | None) -> Ready:
        if known is None:
            await self.drafts.intend(self.mail.job_id, claim=self.mail.claim)
            return await self._make()
        if not known.remote_id:
            return await self._take_up(await self._find())
        seen = await self._look(known.remote_id)
        if seen is not None and not seen.is_draft:
            return Ready(known, sent=True)
        if self._is_perhaps_sent(known):
            return await self._perhaps_sent(known, seen)
        if seen is None:
            return await self._take_up(await self._find())
        return Ready(known) if known.web_link else await self._take_up([seen])

    @property
    def _is_to_stay(self) -> bool:
        """Whether the draft itself is what was asked for."""
        return self.mail.job is not None and self.mail.job.kind == "compose"

    def _is_perhaps_sent(self, known: Draft) -> bool:
        """Whether a send of this draft may have begun."""
        return bool(known.web_link and self.mail.attempts and not self._is_to_stay)

    async def _perhaps_sent(self, known: Draft, seen: Found | None) -> Ready:
        """An earlier attempt may have sent it: only the same one may be sent again.

        Sent Items may be late, and that attempt may have ended before it looked even once. Also
        what was answered with 429 has been seen to be delivered.
        """
        for pause_seconds in LOOK_AGAIN_SECONDS:
            if seen is None:
                break
            await self.sleep(pause_seconds)
            seen = await self._look(known.remote_id)
            if seen is not None and not seen.is_draft:
                return Ready(known, sent=True)
        if seen is not None:
            return Ready(known)
        if any(not each.is_draft for each in await self._find()):
            return Ready(known, sent=True)
        raise Unknown(_VANISHED)

    async def _take_up(self, found: list[Found]) -> Ready:
        """Go on with what the mailbox has of the job, and make the draft if that is nothing."""
        sent = next((each for each in found if not each.is_draft), None)
        if sent is not None and not self._is_to_stay:
            return Ready(Draft(sent.remote_id, sent.web_link), sent=True)
        whole = [] if self.message.apart else [each for each in found if each.is_draft][:1]
        extra = [each for each in found if each.is_draft and each not in whole]
        if extra:  # who has lost the job deletes nothing that another has begun with
            await self.drafts.intend(self.mail.job_id, claim=self.mail.claim)
        for each in extra:
            await self._delete(each.remote_id)
        if not whole:
            return await self._make()
        return await self._remember(Draft(whole[0].remote_id, whole[0].web_link))

    async def _make(self) -> Ready:
        made = await self._create()
        if self.message.apart:
            await self._remember(Draft(made.remote_id))
            await attach_all(self.box, made.remote_id, self.message, self.sleep)
        return await self._remember(Draft(made.remote_id, made.web_link))

    async def _create(self) -> Found:
        """Make the draft; where no answer comes, look for it before another is made.

        Where attachments follow, what is found may be an older one that has some already: it goes.
        """
        last: Exception = Unsure("Microsoft Graph did not answer")
        for pause_seconds in (*PAUSES_SECONDS, 0.0):
            try:
                return await self.box.create(self.message.content)
            except Unsure as unsure:
                last, asked_seconds = unsure, 0.0
            except Held as held:
                last, asked_seconds = held, passing_seconds(held)
            await self.sleep(max(pause_seconds, asked_seconds))
            found = [each for each in await self._find() if each.is_draft]
            kept = [] if self.message.apart else found[:1]
            for extra in found[len(kept) :]:
                await self._delete(extra.remote_id)
            if kept:
                return kept[0]
        raise last

    async def _look(self, remote_id: str) -> Found | None:
        """What has become of a message; None where it is not there."""
        try:
            return await patiently(lambda: self.box.look(remote_id), self.sleep)
        except Missing:
            return None

    async def _find(self) -> list[Found]:
        return await patiently(self.box.find, self.sleep)

    async def _remember(self, draft: Draft) -> Ready:
        try:
            await self.drafts.remember(self.mail.job_id, draft, claim=self.mail.claim)
        except BeginRefused:
            if await self._is_nobodys(draft.remote_id):
                await self._delete(draft.remote_id)
            raise
        return Ready(draft)

    async def _is_nobodys(self, remote_id: str) -> bool:
        """Whether who has the job now, if anybody, has another draft: it may have found this one."""
        with suppress(LedgerUnavailable):
            for pause_seconds in (0.0, *PAUSES_SECONDS):
                await self.sleep(pause_seconds)
                known = await self.drafts.find(self.mail.job_id)
                if known is None or known.remote_id:
                    return known is None or known.remote_id != remote_id
        return False

    async def _delete(self, remote_id: str) -> None:
        """Delete a draft that nobody needs; if that fails it stays, and does no harm."""
        with suppress(AttemptError, BeginRefused, LedgerUnavailable, Unsure):
            await self.box.delete(remote_id)

    def _not_made(self, unsure: Unsure) -> AttemptError:
        """Where no answer comes Graph is not well; where it fails it may be because of this mail."""
        server = self.box.settings.server
        if unsure.lost:
            target = target_of(Target.SERVER, self.box.settings)
            return Held(f"{server}: {unsure.reason}", target=target)
        return Deferred(f"{server}: {unsure.reason}", mail_sent=False)
