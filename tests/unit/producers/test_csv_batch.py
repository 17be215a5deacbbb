"""A batch from a CSV file and a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producers.csv_batch import CsvProblem, read_csv
from producers.errors import InvalidCsv, InvalidTemplate
from producers.templates import Template

if TYPE_CHECKING:
    from pathlib import Path

LETTER = Template.parse("Subject: Hello {{name}}\n\nDear {{ Name }},\nyour total is {{total}}.\n")
ROWS = "name,email,total\nJane,jane@example.org,5\nJörg,joerg@example.org,7\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_csv(encoding: str, delimiter: str) -> None:
    """Every usual encoding and delimiter gives the same emails."""
    batch = read_csv(ROWS.replace(",", delimiter).encode(encoding), LETTER)
    assert batch.delimiter == delimiter
    assert batch.problems == ()
    emails = list(batch.emails())
    assert [email.to for email in emails] == ["jane@example.org", "joerg@example.org"]
    assert emails[1].subject == "Hello Jörg"
    assert emails[0].text == "Dear Jane,\nyour total is 5.\n"


def test_a_path_and_quoted_line_breaks(tmp_path: Path) -> None:
    """Line numbers count lines of the file, not rows."""
    path = tmp_path / "people.csv"
    path.write_text(
        'name,email,total\r\n"Jane\nDoe",jane@example.org,1\r\n\r\nBo,nobody,2\r\n', newline=""
    )
    batch = read_csv(path, LETTER)
    assert len(batch) == 0
    assert [problem.line for problem in batch.problems] == [2, 5]
    assert batch.problems[0].problem.startswith("subject: a subject is one line")
    assert batch.problems[1].problem == ("to.0: not an email address: it has no @ (got 'nobody')")


def test_bad_rows_have_their_line_and_good_ones_remain() -> None:
    """Every bad row is found at once; the others can be sent."""
    rows = 'name,email,total\nA,a@example.org,1\nB,b@example.org\nC,"c@example.org, d@example.org",3\nD,d@example.org,4\n'
    batch = read_csv(rows.encode(), LETTER)
    assert batch.problems[0] == CsvProblem(3, "2 fields where there are 3 columns")
    assert batch.problems[1].line == 4
    assert "a comma separates nothing here" in batch.problems[1].problem
    assert [line for line, _ in batch.rows] == [2, 5]


def test_headers_of_the_template() -> None:
    """To, Cc, Bcc, Reply-To and From are addresses; other headers are sent as they are."""
    template = Template.parse(
        "subject: Hi\nFrom: us@example.org\nTo: {{name}} <{{email}}>\nCc: c@example.org\n"
        "Bcc: b@example.org\nReply-To: r@example.org\nX-Campaign: {{total}}\n\n<p>{{name}}</p>"
    )
    (email,) = read_csv(b"name,email,total\nA & B,a@example.org,1\n", template).emails()
    assert email.to == "A & B <a@example.org>"
    assert (email.sender, email.cc, email.bcc) == (
        "us@example.org",
        "c@example.org",
        "b@example.org",
    )
    assert email.reply_to == "r@example.org"
    assert email.headers == {"x-campaign": "1"}
    assert email.html == "<p>A &amp; B</p>"
    assert email.text is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hello\n\nbody", "template line 1: begin with header lines"),
        ("To: a@example.org\n\nbody", "template line 1: a line 'Subject: …' is missing"),
        ("Subject: a\nSubject: b\n\nbody", "template line 2: Subject stands twice"),
        ("Subject: a\n\n\n", "there is no body after the empty line"),
        ("Subject: a\nFormat: pdf\n\nbody", "Format: use text or html"),
        (
            "Subject: a\n\nbody\n{{surname}}",
            "template line 4: {{surname}} is no column; there are: name, email, total",
        ),
    ],
)
def test_templates_that_do_not_fit(text: str, message: str) -> None:
    """A wrong template is refused with the line to mend, before any row is looked at."""
    with pytest.raises(InvalidTemplate) as caught:
        read_csv(ROWS.encode(), Template.parse(text))
    assert message in str(caught.value)


def test_nobody_addressed() -> None:
    """Without a To line some column must be called email or to."""
    with pytest.raises(InvalidTemplate, match="no column is called email or to"):
        read_csv(b"name,total\nA,1\n", LETTER)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the file is empty"),
        (b"name,email,total\n", "column names but no rows"),
        (b"name,,total\nA,a@example.org,1\n", "must name every column"),
        (b"name,email,Name\nA,a@example.org,1\n", "two columns are called 'name'"),
        (b'name,email,total\nA,a@example.org,1\n"B,b', "line 3: unexpected end of data"),
        (b"\x81\x8d", "no text in UTF-8"),
    ],
)
def test_files_that_cannot_be_read(raw: bytes, message: str) -> None:
    """A file that is no table is refused with one sentence."""
    with pytest.raises(InvalidCsv, match=message):
        read_csv(raw, LETTER)
