"""What becomes of a token that a server refuses: replaced once, for all who used it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.fake_sources import JANE, JOHN, FakeSources, fails
from worker.auth.session import Busy
from worker.auth.tokens import JUST_FETCHED_SECONDS, REMEMBERED_SECONDS

if TYPE_CHECKING:
    from worker.errors import Held


def test_a_refused_token_is_replaced_once() -> None:
    """One that was had a while ago may have been withdrawn; a new one that is refused was not."""
    sources = FakeSources()

    async def go() -> None:
        async with sources.tokens() as tokens:
            await tokens.token(JANE, "smtp")
            sources.now += JUST_FETCHED_SECONDS
            assert tokens.refused(JANE, "smtp", "token-1")
            assert await tokens.token(JANE, "smtp") == "token-2"
            assert not tokens.refused(JANE, "smtp", "token-2")
            assert await tokens.token(JANE, "smtp") == "token-2"

    asyncio.run(go())
    assert [known for _, known in sources.asked] == ["", "token-1"]


def test_a_token_that_somebody_else_had_fetched_counts_as_old() -> None:
    """What another worker left in the ledger may be refused, and is then replaced at once."""
    sources = FakeSources(is_new=False)

    async def go() -> str:
        async with sources.tokens() as tokens:
            await tokens.token(JANE, "smtp")
            assert tokens.refused(JANE, "smtp", "token-1")
            return await tokens.token(JANE, "smtp")

    assert asyncio.run(go()) == "token-2"


def test_everybody_with_the_withdrawn_token_gets_one_more_try() -> None:
    """Two mailboxes were refused with the same old token: one request, and a try for each."""
    sources = FakeSources()

    async def go() -> None:
        async with sources.tokens() as tokens:
            for each in (JANE, JOHN):
                await tokens.token(each, "smtp")
            sources.now += JUST_FETCHED_SECONDS
            assert tokens.refused(JANE, "smtp", "token-1")
            assert await tokens.token(JANE, "smtp") == "token-2"
            assert tokens.refused(JOHN, "smtp", "token-1")
            assert await tokens.token(JOHN, "smtp") == "token-2"
            assert not tokens.refused(JOHN, "smtp", "token-2")

    asyncio.run(go())
    assert len(sources.asked) == 2


def test_two_requests_of_one_mailbox_get_one_more_try_each() -> None:
    """The second comes back with the old token when the first has the new one already."""
    sources = FakeSources()

    async def go() -> None:
        async with sources.tokens() as tokens:
            await tokens.token(JANE, "graph")
            sources.now += JUST_FETCHED_SECONDS
            assert tokens.refused(JANE, "graph", "token-1")
            assert await tokens.token(JANE, "graph") == "token-2"
            assert tokens.refused(JANE, "graph", "token-1")
            assert await tokens.token(JANE, "graph") == "token-2"

    asyncio.run(go())
    assert len(sources.asked) == 2


def test_one_mailbox_that_is_refused_takes_the_token_from_no_other() -> None:
    """The authority is away: the mailbox alone is held, and all others go on with the old token."""
    sources = FakeSources()

    async def go() -> Held:
        async with sources.tokens() as tokens:
            for each in (JANE, JOHN):
                await tokens.token(each, "smtp")
            sources.now += JUST_FETCHED_SECONDS
            sources.failures = [Busy(503, 30.0)]
            assert tokens.refused(JANE, "smtp", "token-1")
            held = await fails(tokens)
            assert await tokens.token(JOHN, "smtp") == "token-1"
            sources.now += REMEMBERED_SECONDS
            assert await tokens.token(JANE, "smtp") == "token-3"
            assert await tokens.token(JOHN, "smtp") == "token-3"
            return held

    held = asyncio.run(go())
    assert str(held.target) == f"credential:{JANE.credential}"
    assert held.retry_after_seconds == 30.0
    assert "HTTP 503" in held.reason


def test_the_same_token_again_is_not_asked_for_each_time() -> None:
    """Azure gives a machine the token that it has: it counts as new, and is not fetched for each mail."""
    sources = FakeSources(is_new=False, same=True)

    async def go() -> None:
        async with sources.tokens() as tokens:
            await tokens.token(JANE, "smtp")
            assert tokens.refused(JANE, "smtp", "token-1")
            for _ in range(3):
                assert await tokens.token(JANE, "smtp") == "token-1"

    asyncio.run(go())
    assert len(sources.asked) == 2
