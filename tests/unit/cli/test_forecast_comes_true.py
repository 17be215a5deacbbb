"""What the command foretells beside what then happens: real statements, workers, virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bad_luck import quick
from tests.support.model import Plan, Simulation
from tests.support.settings_tree import SettingsTree
from worker.cli.forecast import Forecast, Outlook
from worker.ledger.lanes import Lane
from worker.ledger.queries import find_job

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from config.effective import EffectiveSettings
    from config.settings import Settings
    from tests.support.ledger import Store
    from tests.support.model import Process

WITHIN = 0.05
"""How far a forecast may be from what happens, as a share of the time until then."""


@dataclass(frozen=True)
class Case:
    """One installation and its load.

    Attributes:
        companies: each one's limit (0: none) and its users' mailbox limits (0: none).
        waiting: how many emails of each ``company/user`` wait at the start.
        asked_at: when the command is run, in seconds.
        system, company, user: more lines of the files.
        prepare: changes the ledger just before.
    """

    companies: dict[str, tuple[int, dict[str, int]]]
    waiting: dict[str, int]
    system: str = ""
    workers: int = 1
    asked_at: float = 70.0
    reply_seconds: Callable[[random.Random], float] = quick
    company: dict[str, str] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    burst: bool = False
    prepare: Callable[[Store], None] = lambda store: None


def alone(limit: int, waiting: int, **more: Any) -> Case:
    """One company with one user under one limit."""
    return Case({"acme": (limit, {"jane": 0})}, {"acme/jane": waiting}, **more)


def six_seconds(_chance: random.Random) -> float:
    """A server that thinks about each mail for six seconds."""
    return 6.0


def a_day_ago(store: Store) -> None:
    """Let all that the day's slots were used for have happened a day ago, but for three minutes."""
    store.change(
        "UPDATE slot SET usable_steady = usable_steady - 86400 + 180"
        " WHERE scope = 'company:acme:day' AND worker IS NULL AND usable_steady > 80000"
    )


QUICK = {
    "30 alone": alone(30, 120),
    "600 alone": alone(600, 500, asked_at=5.0),
    "two companies under a ceiling": Case(
        {"acme": (0, {"jane": 0}), "beta": (0, {"kim": 0})},
        {"acme/jane": 300, "beta/kim": 80},
        system="all_batch_emails_per_min = 120\n",
        asked_at=30.0,
    ),
    "two users of a company": Case(
        {"acme": (120, {"jane": 0, "bob": 0})},
        {"acme/jane": 220, "acme/bob": 130},
        asked_at=30.0,
    ),
    "a mailbox tighter than its company": Case(
        {"acme": (120, {"jane": 20, "bob": 0})},
        {"acme/jane": 40, "acme/bob": 250},
        asked_at=30.0,
    ),
    "a burst": alone(60, 300, burst=True, asked_at=130.0),
}
SLOW = {
    "30 alone, four workers": alone(30, 200, workers=4),
    "600 alone, four workers": alone(600, 1_500, workers=4),
    "6000 alone, four workers": alone(6000, 4_000, workers=4, asked_at=8.0),
    "slow replies": alone(120, 500, reply_seconds=six_seconds, workers=2),
    "two users beside one of another company": Case(
        {"acme": (0, {"jane": 0, "bob": 0}), "beta": (0, {"kim": 0})},
        {"acme/jane": 200, "acme/bob": 300, "beta/kim": 400},
        system="all_batch_emails_per_min = 240\n",
        workers=4,
    ),
    "weights": Case(
        {"acme": (0, {"jane": 0, "bob": 0}), "beta": (0, {"kim": 0})},
        {"acme/jane": 250, "acme/bob": 500, "beta/kim": 200},
        system="all_batch_emails_per_min = 240\n",
        company={"acme": "[limits]\nweight = 3\n"},
        user={"acme/bob": "weight = 2\n"},
    ),
    "a ceiling and a tighter company": Case(
        {"acme": (0, {"jane": 0}), "beta": (30, {"kim": 0})},
        {"acme/jane": 700, "beta/kim": 100},
        system="all_batch_emails_per_min = 240\n",
        workers=4,
    ),
    "a mailbox tighter than its company, four workers": Case(
        {"acme": (120, {"jane": 20, "bob": 0})}, {"acme/jane": 80, "acme/bob": 500}, workers=4
    ),
    "single sends of a mailbox": Case(
        {"acme": (0, {"jane": 60})}, {"acme/jane": 120, "acme/jane/send": 180}
    ),
    "a day of few emails": Case(
        {"acme": (120, {"jane": 0})},
        {"acme/jane": 330},
        company={"acme": "[limits]\nbatch_emails_per_day = 200\n"},
        prepare=a_day_ago,
    ),
}
CASES = QUICK | SLOW


