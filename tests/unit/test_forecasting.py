"""The model behind every forecast: turns, limits at once, days, bursts; and that it is fair."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.forecasting import Course, Line, drained, leaving, share
from worker.gates import Level, Opening, level_of
from worker.pace import Limit

DAY_SECONDS = 86_400.0
ACME = Limit("company:acme", 60)
ALL = Limit("all", 60)
JANE = Limit("mailbox:acme/jane", 30)


def line(name: str, due: float = 60, *scopes: str, **more: Any) -> Line:
    """One lane: ``company/user``, or a single send's ``company/user!``."""
    company, _, user = name.partition("/")
    return Line(name, company, not user.endswith("!"), scopes, ((0.0, due),), **more)


def standing(*limits: Limit, **more: Any) -> list[Opening]:
    """Limits that are not used yet."""
    return [Opening(limit, **more) for limit in limits]


wants = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 9)), min_size=1, max_size=8)


@given(st.floats(0, 500), wants)
def test_sharing_is_fair_and_leaves_nothing_over(
    room: float, wanted: list[tuple[float, int]]
) -> None:
    """Nobody gets more than it wants, all is used, and who gets less has no smaller share."""
    given_out = share(room, wanted)
    assert sum(given_out) == pytest.approx(min(room, sum(want for want, _ in wanted)), abs=1e-6)
    levels = [got / weight for got, (_, weight) in zip(given_out, wanted, strict=True)]
    for got, level, (want, _) in zip(given_out, levels, wanted, strict=True):
        assert 0 <= got <= want + 1e-9
        if got < want - 1e-6:
            assert level >= max(levels) - 1e-6


def test_levels_are_told_from_a_scopes_name() -> None:
    """A mailbox, a context, or all; by the minute or by the day."""
    assert level_of("all") is level_of("all:day") is Level.SHARED
    assert level_of("system") is level_of("company:all:day") is Level.CONTEXT
    assert level_of("mailbox:acme/jane:day") is Level.MAILBOX


def test_alone_under_a_limit() -> None:
    """120 at 60 a minute take two minutes, from when the scope lets the first one go."""
    ends = drained([line("acme/jane", 120, "company:acme")], standing(ACME, wait_seconds=0.5))
    assert ends["acme/jane"] == pytest.approx(120.5, rel=0.003)
    found = leaving(line("acme/jane", 30, "company:acme"), [], standing(ACME))
    assert found.seconds == pytest.approx(30, rel=0.003)
    assert found.before == pytest.approx(30)
    assert found.scope == "company:acme"


def test_without_a_limit_nothing_keeps_mail() -> None:
    """It is gone at once, and no limit is named."""
    found = leaving(line("acme/jane", 100), [], [])
    assert found.seconds < 1
    assert found.scope is None


def test_companies_share_a_ceiling_until_one_is_empty() -> None:
    """Ten of B take 20 turns of two companies; then A has the ceiling alone."""
    lines = [line("a/x", 100, "all"), line("b/x", 10, "all")]
    ends = drained(lines, standing(ALL))
    assert ends["b/x"] == pytest.approx(20, rel=0.003)
    assert ends["a/x"] == pytest.approx(110, rel=0.003)


def test_a_company_has_one_share_however_many_users_it_has() -> None:
    """Three users of A and one of B: B gets half."""
    lines = [line(f"a/{n}", 100, "all") for n in range(3)] + [line("b/x", 30, "all")]
    assert drained(lines, standing(ALL))["b/x"] == pytest.approx(60, rel=0.003)


def test_weights_are_turns() -> None:
    """Weight three gets three turns for one, among companies and among users."""
    lines = [line("a/x", 300, "all", company_weight=3), line("b/x", 10, "all")]
    assert drained(lines, standing(ALL))["b/x"] == pytest.approx(40, rel=0.003)
    lines = [
        line("acme/x", 300, "company:acme", user_weight=3),
        line("acme/y", 10, "company:acme"),
    ]
    assert drained(lines, standing(ACME))["acme/y"] == pytest.approx(40, rel=0.003)


def test_what_a_tight_limit_leaves_the_others_get() -> None:
    """A may use 12 of the ceiling's 60 a minute, so B has 48; a mailbox does the same to a user."""
    lines = [line("a/x", 12, "all", "company:a"), line("b/x", 48, "all")]
    ends = drained(lines, standing(ALL, Limit("company:a", 12)))
    assert ends == {"a/x": pytest.approx(60, rel=0.003), "b/x": pytest.approx(60, rel=0.003)}
    lines = [
        line("acme/jane", 10, "company:acme", "mailbox:acme/jane"),
        line("acme/bob", 50, "company:acme"),
    ]
    ends = drained(lines, standing(ACME, Limit("mailbox:acme/jane", 10)))
    assert ends["acme/bob"] == pytest.approx(60, rel=0.003)
    found = leaving(lines[0], lines, standing(ACME, Limit("mailbox:acme/jane", 10)))
    assert found.scope == "mailbox:acme/jane"


def test_single_sends_of_a_mailbox_go_first() -> None:
    """A batch waits while they use up the mailbox, and they never wait for it."""
    single = line("acme/jane!", 15, "mailbox:acme/jane")
    batch = line("acme/jane", 30, "company:acme", "mailbox:acme/jane")
    ends = drained([single, batch], standing(ACME, JANE))
    assert ends["acme/jane!"] == pytest.approx(30, rel=0.003)
    assert ends["acme/jane"] == pytest.approx(90, rel=0.003)


