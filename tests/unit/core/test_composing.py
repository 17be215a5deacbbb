"""Composing: attachments by reference, error reports, and who is left."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from producers.job import Attachment
from tests.support.jobs import make_job
from tests.support.settings import make_settings
from worker.composing import Composer
from worker.errors import Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from worker.transports.base import Mail

CONTENT = b"the report\n"
A, B = "ann@example.org", "bob@example.org"


def referring(reference: str = "2026/report.txt", content: bytes = CONTENT) -> Attachment:
    """An attachment whose bytes are in the folder."""
    return Attachment(
        name="report.txt",
        content_type="text/plain",
        reference=reference,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The attachments' folder, with one file."""
    (tmp_path / "attachments" / "2026").mkdir(parents=True)
    (tmp_path / "attachments" / "2026" / "report.txt").write_bytes(CONTENT)
    return tmp_path / "attachments"


def compose(folder: Path | None, settled: frozenset[str] = frozenset(), **fields: Any) -> Mail:
    """Compose the test's job."""
    return Composer(folder)(make_job(**fields), make_settings(), 1_800_000_000.0, settled)


def test_an_attachment_by_reference_is_read(folder: Path) -> None:
    """Its bytes go with the mail, as if they had been in the job."""
    inline = Attachment(name="report.txt", content_type="text/plain", content=CONTENT)
    by_reference = compose(folder, attachments=[referring()])
    assert by_reference.content == compose(folder, attachments=[inline]).content


def test_every_attempt_has_the_same_bytes(folder: Path) -> None:
    """Rendered twice from the same job and date: not a byte differs."""
    assert compose(folder, attachments=[referring()]) == compose(folder, attachments=[referring()])


def test_a_missing_file_says_which(folder: Path) -> None:
    """The reason names the attachment and what the system said, and no path of the host."""
    (folder / "2026" / "report.txt").unlink()
    with pytest.raises(Rejected) as raised:
        compose(folder, attachments=[referring()])
    assert raised.value.reason == (
        "attachment 'report.txt' cannot be read: No such file or directory"
    )


def test_a_folder_is_no_attachment(folder: Path) -> None:
    """What cannot be read for any reason is said, and never raised as it is."""
    with pytest.raises(Rejected, match="cannot be read: Is a directory"):
        compose(folder, attachments=[referring("2026")])


def test_a_changed_file_is_not_sent(folder: Path) -> None:
    """Somebody has written to it since it was published."""
    (folder / "2026" / "report.txt").write_bytes(b"another report\n")
    with pytest.raises(Rejected, match="is not what was published: its SHA-256 differs"):
        compose(folder, attachments=[referring()])


def test_without_a_folder_a_reference_says_what_to_set() -> None:
    """The reason names the variable."""
    with pytest.raises(Rejected, match="POSTMETER_ATTACHMENTS is not set"):
        compose(None, attachments=[referring()])


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    """A right digest does not help: nothing outside the folder is sent."""
    secret = folder.parent / "secret"
    secret.write_bytes(CONTENT)
    (folder / "link").symlink_to(secret)
    with pytest.raises(Rejected, match="its reference leaves the attachments' folder"):
        compose(folder, attachments=[referring("link")])


@pytest.mark.parametrize("reference", ["../secret", "2026/../../secret", "/etc/hostname"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, reference: str) -> None:
    """Even where a producer's own check was passed by."""
    (folder.parent / "secret").write_bytes(CONTENT)
    with pytest.raises(Rejected, match="its reference leaves the attachments' folder"):
        Composer(folder)._content("report.txt", reference, hashlib.sha256(CONTENT).hexdigest())


def test_only_who_is_left_gets_a_retry() -> None:
    """Settled recipients are left out of the envelope, and stay in the header."""
    mail = compose(None, frozenset({A}), to=[A, B])
    assert mail.recipients == (B,)
    assert A.encode() in mail.content


def test_an_error_report_goes_to_whom_the_settings_name() -> None:
    """A report that names nobody itself."""
    settings = make_settings(error_reports_to=(A,))
    job = make_job(company=None, to=[], error_report=True)
    assert Composer(None)(job, settings, 0.0, frozenset()).recipients == (A,)


def test_an_error_report_without_anybody_says_what_to_set() -> None:
    """The reason names key, table and file."""
    with pytest.raises(Rejected, match=r"set error_reports_to in \[system\] of system.toml"):
        compose(None, company=None, to=[], error_report=True)


def test_user_defaults_are_for_jobs_that_ask() -> None:
    """The signature of the user goes with a job that wants it, with no other."""
    settings = make_settings(signature="Kind regards, Jane")
    contents = [
        Composer(None)(make_job(apply_user_defaults=asked), settings, 0.0, frozenset()).content
        for asked in (True, False)
    ]
    assert [b"Kind regards" in content for content in contents] == [True, False]
