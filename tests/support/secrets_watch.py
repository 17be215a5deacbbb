"""Watches over a whole test run that no secret is left anywhere: a plugin of pytest.

Passwords, client secrets and tokens of tests are made by ``secret("robot")``, so that they are known
wherever they turn up, in clear or in base64; access tokens are known by their form (RFC 7519). At the
end of the run everything that the tests have left in their folders is searched: logs, ledgers with
every row, inboxes, metrics, drafts; after each test what it printed and logged. What is found fails
the run with an exit code of its own, so that no second run of a flaky test can hide it.

Not searched are the places where a secret belongs: the settings tree, files of secrets, keys.
"""

from __future__ import annotations

import base64
import mmap
import re
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MARK: Final = "nobody-must-see"
SECRETS_FOUND: Final = 10
"""The exit code of a run that has left secrets."""

_TOKEN: Final = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.")
_ALLOWED_SUFFIXES: Final = frozenset({".toml", ".secret", ".pem", ".key"})
_ALLOWED_NAMES: Final = re.compile(r"postmeter_\w+", re.IGNORECASE)
"""Files of a secrets directory are named as variables are."""
_SQLITE: Final = b"SQLite format 3\0"
_SHOWN: Final = 20


def secret(name: str) -> str:
    """A password, client secret or token for a test, which is known wherever it turns up."""
    return f"{name}-{MARK}"


def _encoded(text: str) -> Iterator[bytes]:
    """What base64 makes of a text in the midst of another: three forms, less what is at the edges."""
    plain = text.encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + plain)
        first = 0 if before == 0 else 4
        yield whole[first : len(whole) - 4 if (before + len(plain)) % 3 else len(whole)]


_MARKS: Final[dict[bytes, str]] = {
    MARK.encode(): "a secret",
    **dict.fromkeys(_encoded(MARK), "a secret in base64"),
}


def traces(data: bytes | mmap.mmap) -> list[str]:
    """What is found of secrets in these bytes; empty where they are clean."""
    found = [name for mark, name in _MARKS.items() if data.find(mark) >= 0]
    if data.find(b"eyJ") >= 0 and _TOKEN.search(data):
        found.append("an access token")
    return found


def search(folder: Path) -> Iterator[str]:
    """Search every file below a folder that is no place for secrets; a line for each that has one."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or _is_allowed(path):
            continue
        for what in dict.fromkeys((*_in_file(path), *_in_rows(path))):
            yield f"{what} in {path.relative_to(folder)}"


def _is_allowed(path: Path) -> bool:
    return path.suffix in _ALLOWED_SUFFIXES or _ALLOWED_NAMES.fullmatch(path.name) is not None


def _in_file(path: Path) -> list[str]:
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return traces(data)


def _in_rows(path: Path) -> list[str]:
    """Search a database's rows too: in the file a long value is in pieces."""
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return []
    found: list[str] = []
    # What tests have broken on purpose has been searched as a file.
    with (
        suppress(sqlite3.DatabaseError),
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database,
    ):
        database.text_factory = bytes
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (name,) in database.execute(names).fetchall():
            table = name.decode()
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - its own name
                found += _in_row(row, table)
    return list(dict.fromkeys(found))


def _in_row(row: Iterable[Any], table: str) -> list[str]:
    written = b"\n".join(each for each in row if isinstance(each, bytes))
    return [f"{what} in a row of {table}" for what in traces(written)]


@dataclass(eq=False)
class Watch:
    """One run's watch; with processes each has its own, and the first tells of all.

    Attributes:
        folder: where the tests leave what they leave.
        found: a line for each secret.
    """

    config: pytest.Config
    folder: Path | None = None
    found: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Search what a test has printed and logged."""
        if hasattr(report, "node"):
            return  # of another process, which has searched it
        for title, content in report.sections:
            for what in traces(content.encode("utf-8", "replace")):
                line = f"{what} in {title} of {report.nodeid}"
                if line not in self.found:
                    self.found.append(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what another process has found."""
        self.found += getattr(node, "workeroutput", {}).get("secrets", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search what the run has left, and fail it."""
        if self.folder is not None:
            self.found += search(self.folder)
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["secrets"] = self.found
        elif self.found:
            session.exitstatus = SECRETS_FOUND

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was found."""
        if not self.found:
            return
        terminalreporter.section("secrets left by this run", red=True)
        for line in self.found[:_SHOWN]:
            terminalreporter.write_line(line)
        if len(self.found) > _SHOWN:
            terminalreporter.write_line(f"and {len(self.found) - _SHOWN} more")


_WATCH: Final = pytest.StashKey[Watch]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch."""
    config.stash[_WATCH] = watch = Watch(config)
    config.pluginmanager.register(watch, "secrets-watch")


@pytest.fixture(scope="session", autouse=True)
def _folder_of_the_run(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytestconfig.stash[_WATCH].folder = tmp_path_factory.getbasetemp()
