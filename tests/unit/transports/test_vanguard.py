"""The first connection goes ahead: who waits for it, and how long its failure speaks for all."""

from __future__ import annotations

import pytest

from tests.support.settings import make_settings
from worker.errors import Held
from worker.outcome import HoldTarget, Reply, TargetKind
from worker.transports.connection import Key
from worker.transports.vanguard import HEEDED_SECONDS, Vanguard

KEY = Key.of(make_settings())
OTHER = Key.of(make_settings(username="another"))
REFUSED = Held(
    "the server refused the login",
    target=HoldTarget(TargetKind.CREDENTIAL, KEY.credential),
    reply=Reply(535, "no", "5.7.8"),
    retry_after_seconds=60.0,
)


class Watch:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    """A watch that stands still."""
    return Watch()


@pytest.fixture
def vanguard(watch: Watch) -> Vanguard:
    """Nobody is out, nothing stands."""
    return Vanguard(watch)


def test_only_the_first_goes_ahead(vanguard: Vanguard) -> None:
    """While it is out the same key waits, another does not; afterwards nobody does."""
    assert vanguard.go(KEY)
    assert vanguard.is_out(KEY)
    assert not vanguard.is_out(OTHER)
    vanguard.stands(KEY)
    vanguard.back(KEY)
    assert not vanguard.is_out(KEY)


def test_beside_a_connection_that_stands_nobody_waits(vanguard: Vanguard) -> None:
    """The second connection is not ahead of anyone, until the last one is lost."""
    vanguard.stands(KEY)
    assert not vanguard.go(KEY)
    assert not vanguard.is_out(KEY)
    vanguard.lost(KEY)
    assert vanguard.go(KEY)


def test_a_failure_speaks_for_all_for_a_moment(vanguard: Vanguard, watch: Watch) -> None:
    """The same error with all it says, for the same key only, and not for a probe later."""
    vanguard.failed(KEY, REFUSED)
    vanguard.heed(OTHER)
    watch.seconds += 0.25 * HEEDED_SECONDS
    with pytest.raises(Held) as met:
        vanguard.heed(KEY)
    assert met.value is not REFUSED
    assert vars(met.value) == vars(REFUSED) | {"passed_on_seconds": 0.75 * HEEDED_SECONDS}
    watch.seconds += 0.75 * HEEDED_SECONDS
    vanguard.heed(KEY)


def test_a_failure_beside_a_connection_that_stands_is_its_own(vanguard: Vanguard) -> None:
    """Where one connection works, another's failure is no reason to give all up."""
    vanguard.stands(KEY)
    vanguard.failed(KEY, REFUSED)
    vanguard.heed(KEY)
    assert not vanguard.go(KEY)
