"""What may go wrong in a simulation: servers that take their time, workers that are cut down."""

from __future__ import annotations

import itertools
import random
from enum import StrEnum
from typing import NamedTuple

LONGEST_REPLY_SECONDS = 20.0
LONGEST_STOP_SECONDS = 15.0


class Step(StrEnum):
    """Where a worker can be cut down."""

    BEFORE_TAKE = "before take"
    TAKEN = "after take"
    BEFORE_BEGIN = "before begin"
    BEGUN = "after begin"
    REPLIED = "after the reply, before settle"
    SETTLED = "after settle"


class Fault(NamedTuple):
    """From ``at`` on, the first worker that reaches ``step`` is stopped so long, or killed."""

    at: float
    step: Step
    stop_seconds: float | None


def quick(chance: random.Random) -> float:
    """Reply times of a server nearby, in seconds."""
    return chance.uniform(0.005, 0.05)


def slow(chance: random.Random) -> float:
    """Reply times of about a second, varying, as Exchange Online has them."""
    return min(max(0.1, chance.gauss(1.0, 0.35)), 3.0)


def stalling(chance: random.Random) -> float:
    """Quick replies, of which one in a hundred takes two seconds."""
    return 2.0 if chance.random() < 0.01 else quick(chance)


def wild(chance: random.Random) -> float:
    """Every kind at once, and rarely one of up to 20 seconds."""
    if chance.random() < 0.01:
        return chance.uniform(2.0, LONGEST_REPLY_SECONDS)
    return chance.choice((quick, slow, stalling))(chance)


def every_fault(seed: int, *, until: float, each_seconds: float = 20.0) -> list[Fault]:
    """Kill and stop in turn, at every step in turn, for stops of up to 15 s."""
    chance = random.Random(seed)
    turns = list(itertools.product(Step, (True, False)))
    chance.shuffle(turns)
    return [
        Fault(at, step, None if kill else chance.uniform(0.5, LONGEST_STOP_SECONDS))
        for at, (step, kill) in zip(
            (each_seconds * i for i in range(1, int(until / each_seconds))),
            itertools.cycle(turns),
            strict=False,
        )
    ]
