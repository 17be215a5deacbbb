"""The ways of one process as a worker has them: who looks in Sent Items, and that all is closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.support.graph_desk import make_registration
from tests.support.jobs import make_job
from worker.errors import Deferred
from worker.transports.base import Mail
from worker.transports.opening import Transports

if TYPE_CHECKING:
    from tests.support.graph_desk import GraphDesk
    from tests.support.graphd import Graph
    from worker.outcome import Transmission

ONE_CLICK = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


class Leases:
    """Places without a ledger, and how many are out."""

    def __init__(self) -> None:
        self.out: set[str] = set()
        self._taken = 0

    async def take(self, scope: str, limit: int) -> str | None:
        """Take one."""
        del limit
        self._taken += 1
        token = f"{scope}#{self._taken}"
        self.out.add(token)
        return token

    async def release(self, token: str) -> None:
        """Give it back."""
        self.out.discard(token)


def again(desk: GraphDesk, leases: Leases, way: str, **changes: Any) -> Transmission:
    """A further attempt of the desk's job, which SMTP shall carry."""
    job = make_job(headers=ONE_CLICK)
    settings = desk.settings(
        **({"on_unknown": "verify", "server_address": "127.0.0.1", "port": 1} | changes)
    )
    mail = Mail(job.id, "jane@acme.example", job.recipients, b"", job=job, attempts=1)

    async def begin() -> None:
        raise AssertionError("it must not be sent")

    async def story() -> Transmission:
        ways = Transports(cast("Any", None), desk.tokens, cast("Any", leases), lambda: True)
        try:
            return await ways.by_name[way].deliver(mail, settings, begin)
        finally:
            await ways.close()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("way", "changes"),
    [("smtp", {"transport": "smtp"}), ("microsoft-365", {"uncarried": "smtp"})],
    ids=["smtp", "what-graph-cannot-carry"],
)
def test_what_smtp_may_have_sent_is_looked_for_first(
    desk: GraphDesk, graph: Graph, way: str, changes: dict[str, Any]
) -> None:
    """With "verify", whichever way led to SMTP; afterwards every place is given back."""
    leases = Leases()
    desk.deliver()
    assert again(desk, leases, way, **changes).earlier
    assert [seen.operation for seen in graph.requests] == ["create", "send", "list"]
    assert leases.out == set()


def test_a_graph_that_cannot_be_asked_is_named(desk: GraphDesk, graph: Graph) -> None:
    """The look goes to Graph: its trouble is not said of the SMTP server."""
    gone = make_registration(graph_url="https://127.0.0.1:9")
    with pytest.raises(Deferred, match=r"could look in Sent Items: 127\.0\.0\.1:9: no connection"):
        again(desk, Leases(), "smtp", transport="smtp", registration=gone)
    assert graph.requests == []
