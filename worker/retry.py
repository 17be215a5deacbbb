"""When to try a deferred mail again: pure, with the random number passed in."""

from __future__ import annotations

FIRST_DELAY_SECONDS = 30.0
LONGEST_DELAY_SECONDS = 3600.0
_MOST_DOUBLINGS = 16


def delay_seconds(
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


def next_attempt_at(
    attempts: int,
    *,
    now: float,
    first_attempt_at: float,
    held_seconds: float,
    retry_for_seconds: float,
    random: float,
    retry_after_seconds: float | None = None,
) -> float | None:
    """Return when to try again, or None where the time for this mail is over.

    ``retry_for`` runs from the first attempt; the time in which the mail was held does not count.
    A last attempt is made when the time ends, not given away because the next delay would pass it.
    All times are seconds of one clock.
    """
    ends_at = first_attempt_at + held_seconds + retry_for_seconds
    if now >= ends_at:
        return None
    delay = delay_seconds(attempts, random=random, retry_after_seconds=retry_after_seconds)
    return min(now + delay, ends_at)
