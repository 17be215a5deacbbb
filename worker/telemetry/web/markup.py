"""HTML that is safe by how it is made: text is escaped unless it was made here."""

from __future__ import annotations

from html import escape
from typing import Final, TypeAlias

_EMPTY: Final = frozenset({"meta", "line", "rect", "br"})
"""Elements that hold nothing: of HTML without an end, of SVG closed in themselves."""


class Markup(str):
    """HTML; every other text is a text."""

    __slots__ = ()


Child: TypeAlias = "str | int | None"


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Make one element.

    Args:
        children: what is inside; None is left out. Text is escaped, and of characters that
            cannot be seen (controls, turns of the direction of writing) only ``?`` is left.
        attributes: ``class_`` is written ``class``, ``aria_label`` ``aria-label``; one that is None
            is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Markup(f"<{name}{written}{'' if name in {'meta', 'br'} else '/'}>")
    return Markup(f"<{name}{written}>{together(*children)}</{name}>")


def together(*children: Child) -> Markup:
    """Put texts and elements after each other."""
    return Markup("".join(_child(child) for child in children if child is not None))


def _child(child: str | int) -> str:
    return child if isinstance(child, Markup) else escape(_printable(child), quote=False)


def _printable(value: str | float) -> str:
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
