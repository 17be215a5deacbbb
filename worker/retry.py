"""When to try a deferred mail again: pure, with the random number passed in."""

from __future__ import annotations

FIRST_DELAY_SECONDS = 30.0
LONGEST_DELAY_SECONDS = 3600.0
_MOST_DOUBLINGS = 16


def back_off_seconds(
    attempts: int, *, random: float, retry_after_seconds: float | None = None
) -> float:
    """Return how long to wait after the given number of failed attempts.

    The base doubles from 30 s; up to half of it is added at random, so that mails deferred together
    do not come back together, and the whole stays below 1 h. A server's own wish is a lower bound,
    up to an hour.

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
    return max(delay, min(retry_after_seconds or 0.0, LONGEST_DELAY_SECONDS))


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
