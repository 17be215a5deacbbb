"""Whose turn it is: fair by weight at every level, nobody starves, and the cost does not grow."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.lanes import Lane
from worker.turns import Level, Spot, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MX = "mx:25"
LANES = [
    Lane(company, user, kind)
    for company in ("acme", "bear", "core")
    for user in ("jane", "john")
    for kind in ("send", "compose", "batch")
]
SERVERS = ("mx:25", "office:587")


def batch(company: str, user: str = "jane") -> Lane:
    """The line of a user's batches."""
    return Lane(company, user, "batch")


def placed(*lanes: Lane, **weights: int) -> Turns:
    """Turns among these lines, companies with the weights given."""
    turns = Turns()
    for lane in lanes:
        turns.place(lane, MX, company_weight=weights.get(lane.company, 1))
    return turns


def serve(turns: Turns, count: int) -> list[Lane]:
    """Give so many turns, as long as somebody may go."""
    got: list[Lane] = []
    while len(got) < count and (lane := turns.next()) is not None:
        turns.served(lane)
        got.append(lane)
    return got


def by_company(lanes: Iterable[Lane]) -> Counter[str]:
    """How many turns each company had."""
    return Counter(lane.company for lane in lanes)


def assert_equal_shares(got: list[Lane]) -> None:
    """Three companies had the same number of turns, but for the one that was under way."""
    counts = by_company(got)
    assert set(counts) == {"acme", "bear", "core"}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_nobody_waits_where_nobody_is() -> None:
    """Without a line there is no turn, and looking changes nothing."""
    turns = Turns()
    assert turns.next() is None
    assert len(turns) == 0
    turns.place(batch("acme"), MX)
    assert [turns.next() for _ in range(3)] == [batch("acme")] * 3
    turns.remove(batch("acme"))
    assert turns.next() is None


def test_single_sends_go_before_every_batch() -> None:
    """A password reset and a draft go before a batch, whoever had how many turns."""
    send, draft = Lane("acme", "jane", "send"), Lane("bear", "jane", "compose")
    turns = placed(batch("core"), send, draft)
    assert set(serve(turns, 10)) == {send, draft}
    turns.remove(send)
    turns.remove(draft)
    assert serve(turns, 1) == [batch("core")]


def test_companies_take_turns_whatever_the_number_of_their_users() -> None:
    """A hundred users of one company get together what one user of the other gets."""
    crowd = [batch("acme", f"user{n}") for n in range(100)]
    got = serve(placed(*crowd, batch("bear")), 200)
    assert by_company(got) == {"acme": 100, "bear": 100}
    assert set(Counter(got).values()) == {1, 100}
    assert [lane.company for lane in got[:6]] in (["acme", "bear"] * 3, ["bear", "acme"] * 3)


def test_a_weight_of_three_is_three_turns_for_anothers_one() -> None:
    """Companies by their weights, spread out, not three in a row and then a long pause."""
    got = serve(placed(batch("acme"), batch("bear"), batch("core"), acme=3), 500)
    assert by_company(got) == {"acme": 300, "bear": 100, "core": 100}
    places = [n for n, lane in enumerate(got) if lane.company == "acme"]
    assert max(b - a for a, b in itertools.pairwise(places)) <= 3


def test_a_turn_of_ten_jobs_is_worth_ten() -> None:
    """Whoever takes ten at once waits as long as for ten turns, and by its weight."""
    turns = placed(batch("acme"), batch("bear"), batch("core"), acme=3)
    got: Counter[str] = Counter()
    for _ in range(500):
        lane = turns.next()
        assert lane is not None
        turns.served(lane, 10)
        got[lane.company] += 10
    assert got == {"acme": 3_000, "bear": 1_000, "core": 1_000}


def test_users_of_a_company_share_its_turns_by_their_weights() -> None:
    """A user's weight counts among the users of the company, and takes nothing from others."""
    turns = Turns()
    turns.place(batch("acme", "jane"), MX, user_weight=3)
    turns.place(batch("acme", "john"), MX)
    turns.place(batch("bear", "zoe"), MX)
    got = Counter(lane.user for lane in serve(turns, 800))
    assert got == {"jane": 300, "john": 100, "zoe": 400}


