"""What a user's Email tab adds, to whom, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.jobs_for_mime import make_mime_job
from tests.support.settings import make_settings
from worker.user_defaults import with_user_defaults

TAB: dict[str, Any] = {
    "signature": "Jane\nAcme & Co",
    "cc": ("boss@example.nz",),
    "bcc": ("archive@example.nz",),
    "reply_to": ("office@example.nz",),
    "request_read_receipt": True,
}


@pytest.mark.parametrize("kind", ["send", "batch"])
def test_invoice_gets_nothing_by_surprise(kind: str) -> None:
    """A send or batch job that does not ask is the very same object."""
    job = make_mime_job(kind=kind)
    assert with_user_defaults(job, make_settings(**TAB)) is job


@pytest.mark.parametrize("changes", [{"kind": "compose"}, {"apply_user_defaults": True}])
def test_open_fields_are_filled(changes: dict[str, Any]) -> None:
    """A draft, and a job that asks, get everything that they leave open."""
    job = with_user_defaults(make_mime_job(html="<p>Hi</p>", **changes), make_settings(**TAB))
    assert job.cc == ("boss@example.nz",)
    assert job.bcc == ("archive@example.nz",)
    assert job.reply_to == ("office@example.nz",)
    assert job.read_receipt
    assert job.text == "Kia ora\n\nJane\nAcme & Co\n"
    assert job.html == "<p>Hi</p><br><br>\nJane<br>\nAcme &amp; Co\n"


def test_what_the_job_says_stays() -> None:
    """Its own cc, bcc and reply-to win."""
    own: dict[str, Any] = {"cc": ("a@b.nz",), "bcc": ("c@d.nz",), "reply_to": ("e@f.nz",)}
    job = with_user_defaults(make_mime_job(kind="compose", **own), make_settings(**TAB))
    assert (job.cc, job.bcc, job.reply_to) == (own["cc"], own["bcc"], own["reply_to"])


def test_html_signature_in_both_forms() -> None:
    """In html it stands before the end of the body, in text without its tags."""
    settings = make_settings(signature="<p>Jane</p><b>A &amp; B</b>")
    job = make_mime_job(kind="compose", html="<html><body><p>Hi</p></body></html>")
    signed = with_user_defaults(job, settings)
    assert signed.text == "Kia ora\n\nJane\nA & B\n"
    assert signed.html is not None
    assert signed.html.endswith("<p>Jane</p><b>A &amp; B</b>\n</body></html>")


def test_plain_format_drops_html_where_there_is_text() -> None:
    """mail_format = plain sends the text alone; an html mail without text stays."""
    settings = make_settings(mail_format="plain")
    both = with_user_defaults(make_mime_job(kind="compose", html="<p>Hi</p>"), settings)
    assert both.html is None
    only = make_mime_job(kind="compose", text=None, html="<p>Hi</p>")
    assert with_user_defaults(only, settings).html == "<p>Hi</p>"


def test_a_draft_of_text_has_the_form_that_its_user_edits() -> None:
    """mail_format = html makes html of a draft's text; a mail that is sent stays what it was."""
    job = make_mime_job(kind="compose", text="1 < 2\n")
    rich = make_settings(signature="<b>Jane</b>")
    assert with_user_defaults(job, rich).html == "1 &lt; 2<br>\n<br><br>\n<b>Jane</b>\n"
    assert with_user_defaults(job, make_settings(mail_format="plain")).html is None
    sent = make_mime_job(apply_user_defaults=True)
    assert with_user_defaults(sent, rich).html is None


def test_empty_tab_changes_nothing() -> None:
    """Without values on the tab the job says the same as before."""
    job = make_mime_job(kind="compose", html="<p>Hi</p>")
    assert with_user_defaults(job, make_settings()) == job
