"""A commented settings tree to begin with, written from the models."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any, Final

from config.company import CompanySettings
from config.system import SystemSettings
from config.table import BEYOND_THE_PAGE, Key, keys
from config.user import UserSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from config.table import Table

_COLUMNS: Final = 78
_INTRODUCTION: Final = (
    "Every key there is, with what it does. A key without # is in force; take the # away to set "
    "another. `postmeter settings check` says what is wrong, `postmeter settings explain` where "
    "each value comes from. A running worker follows an edit within seconds."
)


def tree() -> dict[str, str]:
    """The files of a new tree, by their path in it."""
    return {
        "system.toml": _file(
            "System Settings, SMTP tab: for jobs that name no company.",
            SystemSettings,
            {"smtp.default_user": "robot"},
        ),
        "users/robot.toml": _file("A user of the system: the Email tab.", UserSettings, {}),
        "companies/acme/company.toml": _file(
            "Company Mail Settings of the company with the id acme: the folder's name.",
            CompanySettings,
            {"replicate_from_system": True, "smtp.default_user": "jane"},
        ),
        "companies/acme/users/jane.toml": _file(
            "The Email tab of the user jane in the company acme.", UserSettings, {}
        ),
    }


def write(folder: Path) -> list[Path]:
    """Write the tree; users' files are for the owner's eyes, since they may hold passwords.

    Raises:
        FileExistsError: the folder holds something already.
        OSError: it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    written = []
    for name, text in tree().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if "users/" in name else 0o644, exist_ok=False)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def toml(value: Any) -> str:
    """A value as TOML has it; enough for the examples of the models."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def _file(title: str, model: type[Table], active: Mapping[str, Any]) -> str:
    lines = [*_comment(title), "#", *_comment(_INTRODUCTION)]
    ordered = sorted(keys(model), key=lambda key: "." in key.dotted)
    for table, group in itertools.groupby(ordered, key=lambda key: key.dotted.rpartition(".")[0]):
        lines += ["", f"[{table}]"] if table else []
        for key in group:
            lines += ["", *_entry(key, active)]
    return "\n".join(lines) + "\n"


def _entry(key: Key, active: Mapping[str, Any]) -> Iterator[str]:
    name = key.dotted.rpartition(".")[2]
    page = "" if key.page == BEYOND_THE_PAGE else f"{key.page}. "
    yield from _comment(f"{page}{key.description} ({key.range})")
    if key.dotted in active:
        yield f"{name} = {toml(active[key.dotted])}"
    else:
        yield f"# {name} = {toml(key.example)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _COLUMNS - 2)]