def test_a_changed_weight_counts_from_then_on() -> None:
    """A company that is placed anew with another weight keeps its place and takes the new share."""
    turns = placed(batch("acme"), batch("bear"))
    serve(turns, 100)
    turns.place(batch("acme"), MX, company_weight=4)
    assert by_company(serve(turns, 500)) == {"acme": 400, "bear": 100}


def test_a_newcomer_starts_at_the_present() -> None:
    """Whoever comes after a thousand turns of others gets no credit for the time before."""
    turns = placed(batch("acme"), batch("bear"))
    serve(turns, 1_000)
    turns.place(batch("core"), MX)
    assert_equal_shares(serve(turns, 30))


def test_to_leave_and_come_back_gains_nothing() -> None:
    """A line that is emptied at each turn and filled again gets its share, and no more."""
    turns = placed(batch("acme"), batch("bear"))
    got = []
    for _ in range(100):
        (lane,) = serve(turns, 1)
        got.append(lane)
        turns.remove(lane)
        turns.forget()
        turns.place(lane, MX)
    assert by_company(got) == {"acme": 50, "bear": 50}


@pytest.mark.parametrize("level", [Level.LANE, Level.COMPANY])
def test_what_was_blocked_holds_nobody_back_and_bursts_not(level: Level) -> None:
    """While a company must wait the others go on; afterwards it takes turns, and no more."""
    turns = placed(batch("acme"), batch("bear"), batch("core"))
    serve(turns, 3)
    spot = turns.rest(batch("core"), level)
    assert by_company(serve(turns, 100)) == {"acme": 50, "bear": 50}
    turns.open(spot)
    assert_equal_shares(serve(turns, 30))


def test_a_server_that_waits_stops_its_own_lines_alone() -> None:
    """A company with two servers goes on by the other one, and keeps to its turns."""
    turns = placed(batch("acme", "jane"), batch("bear"))
    turns.place(batch("acme", "john"), "office:587")
    turns.rest(batch("bear"), Level.SERVER)
    assert set(serve(turns, 10)) == {batch("acme", "john")}


def test_a_company_with_two_servers_gets_one_companys_turns() -> None:
    """Its users take turns across the servers, and together they get its share."""
    turns = placed(batch("acme", "jane"), batch("bear"))
    turns.place(batch("acme", "john"), "office:587")
    got = Counter(lane.user + "@" + lane.company for lane in serve(turns, 100))
    assert got == {"jane@acme": 25, "john@acme": 25, "jane@bear": 50}


def test_a_kind_that_waits_lets_the_others_go() -> None:
    """Enough single sends in flight: drafts and batches go on."""
    turns = placed(Lane("acme", "jane", "send"), batch("acme"))
    turns.rest(Lane("acme", "jane", "send"), Level.KIND)
    assert turns.next() == batch("acme")
    turns.rest(batch("acme"), Level.EVERYTHING)
    assert turns.next() is None


def test_a_rest_ends_at_its_time() -> None:
    """Not before, and the turns know when the next one ends."""
    turns = placed(batch("acme"), batch("bear"))
    turns.rest(batch("acme"), Level.COMPANY, 12.0)
    turns.rest(batch("bear"), Level.LANE, 11.0)
    turns.wake(10.9)
    assert (turns.next(), turns.wakes_at()) == (None, 11.0)
    turns.wake(11.0)
    assert (turns.next(), turns.wakes_at()) == (batch("bear"), 12.0)
    turns.wake(20.0)
    assert turns.wakes_at() == math.inf
    assert by_company(serve(turns, 4)) == {"acme": 2, "bear": 2}


def test_a_rest_that_was_ended_before_its_time_is_over() -> None:
    """Its time changes nothing any more, not even for a later rest without one."""
    turns = placed(batch("acme"))
    turns.open(turns.rest(batch("acme"), Level.LANE, 5.0))
    assert turns.next() == batch("acme")
    turns.rest(batch("acme"), Level.LANE)
    turns.wake(6.0)
    assert turns.next() is None
    turns.open_all()
    assert turns.next() == batch("acme")


def test_a_rest_of_what_has_left_wakes_nobody() -> None:
    """A line that was removed, and one that came back since, are not disturbed by its old rest."""
    turns = placed(batch("acme"))
    old = turns.rest(batch("acme"), Level.LANE, 5.0)
    turns.remove(batch("acme"))
    turns.open(old)
    turns.wake(6.0)
    assert turns.next() is None
    turns.place(batch("acme"), MX)
    turns.rest(batch("acme"), Level.LANE)
    turns.open(old)
    assert turns.next() is None


