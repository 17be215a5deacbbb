"""The README's installation part, command by command, as a newcomer runs it on a clean Debian."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import checkouts, debian_root
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.debian_root import DebianRoot

README = checkouts.CHECKOUT / "README.md"
TITLE = "## Install it on a Debian host"
ALERT = "PostmeterSettingsInvalid"
PATIENCE_SECONDS = 360.0
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ASK = (
    "/opt/postmeter/current/bin/python -c 'import sys, urllib.request as request;"
    " print(request.urlopen(sys.argv[1], timeout=10).read().decode())' http://127.0.0.1:9090/api/v1/"
)
LISTENS = "0A"
LOOPBACK = re.compile(r"(0{16}FFFF0000)?0100007F:|0{24}01000000:")
"""127.0.0.1 and ::1 as the kernel writes them, on a machine with the low byte first."""
MIGRATION = """\
revision = "9999"
down_revision = "{head}"


def upgrade():
    pass
"""
VERSIONS = Path("worker/ledger/migrations/versions")
INSTALL = "postmeter/deploy/debian/install --sink"
STATUS = "postmeter/deploy/debian/status"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def blocks() -> list[str]:
    """The fenced commands of the README's installation part, in order."""
    _, _, part = README.read_text("utf-8").partition(TITLE)
    return [found[1] for found in _BLOCK.finditer(part.partition("\n## ")[0])]


@pytest.fixture(scope="module")
def root() -> Iterator[DebianRoot]:
    """A clean root with the checkout in it."""
    if not debian_root.available():
        pytest.skip(debian_root.MISSING)
    with checkouts.debian_with_checkout() as made:
        yield made


def prometheus(root: DebianRoot, question: str) -> Any:
    """What Prometheus' API answers."""
    return json.loads(root.run(f"{_ASK}{question}"))["data"]


def targets(root: DebianRoot) -> list[str]:
    """The health of each target of the job."""
    found = prometheus(root, "targets")["activeTargets"]
    return [one["health"] for one in found if one["labels"]["job"] == "postmeter"]


def alert_states(root: DebianRoot) -> dict[str, str]:
    """Every alert that is pending or firing."""
    return {
        one["labels"]["alertname"]: one["state"] for one in prometheus(root, "alerts")["alerts"]
    }


def test_a_newcomer_ends_with_a_scraped_worker_and_an_alert(root: DebianRoot) -> None:
    """Installed, started, a mail taken, up == 1; settings broken: pending, firing; mended: gone."""
    install, scraped, broken, mended = (f"cd postmeter\n{block}" for block in blocks())

    said = root.run(install, timeout_seconds=900.0)
    assert "workers ready" in said
    assert said.rstrip().endswith(".eml")
    (mail,) = (root.path / "var/lib/postmeter-sink").glob("*.eml")
    assert b"Subject: Hello" in mail.read_bytes()

    wait_until(lambda: targets(root) == ["up"], "a scrape", PATIENCE_SECONDS)
    assert "=> 1 @" in root.run(scraped)
    assert ALERT not in alert_states(root)

    said = root.run(broken)
    assert "colour" in said
    seen: list[str] = []

    def fires() -> bool:
        state = alert_states(root).get(ALERT)
        if state and state not in seen:
            seen.append(state)
        return state == "firing"

    wait_until(fires, "the alert", PATIENCE_SECONDS)
    assert seen == ["pending", "firing"]
    assert f"firing {ALERT}" in root.run(STATUS)

    root.run(mended)
    wait_until(lambda: ALERT not in alert_states(root), "the end of the alert", PATIENCE_SECONDS)


def test_nothing_listens_on_the_network(root: DebianRoot) -> None:
    """RabbitMQ, its name service, PostgreSQL, Prometheus and the worker: loopback, all of them."""
    table = root.run("cat /proc/net/tcp /proc/net/tcp6").splitlines()
    sockets = [line.split() for line in table if line.split()[3] == LISTENS]
    addresses = {int(socket[1].rpartition(":")[2], 16): socket[1] for socket in sockets}
    assert {1025, 4369, 5432, 5672, 9090, 9191, 15692, 25672} <= set(addresses)
    assert [socket for socket in sockets if not LOOPBACK.match(socket[1])] == []


def test_a_second_run_changes_nothing(root: DebianRoot) -> None:
    """`install` again keeps secrets, settings, the release and what runs; then `stop` ends all."""
    remember = "cd / && sha256sum etc/postmeter/*.* etc/postmeter/secrets/* && readlink opt/postmeter/current"
    before = root.run(remember)
    said = root.run(f"{INSTALL} && {STATUS}")
    assert "pinned packages" not in said
    assert "workers ready" in said
    assert root.run(remember) == before
    root.run("postmeter/deploy/debian/stop")
    assert "running" not in root.run(f"{STATUS} || true")


def test_an_upgrade_switches_and_the_way_back_is_refused_after_a_migration(
    root: DebianRoot,
) -> None:
    """Installed over a running worker: backed up, upgraded, running; the older stays out."""
    root.run("postmeter/deploy/debian/start")
    checkout = root.path / "root/postmeter"
    project = (checkout / "pyproject.toml").read_text("utf-8")
    newer = re.sub(r'^version = ".*"$', 'version = "99.0.0"', project, flags=re.MULTILINE)
    head = max(path.name[:4] for path in (checkout / VERSIONS).glob("0*.py"))
    migration = checkout / VERSIONS / "9999_newer.py"
    migration.write_text(MIGRATION.format(head=head), "utf-8")
    (checkout / "pyproject.toml").write_text(newer, "utf-8")

    said = root.run(INSTALL, timeout_seconds=900.0)
    assert f"upgraded the ledger from {head} to 9999" in said
    assert "99.0.0" in root.run("postmeter --version")
    wait_until(lambda: "workers ready" in root.run(f"{STATUS} || true"))
    (backup,) = (root.path / "var/backups/postmeter").glob("*.dump")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert "TABLE DATA public delivery" in root.run(
        f"pg_restore --list /{backup.relative_to(root.path)}"
    )

    migration.unlink()
    (checkout / "pyproject.toml").write_text(project, "utf-8")
    with pytest.raises(debian_root.CommandFailed, match="stays in force") as refused:
        root.run(INSTALL)
    assert "newer than this worker" in str(refused.value)
    assert "pinned packages" not in str(refused.value)
    wait_until(lambda: "workers ready" in root.run(f"{STATUS} || true"))
    assert "99.0.0" in root.run("postmeter --version")
