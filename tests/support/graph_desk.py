"""A Graph transport in a test's hands: tokens and drafts in memory, and no pause in real time.

``GraphDesk`` delivers jobs through the Graph for tests (``graphd``) as one attempt after the other
of the same worker would.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from config.registration import Registration
from tests.support.jobs import make_job
from tests.support.settings import make_settings
from worker import mime
from worker.errors import BeginRefused
from worker.outcome import Draft
from worker.transports.base import Mail
from worker.transports.graph import GraphTransport
from worker.transports.graph_client import GraphClient
from worker.transports.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from config.effective import EffectiveSettings
    from producers.job import Job
    from tests.support.graphd import Graph
    from tests.support.graphd_process import GraphProcess
    from worker.outcome import Transmission
    from worker.transports.base import Transport
    from worker.transports.graph_request import Exchange

MAILBOX = "jane@acme.example"


def make_registration(**changes: Any) -> Registration:
    """An app registration in a cloud of one's own, changed as asked."""
    fields: dict[str, Any] = {
        "tenant_id": "tenant",
        "client_id": "app",
        "grant": "client-secret",
        "client_secret": None,
        "certificate_file": None,
        "certificate_version": "",
        "cloud": "custom",
        "authority_url": "https://authority.example",
        "graph_url": "https://graph.example",
        "smtp_resource": "https://outlook.office365.com",
        "ca_file": None,
    }
    return Registration(**(fields | changes))


def graph_settings(**changes: Any) -> EffectiveSettings:
    """The settings of user jane of acme, who sends through Microsoft 365."""
    fields: dict[str, Any] = {
        "transport": "microsoft-365",
        "address": MAILBOX,
        "allow_microsoft_365": True,
        "registration": make_registration(),
        "reply_timeout_seconds": 20.0,
    }
    return make_settings(**(fields | changes))


@dataclass
class FakeTokens:
    """Tokens without an authority: "token-1", and the next where one was refused."""

    number: int = 1
    fresh: bool = False
    asked: int = 0

    async def token(self, settings: EffectiveSettings, resource: str) -> str:
        """The token in force."""
        assert resource == "graph"
        self.asked += 1
        return f"token-{self.number}"

    def refused(self, settings: EffectiveSettings, resource: str, token: str) -> bool:
        """Take the next, unless this one was fetched just now."""
        assert token == f"token-{self.number}"
        was_cached, self.fresh = not self.fresh, True
        self.number += 1
        return was_cached


@dataclass
class FakeDrafts:
    """What a ledger remembers of drafts; whose claim is ``lost`` may write nothing."""

    known: dict[str, Draft] = field(default_factory=dict)
    lost: bool = False
    lost_after: int | None = None

    async def find(self, job_id: str) -> Draft | None:
        """Read."""
        return self.known.get(job_id)

    async def intend(self, job_id: str, *, claim: str) -> None:
        """Note an intention."""
        self._check()
        self.known.setdefault(job_id, Draft())

    async def remember(self, job_id: str, draft: Draft, *, claim: str) -> None:
        """Note a draft."""
        self._check()
        self.known[job_id] = draft

    def _check(self) -> None:
        if self.lost_after is not None:
            self.lost = self.lost_after == 0
            self.lost_after -= 1
        if self.lost:
            raise BeginRefused("the claim is spent")


@dataclass
class GraphDesk:
    """A transport, and what it was told and has told.

    Attributes:
        begun: how often a mail has begun.
        slept: the pauses, which take no time.
        exchanges: what the transport has told of its requests.
    """

    graph: Graph | GraphProcess
    tokens: FakeTokens = field(default_factory=FakeTokens)
    drafts: FakeDrafts = field(default_factory=FakeDrafts)
    smtp: Transport | None = None
    begun: int = 0
    slept: list[float] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    refuses: BeginRefused | None = None
    on_pause: Callable[[], None] | None = None

    def settings(self, **changes: Any) -> EffectiveSettings:
        """Settings that lead to the Graph for tests."""
        registration = make_registration(graph_url=self.graph.url, ca_file=self.graph.ca_file)
        return graph_settings(**({"registration": registration} | changes))

    def deliver(self, job: Job | None = None, **more: Any) -> Transmission:
        """One attempt of a job, by a transport of its own, as after a restart."""
        return asyncio.run(self._alone(job or make_job(), **more))

    async def _alone(self, job: Job, **more: Any) -> Transmission:
        transport = self.transport()
        try:
            return await self.attempt(transport, job, **more)
        finally:
            await transport.close()

    def transport(self, places: Places | None = None) -> GraphTransport:
        """A transport."""
        client = GraphClient(self.tokens, places or Places(), tell=self.exchanges.append)
        return GraphTransport(
            client,
            self.drafts,
            smtp=self.smtp,
            observe=lambda phase, _seconds: self.phases.append(phase),
            sleep=self._sleep,
        )

    async def attempt(
        self,
        transport: GraphTransport,
        job: Job,
        *,
        attempts: int = 0,
        contents: Mapping[str, bytes | Path] | None = None,
        settings: EffectiveSettings | None = None,
        recipients: tuple[str, ...] | None = None,
    ) -> Transmission:
        """One attempt of a job."""
        settings = settings or self.settings(kind=job.kind)
        known = {key: each for key, each in (contents or {}).items() if isinstance(each, bytes)}
        if len(known) == len(contents or {}):
            mail = mime.render(job, settings, message_id=job.message_id, date=0.0, contents=known)
        else:
            mail = Mail(job.id, MAILBOX, job.recipients, b"")
        mail = Mail(
            job_id=job.id,
            sender=mail.sender,
            recipients=mail.recipients if recipients is None else recipients,
            content=mail.content,
            job=job,
            contents=contents or {},
            attempts=attempts,
            claim="claim",
        )
        return await transport.deliver(mail, settings, self._begin)

    async def _begin(self) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.begun += 1

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.on_pause is not None:
            self.on_pause()
        await asyncio.sleep(0)
