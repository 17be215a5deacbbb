"""How many jobs of a line are taken at once."""

from __future__ import annotations

import pytest

from worker.pace import Limit
from worker.portions import MOST, Portions

FAST = Limit("company:acme", 6000)
SLOW = Limit("company:acme", 30)
CEILING = Limit("all", 600)


@pytest.mark.parametrize(("lines", "most"), [(1, MOST), (2, MOST // 2), (100, 1)])
def test_lines_that_share_nothing_share_the_transaction(lines: int, most: int) -> None:
    """Alone a line takes all that one transaction may; beside others its part."""
    assert Portions().most([FAST], lines) == most


@pytest.mark.parametrize(("limit", "most"), [(FAST, 10), (SLOW, 1), (CEILING, 1)])
def test_where_a_limit_is_shared_a_turn_is_a_tenth_of_a_second(limit: Limit, most: int) -> None:
    """Ten at 6,000 a minute, one by one at 600 and below."""
    portions = Portions()
    portions.enter([limit])
    portions.enter([limit])
    assert portions.most([limit], 2) == most
    portions.leave([limit])
    assert portions.most([limit], 1) == MOST


def test_what_no_limit_paces_goes_one_by_one() -> None:
    """A server that refuses the first shall not be asked sixteen times."""
    assert Portions().most([], 1) == 1
    assert Portions().most([Limit("mailbox:a/b:day", 9, even=False, per="day")], 1) == 1
