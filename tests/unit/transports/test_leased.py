"""When a connection has its place among the fleet's: never while a token is being had."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from tests.support.fake_tokens import FakeTokens
from tests.support.settings import make_settings
from tests.support.waiting import GENEROUS_SECONDS
from worker.errors import Held
from worker.outcome import HoldTarget, TargetKind
from worker.replies import Stage
from worker.transports.connect import Attempt, Connected, Connector
from worker.transports.pool import Pool
from worker.transports.transaction import Extensions

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from worker.transports.failures import Party
    from worker.transports.login import Login, TokenLogin

JANE = make_settings(
    authentication_model="oauth2",
    authorisation="required",
    transport_security="tls",
    tls_mode="implicit",
    mailbox_connections=1,
)


class Leases:
    """One place, which a test looks at."""

    def __init__(self) -> None:
        self.taken = 0
        self.out: set[str] = set()

    async def acquire(self, account: str, limit: int) -> str:
        """Give it."""
        assert len(self.out) < limit, "the fleet has no other place"
        self.taken += 1
        token = f"{account}#{self.taken}"
        self.out.add(token)
        return token

    async def release(self, token: str) -> None:
        """Take it back, as late as a ledger does."""
        await asyncio.sleep(0)
        self.out.remove(token)


class SlowTokens(FakeTokens):
    """Tokens that come when the test says so."""

    def __init__(self, *tokens: str, error: Held | None = None) -> None:
        super().__init__(*tokens, error=error)
        self.gate = asyncio.Event()

    async def token(self, settings: EffectiveSettings, resource: Literal["smtp", "graph"]) -> str:
        """Wait for it."""
        found = await super().token(settings, resource)
        await self.gate.wait()
        return found


class FakeWire:
    """A connection that stands until it is ended."""

    def __init__(self) -> None:
        self.usable = True
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quit(self) -> None:
        """End it."""
        self.closed.set_result(None)


class Server:
    """Makes attempts that connect to nothing; takes the token ``good`` alone."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self.places_at_login: list[int] = []

    def attempt(self, settings: EffectiveSettings, party: Party) -> Attempt:
        """One attempt, as the connector wants it."""
        server = self

        class Fake:
            client, stage, doing = None, Stage.CONNECT, "connecting"

            async def open(self) -> None: ...
            async def greet(self, name: str) -> None: ...
            def check_version(self) -> None: ...
            def clean_up(self) -> None: ...

            async def log_in(self, login: Login) -> None:
                server.places_at_login.append(len(server.leases.out))
                if cast("TokenLogin", login).token != "good":
                    target = HoldTarget(TargetKind.CREDENTIAL, party.credential)
                    raise Held("refused", target=target)

            def finish(self) -> Connected:
                return Connected(cast("Any", FakeWire()), Extensions.parse({}))

        return cast("Attempt", Fake())


class Bench:
    """A pool over one server, one place and the tokens of a test."""

    def __init__(self, *tokens: str, error: Held | None = None) -> None:
        self.leases = Leases()
        self.tokens = SlowTokens(*tokens, error=error)
        self.server = Server(self.leases)
        connector = Connector("us.test", tokens=self.tokens, attempt=self.server.attempt)
        self.pool = Pool(connector, leases=self.leases)

    def acquire(self) -> asyncio.Task[Any]:
        """Ask for a connection."""
        return asyncio.get_running_loop().create_task(self.pool.acquire(JANE))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something has happened."""
    async with asyncio.timeout(GENEROUS_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def test_the_token_comes_before_the_place() -> None:
    """An authority that hangs takes no place of the mailbox from the rest of the fleet."""

    async def go() -> None:
        bench = Bench("good")
        waiting = bench.acquire()
        await until(lambda: bench.tokens.asked)
        assert bench.leases.taken == 0
        bench.tokens.gate.set()
        connection = await waiting
        assert bench.server.places_at_login == [1]
        assert bench.leases.out == {connection.token}
        bench.pool.release(connection)
        await bench.pool.close()
        assert bench.leases.out == set()

    asyncio.run(go())


def test_the_place_is_given_back_while_another_token_is_had() -> None:
    """A refused token has ended its connection, so its place is another's until there is a new one."""

    async def go() -> None:
        bench = Bench("old", "good")
        bench.tokens.gate.set()
        waiting = bench.acquire()
        await until(lambda: bench.server.places_at_login)
        bench.tokens.gate.clear()
        await until(lambda: len(bench.tokens.asked) == 2)
        assert (bench.leases.taken, bench.leases.out) == (1, set())
        bench.tokens.gate.set()
        connection = await waiting
        assert bench.server.places_at_login == [1, 1]
        assert bench.leases.out == {connection.token}
        await bench.pool.close()

    asyncio.run(go())


def test_who_connects_once_more_finds_the_place_free() -> None:
    """The ledger has it back before it is asked for again, though the new token is there at once."""

    async def go() -> None:
        bench = Bench("old", "good")
        bench.tokens.gate.set()
        await bench.acquire()
        assert (bench.leases.taken, len(bench.leases.out)) == (2, 1)
        await bench.pool.close()

    asyncio.run(go())


@pytest.mark.parametrize("how", ["no token", "refused", "given up"])
def test_who_gets_no_connection_keeps_no_place(how: str) -> None:
    """Neither the place nor anything else stays with a mail that goes back."""

    async def go() -> None:
        away = Held("away", target=HoldTarget(TargetKind.SERVER, "login:443"))
        bench = Bench("bad", error=away if how == "no token" else None)
        if how != "given up":
            bench.tokens.gate.set()
        waiting = bench.acquire()
        if how == "given up":
            await until(lambda: bench.tokens.asked)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError if how == "given up" else Held):
            await waiting
        await bench.pool.close()
        assert bench.leases.out == set()
        assert bench.leases.taken == (1 if how == "refused" else 0)
        assert bench.pool.stats() == {}

    asyncio.run(go())
