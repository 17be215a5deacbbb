"""A clean Debian with a network, processes and a name of its own, in a folder; needs root.

The host's way to Debian's archive and to the package index is used outside of it, by the host's own
apt and pip settings: what comes in are their files. Inside there is a loopback and nothing else, so
that services take their usual ports and disturb nobody's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.images import download_wheels
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SUITE = "bookworm"
MISSING = "a Debian root needs root, unshare and debootstrap (Debian: apt-get install debootstrap)"
NAME = "newcomer"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "HOME": "/root", "TERM": "dumb", "LANG": "C.UTF-8"}
# How the host reaches Debian's archive.
_OF_THE_HOST = (
    *("etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/apt.conf.d"),
    *("etc/apt/trusted.gpg.d", "usr/share/keyrings", "etc/resolv.conf"),
    "etc/ssl/certs/ca-certificates.crt",
)
# Nothing of the root outlives the test; what only costs time there is left out.
_DPKG = "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/locale/*\n"
_PIP = "[global]\nno-index = true\nfind-links = /wheels\n"
# Ends everything when whoever made the root ends, however that ends; $1 is its control group or empty.
_KEEPER = """\
[ -z "$1" ] || echo $$ > "$1/cgroup.procs"
unshare --net --uts --ipc --pid --mount --cgroup --fork --kill-child bash -c "$0" "${@:2}" &
read -r _
kill -KILL $!
"""
_ROOT = """\
set -e
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=0755 dev dev
for device in null zero full random urandom tty; do
  touch dev/$device
  mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm old
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
hostname "$1"
"""
_PIVOT = """
pivot_root . old
umount -l old
echo up
"""
# Reaps orphans, as an init does.
_NO_INIT = _ROOT + _PIVOT + "exec chroot . bash -c 'while :; do sleep 3600 & wait; done'\n"
_SYSTEMD = (
    _ROOT
    + "mount -t sysfs -o ro sys sys\nmount -t cgroup2 cgroup2 sys/fs/cgroup\n"
    + _PIVOT
    + "exec chroot . env -i container=other /lib/systemd/systemd >old.log 2>&1\n"
)


def own_group() -> Path:
    """This process's control group of version 2, where it is mounted; /nowhere if it is not."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
    found = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    groups = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    own = [group.removeprefix("0::") for group in groups if group.startswith("0::")]
    return Path(found[0]) / own[0].lstrip("/") if found and own else Path("/nowhere")


def _removed(group: Path) -> bool:
    """Whether a control group could be removed: its processes have ended."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


class CommandFailed(Exception):
    """A command in the root ended badly; says what it wrote."""


def available() -> bool:
    """Whether this process may make such a root."""
    return os.geteuid() == 0 and all(map(shutil.which, ("debootstrap", "unshare", "ip")))


class DebianRoot:
    """A context manager; ``run`` runs commands in it, and all that they started ends with it.

    The wheels of requirements.txt lie ready in it for pip.

    Args:
        packages: Debian packages whose files lie ready in it, so that apt finds them without a
            network; they are not installed.
        booted: whether systemd runs it, as on a host; it needs a version 2 control group.

    Raises:
        CommandFailed: it cannot be made.
    """

    def __init__(self, packages: Sequence[str], *, booted: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postmeter-debian-", dir="/var/tmp"))
        self.path = self.folder / "root"
        self.seconds: dict[str, float] = {}
        self._packages = packages
        self._group = own_group() / self.folder.name if booted else None
        self._init: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._init is not None:
            self._init.communicate()  # its end of the pipe closes, and the keeper ends all
        if self._group is not None and self._group.exists():
            for walked in os.walk(self._group, topdown=False):
                folder = Path(walked[0])
                wait_until(partial(_removed, folder), f"the end of {folder}")
        shutil.rmtree(self.folder)

    def run(self, commands: str, timeout_seconds: float = 300.0) -> str:
        """Run commands in a shell of root's; what they wrote.

        Raises:
            CommandFailed: one of them failed, or all took longer.
        """
        assert self._init is not None
        inside = _child_of(_child_of(self._init.pid))
        shell = ["bash", "-euo", "pipefail", "-c", f"cd /root\n{commands}"]
        return self._call(["nsenter", f"--target={inside}", "--all", *shell], timeout_seconds)

    def _make(self) -> None:
        wheels = self.folder / "wheels"
        with ThreadPoolExecutor(1) as beside:
            fetching = beside.submit(download_wheels, wheels)
            self._timed("debootstrap", self._bootstrap)
            self._timed("packages", self._fetch_packages)
            fetching.result()
        wheels.rename(self.path / "wheels")
        (self.path / "etc/pip.conf").write_text(_PIP, encoding="utf-8")
        (self.path / "etc/hostname").write_text(f"{NAME}\n", encoding="utf-8")
        (self.path / "etc/hosts").write_text(f"127.0.0.1 localhost {NAME}\n", encoding="utf-8")
        (self.path / "etc/resolv.conf").write_text("", encoding="utf-8")
        self._begin()

    def _bootstrap(self) -> None:
        more = ["--include=systemd"] if self._group else []
        self._call(["debootstrap", "--variant=minbase", *more, SUITE, str(self.path)], 600.0)

    def _fetch_packages(self) -> None:
        """Let apt inside know the host's sources, and fetch with the host's network."""
        for name in _OF_THE_HOST:
            source, target = Path("/") / name, self.path / name
            if source.exists():  # never through a link in the root, which would lead to the host
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = ["cp", "--recursive", "--dereference", "--remove-destination"]
                self._call([*copy, "--no-target-directory", str(source), str(target)], 60.0)
        for name in ("docker-clean", "docker-autoremove-suggests"):  # they delete what was fetched
            (self.path / "etc/apt/apt.conf.d" / name).unlink(missing_ok=True)
        (self.path / "etc/dpkg/dpkg.cfg.d/quick").write_text(_DPKG, encoding="ascii")
        apt = ["chroot", str(self.path), "apt-get", "-qq"]
        self._call([*apt, "update"], 300.0, os.environ)
        fetch = ["install", "--yes", "--download-only", "--no-install-recommends"]
        self._call([*apt, *fetch, *self._packages], 600.0, os.environ)

    def _begin(self) -> None:
        if self._group is not None:
            self._group.mkdir()
        script = _SYSTEMD if self._group else _NO_INIT
        self._init = subprocess.Popen(
            ["bash", "-c", _KEEPER, script, str(self._group or ""), str(self.path), NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != "up\n":
            raise CommandFailed("a namespace of its own could not be made")

    def _timed(self, name: str, step: Callable[[], None]) -> None:
        began = time.monotonic()
        step()
        self.seconds[name] = time.monotonic() - began

    @staticmethod
    def _call(
        command: list[str], timeout_seconds: float, environment: Mapping[str, str] = _ENVIRONMENT
    ) -> str:
        done = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CommandFailed(f"{command[-1]}: exit {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout


def _child_of(pid: int) -> int:
    """The only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()[0])
