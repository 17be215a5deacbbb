"""The status page and the runbook in a real browser: policy, narrow screens, dark, what is spoken.

A real worker's metrics process serves them, from a ledger with an hour of mail behind it.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support.chromium import MISSING, Chromium, is_installed
from tests.support.ledger import new_job
from tests.support.metrics_processes import Serving
from tests.support.settings_tree import SMTP
from tests.support.waiting import wait_until
from worker.ledger import deliveries, holds, workers
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from worker.ledger.clock import Now

pytestmark = pytest.mark.slow  # not the tests, but the browser's installation

_CONTRAST = """(() => {
  const rgb = c => c.match(/[0-9.]+/g).map(Number);
  const light = c => { const [r, g, b] = rgb(c).slice(0, 3).map(v => (v /= 255) <= 0.03928
    ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e)
    .backgroundColor; if (rgb(c)[3] !== 0) return c; } return "rgb(255, 255, 255)"; };
  const found = [];
  for (const e of document.body.querySelectorAll("*")) {
    if (e.closest("svg") || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${e.tagName} ${e.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found; })()"""
"""Every text whose contrast is less than WCAG's AA asks for (1.4.3)."""


def _fill(connection: Connection, now: Now) -> None:
    """A worker, an hour of acceptances at 20 a minute, a backlog, holds and dead letters."""
    workers.register(connection, now, "w1", host=socket.gethostname(), pid=1, version="1")
    for number in range(1200):
        connection.execute(
            text(
                "INSERT INTO attempt (job_id, n, company, user_id, kind, worker, begun_at, ended_at,"
                " accepted_steady, outcome) VALUES (:job, 1, 'acme', 'jane', 'batch', 'w1', 0, 0,"
                " :at, 'sent')"
            ),
            {"job": f"sent-{number}", "at": now.steady - 3 * number},
        )
    for number in range(120):
        job = new_job(f"job-{number}", enqueued_at=now.wall, due_at=now.wall)
        assert deliveries.accept(connection, now, job)
    connection.execute(text("UPDATE delivery SET state = 'dead' WHERE job_id = 'job-7'"))
    holds.put_hold(connection, now, "server:smtp.a-rather-long-name.example.nz:587", "x: busy")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The process that serves, once its page shows what is in the ledger."""
    root = tmp_path_factory.mktemp("status")
    ledger = Ledger(f"sqlite:///{root / 'ledger.db'}")
    ledger.call(_fill)
    with Serving(root) as serving:
        serving.tree.company("acme", SMTP + "batch_emails_per_min = 30\n")
        wait_until(lambda: "acme batch" in serving.get("/")[1], "the line shows")
        yield serving
    ledger.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all."""
    if not is_installed():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with Chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("path", ["/?refresh=off", "/runbook/"])
def test_on_every_screen(
    serving: Serving, browser: Chromium, path: str, width: int, *, dark: bool
) -> None:
    """The browser has no complaint, nothing goes sideways, and every text stands out enough."""
    browser.look_at(f"http://127.0.0.1:{serving.port}{path}", width, dark=dark)
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(_CONTRAST) == []
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 20, 23)" if dark else "rgb(255, 255, 255)")


def test_the_policy_holds(serving: Serving, browser: Chromium) -> None:
    """What would be injected neither runs nor loads, and the browser says so."""
    browser.look_at(f"http://127.0.0.1:{serving.port}/?refresh=off", 800)
    browser.value(
        "document.body.insertAdjacentHTML('beforeend',"
        ' \'<img src=/metrics onerror="document.title = 1"><p style="color: red">\')'
    )
    browser.value(
        "void document.head.append(Object.assign(document.createElement('script'),"
        " {textContent: 'document.title = 2'}))"
    )
    assert browser.value("document.title").startswith("Postmeter: ")
    assert [told for told in browser.complaints if "Content Security Policy" in told]


def test_what_a_screen_reader_says(serving: Serving, browser: Chromium, tmp_path: Path) -> None:
    """Landmarks, headings, tables with their heads, and the plot in words."""
    browser.look_at(f"http://127.0.0.1:{serving.port}/?refresh=off", 360)
    spoken = browser.spoken()
    roles = [role for role, _ in spoken]
    for role in ("banner", "main", "navigation", "contentinfo", "table", "rowheader"):
        assert role in roles, f"{role} is not among {sorted(set(roles))}"
    headings = [name for role, name in spoken if role == "heading"]
    assert headings[:4] == ["Postmeter", "Now", "Sent against limit", "Waiting"]
    assert "company:acme" in headings
    (picture, *_) = [name for role, name in spoken if role in {"image", "img"}]
    assert "Emails accepted by the minute: company:acme" in picture
    assert "accepted in the last hour, at most 20 in a minute" in picture
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
