"""The two mails of the system: provisioning and error reports."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from producers.error_reports import error_report
from producers.errors import InvalidJob
from producers.provisioning import provisioning_email
from producers.testing import InMemoryProducer

WHEN = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
VOID = {"meta", "br"}


class Balanced(HTMLParser):
    """Checks that every element is closed, and collects links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and its link."""
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must be the one opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.words += data


def parsed(page: str | None) -> Balanced:
    """A page, read and found balanced."""
    parser = Balanced()
    parser.feed(page or "")
    parser.close()
    assert parser.open == []
    return parser


def test_provisioning_mail() -> None:
    """Text and HTML carry both links; values cannot break out of the page."""
    email = provisioning_email(
        "jane@example.org",
        app="Stock & <Go>",
        link="accredo://connect?a=1&b=2",
        download="https://example.org/app",
    )
    assert email.subject == "Set up Stock & <Go>"
    page = parsed(email.html)
    assert page.links == ["https://example.org/app", "accredo://connect?a=1&b=2"]
    assert "Stock & <Go>" in page.words
    for link in page.links:
        assert link in (email.text or "")


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:x", "no link", "a b:c", "https://x\r\nBcc: y", "http://["]
)
def test_provisioning_refuses(link: str) -> None:
    """Links that a mail must not carry are refused."""
    with pytest.raises(InvalidJob, match="link: not a link"):
        provisioning_email("jane@example.org", app="App", link=link, download="https://example.org")
    with pytest.raises(InvalidJob, match="download: not a link: use https or http"):
        provisioning_email("jane@example.org", app="App", link="app://x", download="app://x")


def failing() -> None:
    """Raise, with a secret in a local variable."""
    password = "hunter2"
    raise ValueError(f"bad <value>\nof {len(password)}")


def test_error_report() -> None:
    """What, when, where and the traceback, in text and HTML, without local variables."""
    try:
        failing()
    except ValueError as error:
        email = error_report(error, context={"Screen": "Invoices <2>"}, now=WHEN)
    assert email.subject == "ValueError: bad <value> of 7"
    for part in (email.text or "", parsed(email.html).words):
        assert "2026-11-24 08:00:00 UTC" in part
        assert "Invoices <2>" in part
        assert "test_system_mails.py" in part
        assert "hunter2" not in part.replace('password = "hunter2"', "")


def test_error_report_of_a_message() -> None:
    """A message alone will do; a long one does not make a long subject."""
    email = error_report("x" * 500 + "\ud800\0", now=WHEN)
    assert len(email.subject) == 120
    assert "\ufffd\ufffd" in (email.text or "")


def test_both_are_the_systems() -> None:
    """They go out by the system's settings, whatever the producer's company is."""
    producer = InMemoryProducer(company="acme", user="jane")
    producer.provision("x@example.org", app="App", link="app://x", download="https://example.org")
    producer.report_error(RuntimeError("broken"), context={"a": 1})
    first, second = producer.outbox
    assert (first.company, first.user, first.to) == (None, None, ("x@example.org",))
    assert (second.company, second.error_report, second.recipients) == (None, True, ())
