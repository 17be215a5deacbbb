"""What on a board a person should look at, and which page of the runbook tells what to do; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.telemetry.metrics import WaitReason
from worker.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.telemetry.board import Board


NAMED: Final = 3
"""Of so many limits and settings the names are told, of the others how many they are."""


class Need(NamedTuple):
    """One thing to look at.

    Attributes:
        words: what is the matter, in one sentence of ids and counts.
        alert: the alert that would say so, and the name of its page; or empty.
    """

    words: str
    alert: str


def attention(board: Board) -> list[Need]:
    """List what is wrong, the worst first; empty while nothing is."""
    return [*_of_ledger_and_workers(board), *_of_limits(board), *_of_decisions(board)]


def _of_ledger_and_workers(board: Board) -> Iterator[Need]:
    if board.trouble == "away":
        yield Need("The ledger cannot be read: nothing is taken in or sent.", "PostmeterLedgerDown")
        return
    if board.trouble:
        yield Need(
            "The ledger cannot be written: nothing is taken in or sent.", "PostmeterLedgerDown"
        )
    alive = [worker for worker in board.workers if worker.alive]
    ready = sum(worker.ready for worker in alive)
    if not alive:
        yield Need("No worker is alive: nothing is delivered.", "PostmeterWorkerAbsent")
    elif ready < len(alive):
        words = f"Not ready: {len(alive) - ready} of {plural(len(alive), 'worker')}."
        yield Need(words, "PostmeterWorkerNotReady")


def _of_limits(board: Board) -> Iterator[Need]:
    over = [each for each in board.scopes if each.limit is not None and each.window > each.limit]
    for scope in over[:NAMED]:
        words = f"{scope.id}: {scope.window:,} accepted in 60 s, and the limit is {scope.limit:,}."
        yield Need(words, "PostmeterLimitExceeded")
    if len(over) > NAMED:
        words = f"The same of {plural(len(over) - NAMED, 'other limit')}."
        yield Need(words, "PostmeterLimitExceeded")


def _of_decisions(board: Board) -> Iterator[Need]:
    """What goes on only when a person does something."""
    words = Counter(hold.reason for hold in board.holds if hold.reason != "paused")
    throttled = words.pop("throttled", 0)
    if throttled:
        yield Need(f"Servers slow us down: {plural(throttled, 'hold')}.", "PostmeterThrottled")
    if words:
        said = ", ".join(f"{count:,} {word}" for word, count in words.most_common())
        yield Need(f"Held: {said}.", "PostmeterAccountHeld")
    dead = sum(count for _, count in board.dead)
    if dead:
        yield Need(f"{plural(dead, 'dead letter')}: to retry or to drop.", "PostmeterDeadLetters")
    unknown = sum(count for _, count in board.unknown)
    if unknown:
        told = f"{plural(unknown, 'email')} may have been sent or not."
        yield Need(told, "PostmeterUnknownEmails")
    yield from _of_settings(board)
    stuck = Counter[str]()
    for line in board.lines:
        stuck[line.reason] += line.jobs
    if stuck[WaitReason.SETTINGS]:
        told = f"Waiting for settings: {plural(stuck[WaitReason.SETTINGS], 'job')}."
        yield Need(told, "PostmeterSettingsInvalid")
    if stuck[WaitReason.VERSION]:
        yield Need(f"Waiting for a newer worker: {plural(stuck[WaitReason.VERSION], 'job')}.", "")


def _of_settings(board: Board) -> Iterator[Need]:
    for context, errors in board.settings_errors[:NAMED]:
        told = f"{plural(errors, 'error')} in the settings of {context}."
        yield Need(told, "PostmeterSettingsInvalid")
    rest = board.settings_errors[NAMED:]
    if rest:
        told = (
            f"{plural(sum(n for _, n in rest), 'error')} in the settings of {len(rest):,} others."
        )
        yield Need(told, "PostmeterSettingsInvalid")
