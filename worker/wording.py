"""How counts and lengths of time are said to people: in the command and on pages; pure."""

from __future__ import annotations

from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def duration(seconds: float) -> str:
    """A length of time in the two units that matter: ``45 s``, ``20 min``, ``3 h 5 min``."""
    whole = round(max(0.0, seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")  # noqa: PLR2004 - from ten minutes on, seconds say nothing
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    count, rest = divmod(whole, large)
    rest //= small
    return f"{count} {large_name}" + (f" {rest} {small_name}" if rest else "")


def number(count: float) -> str:
    """A count as people read it: ``12,345``; nothing is a dash."""
    return f"{count:,.0f}" if count else "-"


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 job``, ``2 jobs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
