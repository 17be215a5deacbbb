"""``postmeter worker``: deliver email until told to stop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from config.process import environment, ledger_url, load, settings_root, state_root
from config.watcher import SettingsWatcher
from worker.notify import VARIABLE, notifier
from worker.supervisor import Supervisor

if TYPE_CHECKING:
    from config.process import ProcessSettings
    from worker.app import Tuning

PRELOAD = ("worker.app", "worker.telemetry.exposition", "uvloop")
"""What the children need; imported once, so that a restart costs a fork and not an import."""

MARGIN_SECONDS = 15.0
"""Beyond the grace: to close connections and to publish the last events."""


@click.command()
@click.option(
    "-p",
    "--processes",
    type=click.IntRange(1, 64),
    help="Worker processes; else POSTMETER_PROCESSES, else 1.",
)
def worker(processes: int | None) -> None:
    """Deliver email until SIGTERM.

    One more process serves metrics and health on POSTMETER_METRICS_PORT. A process that dies is
    started again; what it had in hand is delivered by the others.
    """
    sys.exit(start(processes))


def start(processes: int | None = None, tuning: Tuning | None = None) -> int:
    """Run the worker's processes until told to stop; the exit code.

    Args:
        processes: how many deliver; left out, what the environment says.
        tuning: what tests shorten.

    Raises:
        ConfigError: the environment or the settings tree can't be used.
    """
    environ = environment()
    process = load(environ)
    watcher = SettingsWatcher(settings_root(process), environ, secrets=process.secrets)
    state = state_root(process)
    # prometheus_client decides at its import whether several processes share their numbers.
    from worker.telemetry.directory import prepare_directory

    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(prepare_directory(state))
    from worker.telemetry import logs

    logs.configure(
        format=process.log_format, level=process.log_level, show_addresses=process.log_addresses
    )
    log = logs.get_logger("postmeter.supervisor")
    for context, problems in watcher.current.errors_by_context().items():
        for problem in problems:
            log.error("settings error", context=context, problem=str(problem))
    for warning in watcher.current.context_warnings:
        log.warning("settings warning", context=warning.context, problem=str(warning))
    if "KUBERNETES_SERVICE_HOST" in environ and ledger_url(process).startswith("sqlite"):
        log.warning(
            "the ledger is a file of this pod: each pod would send as much as all together may; set"
            " POSTMETER_LEDGER_URL to a PostgreSQL"
        )

    def run(index: int) -> int:
        if index == 0:
            return _serve(process, watcher)
        return _deliver(process, watcher, tuning, is_restart=supervisor.is_restart(index))

    supervisor = Supervisor(
        1 + (processes or process.processes),
        run,
        grace_seconds=process.grace_seconds,
        margin_seconds=MARGIN_SECONDS,
        preload=PRELOAD,
        log=log.info,
        notify=notifier(environ.get(VARIABLE)),
    )
    return supervisor.run()


def _deliver(
    process: ProcessSettings, watcher: SettingsWatcher, tuning: Tuning | None, *, is_restart: bool
) -> int:
    """Be one worker process."""
    import uvloop

    from worker.app import run
    from worker.telemetry.instruments import instruments

    if is_restart:
        instruments().restarts.inc()
    return run(process, watcher, tuning, loop_factory=uvloop.new_event_loop)


def _serve(process: ProcessSettings, watcher: SettingsWatcher) -> int:
    """Be the process that serves metrics and health."""
    from worker.telemetry.exposition import serve

    return serve(process.metrics_host, process.metrics_port, ledger_url(process), watcher)