def write(tree: SettingsTree, case: Case) -> Settings:
    """Write the tree of a case."""
    smtp = '[smtp]\nserver_address = "smtp.example.nz"\ntransport_security = "tls"\n'
    burst = '[delivery]\npace = "burst"\n' if case.burst else ""
    tree.write("system.toml", f"{smtp}[limits]\n{case.system}")
    for company, (limit, users) in case.companies.items():
        limited = f"batch_emails_per_min = {limit}\n" if limit else ""
        text = smtp + limited + burst + case.company.get(company, "")
        tree.write(f"companies/{company}/company.toml", text)
        for user, own in users.items():
            mailbox = f"mailbox_emails_per_min = {own}\n" if own else ""
            email = f'[email]\naddress = "{user}@{company}.example"\n{mailbox}'
            more = case.user.get(f"{company}/{user}", "")
            tree.write(f"companies/{company}/users/{user}.toml", email + more)
    return tree.load()


class Installation(Simulation):
    """A simulation whose limits are those of a settings tree."""

    def __init__(self, case: Case, settings: Settings) -> None:
        self._in_force = settings
        lanes = {lane_of(name): () for name in case.waiting}
        super().__init__(
            Plan({}, lanes, workers=case.workers, reply_seconds=case.reply_seconds, seed=7)
        )

    def _settings(self, lane: Lane, process: Process) -> EffectiveSettings:
        return self._in_force.resolve(lane.company, lane.user, lane.kind)  # type: ignore[arg-type]  # the lanes are the cases'

    def forecast(self, job_id: str) -> Forecast:
        """What the command says of a job."""

        def look(connection: object, now: object) -> Forecast:
            job = find_job(connection, job_id)  # type: ignore[arg-type]  # what Store.do hands over
            assert job is not None
            return Outlook(connection, now, self._in_force).of(job)  # type: ignore[arg-type]  # the same

        return self.store.do(look)

    def watch(self, job_ids: Iterable[str], *, at_most: float) -> dict[str, float]:
        """Let time pass until these have left; when each did, however long the server thinks then."""
        wanted = set(job_ids)
        while wanted - self.left.keys() and self.now < at_most:
            self.run_until(self.now + 5.0)
        return {job_id: self.left[job_id] for job_id in wanted}

    def waiting(self, lane: Lane) -> list[str]:
        """The waiting jobs of a lane in their order."""
        rows = self.store.query(
            "SELECT job_id FROM delivery WHERE state = 'waiting' AND company = :company"
            " AND user_id = :user AND kind = :kind ORDER BY prio, due_at, seq",
            **lane._asdict(),
        )
        return [row.job_id for row in rows]


def lane_of(name: str) -> Lane:
    """``acme/jane`` is a batch, ``acme/jane/send`` single sends."""
    company, user, *kind = name.split("/")
    return Lane(company, user, kind[0] if kind else "batch")


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_forecast_comes_true(name: str, tmp_path: Path) -> None:
    """The first, the middle and the last of each lane leave when it was said, and after so many."""
    case = CASES[name]
    simulation = Installation(case, write(SettingsTree(tmp_path), case))
    for lane_name, count in case.waiting.items():
        simulation.publish(lane_of(lane_name), count)
    simulation.run_until(case.asked_at)
    case.prepare(simulation.store)
    told = {}
    for lane_name in case.waiting:
        waiting = simulation.waiting(lane_of(lane_name))
        for job_id in {waiting[n] for n in (5, len(waiting) // 2, -1)} if waiting else ():
            told[job_id] = simulation.forecast(job_id)
    asked_wall = simulation.store.clock.wall
    happened = simulation.watch(told, at_most=case.asked_at + 600.0)
    assert told
    wrong = {}
    for job_id, forecast in told.items():
        assert forecast.leaves_at is not None
        assert forecast.limit is not None
        said, left = forecast.leaves_at - asked_wall, happened[job_id] - case.asked_at
        print(job_id, round(said, 1), round(left, 1), forecast.ahead, forecast.limit)
        if abs(said - left) > max(WITHIN * left, 2.0):
            wrong[job_id] = said, left
    assert not wrong
