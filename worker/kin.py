"""Processes of this host: whether a worker that fell silent has ended, without waiting for it.

A worker leaves the name of its process in the ledger. Where the name is of this host, this boot
and this pid namespace, the kernel knows whether the process still runs; of any other nothing is
known, and only its heartbeat tells.
"""

from __future__ import annotations

import os
from pathlib import Path

from producers.processes import is_alive, started

_NAMESPACE = Path("/proc/self/ns/pid")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STAT_PARENT = 1  # field 4 of proc_pid_stat(5), counted behind the command's name


def _here() -> str:
    """This boot and pid namespace, within which a process id means one process."""
    try:
        return f"{_BOOT.read_text('ascii').strip()} {_NAMESPACE.readlink()}"
    except OSError:
        return ""


def is_sibling(name: str) -> bool:
    """Whether the process of that name runs on this host under the same parent as this one.

    So the process that serves a worker's health tells its own worker's processes from those of
    another installation on the same host.
    """
    here, _, rest = name.partition("|")
    pid, _, since = rest.partition("|")
    if not here or here != _here() or not pid.isdigit() or not is_alive(int(pid), since):
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return int(stat.rpartition(")")[2].split()[_STAT_PARENT]) == os.getppid()


def name_of_this_process() -> str:
    """A name that another process of this host can look up; empty where there is none."""
    here, since = _here(), started(os.getpid())
    return f"{here}|{os.getpid()}|{since}" if here and since else ""


def has_ended(name: str) -> bool:
    """Whether the process of that name has surely ended; False where nothing is known of it."""
    here, _, rest = name.partition("|")
    pid, _, since = rest.partition("|")
    if not here or here != _here() or not pid.isdigit():
        return False
    return not is_alive(int(pid), since)
