"""The same installation where systemd runs the host: its units, with all that they forbid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import checkouts, debian_root
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.debian_root import DebianRoot

INSTALL = "cd postmeter && deploy/debian/install --sink && deploy/debian/start"
SEND = "postmeter send --to you@example.nz --subject Hello --text 'It works.' --wait 60"
SETTINGS = "/etc/postmeter/system.toml"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def host() -> Iterator[DebianRoot]:
    """A Debian that systemd has booted, with everything installed and started."""
    if not debian_root.available() or not os.access(debian_root.own_group(), os.W_OK):
        pytest.skip(f"{debian_root.MISSING}, and a version 2 control group that may be divided")
    with checkouts.debian_with_checkout(booted=True) as made:
        # Not before: the boot empties /tmp.
        state = "systemctl is-system-running 2>&1 || true"
        wait_until(lambda: made.run(state).strip() in {"running", "degraded"}, "the boot")
        made.run(INSTALL, timeout_seconds=900.0)
        yield made


def shown(host: DebianRoot, *names: str) -> list[str]:
    """Properties of the worker's unit."""
    words = " ".join(f"-p {name}" for name in names)
    return sorted(host.run(f"systemctl show postmeter {words}").split())


def test_mail_leaves_from_within_the_units_walls(host: DebianRoot) -> None:
    """Under every restriction of the unit the worker delivers, and PostgreSQL lets its user in."""
    assert "sent:" in host.run(SEND)
    assert "running: 1 of 1 workers ready" in host.run("postmeter/deploy/debian/status")
    assert shown(host, "ActiveState", "NRestarts") == ["ActiveState=active", "NRestarts=0"]
    walls = host.run("cat /proc/$(systemctl show -P MainPID postmeter)/status")
    assert "Seccomp:\t2" in walls
    assert "NoNewPrivs:\t1" in walls
    assert "CapBnd:\t0000000000000000" in walls


def test_a_worker_that_is_killed_comes_back(host: DebianRoot) -> None:
    """The supervisor's end by force is a failure, which systemd mends; mail leaves again."""
    host.run("kill -KILL $(systemctl show -P MainPID postmeter)")
    wait_until(lambda: shown(host, "ActiveState", "NRestarts")[1] != "NRestarts=0")
    wait_until(lambda: shown(host, "ActiveState") == ["ActiveState=active"])
    assert "sent:" in host.run(SEND)


def test_settings_that_cannot_be_used_fail_the_start(host: DebianRoot) -> None:
    """`systemctl start` says so at once, nothing is tried again, and the journal says why."""
    host.run(f"systemctl stop postmeter && mv {SETTINGS} /root/aside")
    assert shown(host, "Result", "ExecMainStatus") == ["ExecMainStatus=0", "Result=success"]
    with pytest.raises(debian_root.CommandFailed, match="Job for postmeter"):
        host.run("systemctl start postmeter")
    assert shown(host, "ActiveState", "ExecMainStatus") == [
        "ActiveState=failed",
        "ExecMainStatus=2",
    ]
    journal = "journalctl --no-pager -u postmeter"
    wait_until(lambda: f"{SETTINGS}: this file is missing" in host.run(journal), "the reason")
    host.run(f"mv /root/aside {SETTINGS} && systemctl start postmeter")


def test_a_second_installation_asks_for_no_reload(host: DebianRoot) -> None:
    """Units that are the same are not written again, and the worker goes on meanwhile."""
    before = shown(host, "MainPID", "NeedDaemonReload")
    assert "NeedDaemonReload=no" in before
    host.run("postmeter/deploy/debian/install --sink")
    assert shown(host, "MainPID", "NeedDaemonReload") == before
