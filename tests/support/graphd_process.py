"""A Graph for tests as a process of its own, for loads that one interpreter should not carry alone.

As a program: ``python -m tests.support.graphd_process --chain server.pem --key server.key --port 8443``
serves until it is terminated, and prints its address first.
"""

from __future__ import annotations

import argparse
import json
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from tests.support.certificates import Certificates
from tests.support.graphd import Graph

if TYPE_CHECKING:
    from collections.abc import Mapping


class GraphProcess:
    """A Graph in another process, for a ``with`` block; see ``graphd``."""

    def __init__(self, certificates: Certificates, *, enforce: bool = False) -> None:
        self.ca_file = certificates.ca_file
        self.url = ""
        self._command = [
            *(sys.executable, "-m", "tests.support.graphd_process"),
            *("--chain", str(certificates.chain_file), "--key", str(certificates.key_file)),
            *(["--enforce"] if enforce else []),
        ]
        self._process: subprocess.Popen[str] | None = None
        context = ssl.create_default_context(cafile=str(self.ca_file))
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    def __enter__(self) -> Self:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(self._command, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the Graph for tests did not start"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            with self._process:
                self._process.terminate()

    def state(self) -> dict[str, Any]:
        """Return what it saw: violations, requests, deliveries, mails, and the most at once."""
        return dict(self._ask("state", None))

    def faults(self, schedule: Mapping[str, Any] | None) -> None:
        """Let it misbehave by this schedule from now on (``graphd_faults.schedule_of``)."""
        self._ask("faults", json.dumps(schedule).encode())

    def _ask(self, what: str, body: bytes | None) -> Any:
        with self._opener.open(Request(f"{self.url}/_graphd/{what}", body)) as reply:  # noqa: S310 - https only
            return json.loads(reply.read() or b"null")


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chain", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--enforce", action="store_true")
    arguments = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.chain, arguments.key)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    files = Certificates(arguments.chain, arguments.chain, arguments.key, context)
    with Graph(files, port=arguments.port, enforce=arguments.enforce) as graph:
        print(graph.url, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
