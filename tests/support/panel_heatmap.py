"""Draws a panel's heatmap: how many observations fell into each bucket at each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.panel_svg import FAINT, clock_text, clock_ticks, in_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.panel_data import Series, Span

BLUES: Final = ("#10233f", "#08519c", "#2171b5", "#4292c6", "#6baed6", "#9ecae1", "#deebf7")
"""From few to many, on dark ground."""
_BOTTOM, _LEFT = 20, 62


def heatmap(series: Sequence[Series], span: Span, size: tuple[float, float]) -> str:
    """A ``heatmap`` panel's drawing; ``series`` are a histogram's buckets by ``le``."""
    buckets = sorted(series, key=lambda one: float(one.labels["le"]))
    cells = _own_counts(buckets)
    used = [n for n, row in enumerate(cells) if any(count > 0.01 for count in row)]
    first, last = max(0, min(used, default=0) - 1), min(len(cells) - 1, max(used, default=0) + 1)
    shown = range(first, last + 1)
    width, height = size
    high = (height - _BOTTOM - 6) / len(shown)
    wide = (width - _LEFT - 8) / len(span.times)
    most = max((count for row in cells for count in row), default=1.0) or 1.0
    parts = []
    for place, n in enumerate(shown):
        y = 6 + (len(shown) - 1 - place) * high
        bound = float(buckets[n].labels["le"])
        label = "more" if bound == float("inf") else in_unit(bound, "s")
        if len(shown) <= 9 or place % 2 == 0:
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for column, count in enumerate(cells[n]):
            if count > 0.01:
                share = (count / most) ** 0.5
                color = BLUES[min(len(BLUES) - 1, int(share * len(BLUES)))]
                x = _LEFT + column * wide
                parts.append(
                    f'<rect x="{x:.1f}" y="{y + 0.5:.1f}" width="{max(1.0, wide - 0.6):.1f}"'
                    f' height="{high - 1:.1f}" fill="{color}"/>'
                )
    for moment, clock in clock_ticks(span, width):
        x = _LEFT + (moment - span.start) / (span.end - span.start) * (width - _LEFT - 8)
        parts.append(clock_text(x, clock, width, height))
    return (
        f'<svg width="{width:.0f}" height="{height:.0f}" font-size="11" fill="{FAINT}">'
        f"{''.join(parts)}</svg>"
    )


def _own_counts(buckets: Sequence[Series]) -> list[list[float]]:
    """Of cumulative buckets, what is in each alone."""
    counts: list[list[float]] = []
    below = [0.0] * (len(buckets[0].values) if buckets else 0)
    for bucket in buckets:
        whole = [value or 0.0 for value in bucket.values]
        counts.append([max(0.0, w - b) for w, b in zip(whole, below, strict=True)])
        below = whole
    return counts
