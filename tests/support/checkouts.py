"""A clean Debian with this checkout in it, where `deploy/debian/install` finds all that it needs."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.debian_root import DebianRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = f". {CHECKOUT}/deploy/debian/packages.sh && packages all"
_COPY = """\
git ls-files -z --cached --others --exclude-standard |
  tar --null --ignore-failed-read -T - -cf - | tar -xf - -C "$0"
"""


@contextlib.contextmanager
def debian_with_checkout(*, booted: bool = False) -> Iterator[DebianRoot]:
    """The root; the checkout is /root/postmeter, as git keeps it and with what git does not know yet."""
    named = subprocess.run(["bash", "-c", _PACKAGES], capture_output=True, text=True, check=True)
    with DebianRoot(named.stdout.split(), booted=booted) as root:
        target = root.path / "root" / "postmeter"
        target.mkdir()
        copy = ["bash", "-euo", "pipefail", "-c", _COPY, str(target)]
        subprocess.run(copy, cwd=CHECKOUT, check=True)
        yield root
