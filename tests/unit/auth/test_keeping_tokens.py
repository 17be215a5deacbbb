"""Tokens in use: one request for all who ask, renewal beside them, and failures shared."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.fake_sources import JANE, JOHN, FakeSources, fails, until
from tests.support.registrations import app
from tests.support.tokens import oauth_settings
from worker.auth.failures import Refusal, SignedOut
from worker.auth.grants import Fetched
from worker.auth.session import Busy
from worker.errors import Held, LedgerUnavailable

if TYPE_CHECKING:
    from worker.auth.asking import Asking


def test_a_hundred_at_once_make_one_request() -> None:
    """All jobs of all mailboxes of an app share one request, and later ones its token."""
    sources = FakeSources()

    async def go() -> set[str]:
        async with sources.tokens() as tokens:
            sources.gate.clear()
            every = [
                asyncio.ensure_future(tokens.token(oauth_settings(app(), f"u{i}"), "smtp"))
                for i in range(100)
            ]
            await until(lambda: sources.asked)
            sources.gate.set()
            return {*await asyncio.gather(*every), await tokens.token(JOHN, "smtp")}

    assert asyncio.run(go()) == {"token-1"}
    assert (len(sources.asked), sources.loads) == (1, 1)
    assert sources.ends == [("_app/app-1", "smtp")]


def test_a_hundred_share_one_failure() -> None:
    """One expired secret is one request and one hold, also for those who ask a moment later."""
    sources = FakeSources(failures=[Refusal({"error": "invalid_client"})])

    async def go() -> set[str]:
        async with sources.tokens() as tokens:
            every = [
                asyncio.ensure_future(fails(tokens, oauth_settings(app(), f"u{i}")))
                for i in range(100)
            ]
            targets = {str(each.target) for each in await asyncio.gather(*every)}
            return targets | {str((await fails(tokens)).target)}

    assert asyncio.run(go()) == {f"credential:{app().key}"}
    assert len(sources.asked) == 1
    assert sources.failed == [(app().label, "smtp")]
    assert sources.ends == []


def test_the_first_probe_asks_again() -> None:
    """A failure is remembered for less time than a hold waits for its first probe."""
    sources = FakeSources(failures=[Refusal({"error": "invalid_client"})])

    async def go() -> str:
        async with sources.tokens() as tokens:
            await fails(tokens)
            sources.now += 5
            return await tokens.token(JANE, "smtp")

    assert asyncio.run(go()) == "token-2"


def test_who_signs_in_does_not_wait() -> None:
    """An account's failure answers for nobody later: its person may have signed in since."""
    sources = FakeSources(failures=[SignedOut("nobody has signed in")])
    settings = oauth_settings(app(grant="device-code"))

    async def go() -> str:
        async with sources.tokens() as tokens:
            await fails(tokens, settings)
            return await tokens.token(settings, "smtp")

    assert asyncio.run(go()) == "token-2"


def test_a_changed_secret_is_tried_at_once() -> None:
    """It is another registration: what failed with the old one is not remembered against it."""
    sources = FakeSources(failures=[Refusal({"error": "invalid_client"})])
    rotated = oauth_settings(app(client_id="app-2"))

    async def go() -> str:
        async with sources.tokens() as tokens:
            await fails(tokens)
            return await tokens.token(rotated, "smtp")

    assert asyncio.run(go()) == "token-2"


def test_an_app_asks_for_one_thing_at_a_time() -> None:
    """A token for SMTP and one for Graph are two requests, one after the other."""
    sources = FakeSources()

    async def go() -> set[str]:
        async with sources.tokens() as tokens:
            sources.gate.clear()
            both = asyncio.gather(tokens.token(JANE, "smtp"), tokens.token(JANE, "graph"))
            await until(lambda: sources.asked)
            sources.gate.set()
            return set(await both)

    assert asyncio.run(go()) == {"token-1", "token-2"}
    assert sources.most_at_once == 1


@pytest.mark.parametrize(
    ("lifetime", "wish", "renewed_after"),
    [
        (3600.0, None, 2700.0),  # a quarter of an hour before its end
        (86400.0, 43200.0, 43200.0),  # when the authority wishes it
        (600.0, None, 300.0),  # a short one at half its life
    ],
)
def test_a_token_in_use_is_renewed_beside_it(
    lifetime: float, wish: float | None, renewed_after: float
) -> None:
    """Nobody waits for the new one: the old one is handed out until it is there."""
    sources = FakeSources(lifetime_seconds=lifetime, renew_after_seconds=wish)

    async def go() -> None:
        async with sources.tokens() as tokens:
            assert await tokens.token(JANE, "smtp") == "token-1"
            sources.now += renewed_after - 1
            assert await tokens.token(JANE, "smtp") == "token-1"
            assert len(sources.asked) == 1
            sources.now += 1
            sources.gate.clear()
            assert [await tokens.token(JANE, "smtp") for _ in range(3)] == ["token-1"] * 3
            await until(lambda: len(sources.asked) == 2)
            sources.gate.set()
            await until(lambda: len(sources.ends) == 2)
            assert await tokens.token(JANE, "smtp") == "token-2"

    asyncio.run(go())
    assert sources.asked[1][1] == "token-1"  # a person's cache must not give the old one back


