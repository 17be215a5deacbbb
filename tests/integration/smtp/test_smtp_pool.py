"""Kept connections: used again, checked, bounded, closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.deliveries import Begun, deliver, run
from tests.support.settings import make_settings
from tests.support.smtpd import Delay, Drop, Silence, SmtpServer
from worker.errors import BeginRefused, Held
from worker.outcome import HoldTarget, TargetKind
from worker.transports.connection import Bounds
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from config.effective import EffectiveSettings


async def settle(server: SmtpServer, open_sessions: int) -> None:
    """Wait until the server sees that many connections."""
    await asyncio.to_thread(server.wait_until, lambda: len(server.open_sessions) == open_sessions)


def test_mails_share_a_connection(loop_kind: str, server: SmtpServer) -> None:
    """One mail after another goes over one connection, which QUIT ends."""

    async def main() -> None:
        transport = SmtpTransport()
        settings = make_settings(port=server.port)
        for _ in range(20):
            await deliver(transport, settings)
        assert transport.stats() == {(settings.server, "idle"): 1, (settings.server, "busy"): 0}
        await transport.close()
        await transport.close()
        assert transport.stats() == {}

    run(loop_kind, main())
    assert len(server.sessions) == 1
    assert server.sessions[0].transcript[-2:] == ["C: QUIT", "S: 221 2.0.0 Bye"]
    assert server.violations == []


def test_accounts_share_none(server: SmtpServer) -> None:
    """Another account, or another password of the same one, has its own connection."""

    async def main() -> None:
        transport = SmtpTransport()
        for user in ("jane", "bob"):
            await deliver(transport, make_settings(port=server.port, user=user))
        await deliver(transport, make_settings(port=server.port, username="other"))
        await transport.close()

    run("asyncio", main())
    assert len(server.sessions) == 3


@pytest.mark.parametrize("how", ["closed", "421"])
def test_ended_connection_is_found_out_without_a_round_trip(
    loop_kind: str, server: SmtpServer, how: str
) -> None:
    """A kept connection that the server has closed, or told to go, is not used again."""

    async def main() -> None:
        transport = SmtpTransport()
        settings = make_settings(port=server.port)
        await deliver(transport, settings)
        if how == "closed":
            server.drop_all()
            await settle(server, 0)
        else:
            server.say_to_all("421 4.4.2 idle too long")
        await asyncio.sleep(0.05)
        await deliver(transport, settings)
        await transport.close()

    run(loop_kind, main())
    assert len(server.sessions) == 2
    assert "C: NOOP" not in server.sessions[0].transcript


@pytest.mark.parametrize("pipelining", [True, False])
def test_dead_connection_is_tried_again_on_another(loop_kind: str, pipelining: bool) -> None:
    """A kept connection that ends at MAIL without a word costs nothing: begun once, sent once."""
    with SmtpServer(extensions=("PIPELINING",) if pipelining else ()) as server:

        async def main() -> None:
            transport = SmtpTransport()
            settings = make_settings(port=server.port)
            await deliver(transport, settings)
            server.on("mail", Drop(), times=1)
            begin = Begun()
            await deliver(transport, settings, begin=begin)
            assert begin.count == 1
            server.on("mail", Drop())
            with pytest.raises(Held):
                await deliver(transport, settings)
            await transport.close()

        run(loop_kind, main())
        assert len(server.mails) == 2


def test_long_idle_connection_is_asked_first(loop_kind: str, server: SmtpServer) -> None:
    """After the idle seconds a NOOP asks; a refusal or silence costs a new connection."""

    async def main() -> None:
        transport = SmtpTransport(bounds=Bounds(noop_after_seconds=0.0))
        settings = make_settings(port=server.port)
        await deliver(transport, settings)
        await deliver(transport, settings)
        assert len(server.sessions) == 1
        server.on("noop", "421 4.4.2 bye", times=1)
        await deliver(transport, settings)
        server.on("noop", Drop(), times=1)
        await deliver(transport, settings)
        await transport.close()

    run(loop_kind, main())
    assert "C: NOOP" in server.sessions[0].transcript
    assert len(server.sessions) == 3


def test_old_and_idle_connections_are_closed(loop_kind: str, server: SmtpServer) -> None:
    """Age ends a connection at its return, idleness ends it by itself."""

    async def main() -> None:
        aged = SmtpTransport(bounds=Bounds(age_seconds=0.0))
        settings = make_settings(port=server.port)
        await deliver(aged, settings)
        await settle(server, 0)
        idle = SmtpTransport(bounds=Bounds(idle_seconds=0.2))
        await deliver(idle, settings)
        assert idle.stats()
        await asyncio.to_thread(server.wait_until, lambda: not idle.stats())
        await aged.close()
        await idle.close()

    run(loop_kind, main())
    server.wait_until(lambda: not server.open_sessions)
    assert all("C: QUIT" in session.transcript for session in server.sessions)


@pytest.mark.parametrize("bounds", [Bounds(per_account=3), Bounds(per_server=3)])
def test_bounds_are_kept_and_all_mails_arrive(
    loop_kind: str, server: SmtpServer, bounds: Bounds
) -> None:
    """Forty mails at once use three connections, and every one arrives."""

    async def main() -> None:
        transport = SmtpTransport(bounds=bounds)
        settings = make_settings(port=server.port)
        await asyncio.gather(*(deliver(transport, settings) for _ in range(40)))
        await transport.close()

    run(loop_kind, main())
    assert len(server.sessions) == 3
    assert len(server.mails) == 40


def test_full_server_gives_up_another_accounts_idle_connection(server: SmtpServer) -> None:
    """At the server's bound, what is idle makes room for who has work."""

    async def main() -> None:
        transport = SmtpTransport(bounds=Bounds(per_server=2))
        for user in ("a", "b", "c", "d"):
            await deliver(transport, make_settings(port=server.port, user=user))
        assert sum(transport.stats().values()) <= 2
        await transport.close()

    run("asyncio", main())
    assert len(server.mails) == 4


