"""Every way to connect, against a real Postfix: how each ends, here and in its own log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.deliveries import run
from tests.support.smtp_matrix import ROWS, Delivered, Fails, Row
from tests.support.smtp_matrix_runner import End, run_all, with_logs
from worker.errors import AttemptError, Held
from worker.transports import tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.mailserver import MailServer
    from worker.outcome import Transmission

pytestmark = pytest.mark.postfix
RUNS = {"uvloop": ROWS, "asyncio": tuple(row for row in ROWS if isinstance(row.end, Fails))}


@pytest.fixture(scope="module")
def ends(mailserver: MailServer) -> Iterator[dict[str, End]]:
    """What came of all rows; the system trusts the server's authority.

    All run on uvloop, as in service; those that fail on asyncio too, whose errors are others.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(mailserver.ca_file))
        tls._context.cache_clear()
        results: dict[str, Transmission | AttemptError] = {}
        for loop_kind, rows in RUNS.items():
            results |= run(loop_kind, run_all(mailserver, rows, loop_kind))
        yield with_logs(mailserver, results)
    tls._context.cache_clear()


@pytest.mark.parametrize(
    ("kind", "row"),
    [pytest.param(k, r, id=f"{r.name}.{k}") for k, rows in RUNS.items() for r in rows],
)
def test_each_way_to_connect_ends_as_it_should(ends: dict[str, End], kind: str, row: Row) -> None:
    """Delivered with the TLS version and the one login that the server logs, or held with a sentence."""
    end = ends[f"{row.name}.{kind}"]
    if isinstance(row.end, Delivered):
        assert not isinstance(end.result, AttemptError), end.result
        assert end.result.reply is not None
        (session,) = end.sessions
        assert session.tls == row.end.tls
        assert session.users == ([row.end.login] if row.end.login else [])
        assert session.tried == session.logins == len(session.users)
        assert not [line for line in session.lines if "improper" in line]
        return
    assert isinstance(end.result, Held), end.result
    assert str(end.result.target.kind) == row.end.target
    for words in row.end.words:
        assert words in end.result.reason
    assert "\n" not in end.result.reason
    assert end.result.mail_sent is row.end.mail_sent
    assert "pass word" not in repr(end.result) + str(end.result.__cause__)
    assert sum(session.tried for session in end.sessions) == row.end.tried
    assert not [session for session in end.sessions if session.users or session.logins]


def test_no_row_is_there_twice() -> None:
    """Names are how a row finds its session in the log."""
    assert len({row.name for row in ROWS}) == len(ROWS)
