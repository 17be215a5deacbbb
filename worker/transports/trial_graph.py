"""A test login at Microsoft 365: a token, a look into the mailbox, and one mail if there is one."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from worker.errors import PostmeterError
from worker.transports.graph import GraphTransport
from worker.transports.graph_client import GraphClient
from worker.transports.graph_mailbox import GraphMailbox
from worker.transports.places import Places
from worker.transports.trial import MAIL, Verdict, begin, verdict_of

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.outcome import Draft
    from worker.transports.base import Mail, Tokens
    from worker.transports.conversation import Conversation
    from worker.transports.graph_request import Exchange

MAILBOX = "mailbox"


class _Drafts:
    """Nothing was made before, and nothing needs to be found again."""

    async def find(self, job_id: str) -> Draft | None:  # noqa: ARG002 - the protocol's
        return None

    async def intend(self, job_id: str, *, claim: str) -> None:
        """Nobody else has this job."""

    async def remember(self, job_id: str, draft: Draft, *, claim: str) -> None:
        """The mail is sent or not in this one run."""


async def try_graph(
    settings: EffectiveSettings,
    conversation: Conversation,
    *,
    tokens: Tokens,
    mail: Mail | None = None,
) -> Verdict:
    """Get a token, look into the mailbox and, with a mail, send it or leave it as a draft."""

    def tell(exchange: Exchange) -> None:
        conversation.step(MAIL if looked else MAILBOX)
        codes = f" {', '.join(exchange.codes)}" if exchange.codes else ""
        conversation.note(
            f"{exchange.operation}: {exchange.status or 'no answer'}{codes},"
            f" {exchange.seconds * 1000:.0f} ms"
        )
        conversation.note(f"request-id {exchange.request_id or exchange.client_request_id}")

    looked = False
    client = GraphClient(tokens, Places(), tell=tell)
    transport = GraphTransport(client, _Drafts())
    try:
        await tokens.token(settings, "graph")
        conversation.step(MAILBOX)
        await GraphMailbox(client, settings, str(uuid.uuid4())).find()
        looked = True
        if mail is None:
            return Verdict(None, f"{settings.server}: the mailbox can be used; no mail was sent")
        conversation.step(MAIL)
        return verdict_of(settings, await transport.deliver(mail, settings, begin))
    except PostmeterError as error:
        return Verdict(conversation.under_way, str(error))
    finally:
        await transport.close()
