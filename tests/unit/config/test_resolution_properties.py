"""Whatever is written anywhere: resolution keeps its rules, and fails only with its own errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from config.company import CompanySettings
from config.compose import Memory, compose
from config.context import KEYS
from config.environment import Variable as EnvironmentVariable
from config.environment import assign, variable_name
from config.errors import ConfigError
from config.layer import Place, build
from config.office365 import PRESETS
from config.secret_files import Files
from config.sources import Reading
from config.system import SystemSettings
from config.user import UserSettings
from config.values import duration_seconds

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from config.environment import Owner
    from config.layer import Layer
    from config.settings import Settings
    from config.table import Table
    from config.values import Kind

FILES = {"password_file", "client_secret_file", "certificate_file", "ca_file"}
OWNERS: dict[Owner, tuple[type[Table], str]] = {
    ("_system", None): (SystemSettings, "system.toml"),
    ("_system", "jane"): (UserSettings, "users/jane.toml"),
    ("acme", None): (CompanySettings, "companies/acme/company.toml"),
    ("acme", "jane"): (UserSettings, "companies/acme/users/jane.toml"),
}
KINDS: tuple[Kind, ...] = ("send", "batch", "compose")
ODD = st.one_of(
    st.booleans(),
    st.integers(-1, 70_000),
    st.text(max_size=8),
    st.none(),
    st.lists(st.text(max_size=5), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=1),
)
Trees = dict["Owner", dict[str, Any]]


def value_of(dotted: str) -> st.SearchStrategy[Any]:
    """A value that the key takes."""
    key = KEYS[dotted]
    if key.choices:
        return st.sampled_from(key.choices)
    if key.annotation is bool:
        return st.booleans()
    return st.just(key.example)


@st.composite
def trees(draw: st.DrawFn, *, odd: bool = False) -> Trees:
    """A file for each owner: keys that exist, with values that are right unless ``odd``."""
    tree: Trees = {}
    for owner, (model, _) in OWNERS.items():
        user = owner[1]
        names = [key.dotted for key in _keys(model) if key.dotted.rpartition(".")[2] not in FILES]
        chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=12))
        raw: dict[str, Any] = {}
        for dotted in chosen:
            table, _, name = dotted.rpartition(".")
            part = raw.setdefault(table, {}) if table else raw
            part[name] = draw(ODD if odd and draw(st.booleans()) else value_of(dotted))
        if odd and draw(st.booleans()):
            raw |= draw(st.dictionaries(st.text(max_size=9), ODD, max_size=2))
        if user is None and not odd:
            raw.setdefault("smtp", {}).setdefault("transport_security", "tls")
            raw["smtp"].setdefault("server_address", "smtp.example.nz")
            raw.setdefault("web", {}).setdefault("allow_microsoft_365", True)
            raw["microsoft_365"] = {"grant": "managed-identity"}
        tree[owner] = raw
    return tree


def _keys(model: type[Table]) -> list[Any]:
    from config.table import keys

    return list(keys(model))


def resolved(current: Settings, company: str | None, kind: Kind) -> EffectiveSettings:
    """What is in force; a tree whose keys contradict each other is no example."""
    try:
        return current.resolve(company, "jane", kind)
    except ConfigError:
        reject()


def snapshot(tree: Trees, environ: dict[str, str] | None = None) -> Settings:
    """The settings of such a tree, without touching a file."""
    variables = [EnvironmentVariable(name, text, name) for name, text in (environ or {}).items()]
    users = {"_system": ["jane"], "acme": ["jane"]}
    overrides, problems = assign(variables, users)
    layers: dict[Owner, Layer] = {}
    for owner, (model, file) in OWNERS.items():
        context, user = owner
        name = "user" if user else "system" if context == "_system" else "company"
        place = Place(context, user, name, file, Path("/nowhere") / file)  # type: ignore[arg-type] # a literal by construction
        layers[owner] = build(place, model, tree[owner], overrides.get(owner, []), Files())
    result, _ = compose(Reading(layers, tuple(problems), {}), Memory())
    return result


@given(tree=trees(odd=True), kind=st.sampled_from(KINDS), company=st.sampled_from([None, "acme"]))
@settings(max_examples=150, deadline=None)
def test_resolution_raises_nothing_but_its_own_errors(
    tree: Trees, kind: Kind, company: str | None
) -> None:
    """Odd values anywhere end in one-line problems, never in a crash."""
    current = snapshot(tree)
    failure = ""
    try:
        current.resolve(company, "jane", kind)
    except ConfigError as error:
        failure = str(error)
    assert "\n" not in failure
    assert not failure or current.errors_by_context()


@given(tree=trees(), kind=st.sampled_from(KINDS), company=st.sampled_from([None, "acme"]))
@settings(max_examples=150, deadline=None)
def test_provenance_tells_the_truth(tree: Trees, kind: Kind, company: str | None) -> None:
    """A value said to stand in a file does stand there; a default stands nowhere in force."""
    effective = resolved(snapshot(tree), company, kind)
    files = {file: owner for owner, (_, file) in OWNERS.items()}
    for attribute, provenance in effective.provenance.items():
        if attribute in {"signature", "allowed_from", "password"}:
            continue
        value = getattr(effective, attribute)
        if provenance.layer == "default":
            assert value == KEYS[provenance.key].default
        elif provenance.layer not in PRESETS:
            table, _, name = provenance.key.rpartition(".")
            written = tree[files[provenance.file or ""]][table][name]
            if attribute.endswith("_seconds"):
                written = duration_seconds(written)
            assert value == (tuple(written) if isinstance(written, list) else written)


@given(tree=trees(), option=st.sampled_from(["compose", "send_batch", "send_mailer"]))
@settings(max_examples=150, deadline=None)
def test_gates(tree: Trees, option: str) -> None:
    """With a closed gate a user's choice never comes through; with an open one it always does."""
    current = snapshot(tree)
    effective = resolved(current, "acme", "send")
    choice = tree["acme", "jane"].get("email", {}).get(option)
    layer = effective.provenance[option].layer
    if choice is None:
        assert layer != "user"
    else:
        why = f"mail_options.{option}_allow_user_selection is not on"
        closed = any(each.why == why for each in effective.provenance[option].losers)
        assert (layer == "user") != closed
        assert layer != "user" or getattr(effective, option) == choice


