"""A batch from a CSV file and a template: read whole and checked whole before anything is sent.

Any CSV: comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252; quoted line breaks. The first
line names the columns.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .envelope import encode
from .errors import InvalidCsv, InvalidJob
from .identity import uuid7

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from .emails import Email
    from .templates import Template

_DELIMITERS: Final = ",;\t|"
_SAMPLE_ROWS: Final = 20
_FIELD_CHARACTERS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CsvProblem:
    """What is wrong with one row.

    Attributes:
        line: where the row begins, counted from 1; the line of the column names is 1.
        problem: one sentence.
    """

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class CsvBatch:
    """A file that was read and checked.

    Attributes:
        template: the template it was checked with.
        rows: the good rows: the line each begins at, and its values by lower-case column name.
        problems: the bad ones.
        encoding: how the file was written.
        delimiter: what separates its columns.
    """

    template: Template
    rows: tuple[tuple[int, dict[str, str]], ...]
    problems: tuple[CsvProblem, ...]
    encoding: str
    delimiter: str

    def __len__(self) -> int:
        return len(self.rows)

    def emails(self) -> Iterator[Email]:
        """The emails of the good rows, in order, made one by one."""
        for _, row in self.rows:
            yield self.template.fill(row)


def read_csv(
    source: str | os.PathLike[str] | bytes,
    template: Template,
    *,
    company: str | None = None,
    user: str | None = None,
) -> CsvBatch:
    """Read a CSV file (a path, or its bytes) and check every row with the template.

    Raises:
        InvalidCsv: it is no CSV file with a line of column names and a row.
        InvalidTemplate: the template does not fit its columns.
        OSError: it cannot be read.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    text, encoding = _decode(raw)
    delimiter = _delimiter(text)
    records = _records(text, delimiter)
    try:
        _, columns = next(records)
    except StopIteration:
        raise InvalidCsv("the file is empty; its first line must name the columns") from None
    names = _names(columns)
    fitting = template.check_columns(tuple(column.strip() for column in columns))
    rows: list[tuple[int, dict[str, str]]] = []
    problems: list[CsvProblem] = []
    for line, values in records:
        problem = _check(values, names, fitting, company, user)
        if problem is None:
            rows.append((line, dict(zip(names, map(str.strip, values), strict=True))))
        else:
            problems.append(CsvProblem(line, problem))
    if not rows and not problems:
        raise InvalidCsv("the file has column names but no rows")
    return CsvBatch(fitting, tuple(rows), tuple(problems), encoding, delimiter)


def _check(
    values: list[str], names: list[str], template: Template, company: str | None, user: str | None
) -> str | None:
    """What is wrong with a row, or None."""
    if len(values) != len(names):
        return f"{len(values)} fields where there are {len(names)} columns"
    email = template.fill(dict(zip(names, map(str.strip, values), strict=True)))
    try:
        encode(email.to_job("batch", uuid7(), company=company, user=user), "")
    except InvalidJob as error:
        return str(error)
    return None


def _decode(raw: bytes) -> tuple[str, str]:
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise InvalidCsv("the file is no text in UTF-8, UTF-16 or Windows-1252")


def _delimiter(text: str) -> str:
    """The one that splits the first rows into the most columns, all the same number."""

    def score(delimiter: str) -> tuple[int, int]:
        counts: Counter[int] = Counter()
        with contextlib.suppress(InvalidCsv):  # quotes make no sense with the wrong one
            for _, values in itertools.islice(_records(text, delimiter), _SAMPLE_ROWS):
                counts[len(values)] += 1
        if not counts:
            return 0, 0
        width, agreeing = counts.most_common(1)[0]
        return (agreeing if width > 1 else 0), width

    return max(_DELIMITERS, key=score)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins at; empty lines are left out.

    Raises:
        InvalidCsv: a field is too long, or its quotes never end.
    """
    limit = csv.field_size_limit(_FIELD_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidCsv(f"line {line}: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _names(columns: list[str]) -> list[str]:
    names = [column.strip().lower() for column in columns]
    if not all(names):
        raise InvalidCsv("the first line must name every column")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidCsv(f"two columns are called {twice[0]!r}")
    return names