def test_nothing_is_kept_of_whoever_left_long_ago() -> None:
    """A thousand companies that came once and went leave nothing behind."""
    turns = placed(batch("acme"))
    for n in range(1_000):
        turns.place(batch(f"once{n}"), MX)
        serve(turns, 2)
        turns.remove(batch(f"once{n}"))
    serve(turns, 2)
    turns.forget()
    assert len(turns._companies) <= 2
    assert len(turns._users) <= 2
    assert not turns._root.below["batch"].below[MX].below.keys() - {"acme"}


@pytest.mark.parametrize("level", [Level.LANE, Level.COMPANY, Level.SERVER, Level.KIND])
@pytest.mark.parametrize("spread", ["users", "companies"])
def test_a_turn_beside_5000_lines_that_wait_looks_at_no_more(
    monkeypatch: pytest.MonkeyPatch, level: Level, spread: str
) -> None:
    """However many lines rest, and at what level: a turn of another kind costs the same."""
    looks = Counter[str]()
    rank = Spot.rank

    def counted(spot: Spot) -> tuple[float, ...] | None:
        looks["all"] += 1
        return rank(spot)

    def cost(count: int) -> float:
        turns = placed(Lane("zoo", "jane", "send"), Lane("yak", "jane", "send"))
        for n in range(count):
            names = ("acme", f"user{n}") if spread == "users" else (f"company{n}", "jane")
            turns.place(batch(*names), MX)
        while (lane := turns.next()) is not None and lane.kind == "send":
            turns.rest(lane, Level.KIND)
        while (lane := turns.next()) is not None:
            turns.rest(lane, level)
        turns.open_all()
        for n in range(count):
            names = ("acme", f"user{n}") if spread == "users" else (f"company{n}", "jane")
            turns.rest(batch(*names), level)
        looks.clear()
        assert len(serve(turns, 100)) == 100
        return looks["all"] / 100

    monkeypatch.setattr(Spot, "rank", counted)
    assert cost(5_000) <= 1.2 * cost(5)


