"""What may be in flight: never over a bound, and nothing is left over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.settings import make_settings
from worker.capacity import Bound, Capacity, Caps

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

CAPS = Caps({"send": 6, "batch": 4}, server=8, account=4)
SOME = [
    make_settings(kind=kind, user=user, port=port)
    for kind in ("send", "batch", "compose")
    for user in ("jane", "mary")
    for port in (25, 587)
]
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=120)


def over(flying: list[EffectiveSettings]) -> list[str]:
    """The bounds that these flights together break."""
    kinds = Counter(s.kind for s in flying)
    servers = Counter(s.server for s in flying)
    accounts = Counter(s.account for s in flying)
    return [
        *(kind for kind, n in kinds.items() if n > CAPS.kinds.get(kind, CAPS.account)),
        *(server for server, n in servers.items() if n > CAPS.server),
        *(account for account, n in accounts.items() if n > CAPS.account),
    ]


def has_its_share(flying: list[EffectiveSettings], settings: EffectiveSettings) -> bool:
    """Whether a server has as much of a kind as is left free."""
    of_kind = [s for s in flying if s.kind == settings.kind]
    free = CAPS.kinds.get(settings.kind, CAPS.account) - len(of_kind)
    return sum(s.server == settings.server for s in of_kind) >= free


@given(STEPS)
def test_no_order_of_flights_breaks_a_bound_or_leaves_a_rest(
    steps: list[tuple[bool, int]],
) -> None:
    """Any order of entering and leaving: every bound holds, a refusal is for one, the end is 0."""
    capacity = Capacity(CAPS)
    flying: list[EffectiveSettings] = []
    for enters, number in steps:
        if enters:
            settings = SOME[number % len(SOME)]
            if capacity.try_enter(settings):
                assert not has_its_share(flying, settings)
                flying.append(settings)
            elif settings.kind != "batch":
                assert has_its_share(flying, settings) or over([*flying, settings])
        elif flying:
            capacity.leave(flying.pop(number % len(flying)))
        assert over(flying) == []
        assert capacity.in_flight == len(flying)
    for settings in flying:
        capacity.leave(settings)
    assert capacity.in_flight == 0
    assert not capacity._in_flight


def test_a_batch_leaves_room_to_single_sends_of_its_account() -> None:
    """However deep the batch: a quarter of its server and of its account is not for it."""
    capacity = Capacity(Caps({"send": 99, "batch": 99}, server=8, account=8))
    batch, send = make_settings(kind="batch"), make_settings(kind="send")
    assert sum(capacity.try_enter(batch) for _ in range(20)) == 6
    assert sum(capacity.try_enter(send) for _ in range(20)) == 2


@pytest.mark.parametrize(
    ("kind", "kept"), [("send", [64, 32, 16, 8, 4]), ("batch", [48, 24, 12, 6, 3])]
)
def test_servers_that_hang_do_not_fill_a_kind(kind: str, kept: list[int]) -> None:
    """With the usual bounds each keeps no more than it leaves free, and a sixth server finds room."""
    capacity = Capacity()
    for port, most in enumerate(kept, start=1):
        settings = make_settings(kind=kind, user=f"user{port}", port=port)
        assert sum(capacity.try_enter(settings) for _ in range(100)) == most
        assert capacity.full(settings)[0] is Bound.SERVER
    assert capacity.try_enter(make_settings(kind=kind, port=587))


def test_what_is_full_is_told_the_widest_first() -> None:
    """Who finds no place learns what for, so that all it concerns can wait together."""
    capacity = Capacity(Caps({"send": 4}, server=2, account=1))
    jane, mary = make_settings(user="jane"), make_settings(user="mary")
    assert capacity.full(jane) == []
    assert capacity.try_enter(jane)
    assert (capacity.full(jane), capacity.full(mary)) == ([Bound.ACCOUNT], [])
    assert capacity.try_enter(mary)
    assert capacity.full(jane) == [Bound.SERVER, Bound.ACCOUNT]
    assert capacity.try_enter(make_settings(user="zoe", port=587))
    ann = make_settings(user="ann", port=588)
    assert capacity.try_enter(ann)
    assert capacity.full(jane) == [Bound.KIND, Bound.SERVER, Bound.ACCOUNT]
    capacity.leave(mary)
    assert capacity.full(mary) == [Bound.SERVER]  # it has as much as is free
    capacity.leave(ann)
    assert capacity.full(mary) == []
