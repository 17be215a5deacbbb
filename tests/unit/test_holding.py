"""Which holds concern whom, and which are on a credential that has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from config.errors import ConfigError
from tests.support.settings import make_settings
from worker.holding import Holding, outdated, targets_of
from worker.ledger.holds import Hold

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

OLD = make_settings(username="jane", password=SecretStr("old"))
NEW = make_settings(username="jane", password=SecretStr("new"))


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
    assert outdated([*stay, f"credential:{OLD.credential}"], resolve) == [
        f"credential:{OLD.credential}"
    ]


def test_a_hold_on_the_old_credential_does_not_concern_the_new_one() -> None:
    """The hold is on user and password: with another password mail flows."""
    holding = Holding()
    held = f"credential:{OLD.credential}"
    holding.replace([Hold(held, "refused", 1.0, None, 2.0, 1, None)])
    assert holding.blocks(targets_of(OLD))
    assert not holding.blocks(targets_of(NEW))
