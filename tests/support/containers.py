"""Runs an unpacked image as a container engine would, with nothing but util-linux; needs root.

The process is number 1 of its own namespaces, without capabilities and without a way to new ones, on
a read-only root, with a network that is only its own loopback.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

PATIENCE_SECONDS: Final = 60.0
USER: Final = 10001
_SETUP: Final = """\
root=$1 settings=$2 secrets=$3
shift 3
ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 none "$root/dev"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec none "$root/tmp"
mount -t tmpfs -o mode=0700,uid=10001,gid=10001 none "$root/var/lib/postmeter"
mount -t tmpfs -o mode=0755 none "$root/run"
mkdir -p "$root/run/secrets/postmeter"
# One by one, as Docker does it: the folder they are in on this machine keeps others out.
for secret in "$secrets"/*; do
  [ -f "$secret" ] || continue
  touch "$root/run/secrets/postmeter/${secret##*/}"
  mount --bind "$secret" "$root/run/secrets/postmeter/${secret##*/}"
done
mount -o remount,ro "$root/run"
mount --bind "$settings" "$root/etc/postmeter"
mount -o remount,bind,ro "$root/etc/postmeter"
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""


class Container:
    """One container of an image; a context manager, which ends it.

    Args:
        root: the image's files.
        configuration: how the image wants to be run.
        settings: the folder that is mounted on /etc/postmeter.
        log: where its output goes.
        command: instead of the image's own.
        environ: variables beside the image's.
        secrets: a folder of files for /run/secrets/postmeter.
        own_network: whether it has one; else it is in this machine's.
    """

    def __init__(
        self,
        root: Path,
        configuration: Mapping[str, Any],
        settings: Path,
        log: Path,
        *,
        command: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
        secrets: Path = Path("/nonexistent"),
        own_network: bool = True,
    ) -> None:
        self._variables = [*configuration["Env"], *(f"{k}={v}" for k, v in (environ or {}).items())]
        words = [*configuration["Entrypoint"], *(command or configuration["Cmd"])]
        self.log = log
        namespaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        namespaces += ["--net"] if own_network else []
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *("unshare", *namespaces, "--propagation", "private"),
                    *("bash", "-euc", _SETUP, "setup", str(root), str(settings), str(secrets)),
                    *self._as_user(words),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    @property
    def pid(self) -> int:
        """Its process 1, as it is numbered here.

        Raises:
            AssertionError: it has ended.
        """
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        wait_until(lambda: children.read_text("ascii"), "the start of process 1")
        found = int(children.read_text("ascii").split()[0])
        # Before, it is still the shell that mounts what the program will find.
        wait_until(lambda: Path(f"/proc/{found}/root").readlink() != Path("/"), "its own root")
        return found

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside process 1, as its user, and wait for its end."""
        return subprocess.run(
            self._beside("--mount", "--pid", "--ipc", "--uts", "--root", "--wd")
            + self._as_user(words),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def in_its_network(self, *words: str) -> list[str]:
        """The words that run a program of this machine in the container's network."""
        return [*self._beside(), *words]

    def wait_for(self, *words: str) -> str:
        """Run a command again and again until it succeeds; what it printed."""
        done: list[subprocess.CompletedProcess[str]] = []

        def succeeds() -> bool:
            assert self._process.poll() is None, f"the container ended: {self.log.read_text()}"
            done.append(self.execute(*words))
            return done[-1].returncode == 0

        wait_until(succeeds, shlex.join(words))
        return done[-1].stdout

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to each process in it."""
        inside = Path(f"/proc/{self.pid}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is not ours to look at
                if (process / "ns/pid").readlink() == inside:
                    os.kill(int(process.name), number)

    def handles(self, number: signal.Signals) -> bool:
        """Whether process 1 has a handler for a signal."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        [mask] = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(mask, 16) & 1 << number - 1)

    def stop(self) -> int:
        """Ask it to end as ``docker stop`` does; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait(PATIENCE_SECONDS)

    def _beside(self, *namespaces: str) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", *namespaces]

    def _as_user(self, words: Sequence[str]) -> list[str]:
        """The words that run a command as the image's user, with no privilege and no way to any."""
        return [
            *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
            *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *(
                "env",
                "--ignore-environment",
                "--chdir=/var/lib/postmeter",
                *self._variables,
                *words,
            ),
        ]
