"""``postmeter settings``: write a tree, check it, and explain where each value comes from.

Nothing here needs a network, a broker or a ledger, but `check --online`, which connects.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.errors import ConfigError, Problem, ProcessInvalid, Unresolved
from config.process import environment, load, settings_root
from config.template import write
from config.values import SYSTEM
from config.watcher import SettingsWatcher
from worker.cli.explaining import explained, print_explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from config.values import Kind

_COLUMNS: Final = 80
_KINDS: Final = ("send", "batch", "compose")


class SettingsWrong(click.ClickException):
    """The settings, or the variables, are wrong: exit code 2."""

    exit_code = 2


@click.group()
def settings() -> None:
    """Write, check and explain the settings."""


@settings.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def init(folder: Path | None) -> None:
    """Write a commented tree to FOLDER (POSTMETER_SETTINGS, or ./postmeter)."""
    target = folder or Path(environment().get("POSTMETER_SETTINGS") or "postmeter")
    try:
        written = write(target)
    except FileExistsError as error:
        raise SettingsWrong(f"{error}: choose another folder") from None
    except OSError as error:
        raise SettingsWrong(f"{target}: cannot write here ({error.strerror})") from None
    click.echo(f"in {target}:")
    for path in written:
        click.echo(f"  wrote {path.relative_to(target)}")
    click.echo("next: edit system.toml, then `postmeter settings check`")


@settings.command()
@click.option("--company", help="The company's id; without it the system's settings.")
@click.option("--user", help="The user's id; without it the default_user.")
@click.option("--kind", type=click.Choice(_KINDS), default="send", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def explain(company: str | None, user: str | None, kind: Kind, *, as_json: bool) -> None:
    """Show the limits and every value in force, where each comes from, why others lost."""
    current = _current()
    try:
        effective = current.resolve(company, user, kind)
    except Unresolved as error:
        raise SettingsWrong(str(error)) from None
    if as_json:
        click.echo(json.dumps(explained(effective), indent=2, ensure_ascii=False))
        return
    print_explained(_console(), effective)


@settings.command()
@click.option("--online", is_flag=True, help="Try one account at its server instead.")
@click.option("--company", help="With --online: the company; without it the system's settings.")
@click.option("--user", help="With --online: the user; without it the default_user.")
@click.option("--kind", type=click.Choice(_KINDS), help="With --online: whose way (send).")
@click.option("--to", metavar="ADDRESS", help="With --online: send one mail there, too.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def check(
    *,
    online: bool,
    company: str | None,
    user: str | None,
    kind: Kind | None,
    to: str | None,
    as_json: bool,
) -> None:
    """Name every error, warning and value that this version does not serve; exit 2 on errors.

    With --online it connects to the server of one account, logs in and, with --to, sends one mail.
    It shows each step, with secrets hidden, and says which one failed and what to change; exit 1
    if one did. That mail is beside every limit: it takes no slot, and nothing counts it but the
    server.
    """
    if online:
        sys.exit(_try(company, user, kind or "send", to, as_json=as_json))
    if company or user or kind or to:
        raise click.UsageError("--company, --user, --kind and --to go with --online")
    current = _current()
    found: dict[str, dict[str, list[str]]] = {}
    for label, problem in _findings(current):
        lines = found.setdefault(problem.context, {}).setdefault(label, [])
        lines.append(str(problem))
    counts = {
        label: sum(len(lines.get(label, ())) for lines in found.values())
        for label in ("errors", "warnings", "held")
    }
    users = sum(len(current.users(context)) for context in current.contexts())
    if as_json:
        document = {"contexts": found, "users": users, **counts}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print_findings(found)
        contexts = len(current.contexts())
        click.echo(
            f"{_count(contexts, 'context')}, {_count(users, 'user')}: "
            f"{_count(counts['errors'], 'error')}, {_count(counts['warnings'], 'warning')}, "
            f"{counts['held']} held"
        )
    if counts["errors"]:
        sys.exit(2)


def _try(
    company: str | None, user: str | None, kind: Kind, to: str | None, *, as_json: bool
) -> int:
    """Try one account at its server; the exit code."""
    from worker.cli.installation import Installation
    from worker.cli.online import Trial, try_online

    try:
        effective = _current().resolve(company, user, kind)
    except Unresolved as error:
        raise SettingsWrong(str(error)) from None
    return try_online(Installation.of_this_process(), Trial(effective, to), as_json=as_json)


def _current() -> Settings:
    """The settings in force.

    Raises:
        SettingsWrong: there are none, or a variable is wrong.
    """
    environ = environment()
    try:
        process = load(environ)
        root = settings_root(process)
        return SettingsWatcher(root, environ, secrets=process.secrets).current
    except ProcessInvalid as error:
        raise SettingsWrong("\n".join(map(str, error.problems))) from None
    except ConfigError as error:
        raise SettingsWrong(str(error)) from None


def _findings(current: Settings) -> Iterator[tuple[str, Problem]]:
    for problems in current.errors_by_context().values():
        for problem in problems:
            yield "errors", problem
    for warning in current.warnings:
        yield "warnings", warning
    held = current.held
    for problem in held:
        yield "held", problem
    for context in current.contexts():
        if all(problem.context != context for problem in held):
            for reason in _unsendable(current, context):
                yield "held", Problem(context, None, reason, "", "")


def _unsendable(current: Settings, context: str) -> Iterator[str]:
    """Why jobs of a context would be held although no single value is to blame."""
    company = None if context == SYSTEM else context
    for kind in ("send", "batch"):
        for user in current.users(context)[:1]:
            try:
                reason = current.resolve(company, user, kind).held_reason
            except Unresolved:
                continue
            if reason:
                yield reason


def _print_findings(found: dict[str, dict[str, list[str]]]) -> None:
    console = _console()
    styles = {
        "errors": ("error", "red"),
        "warnings": ("warning", "yellow"),
        "held": ("held", "cyan"),
    }
    for context, by_label in found.items():
        console.print(Text(context, style="bold"))
        grid = Table.grid(padding=(0, 1))
        for label, (word, style) in styles.items():
            for line in by_label.get(label, ()):
                grid.add_row("", Text(word, style=style), Text(line, overflow="fold"))
        console.print(grid)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _console() -> Console:
    """Eighty columns wherever it is read; colours only at a terminal."""
    return Console(width=_COLUMNS, highlight=False, soft_wrap=False)