def test_a_turn_among_5000_lines_costs_little_more_than_among_5(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All may go: the cost of a turn grows with the depth of the tree, not with its lines."""
    looks = Counter[str]()
    rank = Spot.rank

    def counted(spot: Spot) -> tuple[float, ...] | None:
        looks["all"] += 1
        return rank(spot)

    def cost(count: int) -> float:
        turns = placed(*(batch(f"company{n}", f"user{n}") for n in range(count)))
        serve(turns, count)
        looks.clear()
        serve(turns, 1_000)
        return looks["all"] / 1_000

    monkeypatch.setattr(Spot, "rank", counted)
    assert cost(5_000) <= 2 * cost(5)


@dataclass
class Plain:
    """The same rule without a tree: everybody is looked at for each turn."""

    placed: dict[Lane, str] = field(default_factory=dict)
    weights: dict[object, int] = field(default_factory=dict)
    at: dict[object, float] = field(default_factory=lambda: defaultdict(float))
    present: dict[object, float] = field(default_factory=lambda: defaultdict(float))
    resting: dict[tuple[object, ...], float] = field(default_factory=dict)

    def path(self, lane: Lane, level: Level) -> tuple[object, ...]:
        """What the line has in common with others on this level."""
        return ("", lane.kind, self.placed[lane], lane.company, lane)[: level + 1]

    def rank(self, lane: Lane) -> tuple[float, ...]:
        """Where a line stands."""
        is_batch = lane.kind == "batch"
        return float(is_batch), self.at[is_batch, lane.company], self.at[lane]

    def may_go(self) -> list[Lane]:
        """The lines that wait for nothing."""
        return [
            lane
            for lane in self.placed
            if not any(self.path(lane, level) in self.resting for level in Level)
        ]

    def use(self, party: object, of: object) -> None:
        """Move a party of a round one turn on."""
        self.present[of] = max(self.present[of], self.at[party])
        self.at[party] = self.present[of] + 1 / self.weights[party]

    def served(self, lane: Lane) -> None:
        """Note a line's turn."""
        company = lane.kind == "batch", lane.company
        self.use(lane, ("users", company))
        self.use(company, company[0])

    def remove(self, lane: Lane) -> None:
        """Take a line out; a rest ends when the last line that it concerns leaves."""
        self.placed.pop(lane, None)
        there = {self.path(lane, level) for lane in self.placed for level in Level}
        self.resting = {path: at for path, at in self.resting.items() if path in there}


@dataclass
class Story:
    """The turns and the plain rule side by side: each step is one method's name and arguments."""

    turns: Turns = field(default_factory=Turns)
    plain: Plain = field(default_factory=Plain)
    now: int = 0

    def place(self, lane: Lane, server: str, company_weight: int, user_weight: int) -> None:
        """A line comes, or moves to another server, with weights."""
        self.turns.place(lane, server, company_weight=company_weight, user_weight=user_weight)
        self.plain.remove(lane)
        self.plain.placed[lane] = server
        self.plain.weights[lane.kind == "batch", lane.company] = company_weight
        self.plain.weights[lane] = user_weight

    def remove(self, lane: Lane) -> None:
        """A line leaves, if it is there."""
        self.turns.remove(lane)
        self.plain.remove(lane)

    def rest(self, lane: Lane, level: Level, seconds: int) -> None:
        """Something waits so long."""
        if lane in self.turns:
            self.turns.rest(lane, level, self.now + seconds)
            self.plain.resting[self.plain.path(lane, level)] = self.now + seconds

    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds
        self.turns.wake(self.now)
        self.plain.resting = {p: at for p, at in self.plain.resting.items() if at > self.now}

    def open_all(self) -> None:
        """Every rest ends."""
        self.turns.open_all()
        self.plain.resting = {}

    def serve(self, count: int) -> None:
        """So many turns, each of one who stands least far on of all who may go."""
        for _ in range(count):
            lane, may_go = self.turns.next(), self.plain.may_go()
            assert (lane is None) == (not may_go)
            if lane is not None:
                assert self.plain.rank(lane) == min(map(self.plain.rank, may_go))
                self.turns.served(lane)
                self.plain.served(lane)


A_LANE = st.sampled_from(LANES)
WEIGHT = st.integers(1, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), A_LANE, st.sampled_from(SERVERS), WEIGHT, WEIGHT),
        st.tuples(st.just("remove"), A_LANE),
        st.tuples(st.just("serve"), st.integers(1, 5)),
        st.tuples(st.just("rest"), A_LANE, st.sampled_from(Level), st.integers(1, 9)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(st.just("open_all")),
    ),
    max_size=60,
)


@given(STEPS)
def test_any_story_goes_as_by_the_plain_rule(steps: list[tuple[Any, ...]]) -> None:
    """Whatever comes, leaves, rests and wakes: who goes next is one who stands least far on."""
    story = Story()
    for name, *arguments in steps:
        getattr(story, name)(*arguments)
    story.serve(1)
    assert set(story.turns) == set(story.plain.placed)


@given(
    weights=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    story=st.lists(st.sampled_from(["turn", "come", "leave", "rest"]), max_size=200),
)
def test_two_who_can_always_go_are_never_far_apart(
    weights: tuple[int, int], story: list[str]
) -> None:
    """Whatever others do, in no stretch of time does one get more than its share and one turn."""
    turns = placed(batch("acme"), batch("bear"), acme=weights[0], bear=weights[1])
    share = {"acme": 0.0, "bear": 0.0}
    apart = [0.0]
    others = [batch(f"other{n}") for n in range(4)]

    def turn() -> None:
        (lane,) = serve(turns, 1)
        if lane.company in share:
            share[lane.company] += 1 / weights[lane.company == "bear"]
        apart.append(share["acme"] - share["bear"])

    acts: dict[str, Callable[[Lane], object]] = {
        "turn": lambda _: turn(),
        "come": lambda lane: turns.place(lane, MX) if lane not in turns else None,
        "leave": turns.remove,
        "rest": lambda lane: turns.rest(lane, Level.LANE) if lane in turns else None,
    }
    for number, act in enumerate(story):
        acts[act](others[number % len(others)])
    assert max(apart) - min(apart) <= 1 / weights[0] + 1 / weights[1] + 1e-9
