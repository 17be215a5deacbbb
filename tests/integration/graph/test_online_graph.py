"""The test login at Microsoft 365: the token, a look into the mailbox, and with --to one mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.authority import Authority
from tests.support.certificates import certificates
from tests.support.graphd import Graph
from tests.support.online import Online

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAILBOX = "jane@acme.example"
COMPANY = """\
[web]
allow_microsoft_365 = true
[mail_options]
send_mailer = "microsoft-365"
compose = "microsoft-365"
"""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """One that knows one application, by a secret."""
    with Authority(tmp_path) as authority:
        yield authority


@pytest.fixture
def graph(authority: Authority) -> Iterator[Graph]:
    """A Graph of the same cloud, with one mailbox."""
    made = certificates(authority.folder / "authority-tls")
    with Graph(made, mailboxes=[MAILBOX]) as graph:
        yield graph
        assert graph.violations == []


@pytest.fixture
def online(tmp_path: Path, authority: Authority, graph: Graph) -> Online:
    """A company that sends through that Graph."""
    online = Online(tmp_path)
    online.tree.company(
        text=COMPANY + authority.toml(graph_url=graph.url),
        user=f'[email]\naddress = "{MAILBOX}"\n',
    )
    return online


def test_a_mailbox_is_looked_into(online: Online, authority: Authority, graph: Graph) -> None:
    """Without --to nothing is made or sent; request ids are shown, the token is not."""
    steps = online.lines()
    (token,) = authority.issued
    assert list(steps)[2:] == ["token", "mailbox"]
    assert f"audience: {graph.url}" in steps["token"]
    looked, named = steps["mailbox"]
    assert looked.startswith("find: 200, ")
    assert named.startswith("request-id ")
    assert token not in str(steps)
    assert [seen.operation for seen in graph.requests] == ["list"]


def test_one_mail_is_sent(online: Online, graph: Graph) -> None:
    """It goes the way of every other: a draft, and one request to send it."""
    told = online.run("--to", "kim@customers.example")
    assert "create: 201, " in told
    assert "send: 202, " in told
    assert told.splitlines()[-1].endswith("the mail was accepted")
    (mail,) = graph.sent(MAILBOX)
    assert mail.subject == "Postmeter: a test"


def test_compose_leaves_a_draft_and_prints_its_link(online: Online, graph: Graph) -> None:
    """The same command tries what a compose job would meet."""
    told = online.json("--kind", "compose", "--to", "kim@customers.example")
    assert told["reason"].startswith("a draft was made: https://")
    assert graph.deliveries == []


@pytest.mark.parametrize(
    ("refusal", "step"),
    [((403, "ErrorAccessDenied"), "mailbox"), ((404, "MailboxNotEnabledForRESTAPI"), "mailbox")],
)
def test_a_mailbox_that_refuses_is_named(
    online: Online, graph: Graph, refusal: tuple[int, str], step: str
) -> None:
    """Status and code are shown with the sentence that says what to change."""
    graph.mailbox(MAILBOX).refusal = refusal
    told = online.json(exits=1)
    assert told["failed"] == step
    assert told["steps"][-1]["lines"][0].startswith(f"find: {refusal[0]} {refusal[1]}")
    assert told["reason"]
