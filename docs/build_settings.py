"""Writes docs/settings.md from the settings models: ``python docs/build_settings.py``."""

# ruff: noqa: INP001 - a script beside the page that it writes, no package

from __future__ import annotations

import itertools
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":  # the packages lie beside docs/, not in it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from config.availability import HELD
from config.company import CompanySettings
from config.environment import variable_name
from config.process import ProcessSettings
from config.system import SystemSettings
from config.table import Key, keys
from config.template import toml
from config.user import UserSettings
from config.values import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH: Final = Path(__file__).resolve().parent / "settings.md"
TESTS: Final = PATH.with_name("settings_tests.toml")
_MODELS: Final = (SystemSettings, CompanySettings, UserSettings)

_HEAD: Final = """\
# Settings

<!-- Written by docs/build_settings.py from the models in config/; edit those. -->

The settings are a folder of TOML files that you can keep in git:

```
system.toml                             jobs that name no company
users/<user>.toml                       the users of the system
companies/<company>/company.toml        jobs of that company
companies/<company>/users/<user>.toml   the users of that company
```

`postmeter settings init` writes one with every key in it, `postmeter settings check` names every
error and warning without sending anything, and `postmeter settings explain --company acme --user
jane --kind batch` shows each value in force, where it comes from, and why others lost. A running
worker follows an edit within seconds. A file with errors holds the mail of its company (or of its
user) if it never was right; otherwise the last settings that were right stay in force.

Ids are folder and file names: `a-z`, `0-9`, then also `_` and `-`, for users also `.`; at most 63.

**Layers.** The environment wins over secret files, and these over TOML. System and companies are
separate; a company copies what it leaves out only with `replicate_from_system = true` (the table
`[microsoft_365]` as a whole, so that one tenant's secret never goes to another). A user's choice
counts where its gate is open. `authentication_model = "oauth2"` replaces defaults and replicated
values; keys written in the same file win. Where it, or `microsoft-365`, is the way of a mail, or SMTP
to a server of Office 365 with whatever login (`smtp.office365.com` and the like; a relay is none), the
mailbox has the limits of Exchange Online, unless the user's file says otherwise: 30 emails a minute,
10,000 recipients a day, 3 connections at a time, 500 recipients and 35 MB in one email. An email
that is over the last two is refused before anything is connected to. `settings explain` shows who
set each of them: `oauth2`, `microsoft-365`, or the server's choice, `office365`.

**What will not work with Office 365** is known to `settings check`: it warns of limits above the
provider's, of users who share one mailbox, of Basic authentication, which ends, of TLS 1.0 and 1.1,
and of implicit TLS. What needs Microsoft 365 without `allow_microsoft_365`, or without an app
registration in `[microsoft_365]`, is an error that names the missing keys.

**Secrets** stand in the file (a warning, if others can read it), in a file beside it
(`password_file`, `client_secret_file`; refused if group or others can read it), in a file of the
folder `POSTMETER_SECRETS` that is named like the variable, or in the variable. A certificate's file
with a private key is refused in the same way, unless it lies in that folder, under any name.

**Variables** have the id in capitals, with `-` and `.` as `_`. A `POSTMETER_` variable that means
nothing, or two things, is an error. The names below stand for the company `acme` and its user
`jane`; the system's users are `POSTMETER_USER__SYSTEM__JANE__…`.

A value given as text in a variable is written as in TOML without quotes; addresses are separated by
semicolons.
"""


def document() -> str:
    """The whole page."""
    shared = {key.dotted for key in keys(CompanySettings)}
    system = [key for key in keys(SystemSettings) if key.dotted in shared]
    only_system = [key for key in keys(SystemSettings) if key.dotted not in shared]
    only_company = [key for key in keys(CompanySettings) if "." not in key.dotted]
    parts = [
        _HEAD,
        "## system.toml and company.toml\n",
        *_tables(system, SYSTEM, None),
        "## system.toml only\n",
        *_tables(only_system, SYSTEM, None),
        "## company.toml only\n",
        *_tables(only_company, "acme", None),
        "## Users' files\n",
        *_tables(keys(UserSettings), "acme", "jane"),
        *_held(),
        *_process(),
        *_shown(),
    ]
    return "\n".join(parts)


