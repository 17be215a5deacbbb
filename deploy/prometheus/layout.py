"""Lays a long expression of PromQL out over several lines, so that a person can read it; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE: Final = 88
_INDENT: Final = "  "
_JOINTS: Final = tuple(
    re.compile(f" (?=(?:{words}) )") for words in ("or", "and|unless", r"[-+*/]", r"[<>=!]=?")
)
"""What joins two parts, what binds the least first; a line begins with it."""
_OPENING, _CLOSING = "([{", ")]}"


def laid_out(expr: str, indent: str = "") -> str:
    """The same expression, in lines that are as long as they may be where that can be had."""
    if len(indent) + len(expr) <= LINE:
        return indent + expr
    for joint in _JOINTS:
        parts = _split(expr, joint)
        if len(parts) > 1:
            return "\n".join(laid_out(part, indent) for part in parts)
    begin, end = max(_groups(expr), key=lambda group: group[1] - group[0], default=(0, 0))
    if end - begin < 2:  # noqa: PLR2004 - nothing between the brackets
        return indent + expr
    inner = laid_out(expr[begin + 1 : end], indent + _INDENT)
    return f"{indent}{expr[: begin + 1]}\n{inner}\n{indent}{expr[end:]}"


def _split(expr: str, joint: re.Pattern[str]) -> list[str]:
    """Cut before each joint that is in no brackets."""
    cuts = [at for at, depth in _depths(expr) if depth == 0 and joint.match(expr, at)]
    begins = (0, *(cut + 1 for cut in cuts))
    return [expr[a:b] for a, b in zip(begins, (*cuts, len(expr)), strict=True)]


def _groups(expr: str) -> Iterator[tuple[int, int]]:
    """Where each outermost pair of round brackets begins and ends."""
    begin = 0
    for at, depth in _depths(expr):
        if depth == 1 and expr[at] == "(":
            begin = at
        elif depth == 0 and expr[at] == ")":
            yield begin, at


def _depths(expr: str) -> Iterator[tuple[int, int]]:
    """Each sign's place, and in how many brackets it is; a closing one is outside."""
    depth, quoted = 0, False
    for at, sign in enumerate(expr):
        quoted ^= sign == '"'
        if not quoted:
            depth += (sign in _OPENING) - (sign in _CLOSING)
        yield at, depth
