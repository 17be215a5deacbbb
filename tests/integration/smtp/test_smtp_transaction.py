"""The mail transaction against a server that misbehaves: what is sent, and what is made of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.deliveries import CONTENT, Begun, deliver, make_mail, run
from tests.support.settings import make_settings
from tests.support.smtpd import EXTENSIONS, Delay, Drop, Raw, Silence, SmtpServer
from worker.errors import AttemptError, BeginRefused, Deferred, Held, Rejected, Unknown
from worker.outcome import HoldTarget, RecipientState, TargetKind
from worker.transports.smtp import SmtpTransport
from worker.transports.transaction import Timeouts

if TYPE_CHECKING:
    from worker.outcome import Transmission
    from worker.transports.base import Mail

QUICK = Timeouts(
    mail_seconds=0.3, rcpt_seconds=0.3, data_seconds=0.3, block_seconds=0.3, content_seconds=0.3
)
WITHOUT_PIPELINING = tuple(item for item in EXTENSIONS if item != "PIPELINING")


async def attempt(
    server: SmtpServer, mail: Mail | None = None, begin: Begun | None = None
) -> Transmission:
    """One mail over a new transport with short time-outs."""
    transport = SmtpTransport(timeouts=QUICK)
    try:
        return await deliver(transport, make_settings(port=server.port), mail=mail, begin=begin)
    finally:
        await transport.close()


def failed(
    loop_kind: str, server: SmtpServer, mail: Mail | None = None, begin: Begun | None = None
) -> AttemptError:
    """The error that one attempt ends with."""
    with pytest.raises(AttemptError) as caught:
        run(loop_kind, attempt(server, mail, begin))
    return caught.value


@pytest.mark.parametrize("extensions", [EXTENSIONS, WITHOUT_PIPELINING, ()])
def test_mail_arrives_byte_for_byte(loop_kind: str, extensions: tuple[str, ...]) -> None:
    """With or without pipelining the content arrives as it was, dots included, begun once."""
    content = b".first\r\n..\r\n.\r\n\r\nlast line without dot\r\n."
    with SmtpServer(extensions=extensions) as server:
        begin = Begun()
        mail = make_mail("bob@example.nz", "eve@example.nz", content=content + b"\r\n")
        transmission = run(loop_kind, attempt(server, mail, begin))
        assert transmission.reply is not None
        assert transmission.reply.code == 250
        assert [r.state for r in transmission.recipients] == [RecipientState.ACCEPTED] * 2
        assert server.mails[0].content == content + b"\r\n"
        assert server.mails[0].recipients == ["bob@example.nz", "eve@example.nz"]
        assert begin.count == 1
        assert server.violations == []


def test_a_worker_that_stood_still_does_not_end_the_mail(
    loop_kind: str, server: SmtpServer
) -> None:
    """Its slot may be another's by now: no final dot, so that no server accepts it; it is deferred."""

    async def scenario() -> None:
        transport = SmtpTransport(timeouts=QUICK, may_end=lambda: False)
        try:
            await deliver(transport, make_settings(port=server.port))
        finally:
            await transport.close()

    with pytest.raises(Deferred, match="stood still for too long in the middle of the mail"):
        run(loop_kind, scenario())
    assert server.mails == []


def test_large_mail_waits_for_a_slow_reader(loop_kind: str, server: SmtpServer) -> None:
    """Eight megabytes leave in blocks, under flow control, and arrive whole."""
    content = b"Subject: big\r\n\r\n" + b"0123456789" * 7 + b"\r\n"
    content += (b"." * 70 + b"\r\n") * 110_000
    run(loop_kind, attempt(server, make_mail(content=content)))
    assert server.mails[0].content == content


@pytest.mark.parametrize("extensions", [EXTENSIONS, WITHOUT_PIPELINING])
def test_partial_refusal_is_told_per_recipient(loop_kind: str, extensions: tuple[str, ...]) -> None:
    """One recipient accepted, one deferred, one refused: the mail goes to the first."""
    with SmtpServer(extensions=extensions) as server:
        server.on("rcpt", "450 4.2.1 mailbox busy", when="eve@")
        server.on("rcpt", "550 5.1.1 <mallory@example.nz>: unknown", when="mallory@")
        mail = make_mail("bob@example.nz", "eve@example.nz", "mallory@example.nz")
        transmission = run(loop_kind, attempt(server, mail))
        states = [r.state for r in transmission.recipients]
        assert states == [
            RecipientState.ACCEPTED,
            RecipientState.DEFERRED,
            RecipientState.REFUSED,
        ]
        assert server.mails[0].recipients == ["bob@example.nz"]


