"""``on_unknown = "verify"`` over SMTP: a look in Sent Items before a mail may be sent again.

Exchange Online keeps a copy of what a mailbox sends by SMTP, and Graph finds it by its Message-ID
(it needs the permission Mail.Read). Delivery through Graph itself always looks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import Deferred, Held, Rejected
from worker.mime_writer import mailbox
from worker.outcome import Reply, taken_whole
from worker.transports.graph_failures import Unsure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.effective import EffectiveSettings
    from producers.job import Job
    from worker.outcome import Transmission
    from worker.transports.base import Begin, Mail, Transport

_OK = 250


class VerifyingTransport:
    """Delivers by another transport what is not in Sent Items yet.

    Args:
        inner: delivers.
        was_sent: whether the mailbox of the settings has sent a mail with this job's id and
            Message-ID.
    """

    def __init__(
        self,
        inner: Transport,
        was_sent: Callable[[EffectiveSettings, str, str], Awaitable[bool]],
    ) -> None:
        self._inner = inner
        self._was_sent = was_sent

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Deliver one mail; see ``Transport.deliver``.

        Only a mail that was tried before is looked for. While nobody can look, it waits. A mail of
        which some recipients are settled is not looked for: the copy that is there may be theirs,
        and says nothing of those who are left.
        """
        wanted = settings.on_unknown == "verify" and settings.registration is not None
        if not wanted or not mail.attempts or mail.job is None or _is_for_a_part(mail, mail.job):
            return await self._inner.deliver(mail, settings, begin)
        try:
            sent = await self._was_sent(settings, mail.job_id, mail.job.message_id)
        except (Held, Rejected, Unsure) as error:
            # Its target is Graph's, which the mails of this line do not need.
            raise Deferred(
                f"nobody could look in Sent Items: {error.reason}",
                mail_sent=False,
                retry_after_seconds=error.retry_after_seconds if isinstance(error, Held) else None,
            ) from error
        if not sent:
            return await self._inner.deliver(mail, settings, begin)
        reply = Reply(_OK, "it is in Sent Items: an earlier attempt had sent it")
        return taken_whole(mail.recipients, reply, earlier=True)

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """How long ``deliver`` is expected to need before it calls ``begin``."""
        return self._inner.lead_seconds(settings)

    async def close(self) -> None:
        """Close the other transport."""
        await self._inner.close()


def _is_for_a_part(mail: Mail, job: Job) -> bool:
    """Whether some of the job's recipients are settled."""
    everyone = {mailbox(each).address for each in job.recipients}
    return not everyone <= set(mail.recipients)
