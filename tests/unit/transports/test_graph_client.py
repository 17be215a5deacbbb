"""How requests to Graph are made, without a network: what a response may leave behind, and how it is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.graph_desk import FakeTokens, graph_settings
from worker.errors import Held
from worker.transports.graph_client import GraphClient
from worker.transports.graph_mailbox import GraphMailbox
from worker.transports.graph_replies import Operation
from worker.transports.graph_request import Ask
from worker.transports.places import Places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUSY = b'{"error":{"code":"serviceNotAvailable","innerError":{"code":"ErrorServerBusy"}}}'


def test_a_503_that_comes_in_pieces_is_read_whole() -> None:
    """Its inner code says that one mailbox is busy: not the server, which all others need."""

    async def pieces() -> AsyncIterator[bytes]:
        yield BUSY[:20]
        yield BUSY[20:]

    async def story() -> None:
        answer = httpx.MockTransport(lambda _: httpx.Response(503, content=pieces()))
        client = GraphClient(
            FakeTokens(), Places(), http=lambda _: httpx.AsyncClient(transport=answer)
        )
        try:
            await GraphMailbox(client, graph_settings(), "job").find()
        finally:
            await client.close()

    with pytest.raises(Held) as caught:
        asyncio.run(story())
    assert str(caught.value.target) == "account:acme/jane"


def test_no_cookie_goes_from_one_mailbox_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """All accounts share the connections to Graph, and nothing else; nor do cookies pile up."""
    sent: list[str | None] = []

    async def answer(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        return httpx.Response(200, json={"value": []}, headers={"Set-Cookie": "who=jane; Path=/"})

    async def story() -> None:
        client = GraphClient(FakeTokens(), Places())
        try:
            for user in ("jane", "joe"):
                settings = graph_settings(user=user, address=f"{user}@acme.example")
                await GraphMailbox(client, settings, "job").find()
        finally:
            await client.close()

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    asyncio.run(story())
    assert sent == [None, None]


def test_the_address_of_an_upload_stands_in_no_repr() -> None:
    """Whoever has it may write to the draft: it is a permission of its own."""
    ask = Ask(Operation.UPLOAD, graph_settings(), "job", "PUT", url="https://up.example/?auth=abc")
    assert "abc" not in repr(ask)
