"""``postmeter settings check --online``: the test login, step by step, as it happens.

It connects and logs in with the code that delivers, and shows what is said with every secret hidden.
It needs no broker, no worker, and the ledger only to read a login by device code.
"""

from __future__ import annotations

import asyncio
import textwrap
import time
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import render
from worker.cli.failures import Exit, Failed
from worker.transports.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from config.effective import EffectiveSettings
    from worker.auth.logins import Logins
    from worker.auth.sources import Sources
    from worker.cli.installation import Installation
    from worker.ledger.ledger import Ledger
    from worker.transports.base import Mail, Tokens
    from worker.transports.trial import Verdict

_COLUMNS: Final = 80
_INDENT: Final = 10
SUBJECT: Final = "Postmeter: a test"
TEXT: Final = """\
This is the test mail of `postmeter settings check --online`.

Whoever asked for it wanted to see whether these settings can send. Nothing needs to be done.
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried.

    Attributes:
        to: whom the one mail goes to; None where none is sent.
    """

    settings: EffectiveSettings
    to: str | None


def try_online(here: Installation, trial: Trial, *, as_json: bool) -> Exit:
    """Try it and print what happens; the exit code.

    Raises:
        Failed: there is nothing that could be tried.
    """
    settings = trial.settings
    _refuse(trial)
    mail = None if trial.to is None else _mail(settings, trial.to)
    printer = _Printer()
    conversation = Conversation(None if as_json else printer.tell)
    if settings.password is not None:
        conversation.hide(settings.password.get_secret_value())
    if not as_json:
        click.echo(_headline(settings))
    verdict = asyncio.run(_run(here, settings, conversation, mail))
    if as_json:
        render.emit(_document(trial, conversation, verdict))
    else:
        printer.end(verdict)
    return Exit.DONE if verdict.failed is None else Exit.FAILED


def _refuse(trial: Trial) -> None:
    """Say what is wrong before anybody is asked."""
    settings = trial.settings
    if settings.held_reason:
        raise Failed(settings.held_reason, Exit.USAGE)
    if settings.transport == "accredo-mailer":
        raise Failed(
            "compose leaves an unsent message as a file and asks no server: there is nothing to"
            " try; choose --kind send or --kind batch",
            Exit.USAGE,
        )
    if settings.transport == "smtp" and settings.server_address is None:
        raise Failed(
            "there is no server to try: set server_address in [smtp]",
            Exit.USAGE,
        )
    if trial.to is not None and settings.address is None:
        raise Failed(
            f"{settings.account} has no address to send from: set address in [email]", Exit.USAGE
        )


def _mail(settings: EffectiveSettings, to: str) -> Mail:
    """One small mail, made as every other is.

    Raises:
        InvalidJob: the address is none.
    """
    from producers.emails import Email
    from producers.identity import uuid7
    from worker.composing import Composer

    email = Email(to=to, subject=SUBJECT, text=TEXT, apply_user_defaults=False)
    job = email.to_job(settings.kind, uuid7(), company=settings.company, user=settings.user)
    return Composer(None)(job, settings, time.time(), frozenset())


async def _run(
    here: Installation, settings: EffectiveSettings, conversation: Conversation, mail: Mail | None
) -> Verdict:
    async with _tokens(here, settings, conversation) as tokens:
        if settings.transport == "microsoft-365":
            from worker.transports.trial_graph import try_graph

            assert tokens is not None, "whose way is Microsoft 365 has an app registration"
            return await try_graph(settings, conversation, tokens=tokens, mail=mail)
        from worker.transports.trial import try_smtp

        return await try_smtp(settings, conversation, tokens=tokens, mail=mail)


@asynccontextmanager
async def _tokens(
    here: Installation, settings: EffectiveSettings, conversation: Conversation
) -> AsyncIterator[Tokens | None]:
    """Where tokens come from, watched; None where none are wanted."""
    registration = settings.registration
    if registration is None:
        yield None
        return
    from worker.auth.tokens import MsalTokens
    from worker.transports.trial_tokens import WatchedTokens

    by_person = registration.grant == "device-code"
    with here.ledger() if by_person else nullcontext() as ledger:

        def load() -> Sources:
            from worker.auth.sources import Sources

            return Sources(_logins(here, ledger))

        patience = settings.connection_timeout_ms / 1000
        tokens = MsalTokens(load, patience_seconds=patience)
        try:
            yield WatchedTokens(tokens, conversation)
        finally:
            await tokens.close()


def _logins(here: Installation, ledger: Ledger | None) -> Logins:
    from config.process import login_key_file
    from worker.auth.logins import Logins
    from worker.auth.sealing import Sealer

    return Logins(ledger, Sealer(login_key_file(here.process)))  # type: ignore[arg-type]  # only persons' logins are in it


class _Printer:
    """Prints the lines as they come, each step's name once."""

    def __init__(self) -> None:
        self._step = ""

    def tell(self, step: str, line: str) -> None:
        """Print one line."""
        self._print("" if step == self._step else step, line)
        self._step = step

    def end(self, verdict: Verdict) -> None:
        """Print how it ended."""
        for line in verdict.found:
            self.tell("found", line)
        if verdict.failed is not None:
            self._print("FAILED", f"{verdict.failed}: {verdict.reason}")
        else:
            self._print("OK", verdict.reason)

    def _print(self, name: str, line: str) -> None:
        room = _COLUMNS - _INDENT
        first, *more = textwrap.wrap(
            line, room, subsequent_indent="  ", break_on_hyphens=False
        ) or [""]
        click.echo(f"{click.style(name.ljust(_INDENT), bold=True)}{first}".rstrip())
        for part in more:
            click.echo(" " * _INDENT + part)


def _headline(settings: EffectiveSettings) -> str:
    return f"{settings.account}, {settings.kind} by {settings.transport} at {settings.server}"


def _document(trial: Trial, conversation: Conversation, verdict: Verdict) -> dict[str, Any]:
    settings = trial.settings
    return {
        "account": settings.account,
        "kind": settings.kind,
        "transport": settings.transport,
        "server": settings.server,
        "steps": [{"step": step.name, "lines": step.lines} for step in conversation.steps],
        "ok": verdict.failed is None,
        "failed": verdict.failed,
        "reason": verdict.reason,
        "found": list(verdict.found),
    }
