"""Which holds concern whom, and which are on a credential that has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from config.errors import ConfigError
from tests.support.registrations import app
from tests.support.settings import make_settings
from worker.holding import Holding, outdated, targets_of
from worker.ledger.holds import Hold, Origin
from worker.outcome import HoldTarget
from worker.turns import Level
from worker.waits import level_of_target

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

OLD = make_settings(username="jane", password=SecretStr("old"))
NEW = make_settings(username="jane", password=SecretStr("new"))
BY_GRAPH = make_settings(
    kind="batch", username="jane", transport="microsoft-365", registration=app()
)


def resolve(company: str | None, user: str | None, _kind: str) -> EffectiveSettings:
    """What is in force: jane of acme has a new password, nothing is known of anyone else."""
    if (company, user) != ("acme", "jane"):
        raise ConfigError("no such user")
    return NEW


def test_only_a_credential_that_has_changed_is_outdated() -> None:
    """Its own hold, another kind's, and one of somebody unknown stay."""
    stay = [
        f"credential:{NEW.credential}",
        "credential:acme/gone#00000000",
        "credential:_system/jane#00000000",
        "server:127.0.0.1:25",
        "account:acme/jane",
    ]
    assert outdated([*stay, f"credential:{OLD.credential}"], resolve, frozenset) == [
        f"credential:{OLD.credential}"
    ]


def test_a_credential_of_any_kind_of_job_is_in_force() -> None:
    """Sends go by SMTP and batches by Microsoft 365: the hold on either's credential stays."""

    def of_kind(_company: str | None, _user: str | None, kind: str) -> EffectiveSettings:
        if kind == "compose":
            raise ConfigError("nothing to compose with")
        return NEW if kind == "send" else BY_GRAPH

    stay = [f"credential:{NEW.credential}", f"credential:{BY_GRAPH.credential}"]
    gone = f"credential:{OLD.credential}"
    assert outdated([*stay, gone], of_kind, frozenset) == [gone]


def test_a_pause_and_feedbacks_hold_on_one_target_both_count() -> None:
    """The pump must see that one of them is not tried out; what is over is not seen at all."""
    holding = Holding()
    feedback = Hold("account:acme/jane", "432", 1.0, None, 2.0, 1, None)
    pause = feedback._replace(reason="paused", until_at=60.0, origin=Origin.OPERATOR)
    holding.replace([feedback, pause], now_wall=59.0)
    assert holding.of(NEW) == holding.all() == [feedback, pause]
    holding.replace([feedback, pause], now_wall=60.0)
    assert holding.of(NEW) == [feedback]


@pytest.mark.parametrize(
    ("target", "concerned"),
    [
        ("all", {"send", "batch", "compose"}),
        ("all:batch", {"batch"}),
        ("company:acme", {"send", "batch", "compose"}),
        ("company:acme:send", {"send"}),
        ("account:acme/jane", {"send", "batch", "compose"}),
        ("account:acme/jane:compose", {"compose"}),
        ("company:beta", set()),
        ("system", set()),
    ],
)
def test_a_pause_concerns_what_it_names(target: str, concerned: set[str]) -> None:
    """Everything, a context or a mailbox, whole or one kind of its jobs."""
    kinds = ("send", "batch", "compose")
    assert {k for k in kinds if target in targets_of(make_settings(kind=k))} == concerned
    assert str(HoldTarget.parse(target)) == target


def test_the_system_is_no_company() -> None:
    """Its mail is paused by its own name."""
    settings = make_settings(context="_system", company=None)
    assert {"system", "system:send"} <= set(targets_of(settings))
    assert not any(each.startswith("company:") for each in targets_of(settings))


@pytest.mark.parametrize(
    ("target", "level"),
    [
        ("all:batch", Level.KIND),
        ("all:send", Level.LANE),
        ("company:acme:batch", Level.COMPANY),
        ("company:acme:compose", Level.LANE),
        ("account:acme/jane", Level.LANE),
    ],
)
def test_single_sends_and_compositions_rest_apart(target: str, level: Level) -> None:
    """They stand in one branch, so a pause of one kind must not let the other rest."""
    assert level_of_target(target, "acme") is level


def test_a_hold_on_the_old_credential_does_not_concern_the_new_one() -> None:
    """The hold is on user and password: with another password mail flows."""
    holding = Holding()
    held = f"credential:{OLD.credential}"
    holding.replace([Hold(held, "refused", 1.0, None, 2.0, 1, None)])
    assert holding.of(OLD)
    assert not holding.of(NEW)