def test_a_token_that_is_nearly_over_is_not_asked_for_without_end() -> None:
    """Azure gives a machine the token that it has until late: half a minute lies between requests."""
    sources = FakeSources(lifetime_seconds=40.0)

    async def go() -> None:
        async with sources.tokens() as tokens:
            for _ in range(29):
                await tokens.token(JANE, "smtp")
                sources.now += 1
            assert not tokens._flights

    asyncio.run(go())
    assert len(sources.asked) == 1


def test_the_old_token_serves_while_the_authority_is_away() -> None:
    """A renewal that fails rests for half a minute, and holds nothing until the token has ended."""
    sources = FakeSources()

    async def go() -> Held:
        async with sources.tokens() as tokens:
            await tokens.token(JANE, "smtp")
            sources.now += 2700
            for asked in (2, 3):
                sources.failures = [Busy(503, None)]
                assert await tokens.token(JANE, "smtp") == "token-1"
                await until(lambda: not sources.failures)
                await until(lambda: not tokens._flights)
                assert await tokens.token(JANE, "smtp") == "token-1"
                assert len(sources.asked) == asked
                sources.now += 31
            sources.now += 900
            sources.failures = [Busy(503, 60.0)]
            return await fails(tokens)

    last = asyncio.run(go())
    assert str(last.target) == "server:login.microsoftonline.com:443"
    assert last.retry_after_seconds == 60.0


def test_a_renewal_waits_as_long_as_the_authority_asks() -> None:
    """Retry-After holds for renewals in the background too."""
    sources = FakeSources()

    async def go() -> None:
        async with sources.tokens() as tokens:
            await tokens.token(JANE, "smtp")
            sources.now += 2700
            sources.failures = [Busy(429, 300.0)]
            await tokens.token(JANE, "smtp")
            await until(lambda: not sources.failures and not tokens._flights)
            sources.now += 299
            await tokens.token(JANE, "smtp")
            assert not tokens._flights
            sources.now += 2
            await tokens.token(JANE, "smtp")
            await until(lambda: len(sources.asked) == 3)

    asyncio.run(go())


def test_a_delivery_that_is_given_up_takes_no_other_along() -> None:
    """The request goes on for those who still wait."""
    sources = FakeSources()

    async def go() -> str:
        async with sources.tokens() as tokens:
            sources.gate.clear()
            first, second = (asyncio.ensure_future(tokens.token(JANE, "smtp")) for _ in "ab")
            await until(lambda: sources.asked)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            sources.gate.set()
            return await second

    assert asyncio.run(go()) == "token-1"
    assert len(sources.asked) == 1


def test_an_authority_that_hangs_is_held() -> None:
    """A delivery waits for a bounded time, and the next one for the same request."""
    sources = FakeSources()

    async def go() -> list[Held]:
        async with sources.tokens(patience_seconds=0.01) as tokens:
            sources.gate.clear()
            return [await fails(tokens) for _ in range(3)]

    for each in asyncio.run(go()):
        assert str(each.target) == "server:login.microsoftonline.com:443"
        assert "gave no token for SMTP within 0.01 s" in each.reason
    assert len(sources.asked) == 1


def test_an_authority_that_hangs_keeps_no_other_waiting() -> None:
    """However many applications wait for one, another one's has a thread to be asked in."""

    class HalfDead(FakeSources):
        def fetch(self, asking: Asking, other_than: str) -> Fetched:
            if asking.registration.cloud == "global":
                return Fetched("token", self.lifetime_seconds)
            return super().fetch(asking, other_than)

    sources = HalfDead()

    async def go() -> str:
        async with sources.tokens() as tokens:
            sources.gate.clear()
            dead = [
                asyncio.ensure_future(
                    tokens.token(oauth_settings(app("custom", client_id=f"dead-{i}")), "smtp")
                )
                for i in range(64)
            ]
            await until(lambda: sources.asked)
            found = await tokens.token(JANE, "smtp")
            sources.gate.set()
            await asyncio.gather(*dead)
            return found

    assert asyncio.run(go()) == "token"
    assert len(sources.asked) == 64


def test_a_ledger_that_is_away_is_no_failure_of_the_account() -> None:
    """It goes through as what it is, and is not remembered."""
    sources = FakeSources(failures=[LedgerUnavailable("away")])

    async def go() -> str:
        async with sources.tokens() as tokens:
            with pytest.raises(LedgerUnavailable):
                await tokens.token(JANE, "smtp")
            return await tokens.token(JANE, "smtp")

    assert asyncio.run(go()) == "token-2"


def test_closing_ends_what_is_under_way() -> None:
    """A worker that stops waits for no authority."""
    sources = FakeSources()

    async def go() -> object:
        async with sources.tokens() as tokens:
            sources.gate.clear()
            waiting = asyncio.ensure_future(tokens.token(JANE, "smtp"))
            await until(lambda: sources.asked)
            await tokens.close()
            return (await asyncio.gather(waiting, return_exceptions=True))[0]

    assert isinstance(asyncio.run(go()), asyncio.CancelledError)
