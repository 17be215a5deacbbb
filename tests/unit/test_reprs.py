"""What holds a secret has no repr that shows it: a repr stands in every traceback and every log."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

import config
import worker.auth
import worker.transports
from tests.support.registrations import app
from tests.support.secrets_watch import secret
from tests.support.settings import make_settings
from tests.support.settings_tree import JANE, SettingsTree
from worker.transports.login import PasswordLogin, TokenLogin

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = re.compile(r"password|client_secret|token|cache|^value$|^text$|login")
"""Fields that may hold one, where they hold text."""
_NO_SECRETS = {
    ("worker.transports.connection", "Connection"): "the token of a lease",
    ("worker.transports.places", "_Place"): "the token of a lease",
    ("worker.transports.graph_replies", "Answer"): "what Graph answers",
    ("config.effective", "Loser"): "a setting as it may be shown",
}


def holders() -> list[type]:
    """Every dataclass of settings, tokens and transports that may hold a secret."""
    found = []
    for package in (config, worker.auth, worker.transports):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for _, kind in inspect.getmembers(
                importlib.import_module(module.name), inspect.isclass
            ):
                if kind.__module__ == module.name and dataclasses.is_dataclass(kind):
                    found.append(kind)
    return [kind for kind in found if any(map(_may_hold, dataclasses.fields(kind)))]


def _may_hold(field: dataclasses.Field[object]) -> bool:
    return (
        _NAMES.search(field.name) is not None
        and re.search(r"\b(str|bytes|Any)\b", str(field.type)) is not None
    )


@pytest.mark.parametrize("kind", holders(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_whatever_may_hold_a_secret_says_nothing_of_its_fields(kind: type) -> None:
    """The dataclass's own repr is off, or another has taken its place."""
    if (kind.__module__, kind.__name__) in _NO_SECRETS:
        return
    shown = [each.name for each in dataclasses.fields(kind) if each.repr and _may_hold(each)]
    # The one that dataclasses make is wrapped, so that it survives a value that holds itself.
    generated = hasattr(vars(kind).get("__repr__"), "__wrapped__")
    assert not (generated and shown), shown


@pytest.mark.parametrize(
    "holder",
    [
        PasswordLogin("jane", secret("p")),
        TokenLogin("jane@acme.test", secret("t")),
        make_settings(username="jane", password=SecretStr(secret("p"))),
        app(client_secret=SecretStr(secret("c"))),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_a_secret_is_in_no_repr(holder: object) -> None:
    """Neither alone nor within something that shows what it holds."""
    assert "nobody" not in f"{holder!r} {holder} {[holder]} { {'x': holder} }"


def test_no_layer_of_the_settings_shows_what_was_written(tmp_path: Path) -> None:
    """Also a password that another has beaten, and what a variable or a secret file says."""
    tree = SettingsTree(tmp_path)
    tree.company(user=f'{JANE}username = "jane"\npassword = "{secret("tree")}"\n')
    watcher = tree.watcher({"POSTMETER_USER__ACME__JANE__PASSWORD": secret("variable")})
    state = repr(vars(watcher.current))
    assert "POSTMETER_USER__ACME__JANE__PASSWORD" in state
    assert "nobody" not in state + repr(vars(watcher))