def _tables(listed: Iterable[Key], context: str, user: str | None) -> Iterator[str]:
    """A heading for each TOML table, and for each key a row and a line of description."""
    for table, group in itertools.groupby(listed, key=lambda key: key.dotted.rpartition(".")[0]):
        if table:
            yield f"### [{table}]\n"
        yield "| key | on the page | range | default | example | environment |"
        yield "|---|---|---|---|---|---|"
        entries = list(group)
        for key in entries:
            variable = variable_name(key.dotted, context, user)
            yield (
                f"| `{_name(key)}` | {key.page} | {_code(key)} | {_default(key)} "
                f"| `{toml(key.example)}` | `{variable}` |"
            )
        yield ""
        for key in entries:
            yield _item(f"`{_name(key)}`: {key.description}")
        yield ""


def _held() -> Iterator[str]:
    yield "## Accepted, but not served by this version\n"
    yield (
        "`postmeter settings check` lists these, and a job that would need one is held with a\n"
        "sentence that says what to write instead; it is never sent another way.\n"
    )
    yield "| key | value | instead |"
    yield "|---|---|---|"
    for (name, value), (_, instead) in HELD.items():
        yield f"| `{name}` | `{value}` | {instead} |"
    yield ""


def _process() -> Iterator[str]:
    yield "## The process\n"
    yield (
        "Where a process finds things. These are variables only, or files of the folder\n"
        "`POSTMETER_SECRETS`.\n"
    )
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for name, field in ProcessSettings.model_fields.items():
        default = field.default
        shown = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        text = "" if shown is None or shown == "" else f"`{str(shown).lower()}`"
        yield f"| `POSTMETER_{name.upper()}` | {text} | {field.description} |"
    yield ""


def values(key: Key) -> tuple[str, ...]:
    """The values of a key that have a test each; ``any`` where it has no list of them."""
    return ("true", "false") if key.annotation is bool else key.choices or ("any",)


def shown_by() -> dict[str, dict[str, str]]:
    """Which test shows what a value does, by key and value."""
    return tomllib.loads(TESTS.read_text(encoding="utf-8"))


def _shown() -> Iterator[str]:
    yield "## What each value does, and the test that shows it\n"
    yield (
        "Tests are named by their file below `tests/`, their function and, where it runs through many\n"
        "rows, the row. What is **held** needs a desktop, and its test shows that it waits with the\n"
        "sentence above. For the SMTP matrix the server's own log is the witness.\n"
    )
    every = {key.dotted: key for model in _MODELS for key in keys(model)}
    named = shown_by()
    for table, group in itertools.groupby(
        (key for key in every.values() if key.dotted in named),
        key=lambda key: key.dotted.rpartition(".")[0],
    ):
        yield f"### Tests of [{table}]\n" if table else "### Tests of company.toml\n"
        yield "| key | on the page | value | test |"
        yield "|---|---|---|---|"
        for key in group:
            for value, test in named[key.dotted].items():
                held = "**held**: " if (_name(key), value) in HELD else ""
                shown = f"`{value}`" if value != "any" else f"any: {key.range}"
                yield f"| `{_name(key)}` | {key.page} | {shown} | {held}`{test}` |"
        yield ""


def _name(key: Key) -> str:
    return key.dotted.rpartition(".")[2]


def _code(key: Key) -> str:
    return ", ".join(f"`{choice}`" for choice in key.choices) or key.range


def _default(key: Key) -> str:
    if key.dotted in {"delivery.retry_for", "delivery.reply_timeout"}:
        return f"`{toml(key.example)}`"
    return "" if key.default in (None, "", ()) else f"`{toml(key.default)}`"


def _item(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="* ", subsequent_indent="  ")


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
