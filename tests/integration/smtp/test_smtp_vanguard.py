"""Many mails at once through an account that has no connection yet."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from tests.support.deliveries import deliver, run
from tests.support.settings import make_settings
from tests.support.smtpd import Delay, SmtpServer
from worker.errors import AttemptError, Held
from worker.outcome import TargetKind, Transmission
from worker.transports.smtp import SmtpTransport

MAILS = 50


@pytest.mark.parametrize(("password", "accepted"), [("right", MAILS), ("wrong", 0)])
def test_one_login_is_tried_before_all_others(loop_kind: str, password: str, accepted: int) -> None:
    """A wrong password is refused once, whoever wants it; a right one opens the way for all."""
    with SmtpServer(users={"jane": "right"}, auth_in_clear=True) as server:
        server.on("auth", Delay(0.05))
        server.on("dot", Delay(0.02))
        settings = make_settings(
            port=server.port,
            authorisation="required",
            allow_cleartext_password=True,
            username="jane",
            password=SecretStr(password),
        )

        async def all_at_once() -> list[Transmission | BaseException]:
            transport = SmtpTransport()
            try:
                return await asyncio.gather(
                    *(deliver(transport, settings) for _ in range(MAILS)), return_exceptions=True
                )
            finally:
                await transport.close()

        outcomes = run(loop_kind, all_at_once())
        assert sum(isinstance(each, Transmission) for each in outcomes) == accepted
        failures = [each for each in outcomes if isinstance(each, AttemptError)]
        assert {type(each) for each in failures} <= {Held}
        assert {each.target.kind for each in failures if isinstance(each, Held)} <= {
            TargetKind.CREDENTIAL
        }
        if accepted:
            assert len(server.sessions) > 1
        else:
            assert len(server.sessions) == 1


def test_a_mail_that_waits_behind_a_hanging_connection_names_the_server(loop_kind: str) -> None:
    """Whoever waited for the first connection fails with its reason, not with one of its own."""
    with SmtpServer() as server:
        server.on("connect", Delay(30.0))
        settings = make_settings(port=server.port, connection_timeout_ms=1000)

        async def all_at_once() -> list[Transmission | BaseException]:
            transport = SmtpTransport()
            return await asyncio.gather(
                *(deliver(transport, settings) for _ in range(MAILS)), return_exceptions=True
            )

        outcomes = run(loop_kind, all_at_once())
        (reason,) = {str(each) for each in outcomes}
        assert "no answer within 1000 ms while waiting for its greeting" in reason
        assert len(server.sessions) == 1
