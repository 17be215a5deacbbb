"""Tables as Grafana's JSON: a row for each value of a label, a column for each query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.grafana.panels import COUNT, panel_of, thresholds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.grafana.panels import Json, Query, Step


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: a label, or the value of a query.

    Attributes:
        field: the label's name, or ``Value #A`` for what query A returns.
        bar: drawn as a bar from 0 to 1.
    """

    field: str
    title: str
    unit: str = COUNT
    steps: tuple[Step, ...] = ()
    bar: bool = False
    width: int | None = None


def table(
    title: str,
    description: str,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    by: str,
    nothing: str = "",
) -> Json:
    """A row for each value of the label ``by``, which every query returns; sorted by it."""
    names = [column.field for column in columns]
    transformations = [
        {"id": "joinByField", "options": {"byField": by, "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
        {
            "id": "organize",
            "options": {
                "indexByName": {name: n for n, name in enumerate(names)},
                "renameByName": {column.field: column.title for column in columns},
                "excludeByName": {},
            },
        },
    ]
    return panel_of(
        "table",
        title,
        description,
        queries,
        transformations=transformations if len(queries) > 1 else transformations[1:],
        fieldConfig={
            "defaults": {
                "unit": COUNT,
                "noValue": nothing,
                "thresholds": thresholds_of(()),
                "custom": {"align": "auto", "cellOptions": {"type": "auto"}},
                "mappings": [],
            },
            "overrides": [_column(column) for column in columns],
        },
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": columns[0].title, "desc": False}],
        },
    )


def _column(column: Column) -> Json:
    properties: list[Json] = [{"id": "unit", "value": column.unit}]
    if column.steps:
        properties.append({"id": "thresholds", "value": thresholds_of(column.steps)})
    if column.bar:
        gauge = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        properties += [
            {"id": "custom.cellOptions", "value": gauge},
            {"id": "min", "value": 0},
            {"id": "max", "value": 1},
        ]
    elif column.steps:
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    if column.width is not None:
        properties.append({"id": "custom.width", "value": column.width})
    return {"matcher": {"id": "byName", "options": column.title}, "properties": properties}
