"""Acknowledgements in groups cover exactly what finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.broker.acks import AckPlan


@given(st.permutations(range(1, 31)), st.lists(st.integers(1, 8), max_size=40), st.integers(0, 30))
def test_a_server_sees_every_finished_tag_once_and_no_other(
    order: list[int], sizes: list[int], finished: int
) -> None:
    """Whatever finishes in whatever order and groups, RabbitMQ's rules are kept."""
    plan = AckPlan()
    outstanding = set(range(1, 31))
    todo = order[:finished]
    done: set[int] = set()
    while todo:
        size = sizes.pop() if sizes else len(todo)
        group, todo = todo[:size], todo[size:]
        done.update(group)
        for tag, multiple in plan.acknowledge(group):
            assert tag in outstanding  # an unknown tag closes the channel
            covered = {one for one in outstanding if one <= tag} if multiple else {tag}
            outstanding -= covered
        assert outstanding == set(range(1, 31)) - done


def test_jobs_that_finish_in_order_need_one_ack() -> None:
    """The usual case costs one frame for a group."""
    plan = AckPlan()
    assert plan.acknowledge([1, 2, 3, 4]) == [(4, True)]
    assert plan.acknowledge([5]) == [(5, False)]


def test_a_tag_acknowledged_twice_is_sent_once() -> None:
    """A second acknowledgement of the same delivery would close the channel."""
    plan = AckPlan()
    assert plan.acknowledge([2]) == [(2, False)]
    assert plan.acknowledge([2]) == []
    assert plan.acknowledge([1]) == [(1, False)]
    assert plan.acknowledge([1, 2]) == []
