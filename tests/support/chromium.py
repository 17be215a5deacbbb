"""A real browser without a screen: Chromium, told what to do over its debugging pipe.

The protocol is Chrome DevTools', as JSON with a NUL after each message, on descriptors 3 and 4
(``--remote-debugging-pipe``), so that nothing listens on a port.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "there is no chromium here (tests/support/packages.sh installs it)"
PATIENCE_SECONDS = 60.0


def is_installed() -> bool:
    """Whether there is one."""
    return shutil.which("chromium") is not None


class Chromium:
    """One browser with one page. A context manager.

    Args:
        folder: its profile.
    """

    def __init__(self, folder: Path) -> None:
        read_end, self._to = os.pipe()
        self._from, write_end = os.pipe()

        def take_pipe() -> None:  # what 3 and 4 were, nobody here needs
            inputs, outputs = os.dup(read_end), os.dup(write_end)
            os.dup2(inputs, 3)
            os.dup2(outputs, 4)

        self._process = subprocess.Popen(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--disable-background-networking",
                "--no-first-run",
                "--no-startup-window",
                f"--user-data-dir={folder}",
                "--remote-debugging-pipe",
            ],
            preexec_fn=take_pipe,  # noqa: PLW1509 - the child has one thread, and only copies descriptors
            close_fds=False,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self._numbers = itertools.count(1)
        self._unread = b""
        self._session = ""
        self._is_loaded = False
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        page = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Audits", "Network"):
            self._ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def look_at(self, url: str, width: int, height: int = 800, *, dark: bool = False) -> None:
        """Open a page on a screen of so many CSS pixels; ``complaints`` is what the browser says."""
        self.complaints.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._is_loaded = False
        failed = self._ask("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"
        while not self._is_loaded:
            self._hear(self._next())

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page, even where the page may run no script."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def spoken(self) -> list[tuple[str, str]]:
        """The page as a screen reader has it: roles and names, level by level."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def picture(self, path: Path) -> None:
        """Take a picture of the whole page."""
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, **named: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": named}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != number:
            self._hear(found)
        assert "error" not in found, f"{method}: {found['error']}"
        result: dict[str, Any] = found["result"]
        return result

    def _hear(self, event: dict[str, Any]) -> None:
        named = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Log.entryAdded":
                self.complaints.append(named["entry"]["text"])
            case "Audits.issueAdded":
                self.complaints.append(named["issue"]["code"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(str(named))

    def _next(self) -> dict[str, Any]:
        """The next message."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self._unread:
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self._from], [], [], left)[0]:
                piece = os.read(self._from, 1 << 20)
                assert piece, "the browser has ended"
                self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
