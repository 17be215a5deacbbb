"""PromQL taken apart: which metrics an expression reads, by which labels, and through what."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import promql_parser as parser

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Reading:
    """One selector of an expression.

    Attributes:
        name: the metric; where it is a regular expression over ``__name__``, that.
        matched: the labels that it selects by.
        through: what is done with it, the innermost first: ``rate``, ``sum``, …
        grouped: the labels that what is done with it keeps or matches.
    """

    name: str
    matched: frozenset[str]
    through: tuple[str, ...]
    grouped: frozenset[str]


def readings(expression: str) -> list[Reading]:
    """Every selector of an expression.

    Raises:
        ValueError: it is no PromQL.
    """
    return list(_walk(parser.parse(expression), (), frozenset()))


def _walk(node: Any, through: tuple[str, ...], grouped: frozenset[str]) -> Iterator[Reading]:
    match node:
        case parser.VectorSelector():
            matchers = node.matchers.matchers
            named = [m.value for m in matchers if m.name == "__name__"]
            labels = frozenset(m.name for m in matchers) - {"__name__"}
            yield Reading(node.name or named[0], labels, through, grouped)
        case parser.MatrixSelector():
            yield from _walk(node.vector_selector, through, grouped)
        case parser.AggregateExpr():
            kept = frozenset(node.modifier.labels if node.modifier else ())
            yield from _walk(node.expr, (str(node.op), *through), kept | grouped)
        case parser.Call():
            inner = (node.func.name, *through)
            yield from itertools.chain.from_iterable(_walk(a, inner, grouped) for a in node.args)
        case parser.BinaryExpr():
            modifier = node.modifier
            matching = modifier.matching if modifier else None
            on = frozenset(matching.labels if matching else ())
            for side in (node.lhs, node.rhs):
                yield from _walk(side, through, grouped | on)
        case parser.ParenExpr() | parser.UnaryExpr() | parser.SubqueryExpr():
            yield from _walk(node.expr, through, grouped)
