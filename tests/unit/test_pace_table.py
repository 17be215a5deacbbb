"""The table of docs/pace.md: each row is true, each names a test that is there, none is missing."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from config.context import KEYS
from tests.support.ledger import LANE, Store
from tests.support.limits import LIMITS, WRITTEN, limited
from tests.support.settings_tree import JANE, SMTP, SettingsTree
from worker.holding import targets_of
from worker.ledger.rows import Nothing
from worker.outcome import HoldTarget, TargetKind
from worker.pace import budget_of, limits_of, scope_of_connections

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from config.values import Kind

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "pace.md"
KINDS: tuple[Kind, ...] = ("batch", "send", "compose")
CONNECTIONS = "email.mailbox_connections"
RECIPIENTS = "email.mailbox_recipients_per_day"
WINDOWS = {"60 s": 60.0, "24 h": 86_400.0}


class Row(NamedTuple):
    """One row: what a job of this kind takes because of this key."""

    kind: Kind
    key: str
    scope: str
    window: str
    test: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.key}"


def rows() -> list[Row]:
    """The table, as it stands on the page."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| kind | key | scope | window | shown by |\n")[2].partition("\n\n")[0]
    cells = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in table.splitlines()[1:]
    ]
    return [Row(kind, *rest) for line in cells for kind, *rest in [line] if kind in KINDS]


ROWS = rows()


def naming(test: str) -> list[Row]:
    """The rows that name a test of this file."""
    return [row for row in ROWS if row.test == f"{Path(__file__).name}::{test}"]


def resolve(tree: SettingsTree, key: str, company: str | None, kind: Kind) -> EffectiveSettings:
    """The settings of jane in a tree with nothing but this one limit, of two."""
    table, _, name = key.rpartition(".")
    burst = '[delivery]\npace = "burst"\n'
    written = {
        "smtp": f"{SMTP}{name} = 2\n{burst}",
        "limits": f"{SMTP}{burst}[limits]\n{name} = 2\n",
    }
    of_context = written.get(table, SMTP + burst)
    of_user = f"{JANE}{name} = 2\n" if table == "email" else JANE
    shared = company is None or name.startswith("all_")
    tree.write("system.toml", of_context if shared else SMTP)
    tree.write("users/jane.toml", of_user if company is None else JANE)
    if company is not None:
        tree.company(company, SMTP + burst if shared else of_context, of_user)
    return tree.resolve(company, "jane", kind)


@pytest.mark.parametrize("company", ["acme", None])
@pytest.mark.parametrize("row", naming("test_takes_a_slot"), ids=str)
def test_takes_a_slot(tmp_path: Path, row: Row, company: str | None) -> None:
    """Of two a window, the third mail goes a whole window after the reply to the first."""
    (limit,) = limits_of(resolve(SettingsTree(tmp_path), row.key, company, row.kind))
    scope = row.scope
    if company is None:
        scope = scope.replace("company:acme", "system").replace("acme/", "_system/")
    assert (limit.scope, limit.limit, limit.key) == (scope, 2, row.key)
    assert limit.window_seconds == WINDOWS[row.window]

    store = Store()
    store.register("w1")
    store.accept("a", "b", "c", kind=row.kind)
    lane = LANE._replace(kind=row.kind)
    for _ in range(2):
        claim = store.claim(limit, lane=lane)
        store.begin(claim)
        store.clock.advance(5)
        store.settle(claim)
    store.clock.advance(limit.window_seconds - 5 - 0.001)
    taken = store.take(limit, lane=lane, ahead_seconds=0.0)
    assert isinstance(taken, Nothing)
    assert taken.scope == scope
    assert taken.until_steady == pytest.approx(store.clock.steady + 0.001)
    store.clock.advance(0.001)
    store.begin(store.claim(limit, lane=lane))
    store.close()


@pytest.mark.parametrize("company", ["acme", None])
@pytest.mark.parametrize("row", naming("test_takes_nothing"), ids=str)
def test_takes_nothing(tmp_path: Path, row: Row, company: str | None) -> None:
    """The key is in force, and no job of this kind comes under it."""
    settings = resolve(SettingsTree(tmp_path), row.key, company, row.kind)
    assert getattr(settings, row.key.rpartition(".")[2]) == 2
    assert limits_of(settings) == []
    assert row.scope == "none"


def test_only_a_draft_in_a_mailbox_needs_a_connection() -> None:
    """Nobody can write that drafts go by SMTP, and a file needs nobody."""
    (row,) = [row for row in ROWS if (row.kind, row.key) == ("compose", CONNECTIONS)]
    target = str(HoldTarget(TargetKind.SCOPE, row.scope))
    for way, needs in (("microsoft-365", True), ("accredo-mailer", False)):
        settings = limited(kind="compose", transport=way, mailbox_connections=3)
        assert (target in targets_of(settings)) is needs
    assert "smtp" not in KEYS["mail_options.compose"].choices


def test_every_row_is_there_once() -> None:
    """For each kind of job and each key that limits there is one row."""
    keys = [WRITTEN[name].key for name in LIMITS] + [CONNECTIONS, RECIPIENTS]
    assert sorted((row.kind, row.key) for row in ROWS) == sorted(itertools.product(KINDS, keys))


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_say_all_that_a_job_takes(kind: Kind) -> None:
    """With any combination of keys set, a job takes what the rows of those keys say, no more."""
    for count in range(len(LIMITS) + 1):
        for chosen in itertools.combinations(LIMITS, count):
            keys = {WRITTEN[name].key for name in chosen}
            expected = {
                (row.scope, WINDOWS[row.window], row.key)
                for row in ROWS
                if row.kind == kind and row.key in keys and row.scope != "none"
            }
            limits = limits_of(limited(kind=kind, **dict.fromkeys(chosen, 7)))
            taken = [(limit.scope, limit.window_seconds, limit.key) for limit in limits]
            assert len(taken) == len(expected)
            assert set(taken) == expected


def test_the_cap_on_connections_has_the_scope_that_the_page_says() -> None:
    """The rows about connections name the scope that leases are kept in."""
    scopes = {row.scope for row in ROWS if row.key == CONNECTIONS and row.kind != "compose"}
    assert scopes == {scope_of_connections(limited().account)}


def test_the_recipients_of_a_day_have_the_scope_that_the_page_says() -> None:
    """The rows about recipients name the scope that they are counted in, and what counts none."""
    for kind in KINDS:
        budget = budget_of(limited(kind=kind, mailbox_recipients_per_day=3), 1)
        (row,) = [row for row in ROWS if (row.kind, row.key) == (kind, RECIPIENTS)]
        assert row.scope == ("none" if budget is None else budget.scope)


def test_every_named_test_exists() -> None:
    """The file is there, and has a test of that name; where it is this one, with that very row."""
    for row in ROWS:
        name = re.fullmatch(r"(test_\w+\.py)::(test_\w+)", row.test)
        assert name, row
        (path,) = TESTS.rglob(name[1])
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert name[2] in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
