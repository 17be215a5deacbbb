"""``postmeter worker`` with shorter times: ``python -m tests.support.fleet_worker 5 2 900``.

The window of a slot in seconds, the number of processes, how many seconds a job waits for its
settings.
"""

from __future__ import annotations

import os
import sys

# prometheus_client decides at its import whether processes share their counts; start says where.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = "start says where"

from worker.app import Tuning
from worker.cli.worker import start

if __name__ == "__main__":
    tuning = Tuning(window_seconds=float(sys.argv[1]), wait_for_settings_seconds=float(sys.argv[3]))
    sys.exit(start(int(sys.argv[2]), tuning))
