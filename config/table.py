"""The form of every settings model, and the list of keys that is read from it.

The models are the one place where a key, its name on the page, its range, default and example are
written. Documentation, the commented tree and the names of variables are made from this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

BEYOND_THE_PAGE = "(beyond the page)"


class Table(BaseModel):
    """One table of a settings file: strict, frozen, without unknown keys, silent about values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as its model describes it.

    Attributes:
        dotted: ``smtp.port``, or a bare name for a key above the first table.
        annotation: the type of its values, without None.
        page: its name on the settings page, or ``(beyond the page)``.
        description: what it does.
        range: what may be written.
        default: the model's default; None where an absent key means something of its own.
        example: a value that may be written, as TOML has it.
    """

    dotted: str
    annotation: Any
    page: str
    description: str
    range: str
    default: Any
    example: Any

    @property
    def secret(self) -> bool:
        """Whether its values are shown to nobody."""
        return self.annotation is SecretStr

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an enumerated key; empty for any other."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every key of a settings model, in its order, tables opened."""
    for name, field in model.model_fields.items():
        annotation = _without_none(field.annotation)
        if isinstance(annotation, type) and issubclass(annotation, Table):
            yield from keys(annotation, f"{prefix}{name}.")
        else:
            yield _key(f"{prefix}{name}", annotation, field)


def _key(dotted: str, annotation: Any, field: FieldInfo) -> Key:
    extra = field.json_schema_extra
    written = extra.get("range") if isinstance(extra, dict) else None
    return Key(
        dotted=dotted,
        annotation=annotation,
        page=field.title or BEYOND_THE_PAGE,
        description=field.description or "",
        range=str(written) if written else _range(annotation, field),
        default=field.default,
        example=(field.examples or [None])[0],
    )


def _without_none(annotation: Any) -> Any:
    """``X`` of ``X | None``; constraints that pydantic left inside the union fall away with it."""
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if type(None) in get_args(annotation) and len(inner) == 1:
        annotation = inner[0]
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _range(annotation: Any, field: FieldInfo) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(get_args(annotation))
    if annotation is bool:
        return "true, false"
    bounds = [*field.metadata, *_inner_bounds(field.annotation)]
    low = next((bound.ge for bound in bounds if isinstance(bound, annotated_types.Ge)), None)
    high = next((bound.le for bound in bounds if isinstance(bound, annotated_types.Le)), None)
    return f"{low} to {high}" if low is not None and high is not None else "text"


def _inner_bounds(annotation: Any) -> Iterator[Any]:
    """What ``Annotated[int, Field(ge=1, le=9)] | None`` says of the int."""
    for part in get_args(annotation):
        for constraint in getattr(part, "__metadata__", ()):
            yield from getattr(constraint, "metadata", (constraint,))
