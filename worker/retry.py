"""When to try again: a mail's back-off, and what is granted of a server's own wish.

Pure, with the random number passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from worker.errors import Held

FIRST_DELAY_SECONDS = 30.0
LONGEST_DELAY_SECONDS = 3600.0
SHORTEST_WISH_SECONDS = 1.0
LONGEST_WISH_SECONDS = 3600.0
_MOST_DOUBLINGS = 16


class Wish(NamedTuple):
    """How long a server is left alone because it asked for that.

    Attributes:
        note: what to say of it where it was not granted as it came; empty where it was.
    """

    seconds: float
    note: str = ""


def granted(wish_seconds: float) -> Wish:
    """Return a server's wish, kept between 1 s and 1 h.

    A server that asks for 0 s, for less, or for what is no number would be tried in a hot loop;
    one that asks for a year would be forgotten. Within the hour it is asked again, and may say so
    again.
    """
    # Nothing is greater than NaN nor less, so max() keeps the shortest.
    seconds = min(LONGEST_WISH_SECONDS, max(SHORTEST_WISH_SECONDS, wish_seconds))
    if seconds == wish_seconds:
        return Wish(seconds)
    return Wish(seconds, f"it asks for {wish_seconds:.10g} s, and gets {seconds:g} s")


def with_wish(reason: str, wish_seconds: float | None) -> tuple[str, float | None]:
    """Return a reason that says what a server asked for, where it does not get it, and what it gets."""
    if wish_seconds is None:
        return reason, None
    seconds, note = granted(wish_seconds)
    return (f"{reason}; {note}" if note else reason), seconds


def pause_of(held: Held, *, probing: bool) -> tuple[str, float | None]:
    """Return a hold's reason, and for how long its target is left alone where that is known.

    Args:
        held: what was met.
        probing: whether this mail tries the hold out: then even what it heard of another's failure
            counts as its own.
    """
    reason, seconds = held.reason, held.retry_after_seconds
    if not held.time_is_known:
        reason, seconds = with_wish(reason, seconds)
    if held.passed_on_seconds and not probing:  # another's hold; if cleared, back for no longer
        seconds = held.passed_on_seconds
    return reason, seconds


def back_off_seconds(
    attempts: int, *, random: float, retry_after_seconds: float | None = None
) -> float:
    """Return how long to wait after the given number of failed attempts.

    The base doubles from 30 s; up to half of it is added at random, so that mails deferred together
    do not come back together, and the whole stays below 1 h. A server's own wish is a lower bound,
    as far as it is ``granted``.

    Args:
        attempts: how many attempts have failed, 1 or more.
        random: a number in [0, 1).
        retry_after_seconds: the server's own wish, where it gave one.

    Raises:
        ValueError: ``attempts`` or ``random`` is out of range.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be 1 or more, not {attempts}")
    if not 0 <= random < 1:
        raise ValueError(f"random must lie in [0, 1), not {random}")
    base = FIRST_DELAY_SECONDS * float(2 ** min(attempts - 1, _MOST_DOUBLINGS))
    delay = min(base, LONGEST_DELAY_SECONDS / 1.5) * (1 + random / 2)
    return (
        delay if retry_after_seconds is None else max(delay, granted(retry_after_seconds).seconds)
    )


def next_delay_seconds(
    attempts: int,
    *,
    spent_seconds: float,
    retry_for_seconds: float,
    random: float,
    retry_after_seconds: float | None = None,
) -> float | None:
    """Return how long to wait before the next attempt, or None where this mail's time is over.

    ``spent_seconds`` counts from the first attempt, without the time in which the mail was held.
    The last attempt is made when ``retry_for_seconds`` ends; it is not given away because a whole
    delay no longer fits.

    Raises:
        ValueError: as ``back_off_seconds``.
    """
    left = retry_for_seconds - spent_seconds
    if left <= 0:
        return None
    delay = back_off_seconds(attempts, random=random, retry_after_seconds=retry_after_seconds)
    return min(delay, left)
