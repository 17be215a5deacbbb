"""What ``postmeter settings explain`` says: limits, values, and where each of them comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from worker.binding import tightest
from worker.pace import budget_of, limits_of, scope_of_connections, scope_of_mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from config.effective import EffectiveSettings
    from worker.pace import Limit


def print_explained(console: Console, effective: EffectiveSettings) -> None:
    """The way of the mail, its limits, and a line for each value; below each what lost, and why."""
    where = f"{effective.transport} {effective.server}".strip()
    console.print(Text(f"{effective.account}, {effective.kind}: by {where}", style="bold"))
    if effective.held_reason:
        console.print(Text(f"held: {effective.held_reason}", style="yellow"))
    sources = [(each.layer, each.file) for each in effective.provenance.values() if each.file]
    for layer, file in dict.fromkeys(sources):
        console.print(Text(f"{layer}: {file}"))
    _print_limits(console, effective)
    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("key", "value", "layer"):
        table.add_column(heading, overflow="fold")
    shown: set[str] = set()
    for attribute, provenance in effective.provenance.items():
        value = Text(_shown(getattr(effective, attribute)))
        key = provenance.key
        if key in shown:  # allowed_from, where it is no more than the user's address
            value.append(f"\nfrom {key}", style="dim")
            key = attribute
        shown.add(key)
        table.add_row(key, value, provenance.layer)
        for loser in provenance.losers:
            table.add_row("", Text(f"not {loser.value}: {loser.why}", style="dim"), loser.layer)
    console.print(table)


def explained(effective: EffectiveSettings) -> dict[str, Any]:
    """The document of ``explain --json``."""
    limits = limits_of(effective)
    least = tightest(limits)
    return {
        "context": effective.context,
        "company": effective.company,
        "user": effective.user,
        "kind": effective.kind,
        "transport": effective.transport,
        "server": effective.server,
        "held_reason": effective.held_reason,
        "limits": [_limit_json(limit) for limit in limits],
        "tightest": least.scope if least else None,
        "settings": {
            attribute: {
                "value": _plain(getattr(effective, attribute)),
                "layer": provenance.layer,
                "file": provenance.file,
                "key": provenance.key,
                "losers": [
                    {"value": each.value, "layer": each.layer, "where": each.where, "why": each.why}
                    for each in provenance.losers
                ],
            }
            for attribute, provenance in effective.provenance.items()
        },
    }


def _print_limits(console: Console, effective: EffectiveSettings) -> None:
    """Every limit in force with its layer and where it is written; the tightest is marked."""
    limits = limits_of(effective)
    least = tightest(limits)
    console.print(Text("limits, all at once:" if limits else "limits per minute or day: none"))
    for limit in limits:
        amounts = f" = {limit.emails_per_minute:.3g} a minute" if limit.per == "day" else ""
        line = Text(f"  {limit}{amounts} ({limit.layer})")
        if limit is least and len(limits) > 1:
            line.append(", the tightest", style="bold")
        console.print(line)
        console.print(Text(f"    {limit.source}", style="dim"))
    for words, name in _beside(effective):
        written = effective.provenance[name]
        console.print(Text(f"  {words} ({written.layer})"))
        console.print(Text(f"    {written.source}", style="dim"))


def _beside(effective: EffectiveSettings) -> Iterator[tuple[str, str]]:
    """What else limits a mailbox, in words, and the attribute that says so."""
    if effective.transport not in {"smtp", "microsoft-365"}:
        return
    connections, mailbox = effective.mailbox_connections, scope_of_mailbox(effective.account)
    if connections is not None:
        what = "connections" if effective.transport == "smtp" else "requests"
        scope = scope_of_connections(effective.account)
        yield f"{scope} allows {connections} {what} at a time", "mailbox_connections"
    budget = budget_of(effective, recipients=0)
    if budget is not None:
        words = f"{budget.scope} allows {budget.limit} recipients a day"
        yield words, "mailbox_recipients_per_day"
    recipients, size_mb = effective.mailbox_recipients_per_email, effective.mailbox_email_mb
    if recipients is not None and effective.kind != "compose":
        words = f"{mailbox} takes emails to at most {recipients} recipients"
        yield words, "mailbox_recipients_per_email"
    if size_mb is not None:
        yield f"{mailbox} takes emails of at most {size_mb} MB", "mailbox_email_mb"


def _limit_json(limit: Limit) -> dict[str, Any]:
    return {
        "scope": limit.scope,
        "limit": limit.limit,
        "per": limit.per,
        "emails_per_minute": limit.emails_per_minute,
        "layer": limit.layer,
        "file": limit.file,
        "key": limit.key,
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it; secrets masked."""
    if hasattr(value, "get_secret_value"):
        return "***"
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, list):
        plain = "; ".join(plain)
    if isinstance(plain, bool):
        plain = "true" if plain else "false"
    return "-" if plain is None or not str(plain) else str(plain)