@pytest.mark.parametrize("extensions", [EXTENSIONS, WITHOUT_PIPELINING])
@pytest.mark.parametrize("data", [None, "354 go on", "554 5.5.1 no valid recipients"])
def test_nobody_accepted_sends_nothing(
    loop_kind: str, extensions: tuple[str, ...], data: str | None
) -> None:
    """With all recipients refused nothing begins and no byte leaves, whatever DATA came to."""
    with SmtpServer(extensions=extensions) as server:
        server.on("rcpt", "550 5.1.1 unknown")
        if data is not None:
            server.on("data", data)
        begin = Begun()
        transmission = run(loop_kind, attempt(server, begin=begin))
        assert transmission.reply is None
        assert [r.state for r in transmission.recipients] == [RecipientState.REFUSED]
        assert begin.count == 0
        assert server.sessions[0].content_bytes == 0


def test_connection_is_used_again_after_refused_recipients(
    loop_kind: str, server: SmtpServer
) -> None:
    """A transaction left open is reset in front of the next one, on the same connection."""
    server.on("rcpt", "550 5.1.1 unknown", times=1)

    async def main() -> None:
        transport = SmtpTransport()
        settings = make_settings(port=server.port)
        assert (await deliver(transport, settings)).reply is None
        assert (await deliver(transport, settings)).reply is not None
        await transport.close()

    run(loop_kind, main())
    assert len(server.sessions) == 1
    assert "C: RSET" in server.sessions[0].transcript
    assert server.violations == []


@pytest.mark.parametrize(
    "error",
    [
        BeginRefused("taken by another"),
        RuntimeError("bug"),
        Held("ledger", target=HoldTarget(TargetKind.SCOPE, "company:acme")),
    ],
)
def test_refused_begin_sends_no_byte(
    loop_kind: str, server: SmtpServer, error: BaseException
) -> None:
    """Whatever begin raises, the connection is cut in DATA and not a byte of the mail leaves."""
    with pytest.raises(type(error)):
        run(loop_kind, attempt(server, begin=Begun(error)))
    server.wait_until(lambda: not server.open_sessions)
    assert server.mails == []
    assert server.sessions[0].content_bytes == 0
    assert server.sessions[0].transcript[-1].startswith("S: 354")


@pytest.mark.parametrize("action", [Drop(), Silence(), Raw(b"nonsense\r\n"), Raw(b"x" * 9000)])
def test_no_reply_to_the_mail_is_unknown(
    loop_kind: str, server: SmtpServer, action: Drop | Silence | Raw
) -> None:
    """Once the final dot has gone, a lost connection, silence and garbage leave it unknown."""
    server.on("dot", action)
    error = failed(loop_kind, server)
    assert isinstance(error, Unknown)
    assert error.mail_sent


@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("action", [Drop(), Silence(), Raw(b"nonsense\r\n")])
def test_lost_before_begin_holds_the_server(
    loop_kind: str, server: SmtpServer, step: str, action: Drop | Silence | Raw
) -> None:
    """A new connection that breaks before the mail began: the server is held, nothing is lost."""
    server.on(step, action)
    begin = Begun()
    error = failed(loop_kind, server, begin=begin)
    assert isinstance(error, Held)
    assert error.target.kind is TargetKind.SERVER
    assert error.mail_sent
    assert begin.count == 0


@pytest.mark.parametrize(
    ("step", "reply", "kind", "closed"),
    [
        ("mail", "451 4.3.0 try again", Deferred, False),
        ("mail", "550 5.7.1 sender refused", Rejected, False),
        ("mail", "421 4.3.2 closing", Held, True),
        ("rcpt", "421 4.3.2 closing", Held, True),
        ("rcpt", "451 4.7.500 Server busy", Held, False),
        ("data", "451 4.3.0 try again", Deferred, False),
        ("data", "554 5.6.0 no", Rejected, False),
        ("data", "421 4.3.2 closing", Held, True),
        ("dot", "452 4.3.0 later", Deferred, False),
        ("dot", "554 5.7.1 spam", Rejected, False),
        ("dot", "421 4.3.2 closing", Held, True),
    ],
)
@pytest.mark.parametrize("extensions", [EXTENSIONS, WITHOUT_PIPELINING])
def test_refusal_says_what_to_do_next(
    step: str, reply: str, kind: type[AttemptError], closed: bool, extensions: tuple[str, ...]
) -> None:
    """Each step's refusal becomes the right error, keeps the reply, and only a 421 closes."""
    with SmtpServer(extensions=extensions) as server:
        server.on(step, reply)

        async def main() -> None:
            transport = SmtpTransport(timeouts=QUICK)
            settings = make_settings(port=server.port)
            with pytest.raises(kind) as caught:
                await deliver(transport, settings)
            assert caught.value.reply is not None
            assert str(caught.value.reply) == reply
            assert caught.value.mail_sent
            assert (transport.stats().get((settings.server, "idle"), 0) == 0) is closed
            await transport.close()

        run("asyncio", main())