def test_two_lines_of_one_mailbox_share_it() -> None:
    """Jobs that name no user are the default user's: the mailbox is one."""
    lines = [line("acme/", 15, "mailbox:acme/jane"), line("acme/jane", 15, "mailbox:acme/jane")]
    assert drained(lines, standing(JANE))["acme/jane"] == pytest.approx(60, rel=0.003)


def test_a_day_that_is_used_up_waits_for_its_slots() -> None:
    """100 left of today, then what comes free: ten in five hours, the rest after a day."""
    day = Limit("company:acme:day", 1_000, DAY_SECONDS, even=False)
    opening = Opening(day, free=100, releases=((18_000.0, 10), (60_000.0, 890)))
    lines = [line("acme/jane", 105, "company:acme", "company:acme:day")]
    assert drained(lines, [Opening(ACME), opening])["acme/jane"] == pytest.approx(18_005, rel=0.003)
    found = leaving(lines[0], [], [Opening(ACME), opening])
    assert found.scope == "company:acme:day"
    more = [line("acme/jane", 1_050, "company:acme", "company:acme:day")]
    ends = drained(more, [Opening(ACME), opening])
    assert ends["acme/jane"] == pytest.approx(DAY_SECONDS + 50, rel=0.01)


def test_a_burst_leaves_a_minute_at_a_time() -> None:
    """Without the soft gap 60 go at once, the next 60 a minute later."""
    burst = Limit("company:acme", 60, even=False)
    for before, seconds in ((59, 0), (61, 60), (150, 120)):
        found = leaving(line("acme/jane", before, "company:acme"), [], [Opening(burst)])
        assert found.seconds == pytest.approx(seconds, abs=1)


def test_slow_replies_make_a_limit_slower() -> None:
    """A slot rests from the reply on: with replies of six seconds, a tenth fewer leave."""
    lines = [line("acme/jane", 600, "company:acme")]
    assert drained(lines, standing(ACME, reply_seconds=6.0))["acme/jane"] == pytest.approx(660)


def test_an_email_with_a_date_leaves_then_or_when_its_turn_comes() -> None:
    """Those that become due with it, and before it, go first."""
    own = line("acme/jane", 0, "company:acme")
    assert leaving(own, [], standing(ACME), 300.0).seconds == pytest.approx(300.0)
    own = Line("acme/jane", "acme", True, ("company:acme",), ((300.0, 60.0),))  # noqa: FBT003 - it is a batch
    found = leaving(own, [], standing(ACME), 300.0)
    assert found.seconds == pytest.approx(360, rel=0.01)


def test_a_turn_of_others_is_waited_for_by_half() -> None:
    """At the head of one of ten lines, an email waits for none to nine of the others."""
    others = [line(f"acme/{n}", 50, "company:acme") for n in range(10)]
    head = line("acme/0", 0, "company:acme")
    assert leaving(head, others, standing(ACME)).seconds == pytest.approx(4.5, rel=0.01)


def test_thousands_of_lines_take_few_phases() -> None:
    """Lines that empty at nearly the same time empty together."""
    lines = [line(f"c{n}/x", 10 + n, "all") for n in range(500)]
    course = Course(lines, {"all": Opening(Limit("all", 6_000))})
    assert sum(1 for _ in course.phases()) < 400
    assert drained(lines, standing(Limit("all", 6_000)))["c499/x"] == pytest.approx(
        sum(10 + n for n in range(500)) / 100, rel=0.02
    )


limits = st.integers(1, 6_000)
mails = st.integers(1, 2_000)


@settings(deadline=None, max_examples=60)
@given(
    ceiling=limits,
    companies=st.lists(
        st.tuples(
            limits, st.integers(1, 3), st.lists(st.tuples(limits, mails), min_size=1, max_size=3)
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_no_limit_is_exceeded_and_none_is_left_unused(
    ceiling: int, companies: list[tuple[int, int, list[tuple[int, int]]]]
) -> None:
    """In every phase: all flows fit under each limit, and each line is bound by a full one."""
    lines, openings = [], {"all": Opening(Limit("all", ceiling))}
    for n, (limit, weight, users) in enumerate(companies):
        openings[f"company:{n}"] = Opening(Limit(f"company:{n}", limit))
        for user, (own, due) in enumerate(users):
            mailbox = f"mailbox:{n}/{user}"
            openings[mailbox] = Opening(Limit(mailbox, own))
            scopes = ("all", f"company:{n}", mailbox)
            lines.append(line(f"{n}/{user}", due, *scopes, company_weight=weight))
    total = 0.0
    for phase in Course(lines, openings).phases():
        used = {
            scope: sum(phase.flows.get(each.name, 0.0) for each in lines if scope in each.scopes)
            for scope in openings
        }
        for scope, opening in openings.items():
            assert used[scope] <= opening.per_second * (1 + 1e-6)
        for full in phase.binding.values():
            assert full is not None
            assert used[full] == pytest.approx(openings[full].per_second, rel=1e-6)
        total += sum(phase.flows.values()) * phase.seconds
    assert total >= sum(each.arrivals[0][1] for each in lines) * 0.999
