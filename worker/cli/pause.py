"""``postmeter pause TARGET`` and ``resume TARGET``: let something get nothing for some time."""

from __future__ import annotations

import functools
import getpass
import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from config.values import duration_seconds
from worker.cli import render
from worker.cli.failures import Failed
from worker.cli.targets import check_exists, kind_option, read_target
from worker.ledger import pauses
from worker.ledger.holds import all_holds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold

    F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.ParamType[float]):
    """A length of time, ``30m``."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the time, in seconds."""
        try:
            return value if isinstance(value, float) else duration_seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Word(NamedTuple):
    """Who pauses something, why, and for how long; None for until it is resumed."""

    held_by: str
    reason: str
    for_seconds: float | None

    def until_at(self, now: Now) -> float | None:
        """When the pause ends by itself, in Unix seconds."""
        return None if self.for_seconds is None else now.wall + self.for_seconds


def pause_options(command: F) -> F:
    """Give a command the parameter ``word``: who pauses, why, and for how long."""

    @functools.wraps(command)
    def call(
        *args: Any, by: str | None, reason: str, for_seconds: float | None, **more: Any
    ) -> Any:
        word = Word(" ".join((by or _this_person()).split()), " ".join(reason.split()), for_seconds)
        return command(*args, word=word, **more)

    decorated: Any = call
    for add in (
        click.option("--by", metavar="NAME", help="Who does it; left out, the system's user."),
        click.option("--reason", default="", help="Why; `holds` and `status` show it."),
        click.option(
            "--for", "for_seconds", type=Seconds(), help="30m, 12h or 2d; else until resumed."
        ),
    ):
        decorated = add(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators keep the function's type


def _this_person() -> str:
    """The user of this system who asks, also behind ``sudo``."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


@click.command()
@click.argument("target")
@kind_option
@pause_options
@render.json_option
@click.pass_obj
def pause(here: Installation, target: str, *, kind: str | None, word: Word, as_json: bool) -> None:
    """Let a target get nothing: its mail waits, over restarts too, and no attempt is counted.

    TARGET is all, system, company:acme, mailbox:acme/jane, server:smtp.example.nz:587, or what
    `postmeter holds` shows. Every worker obeys within 2 s; what it has in hand ends normally. A
    second pause of the same target replaces the first.
    """
    written = read_target(target, kind)
    settings = here.settings()
    name = str(written.whole)

    def operation(connection: Connection, now: Now) -> tuple[Hold | None, float]:
        until_at = word.until_at(now)
        pauses.pause(
            connection, now, name, held_by=word.held_by, words=word.reason, until_at=until_at
        )
        return pauses.pause_on(connection, now, name), now.wall

    with here.ledger() as ledger:
        held = ledger.read(lambda c, _: all_holds(c))
        check_exists(written, settings, [hold.target for hold in held])
        made, now_wall = ledger.call(operation)
    assert made is not None, "it was written in the same transaction"
    if as_json:
        render.emit(
            {
                "target": name,
                "reason": made.reason,
                "by": made.held_by,
                "since": render.iso(made.since_at),
                "until": render.iso(made.until_at),
            }
        )
    else:
        click.echo(f"paused {name} {until_words(made.until_at, now_wall)}")


def until_words(until_at: float | None, now_wall: float) -> str:
    """When a pause ends, as the end of a sentence."""
    return (
        "until it is resumed" if until_at is None else f"until {render.local(until_at, now_wall)}"
    )


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@kind_option
@render.json_option
@click.pass_obj
def resume(
    here: Installation, targets: tuple[str, ...], *, kind: str | None, as_json: bool
) -> None:
    """Let targets get mail again: ends their pauses, and what a server's reply made us hold.

    A target that still does not work is held again by the next email.
    """
    names = [str(read_target(target, kind).whole) for target in targets]

    def operation(connection: Connection, now: Now) -> tuple[dict[str, list[Hold]], list[str]]:
        held = sorted({h.target for h in all_holds(connection) if not h.is_over(now.wall)})
        return {name: pauses.resume(connection, now, name) for name in names}, held

    with here.ledger() as ledger:
        ended, held = ledger.call(operation)
    missing = [name for name, found in ended.items() if not found]
    if as_json:
        render.emit({"resumed": [n for n in ended if n not in missing], "not_held": missing})
    else:
        for name in ended:
            if name not in missing:
                click.echo(f"resumed {name}")
    if missing:
        known = f"; held: {', '.join(held)}" if held else ""
        raise Failed(f"nothing holds {', '.join(missing)}{known}")