def test_waiting_for_a_connection_has_an_end(server: SmtpServer) -> None:
    """When every connection stays busy the mail is put back, its account held for a moment."""
    server.on("dot", Silence())

    async def main() -> None:
        transport = SmtpTransport(bounds=Bounds(per_account=1))
        settings = make_settings(port=server.port, connection_timeout_ms=200)
        first = asyncio.create_task(deliver(transport, settings))
        await asyncio.sleep(0.05)
        with pytest.raises(Held, match="busy for 200 ms") as caught:
            await deliver(transport, settings)
        assert caught.value.target.kind is TargetKind.ACCOUNT
        first.cancel()
        await asyncio.wait([first])
        assert first.exception() is not None
        await transport.close()

    run("asyncio", main())


def test_cancelled_waiter_passes_its_turn_on(server: SmtpServer) -> None:
    """A waiter that goes away, even when its turn has come, keeps nobody else waiting."""
    server.on("dot", Delay(0.05))

    async def main() -> None:
        transport = SmtpTransport(bounds=Bounds(per_account=1))
        settings = make_settings(port=server.port)
        tasks = [asyncio.create_task(deliver(transport, settings)) for _ in range(8)]
        await asyncio.sleep(0.02)
        for task in tasks[1:7:2]:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks].count(True) == 3
        await transport.close()

    run("asyncio", main())
    assert len(server.mails) == 5


def test_server_that_refuses_one_more_teaches_a_bound(server: SmtpServer) -> None:
    """When further connections are refused, the mails share those that stand; nothing is held."""
    server.on("dot", Delay(0.02))

    async def main() -> None:
        transport = SmtpTransport()
        settings = make_settings(port=server.port)
        await asyncio.gather(*(deliver(transport, settings) for _ in range(2)))
        server.on("connect", "421 4.7.0 too many connections")
        await asyncio.gather(*(deliver(transport, settings) for _ in range(20)))
        await transport.close()

    run("asyncio", main())
    assert len(server.mails) == 22
    assert len(server.sessions) <= 2 + 18


class Leases:
    """A cap over two connections, as the ledger keeps it."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.most = 0
        self.count = 0

    async def acquire(self, account: str, limit: int) -> str:
        """Give a token, or say that the cap is reached."""
        if len(self.held) >= limit:
            raise Held("cap", target=HoldTarget(TargetKind.SCOPE, f"conn:{account}"))
        self.count += 1
        token = f"{account}#{self.count}"
        self.held.add(token)
        self.most = max(self.most, len(self.held))
        return token

    async def release(self, token: str) -> None:
        """Take the token back."""
        self.held.remove(token)


def test_leases_cover_each_connections_life(loop_kind: str, server: SmtpServer) -> None:
    """With mailbox_connections a token is held from before connecting until after the end."""

    async def main() -> None:
        leases = Leases()
        leases.held.add("another process")
        transport = SmtpTransport(leases=leases, bounds=Bounds(leased_idle_seconds=0.1))
        settings = make_settings(port=server.port, mailbox_connections=3)
        await asyncio.gather(*(deliver(transport, settings) for _ in range(12)))
        assert leases.most == 3
        await settle(server, 0)
        await asyncio.sleep(0.05)
        assert leases.held == {"another process"}
        leases.held |= {"b", "c"}
        with pytest.raises(Held) as caught:
            await deliver(transport, settings)
        assert str(caught.value.target) == "scope:conn:acme/jane"
        leases.held -= {"b", "c"}
        server.on("connect", "554 no")
        with pytest.raises(Held):
            await deliver(transport, settings)
        await asyncio.sleep(0.01)
        assert leases.held == {"another process"}
        await transport.close()

    run(loop_kind, main())
    assert len(server.mails) == 12


def test_lead_time_is_learned(loop_kind: str, server: SmtpServer) -> None:
    """Warm and cold starts are measured per server; before that there are sensible values."""

    async def main() -> None:
        phases: list[str] = []
        transport = SmtpTransport(observe=lambda phase, seconds: phases.append(phase))
        settings: EffectiveSettings = make_settings(port=server.port)
        assert transport.lead_seconds(settings) == 1.0
        await deliver(transport, settings, begin=Begun(seconds=0.3))
        assert transport.lead_seconds(settings) == 0.05
        await deliver(transport, settings, begin=Begun(seconds=0.3))
        assert transport.lead_seconds(settings) != 0.05
        assert phases == ["connect", "preface", "data", "preface", "data"]
        await transport.close()
        assert transport.lead_seconds(settings) != 1.0

    run(loop_kind, main())


def test_closing_wakes_who_waits_and_lets_the_busy_finish(server: SmtpServer) -> None:
    """After close nothing new starts; the mail under way ends, and then its connection."""
    server.on("dot", Delay(0.1))

    async def main() -> None:
        transport = SmtpTransport(bounds=Bounds(per_account=1))
        settings = make_settings(port=server.port)
        first = asyncio.create_task(deliver(transport, settings))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(deliver(transport, settings))
        await asyncio.sleep(0.01)
        await transport.close()
        with pytest.raises(BeginRefused, match="stopping"):
            await second
        with pytest.raises(BeginRefused, match="stopping"):
            await deliver(transport, settings)
        assert (await first).reply is not None
        await settle(server, 0)

    run("asyncio", main())
