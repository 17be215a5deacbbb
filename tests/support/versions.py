"""Another version of Postmeter beside this one: a tree of its own, whose processes run its own code.

``POSTMETER_OLD`` names a checkout of an earlier version, for tests that would have one; without it,
the earlier version is this one under another number.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.fleet_group import WorkerGroup
from tests.support.rabbitmq import free_port

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

HERE = Path(__file__).parents[2]
OLDER = Path(os.environ.get("POSTMETER_OLD", HERE))
PARTS = ("config", "producers", "worker")
RUNNER = Path("tests/support/fleet_worker.py")
"""The program that a group runs; the rest of the tests' support has their secrets in it."""
_PUBLISH = """\
import sys
from producers import Email, Producer
from producers.topology import Topology
url, prefix, queue_type, company, first, count = sys.argv[1:]
numbers = range(int(first), int(first) + int(count))
with Producer(url, topology=Topology(prefix, queue_type)) as producer:
    producer.batch([Email(f"customer{n}@mail.example", f"Invoice {n}", text="Yours.") for n in numbers],
                   company=company)
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version in a folder; ``name`` is what its workers call themselves."""

    tree: Path
    name: str

    def publish_batch(self, fleet: Fleet, company: str, first: int, count: int) -> None:
        """Publish a batch with this version's producer."""
        told = (fleet._inbox_or_broker, fleet.prefix, fleet.environ["POSTMETER_QUEUE_TYPE"])
        subprocess.run(
            [sys.executable, "-c", _PUBLISH, *told, company, str(first), str(count)],
            cwd=self.tree,
            env=fleet.environ,
            check=True,
            timeout=60,
        )

    def join(self, fleet: Fleet, processes: int = 1) -> WorkerGroup:
        """Start this version's workers beside what the fleet has; they end with it at the latest."""
        state = fleet.root / f"state-of-{self.name}"
        state.mkdir(exist_ok=True)
        group = WorkerGroup(
            fleet.window_seconds, processes, fleet.wait_for_settings_seconds, tree=self.tree
        )
        own = {
            "POSTMETER_STATE": str(state),
            "POSTMETER_METRICS_PORT": str(free_port()),
            "POSTMETER_LEDGER_URL": fleet._ledger_url,
            "POSTMETER_BROKER_URL": fleet._inbox_or_broker,
        }
        fleet._groups.append(group)
        group.start({**fleet.environ, **own}, fleet.log)
        return group


def make_version(folder: Path, name: str, source: Path = HERE) -> Version:
    """Copy a version into an empty folder, and let it call itself by this name."""
    for part in PARTS:
        shutil.copytree(
            source / part,
            folder / part,
            symlinks=False,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    (folder / RUNNER).parent.mkdir(parents=True)
    shutil.copy(source / RUNNER, folder / RUNNER)
    about = folder / f"postmeter-{name}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: postmeter\nVersion: {name}\n")
    return Version(folder, name)
