"""The process that serves ``/metrics``, ``/healthz``, ``/readyz`` and the pages for people.

One for all worker processes of a host: it adds up what they counted, and asks the ledger for the
rest. It outlives them at the end, so that a drain can be watched.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.multiprocess import MultiProcessCollector

from worker.kin import is_sibling
from worker.ledger.care import write_trouble
from worker.signals import wait_for
from worker.supervisor import EXIT_UNUSABLE, HASTEN
from worker.telemetry.directory import VARIABLE, forget_dead
from worker.telemetry.gauges import StandingGauges
from worker.telemetry.health import Verdict, liveness, readiness
from worker.telemetry.instruments import Beginnings
from worker.telemetry.logs import get_logger
from worker.telemetry.sampler import Sampler
from worker.telemetry.web.answers import Pages, guarded, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIEnvironment

    from config.watcher import SettingsWatcher

TICK_SECONDS = 1.0
DRAIN_TICK_SECONDS = 0.1
CLIENT_SECONDS = 10.0
"""How long a client may take to say what it wants."""


class Exposition:
    """The pages, and the address they are served on. A context manager.

    Args:
        port: 0 takes a free one.
        directory: where the worker processes count.

    Raises:
        OSError: the address is in use, or not this host's.
    """

    def __init__(self, host: str, port: int, sampler: Sampler, directory: Path) -> None:
        self._sampler = sampler
        self._directory = directory
        self._beginnings = Beginnings()
        self.stopping = False
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]  # prometheus_client annotates in part
        registry.register(StandingGauges(sampler.sample, version("postmeter")))
        self._metrics = make_wsgi_app(registry)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server_class = type("_Server", (_Server,), {"address_family": family})
        self._server: WSGIServer = server_class((host, port), _Handler)
        self._pages = Pages(sampler.board)
        self._server.set_app(guarded(self._answer, host))
        self.port: int = self._server.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._sampler.close()

    def tick(self) -> int:
        """Do one round; how many worker processes are alive here."""
        self._sampler.tick()
        self._beginnings.begin(self._sampler.lanes)
        return forget_dead(self._directory)

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start)  # type: ignore[no-any-return]  # as above
            case "/healthz":
                silent = time.monotonic() - self._sampler.ticked_at
                return _say(liveness(silent), environ, start)
            case "/readyz":
                verdict = readiness(
                    stopping=self.stopping,
                    ledger_trouble=self._sampler.trouble,
                    workers=self._sampler.own,
                )
                return _say(verdict, environ, start)
            case path:
                page = self._pages.find(path, environ.get("QUERY_STRING", ""))
                if page is not None:
                    return show(page, start)
                start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
                return [b"here are / (for people), /runbook/, /metrics, /healthz and /readyz\n"]


def serve(
    host: str,
    port: int,
    ledger_url: str,
    watcher: SettingsWatcher,
    *,
    window_seconds: float = 60.0,
) -> int:
    """Be the process that serves metrics, until SIGTERM; the exit code.

    After SIGTERM it serves on until the last worker process has ended, or until it is hastened.
    """
    log = get_logger("postmeter.metrics")
    wanted = {signal.SIGTERM, HASTEN}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        wanted.add(signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)  # before threads start: they inherit it
    sampler = Sampler(
        ledger_url,
        watcher,
        window_seconds=window_seconds,
        probe=partial(write_trouble, ledger_url),
        is_own=_is_own,
    )
    try:
        exposition = Exposition(host, port, sampler, Path(os.environ[VARIABLE]))
    except OSError as error:
        log.critical(
            "metrics cannot be served: set POSTMETER_METRICS_HOST and POSTMETER_METRICS_PORT",
            address=f"{host}:{port}",
            reason=error.strerror,
        )
        return EXIT_UNUSABLE
    with exposition:
        log.info("serving metrics and health", url=exposition.url)
        _work(exposition, lambda seconds: wait_for(wanted, seconds))
    return 0


def _is_own(host: str, process: str) -> bool:
    """Whether a worker belongs here: by its process, or its host where the process has no name."""
    return is_sibling(process) if process else host == socket.gethostname()[:200]


def _work(exposition: Exposition, wait: Callable[[float], signal.Signals | None]) -> None:
    """Do a round every second until asked to stop and, then, until nobody works any more."""
    while True:
        alive = exposition.tick()
        if exposition.stopping and not alive:
            return
        received = wait(DRAIN_TICK_SECONDS if exposition.stopping else TICK_SECONDS)
        if received is not None:
            exposition.stopping = True
            if received == HASTEN:
                return


def _say(verdict: Verdict, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """Answer in words, or in JSON for who asks for it."""
    wants_json = "application/json" in environ.get("HTTP_ACCEPT", "")
    kind = "application/json" if wants_json else "text/plain; charset=utf-8"
    start(verdict.status, [("Content-Type", kind), ("Cache-Control", "no-store")])
    return [verdict.as_json() if wants_json else verdict.as_text()]


class _Server(ThreadingWSGIServer):
    """Answers each client in a thread of its own."""

    def server_bind(self) -> None:
        """Bind without asking DNS for this host's name, which can take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class fixes the signature
        """Leave a client alone that went away; what goes wrong in a page, wsgiref answers itself."""
        get_logger("postmeter.metrics").debug("a client broke off", exc_info=True)


class _Handler(WSGIRequestHandler):
    """Logs no request."""

    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
