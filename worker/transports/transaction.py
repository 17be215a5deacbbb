"""One mail over one connection: MAIL, RCPT, DATA, begin, content, reply (RFC 5321 3.3).

Where the server offers PIPELINING (RFC 2920), everything before the content is one write and one
round trip. ``begin`` is awaited between the server's 354 and the first byte of the content.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from worker.errors import AttemptError, Deferred, Rejected, Unknown
from worker.outcome import RecipientReply, RecipientState, Transmission
from worker.replies import Classification, Stage, Verdict
from worker.transports.failures import Party, error_for, recipient_reply
from worker.transports.wire import ConnectionBroken, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.outcome import Reply
    from worker.transports.base import Begin, Mail

_BLOCK_OCTETS = 65536
_MAX_PATH_OCTETS = 254  # RFC 5321 4.5.3.1.3, less the angle brackets (erratum 1690 to RFC 3696)
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>\ud800-\udfff]")
_SERVICE_CLOSING = 421
_START_INPUT = 354
_POSITIVE = 2  # 2yz: done (RFC 5321 4.2.1)
_NEGATIVE = (4, 5)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the server may take for each step (RFC 5321 4.5.3.2)."""

    mail_seconds: float = 300.0
    rcpt_seconds: float = 300.0
    data_seconds: float = 120.0
    block_seconds: float = 180.0
    content_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the server's EHLO offered.

    Attributes:
        size: the largest mail in octets; None where the server names no limit (RFC 1870).
    """

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size_offered: bool = False
    size: int | None = None

    @classmethod
    def parse(cls, offered: dict[str, str]) -> Extensions:
        """Read EHLO keywords (lower case) and their parameters."""
        size = offered.get("size", "").strip()
        return cls(
            pipelining="pipelining" in offered,
            eight_bit="8bitmime" in offered,
            smtputf8="smtputf8" in offered,
            size_offered="size" in offered,
            size=int(size) if size.isdigit() and int(size) > 0 else None,
        )


def check(mail: Mail, extensions: Extensions) -> None:
    """Refuse here what the server would refuse, or what no server must ever see.

    Raises:
        Rejected: too large, not expressible on this server, or an address or line end that could
            smuggle a command.
    """
    for address in (mail.sender, *mail.recipients):
        if _UNSAFE.search(address) or len(address.encode()) > _MAX_PATH_OCTETS:
            raise Rejected("an address of the envelope is malformed or too long")
    content = mail.content
    ends = content.count(b"\r\n")
    if ends != content.count(b"\n") or ends != content.count(b"\r"):
        raise Rejected("the mail has line ends other than CRLF")
    if extensions.size is not None and len(content) > extensions.size:
        raise Rejected(
            f"the mail has {len(content)} bytes, the server takes at most {extensions.size}"
        )
    if mail.smtputf8 and not extensions.smtputf8:
        raise Rejected("an address is not ASCII, and the server offers no SMTPUTF8")
    if mail.eight_bit and not extensions.eight_bit:
        raise Rejected("the mail has 8-bit content, and the server offers no 8BITMIME")


@dataclass(slots=True)
class Transaction:
    """One mail's way over one connection.

    Attributes:
        reset: the last transaction was left open: say RSET first.
        may_end: asked before the last bytes: whether the slot is surely still this mail's.
        left_open: this transaction was left open: the next one must say RSET.
    """

    wire: Wire
    extensions: Extensions
    timeouts: Timeouts
    party: Party
    mail: Mail
    reset: bool = False
    observe: Callable[[str, float], None] | None = None
    may_end: Callable[[], bool] | None = None
    left_open: bool = field(default=False, init=False)
    _recipients: list[RecipientReply] = field(default_factory=list, init=False)
    _refusals: list[Classification] = field(default_factory=list, init=False)
    _ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.left_open = self.reset

    async def run(self, begin: Begin) -> Transmission:
        """Deliver the mail.

        Raises:
            ConnectionBroken: the connection ended before ``begin``; nothing was accepted.
            BaseException: what ``begin`` raised; the connection is cut.
            Deferred: this mail later.
            Held: the server, account or credential does not work now.
            Rejected: this mail never.
            Unknown: the end of the mail was sent and no reply came.
        """
        try:
            return await self._run(begin)
        except AttemptError:
            raise
        except BaseException:
            # What the server expects next is not known: no other mail may find out.
            self.wire.abort()
            raise

    async def _run(self, begin: Begin) -> Transmission:
        started = perf_counter()
        ready = await self._preface()
        self._note("preface", started)
        if not ready:
            return Transmission(tuple(self._recipients), None)
        try:
            await begin()
        except BaseException:
            # The server waits for content, and not a byte of it may leave.
            self.wire.abort("the mail was not allowed to begin")
            raise
        started = perf_counter()
        reply = await self._content()
        self._note("data", started)
        return Transmission(tuple(self._recipients), reply)

    def _note(self, phase: str, started: float) -> None:
        if self.observe is not None:
            self.observe(phase, perf_counter() - started)

    # Before the content

    async def _preface(self) -> bool:
        """Say MAIL, RCPT and DATA; return whether the server waits for content."""
        mail_command = self._mail_command()
        rcpt_commands = [f"RCPT TO:<{to}>\r\n".encode() for to in self.mail.recipients]
        pipelined = self.extensions.pipelining
        if pipelined:
            reset = (b"RSET\r\n",) if self.reset else ()
            self.wire.write(b"".join((*reset, mail_command, *rcpt_commands, b"DATA\r\n")))
        self.left_open = True
        if self.reset:
            reply = await self._ask(b"RSET\r\n", Stage.MAIL, self.timeouts.mail_seconds)
            if reply.code // 100 != _POSITIVE:
                raise ConnectionBroken("the server does not take RSET")
        mail_reply = await self._ask(mail_command, Stage.MAIL, self.timeouts.mail_seconds)
        sender_accepted = mail_reply.code // 100 == _POSITIVE
        if not sender_accepted and not pipelined:
            raise self._error(mail_reply, Stage.MAIL)
        accepted = False
        for address, command in zip(self.mail.recipients, rcpt_commands, strict=True):
            reply = await self._ask(command, Stage.RCPT, self.timeouts.rcpt_seconds)
            if sender_accepted and self._recipient(address, reply):
                accepted = True
        if not accepted and not pipelined:
            return self._nobody()
        return await self._data(None if sender_accepted else mail_reply, accepted=accepted)

    async def _data(self, refusal: Reply | None, *, accepted: bool) -> bool:
        """Say DATA, or read what a pipelined DATA came to; ``refusal`` is that of MAIL."""
        reply = await self._ask(b"DATA\r\n", Stage.DATA, self.timeouts.data_seconds)
        if reply.code == _START_INPUT and not accepted:
            # The server waits for a mail that nobody is to get: RFC 2920 3.1 would have us send
            # an empty one. A closed connection is understood by every server.
            self.wire.abort("the server wanted a mail for nobody")
        if refusal is not None:
            raise self._error(refusal, Stage.MAIL)
        if not accepted:
            return self._nobody()
        if reply.code != _START_INPUT:
            raise self._error(reply, Stage.DATA)
        return True

    async def _ask(self, command: bytes, stage: Stage, timeout_seconds: float) -> Reply:
        if not self.extensions.pipelining:
            self.wire.write(command)
        reply = await self.wire.reply(timeout_seconds)
        if reply.code == _SERVICE_CLOSING:
            # The server closes now (RFC 5321 3.8): no more replies will come.
            raise self._error(reply, stage)
        return reply

    def _mail_command(self) -> bytes:
        words = [f"MAIL FROM:<{self.mail.sender}>"]
        if self.extensions.size_offered:
            words.append(f"SIZE={len(self.mail.content)}")
        if self.mail.eight_bit:
            words.append("BODY=8BITMIME")
        if self.mail.smtputf8:
            words.append("SMTPUTF8")
        return f"{' '.join(words)}\r\n".encode()

    def _recipient(self, address: str, reply: Reply) -> bool:
        recipient, refusal = recipient_reply(address, reply)
        self._recipients.append(recipient)
        if refusal is not None:
            self._refusals.append(refusal)
        return recipient.state is RecipientState.ACCEPTED

    def _nobody(self) -> bool:
        """No recipient was accepted: an answer per recipient, unless the reason is not theirs."""
        if all(refusal.verdict is Verdict.HOLD for refusal in self._refusals):
            raise self._error(self._recipients[0].reply, Stage.RCPT)
        return False

    def _error(self, reply: Reply, stage: Stage) -> AttemptError:
        if reply.code == _SERVICE_CLOSING:
            self.wire.abort()
        return error_for(
            reply, stage, self.party, mail_sent=True, recipients=tuple(self._recipients)
        )

    # The content

    async def _content(self) -> Reply:
        """Send the content and return the reply to it.

        Until the final dot has gone no server accepts the mail, so a broken connection means
        "not sent"; from then on until the reply nobody knows (RFC 1047). A cancelled task, too,
        must say which of the two it is: then this error takes the place of ``CancelledError``.
        """
        try:
            return await self._send()
        except (ConnectionBroken, asyncio.CancelledError) as stop:
            self.wire.abort()
            what = stop.reason if isinstance(stop, ConnectionBroken) else "the worker stopped"
            kind = Unknown if self._ended else Deferred
            when = "after the whole mail was sent" if self._ended else "in the middle of the mail"
            raise kind(
                f"{self.party.server}: {what} {when}",
                mail_sent=True,
                recipients=tuple(self._recipients),
            ) from stop

    async def _send(self) -> Reply:
        content = self.mail.content.replace(b"\r\n.", b"\r\n..")
        if content.startswith(b"."):
            content = b"." + content
        content += b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
        last = (len(content) - 1) // _BLOCK_OCTETS * _BLOCK_OCTETS
        view = memoryview(content)
        for start in range(0, last, _BLOCK_OCTETS):
            self._nothing_said()
            self.wire.write(view[start : start + _BLOCK_OCTETS])
            await self.wire.drain(self.timeouts.block_seconds)
        self._nothing_said()
        if self.may_end is not None and not self.may_end():
            raise ConnectionBroken("this worker stood still for too long")
        self.wire.write(view[last:])
        self._ended = True
        reply = await self.wire.reply(self.timeouts.content_seconds)
        self.left_open = False
        if reply.code // 100 != _POSITIVE:
            raise self._error(reply, Stage.CONTENT)
        return reply

    def _nothing_said(self) -> None:
        """Stop where the server has replied before the mail had ended.

        Mostly that is a 421, because ``begin`` took longer than it waits.
        """
        if not self.wire.reply_waiting:
            return
        reply = self.wire.take_reply()
        self.wire.abort()
        if reply.code // 100 in _NEGATIVE:
            raise self._error(reply, Stage.CONTENT)
        raise ConnectionBroken("the server replied before the mail had ended")
