"""One settings file, with the variables and secret files that belong to it, as checked values.

Pure but for the secret files, which come through the ``Files`` handed in.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr, ValidationError

from config.errors import Problem
from config.table import Key, Table, keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from config.secret_files import Files
    from config.values import LayerName

_SECRETS: Final = {
    "email.password": "email.password_file",
    "microsoft_365.client_secret": "microsoft_365.client_secret_file",
}
_CERTIFICATES: Final = ("tls.ca_file", "microsoft_365.certificate_file", "microsoft_365.ca_file")
_SWITCH: Final = "web.allow_microsoft_365"
_SHOWN: Final = 60
_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,60}")
"""A key that TOML lets stand without quotes; any other is shown in quotes, on one line."""


class Strength(IntEnum):
    """Environment over secret file over TOML: the lower number wins."""

    ENVIRONMENT = 0
    SECRET_FILE = 1
    TOML = 2


@dataclass(frozen=True, slots=True)
class Written:
    """A value as it stands somewhere: ``file`` is a variable's name or a path in the tree."""

    value: Any = field(repr=False)  # it may be a secret that lost against another
    layer: LayerName
    file: str
    key: str
    strength: Strength = Strength.TOML


@dataclass(frozen=True, slots=True)
class Override:
    """What a variable, or a file of the secrets directory, says of one key."""

    key: Key
    text: str = field(repr=False)  # it may be a secret
    file: str
    strength: Strength


