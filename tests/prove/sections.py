"""The parts of the page that are not rows, each made from its results, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.prove import control
from tests.prove.soak import FLAT_MB, LIMIT, UNACKNOWLEDGED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.prove.report import Told

NOT_MEASURED = "Not measured in this run."
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
TURNS = {"turns": "SQLite", "turns-postgresql": "PostgreSQL"}
WORDS = {
    "pause": ("`postmeter pause`, until the last mail", control.ALLOWED_SECONDS),
    "resume": ("`postmeter resume`, until the next mail", control.ALLOWED_SECONDS + control.GAP),
    "lower": (
        f"{control.LIMIT} lowered to {control.LOW}, until the last mail at the old pace",
        control.ALLOWED_SECONDS,
    ),
    "raise": (
        f"{control.LOW} raised to {control.LIMIT}, until the first mail at the new pace",
        control.ALLOWED_SECONDS,
    ),
}


def table(head: Sequence[str], lines: Iterable[Iterable[object]]) -> str:
    """A table whose first column is words, the others figures."""
    marks = "|".join(["---", *("---:" for _ in head[1:])])
    return "\n".join([table_line(head), f"|{marks}|", *map(table_line, lines)])


def table_line(cells: Iterable[object]) -> str:
    """One line of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def neighbours(result: Told | None) -> str:
    """What a company at its limit does to others."""
    if result is None:
        return NOT_MEASURED
    names = {
        "single sends of another company, from the call to the acceptance, p50": (
            f"{result['idle_p50'] * 1000:.1f} ms",
            f"{result['beside_p50'] * 1000:.1f} ms",
        ),
        "the same, p99": (
            f"{result['idle_p99'] * 1000:.1f} ms",
            f"{result['beside_p99'] * 1000:.1f} ms",
        ),
        "a third company's batch of 50 at 600 a minute, until the last is accepted": (
            f"{result['other_batch_alone_seconds']:.2f} s",
            f"{result['other_batch_beside_seconds']:.2f} s",
        ),
    }
    head = (f"beside {result['waiting']:,} waiting mails", "idle", "beside them")
    return table(head, ([name, *values] for name, values in names.items()))


def turns(told: Mapping[str, Told]) -> str:
    """Company B's few beside A's many, on each ledger."""
    head = ("ledger", "A's waiting", "B's first", "B's last after its first", "fair", "worst")
    return table(head, (_turns_line(title, told.get(name)) for name, title in TURNS.items()))


def _turns_line(title: str, result: Told | None) -> list[object]:
    if result is None:
        return [title, NOT_MEASURED, "", "", "", ""]
    return [
        title,
        f"{result['waiting']:,}",
        f"{result['first_seconds']:.2f} s",
        f"{result['last_seconds']:.2f} s",
        f"{result['fair_seconds']:.1f} s",
        result["worst"],
    ]


def live_control(told: Mapping[str, Told]) -> str:
    """How soon each word acts, the slowest of its times, on each ledger."""
    results = {title: told.get(f"control-{name}") for name, title in TITLES.items()}
    lines: list[list[object]] = [
        [what, f"{allowed:.1f} s", *(_slowest(one, word) for one in results.values())]
        for word, (what, allowed) in WORDS.items()
    ]
    lines.append(
        ["mails that left while paused, all workers restarted", 0]
        + [NOT_MEASURED if one is None else one["sent_over_restart"] for one in results.values()]
    )
    return table(("", "at most", *results), lines)


def _slowest(result: Told | None, word: str) -> str:
    if result is None:
        return NOT_MEASURED
    seconds = result[f"{word}_seconds"]
    return f"{max(seconds):.2f} s" if seconds else NOT_MEASURED


def soak(result: Told | None) -> str:
    """What an hour of 10,000 waiting mails came to."""
    if result is None:
        return NOT_MEASURED
    memory = [f"{second:.1f} → {last:.1f} MB" for _, second, _, last in result["rss_mb"].values()]
    lines = [
        ("how long", "", f"{result['minutes']:g} min"),
        ("until RabbitMQ had handed over all jobs", "", f"{result['intake_seconds']:.0f} s"),
        ("mails accepted", "", f"{result['accepted']:,}"),
        ("worst 60 s", f"at most {LIMIT}", result["worst"]),
        ("of the limit used", f"at least {result['needed']:.2%}", f"{result['used']:.2%}"),
        ("consumers that RabbitMQ closed for a late ack", 0, result["consumer_timeouts"]),
        ("attempts beyond one a mail", 0, result["extra_attempts"]),
        (
            "some message unacknowledged, at every look",
            f"for {UNACKNOWLEDGED_SECONDS:g} s",
            f"for {result['unacknowledged_seconds']:g} s",
        ),
        (
            "memory of each process, second and last quarter",
            f"within {FLAT_MB:g} MB",
            ", ".join(memory) or "none lived as long",
        ),
    ]
    return table(("", "held to", "measured"), lines)


__all__ = ["NOT_MEASURED", "live_control", "neighbours", "soak", "table_line", "turns"]
