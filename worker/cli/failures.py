"""What went wrong, as one line and an exit code.

0 done, 1 failed, 2 wrong usage or settings, 3 broker or ledger unreachable.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing import IO, Any


class Exit(IntEnum):
    """What the command's exit code says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class Failed(click.ClickException):
    """Ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click reads it, and never writes
        """What the process ends with."""
        return self.code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line."""
        click.echo(line_of(self.message), file=file, err=True)


def line_of(message: str) -> str:
    """The one line on stderr that says why the command ended."""
    return f"postmeter: {' '.join(message.split())}"


def explain(error: Exception) -> tuple[str, Exit] | None:
    """The line and the exit code of an error raised on purpose; None for a fault of ours."""
    # Imported here: only a command that got as far as an error pays for it.
    from producers.errors import BatchAborted

    message, code = str(error), _code_of(error)
    if isinstance(error, click.UsageError):
        message = _usage(error)
    elif isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, BatchAborted):
        message += f"; run it again with --batch-id {error.batch_id}: nothing is sent twice"
    return None if code is None else (message, code)


def _code_of(error: Exception) -> Exit | None:
    from config.errors import ConfigError
    from producers import errors as producing
    from worker import errors as working

    match error:
        case click.ClickException():
            code: Exit | None = Exit(error.exit_code)
        case producing.BatchAborted():
            code = _code_of(error.cause) or Exit.FAILED
        case producing.Unroutable():
            code = Exit.FAILED
        case working.LedgerUnavailable() | working.BrokerUnavailable() | producing.NotConfirmed():
            code = Exit.UNREACHABLE
        case (
            ConfigError()
            | working.LedgerUnusable()
            | working.UsageError()
            | producing.InvalidJob()
            | producing.InvalidTemplate()
            | producing.InvalidCsv()
            | producing.TopologyMismatch()
            | producing.InboxUnusable()
        ):
            code = Exit.USAGE
        case working.PostmeterError() | producing.ProducerError() | OSError():
            code = Exit.FAILED
        case _:
            code = None
    return code


def _usage(error: click.UsageError) -> str:
    """Click's own words, and where to read on."""
    where = error.ctx.command_path if error.ctx else "postmeter"
    return f"{error.format_message().rstrip('.')} (see {where} --help)"