@dataclass(frozen=True, slots=True)
class Place:
    """Whose file it is and where it lies; ``file`` is relative to the tree, ``path`` is not."""

    context: str
    user: str | None
    layer: LayerName
    file: str
    path: Path

    def problem(self, key: str, what: str, *, file: str = "") -> Problem:
        """One line about this file, or about ``file`` (a variable) that speaks for it."""
        return Problem(self.context, self.user, file or self.file, key, what)


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file, its variables and its secret files say.

    Attributes:
        place: whose it is.
        values: for each key that is written, what is written: the strongest first.
        problems: its errors, all of them.
        warnings: what works, but should be known.
        switch: ``allow_microsoft_365`` as far as it can be told in spite of errors: None where it
            is not written, False where it is anything but true.
        readable: whether the file is TOML at all.
    """

    place: Place
    values: Mapping[str, tuple[Written, ...]]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    switch: bool | None = None
    readable: bool = True


def unreadable(place: Place, what: str) -> Layer:
    """The layer of a file that cannot be read or is no TOML."""
    return Layer(place, {}, (place.problem("", what),), readable=False)


def build(
    place: Place,
    model: type[Table],
    raw: Mapping[str, Any],
    overrides: Iterable[Override],
    files: Files,
) -> Layer:
    """Check one decoded file with what overrides it; errors are collected, never raised."""
    known = {key.dotted: key for key in keys(model)}
    stands: dict[str, list[Written]] = {}
    merged = {name: dict(part) if isinstance(part, dict) else part for name, part in raw.items()}
    for dotted in known:
        found, value = _get(raw, dotted)
        if found:
            stands[dotted] = [Written(value, place.layer, place.file, dotted)]
    for override in sorted(overrides, key=lambda each: -each.strength):
        dotted = override.key.dotted
        value = _typed(override.key, override.text)
        layer: LayerName = (
            "environment" if override.strength is Strength.ENVIRONMENT else place.layer
        )
        written = Written(value, layer, override.file, dotted, override.strength)
        if _put(merged, dotted, value):
            stands.setdefault(dotted, []).insert(0, written)

    _, switch = _get(merged, _SWITCH)
    switch = None if switch is None else switch is True
    problems: list[Problem] = []
    warnings: list[Problem] = []
    settings = _validated(place, model, merged, known, stands, problems)
    for dotted, chain in stands.items():
        chain[0] = _with_value(chain[0], _attribute(settings, dotted))
    for secret, file_key in _SECRETS.items():
        _settle_secret(place, stands, secret, file_key, files, problems, warnings)
    for dotted in _CERTIFICATES:
        if dotted in stands:
            _settle_certificate(place, stands, dotted, files, problems)
    return Layer(
        place,
        {dotted: tuple(chain) for dotted, chain in stands.items()},
        tuple(problems),
        tuple(warnings),
        switch,
    )


def _validated(
    place: Place,
    model: type[Table],
    merged: dict[str, Any],
    known: Mapping[str, Key],
    stands: dict[str, list[Written]],
    problems: list[Problem],
) -> Table:
    """The settings of what is right in a file; what is wrong is reported and left out."""
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        problem = _problem(place, known, stands, detail)
        if problem not in problems:
            problems.append(problem)
        stands.pop(problem.key, None)
        table, *inner = detail["loc"]
        part = merged.get(str(table))
        if inner and isinstance(part, dict):
            part.pop(inner[0], None)
        else:
            merged.pop(str(table), None)
    return _validated(place, model, merged, known, stands, problems)


def shown(key: Key | None, value: Any) -> str:
    """A value for people, as TOML would have it; secrets masked, long ones cut."""
    if key is None or key.secret or isinstance(value, SecretStr):
        return "***"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(shown(key, part) for part in value) + "]"
    text = str(value)
    if not isinstance(value, (int, float)):
        text = '"' + "".join(each if each.isprintable() else "·" for each in text) + '"'
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _settle_secret(
    place: Place,
    stands: dict[str, list[Written]],
    secret: str,
    file_key: str,
    files: Files,
    problems: list[Problem],
    warnings: list[Problem],
) -> None:
    """Make one chain of a secret and the file that may hold it; read the file if it wins."""
    inline, pointed = stands.get(secret, []), stands.pop(file_key, [])
    if inline and pointed and inline[0].strength is pointed[0].strength:
        what = f"both this and {file_key} are written; keep one"
        problems.append(place.problem(secret, what, file=inline[0].file))
        return
    chain = sorted([*inline, *pointed], key=lambda written: written.strength)
    if not chain:
        return
    winner = chain[0]
    if winner.key == file_key:
        try:
            text = files.secret(place.path.parent / winner.value)
        except ValueError as error:
            problems.append(place.problem(file_key, f"{winner.value}: {error}", file=winner.file))
            return
        chain[0] = _with_value(winner, SecretStr(text))
    elif winner.strength is Strength.TOML and files.exposed(place.path):
        warnings.append(place.problem(secret, f"others can read this file: use {file_key}"))
    stands[secret] = chain


def _settle_certificate(
    place: Place,
    stands: dict[str, list[Written]],
    dotted: str,
    files: Files,
    problems: list[Problem],
) -> None:
    written = stands[dotted][0]
    path = place.path.parent / written.value
    try:
        files.certificates(path)
    except ValueError as error:
        problems.append(place.problem(dotted, f"{written.value}: {error}", file=written.file))
    stands[dotted][0] = _with_value(written, path)


def _problem(
    place: Place,
    known: Mapping[str, Key],
    stands: Mapping[str, list[Written]],
    detail: ErrorDetails,
) -> Problem:
    """One pydantic error as one line: the key, the value, what may be written."""
    loc = [each if _BARE.fullmatch(each) else json.dumps(each) for each in map(str, detail["loc"])]
    dotted = ".".join(loc[:2]) if loc[0] not in known else loc[0]
    key = known.get(dotted)
    file = stands[dotted][0].file if dotted in stands else place.file
    if key is None and detail["type"] == "extra_forbidden":
        near = _nearest(dotted, known)
        what = f"no such key; did you mean {near}?" if near else "no such key"
    elif key is None:
        what = f"this is a table: write [{dotted}]"
    else:
        what = f"{shown(key, detail['input'])}: {_allowed(key, detail)}"
    return place.problem(dotted, what, file=file)


def _nearest(dotted: str, known: Iterable[str]) -> str | None:
    """The key that was meant: the same name in another table, or a similar one in this."""
    table, _, name = dotted.rpartition(".")
    elsewhere = [each for each in known if each.rpartition(".")[2] == name]
    here = [each for each in known if each.rpartition(".")[0] == table]
    names = [each.rpartition(".")[2] for each in here]
    similar = difflib.get_close_matches(name, names or [], n=1, cutoff=0.6)
    return next(iter([*elsewhere, *(here[names.index(each)] for each in similar)]), None)


def _allowed(key: Key, detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail.get("ctx", {}).get("error", ""))
    quoted = isinstance(detail["input"], str) and key.annotation in {int, bool}
    if detail["type"] in {"string_too_long", "string_too_short"}:
        return "too long" if detail["type"] == "string_too_long" else "write something or no key"
    if detail["type"] == "string_type":
        return "write it in quotes"
    if key.choices:
        return "write one of " + ", ".join(key.choices)
    absent = "; leave the key out for no limit" if "no limit" in key.description.lower() else ""
    return f"write {key.range}" + (", without quotes" if quoted else "") + absent


def _typed(key: Key, text: str) -> Any:
    """The text of a variable as TOML would have decoded it; left as it is where it can't be."""
    if key.annotation is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if key.annotation is int and text.lstrip("-").isascii() and text.lstrip("-").isdigit():
        return int(text)
    return text


def _get(raw: Mapping[str, Any], dotted: str) -> tuple[bool, Any]:
    table, _, name = dotted.rpartition(".")
    part = raw.get(table, {}) if table else raw
    return (True, part[name]) if isinstance(part, dict) and name in part else (False, None)


def _put(merged: dict[str, Any], dotted: str, value: Any) -> bool:
    table, _, name = dotted.rpartition(".")
    part = merged.setdefault(table, {}) if table else merged
    if isinstance(part, dict):
        part[name] = value
    return isinstance(part, dict)


def _attribute(settings: Table, dotted: str) -> Any:
    value: Any = settings
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def _with_value(written: Written, value: Any) -> Written:
    return Written(value, written.layer, written.file, written.key, written.strength)
