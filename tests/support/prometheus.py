"""A private Prometheus that scrapes one address, and ``promtool``."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
import urllib.parse
from typing import TYPE_CHECKING, Self

from tests.support.rabbitmq import free_port

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "no Prometheus here: install prometheus (Debian: apt-get install prometheus)"
PATIENCE_SECONDS = 60.0
_CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: postmeter
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class PrometheusServer:
    """One Prometheus on a free port, with its data in a folder of the test's own."""

    def __init__(self, folder: Path, target_port: int) -> None:
        folder.mkdir()
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(port=target_port), encoding="utf-8")
        self._port = free_port()
        self._log = (folder / "log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def query(self, expression: str) -> list[float]:
        """The values that an expression has now."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(
                "GET", "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
            )
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return [float(one["value"][1]) for one in answer["data"]["result"]]

    def wait_for(self, expression: str, value: float) -> None:
        """Ask until an expression has one value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found: list[float] = []
            with contextlib.suppress(OSError, ValueError, LookupError):
                found = self.query(expression)
            if found == [value]:
                return
            assert time.monotonic() < deadline, f"{expression} is {found}"
            time.sleep(0.2)

    @staticmethod
    def lint(page: str) -> str:
        """What ``promtool`` has to say against a page; empty for a good one."""
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=page,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout
