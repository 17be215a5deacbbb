"""``postmeter``: finds the command that is asked for, and ends with its exit code.

A command's module is imported when that command runs, so that ``--help`` and a shell's completion
answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click

from worker.cli.failures import Exit, explain, line_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Entry(NamedTuple):
    """One command, without importing it.

    Attributes:
        module: below ``worker.cli``; the command in it has the entry's own name.
        purpose: its line in ``postmeter --help``.
        attribute: the command's name in the module where that differs.
    """

    module: str
    purpose: str
    attribute: str = ""


SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Send": {
        "send": Entry("send", "publish one email"),
        "compose": Entry("compose", "have a draft made that a person edits and sends"),
        "batch": Entry("batch", "publish a batch from a CSV file; follow, pause or cancel it"),
        "cancel": Entry("cancel", "stop emails that have not left"),
        "reschedule": Entry("reschedule", "let emails that have not left leave at another time"),
    },
    "Look": {
        "status": Entry("status", "what waits and what leaves; what became of one email"),
        "lanes": Entry("lanes", "the waiting lines, and what each one waits for"),
        "holds": Entry("holds", "what gets nothing for now, why, and until when"),
        "top": Entry("top", "the same as a page that follows: limits, lines, holds, workers"),
    },
    "Decide": {
        "pause": Entry("pause", "let a company, mailbox, server or everything get nothing"),
        "resume": Entry("pause", "let it get mail again"),
        "dead": Entry("dead", "emails that will not be tried again: retry or drop them"),
        "unknown": Entry("unknown", "emails that may have been sent: resend or mark as sent"),
    },
    "Run": {
        "worker": Entry("worker", "take jobs in and deliver them"),
        "login": Entry("login", "sign in to Microsoft 365 for an account, with a code"),
        "settings": Entry("settings", "write, check and explain the settings"),
        "ledger": Entry("ledger", "upgrade, check or prune the ledger"),
        "demo": Entry("demo", "see it work, on this machine, in about 90 seconds"),
    },
}
_ENTRIES: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Commands(click.Group):
    """The commands, imported when they are needed; every error is one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base class fixes the signature
        """Name the commands in the order in which help shows them."""
        return list(_ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import a command."""
        entry = _ENTRIES.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"worker.cli.{entry.module}")
        command = getattr(module, entry.attribute or cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one comes nearest."""
        import difflib

        if args and not args[0].startswith("-") and args[0] not in _ENTRIES:
            near = difflib.get_close_matches(args[0], _ENTRIES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the commands by what they are for, without importing them."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(10), entry.purpose) for name, entry in entries.items()]
                )

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run a command and exit; see ``failures`` for the codes."""
        extra["standalone_mode"] = False
        if os.getpid() == 1:  # of a container: it gets no signal that it has no handler for
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            code = super().main(args, *more, **extra)
        except (KeyboardInterrupt, click.Abort):
            click.echo(line_of("interrupted"), err=True)
            sys.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            _leave_broken_pipe()
        except Exception as error:
            explained = explain(error)
            if explained is None:
                raise
            message, code = explained
            click.echo(line_of(message), err=True)
        sys.exit(code if isinstance(code, int) else Exit.DONE)


def _leave_broken_pipe() -> NoReturn:
    """Whoever read our output (``| head``) has enough; Python must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(Exit.FAILED)


@click.group(
    name="postmeter", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="postmeter", message="postmeter %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Send email at a pace that is kept, and say what became of it.

    What to send with is read from the settings (POSTMETER_SETTINGS), what became of each email
    from the ledger (POSTMETER_STATE). Exit codes: 0 done, 1 failed, 2 wrong usage or settings,
    3 broker or ledger unreachable.
    """
    from worker.cli.installation import Installation

    if not isinstance(ctx.obj, Installation):
        ctx.obj = Installation.of_this_process()


__all__ = ["main"]