def test_reply_before_the_mail_has_ended_stops_it(loop_kind: str, server: SmtpServer) -> None:
    """A server that gives up while begin waits gets no byte, and its 421 counts."""

    class Slow(Begun):
        async def __call__(self) -> None:
            await asyncio.to_thread(server.say_to_all, "421 4.4.2 timeout exceeded")
            await asyncio.sleep(0.1)

    error = failed(loop_kind, server, begin=Slow())
    assert isinstance(error, Held)
    assert error.reply is not None
    assert error.reply.code == 421
    assert server.sessions[0].content_bytes == 0


def test_connection_lost_during_begin_is_no_unknown(loop_kind: str, server: SmtpServer) -> None:
    """A connection that ends before the final dot left cannot have delivered: deferred."""

    class Cut(Begun):
        async def __call__(self) -> None:
            await asyncio.to_thread(server.drop_all)
            await asyncio.sleep(0.1)

    error = failed(loop_kind, server, begin=Cut())
    assert isinstance(error, Deferred)
    assert error.mail_sent


@pytest.mark.parametrize(("step", "expected"), [("dot", Unknown), ("rcpt", asyncio.CancelledError)])
def test_cancel_closes_and_says_where(
    loop_kind: str, server: SmtpServer, step: str, expected: type[BaseException]
) -> None:
    """Cancelled while the reply is awaited: unknown; before begin: cancelled; both cut the line."""
    server.on(step, Silence())

    async def main() -> None:
        transport = SmtpTransport()
        task = asyncio.create_task(deliver(transport, make_settings(port=server.port)))
        await asyncio.to_thread(
            server.wait_until, lambda: any(s.open and s.transcript for s in server.sessions)
        )
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(expected):
            await task
        await asyncio.to_thread(server.wait_until, lambda: not server.open_sessions)
        await transport.close()

    run(loop_kind, main())


def test_late_replies_in_many_lines_are_one(loop_kind: str, server: SmtpServer) -> None:
    """Replies that take their time and have several lines are read as one each."""
    server.on("mail", Delay(0.05))
    server.on("rcpt", "250-2.1.5 Ok\n250-2.1.5 still\n250 2.1.5 done")
    server.on("dot", Delay(0.05, "250-2.0.0 queued\n250 2.0.0 as 42"))
    transmission = run(loop_kind, attempt(server))
    assert str(transmission.recipients[0].reply) == "250 2.1.5 Ok still done"
    assert str(transmission.reply) == "250 2.0.0 queued as 42"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"content": CONTENT + b"x" * 1001}, "at most 1000"),
        ({"content": b"a\nb\r\n"}, "CRLF"),
        ({"content": b"a\r\n.\rRCPT TO:<x@y>\r\n"}, "CRLF"),
        ({"sender": "a> RCPT TO:<b@c"}, "malformed"),
        ({"recipients": ("a@b\r\nDATA",)}, "malformed"),
        ({"recipients": ("\ud800@b.nz",)}, "malformed"),
        ({"recipients": ("a" * 300 + "@b.nz",)}, "too long"),
        ({"smtputf8": True}, "SMTPUTF8"),
        ({"eight_bit": True}, "8BITMIME"),
    ],
)
def test_impossible_mail_is_refused_here(changes: dict[str, object], words: str) -> None:
    """What the server cannot take, or could be tricked by, is refused before MAIL."""
    with SmtpServer(extensions=("PIPELINING", "SIZE 1000")) as server:
        error = failed("asyncio", server, make_mail(**changes))
        assert isinstance(error, Rejected)
        assert words in error.reason
        assert not error.mail_sent
        assert not [line for line in server.sessions[0].transcript if line.startswith("C: MAIL")]


def test_parameters_follow_what_the_mail_needs(loop_kind: str, server: SmtpServer) -> None:
    """SIZE always, BODY and SMTPUTF8 only where the mail needs them."""
    mail = make_mail("пётр@example.nz", smtputf8=True, eight_bit=True)
    run(loop_kind, attempt(server, mail))
    run(loop_kind, attempt(server))
    size = len(CONTENT)
    assert server.mails[0].mail_command == (
        f"MAIL FROM:<jane@example.nz> SIZE={size} BODY=8BITMIME SMTPUTF8"
    )
    assert server.mails[1].mail_command == f"MAIL FROM:<jane@example.nz> SIZE={size}"
    assert server.mails[0].recipients == ["пётр@example.nz"]
