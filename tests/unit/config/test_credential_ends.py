"""When secrets and certificates end: what ``settings check`` says, and what the metric tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.registrations import app
from tests.support.self_signed import self_signed
from tests.support.settings_tree import SettingsTree
from worker.auth.ends import credential_ends
from worker.telemetry.rules import Rules

if TYPE_CHECKING:
    from pathlib import Path

SECRET = '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'


def _in(days: int) -> str:
    """A day, as TOML has it."""
    return (datetime.now(UTC) + timedelta(days)).date().isoformat()


def _warned(folder: Path, days: int) -> str:
    tree = SettingsTree(folder)
    tree.write("system.toml", f"{SECRET}client_secret_expires = {_in(days)}\n")
    said = [str(each) for each in tree.load().warnings if "client_secret_expires" in str(each)]
    return "".join(said)


@pytest.mark.parametrize(
    ("days", "words"), [(-30, "it has ended"), (0, "it has ended"), (5, "it ends in")]
)
def test_a_secret_that_ends_soon_is_a_warning(tmp_path: Path, days: int, words: str) -> None:
    """Within two weeks, and from the day on: the line has the file, the key and what to do."""
    said = _warned(tmp_path, days)
    assert words in said
    assert "system.toml" in said
    assert "register a new client secret" in said


def test_a_secret_that_lasts_is_none(tmp_path: Path) -> None:
    """Nothing is said of a day that is far away."""
    assert not _warned(tmp_path, 60)


@pytest.mark.parametrize("written", ["2027-03-01", '"2027-03-01"'], ids=["a day", "text"])
def test_the_day_is_told_before_anything_is_sent(tmp_path: Path, written: str) -> None:
    """By the registration; a company that has the system's has the same."""
    tree = SettingsTree(tmp_path)
    tree.write("system.toml", f"{SECRET}client_secret_expires = {written}\n")
    tree.company("acme", "replicate_from_system = true\n")
    ends = Rules(tree.load()).credential_ends
    assert ends == {"_app/c": datetime(2027, 3, 1, tzinfo=UTC).timestamp()}


@pytest.mark.parametrize("written", ["2027-03-01T10:00:00", '"next year"', "20270301"])
def test_what_is_no_day_is_an_error(tmp_path: Path, written: str) -> None:
    """A moment, words and a number are none."""
    tree = SettingsTree(tmp_path)
    tree.write("system.toml", f"{SECRET}client_secret_expires = {written}\n")
    (said,) = [str(each) for found in tree.load().errors_by_context().values() for each in found]
    assert "write a day: 2027-03-01" in said


def test_a_certificate_says_its_end_itself(tmp_path: Path) -> None:
    """The earliest of two of one application; one that cannot be read tells nothing."""
    made = self_signed("postmeter")
    path = tmp_path / "app.pem"
    path.write_bytes(made.pem)
    by_certificate = app(grant="certificate", certificate_file=path)
    ends_at = made.certificate.not_valid_after_utc.timestamp()
    assert credential_ends([by_certificate]) == {"_app/app-1": ends_at}
    early = app(client_secret_expires=datetime(2020, 1, 1, tzinfo=UTC).date())
    begin = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    assert credential_ends([by_certificate, early]) == {"_app/app-1": begin}
    path.write_bytes(b"none")
    assert credential_ends([by_certificate, app(), app(grant="device-code")]) == {}