@given(tree=trees(), port=st.integers(1, 65535).filter(lambda port: port != 465))
@settings(max_examples=100, deadline=None)
def test_a_variable_always_wins(tree: Trees, port: int) -> None:
    """Whatever files, replication, OAuth2 and users say."""
    current = snapshot(tree, {variable_name("smtp.port", "acme"): str(port)})
    effective = resolved(current, "acme", "send")
    assert effective.port == port
    assert effective.provenance["port"].layer == "environment"


@given(tree=trees())
@settings(max_examples=150, deadline=None)
def test_replication(tree: Trees) -> None:
    """The system's values reach a company only where it replicates and wrote nothing itself."""
    current = snapshot(tree)
    effective = resolved(current, "acme", "batch")
    replicates = tree["acme", None].get("replicate_from_system", False)
    own = tree["acme", None].get("smtp", {}).get("batch_emails_per_min")
    system = tree["_system", None].get("smtp", {}).get("batch_emails_per_min")
    expected = own if own is not None else system if replicates else None
    assert effective.batch_emails_per_min == expected


@given(tree=trees())
@settings(max_examples=100, deadline=None)
def test_every_warning_is_one_line_about_one_key(tree: Trees) -> None:
    """Whatever is in force: file, key and what is to be known, and never twice the same."""
    current = snapshot(tree)
    for warning in current.warnings:
        assert "\n" not in str(warning)
        assert warning.file
        assert warning.key in KEYS
    assert len(set(current.warnings)) == len(current.warnings)
