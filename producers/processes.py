"""Whether a process that left its name in a file still runs, safe against reused process ids."""

from __future__ import annotations

import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STAT_START_TIME = 19  # field 22 of proc_pid_stat(5), counted behind the command's name


def started(pid: int) -> str:
    """When a process started, as text to compare: boot id and clock ticks; empty if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        boot = _BOOT.read_text("ascii").strip()
    except OSError:
        return ""
    return f"{boot}:{stat.rpartition(')')[2].split()[_STAT_START_TIME]}"


def is_alive(pid: int, since: str) -> bool:
    """Whether the process with this id is the one that started then, and not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, as another user
    return (not since or started(pid) == since) and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}
