"""What the page about producing shows is what works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from producers.envelope import decode
from tests.support.jobs import NOW

ROOT = Path(__file__).parents[3]
PAGES = ("docs/producing.md", "producers/README.md")


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{page}-{n}")
        for page in PAGES
        for n, code in enumerate(blocks(page, "python"))
    ],
)
def test_python_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example runs as it stands, with an embedded inbox for the broker."""
    monkeypatch.setenv("POSTMETER_BROKER_URL", f"embedded:{tmp_path / 'inbox.db'}")
    code = re.sub(r'"amqp://[^"]*"', "None", code).replace("postmeter_client", "producers")
    exec(compile(code, "example", "exec"), {})  # noqa: S102 the examples are this repository's own
    assert "InMemoryProducer" in code or (tmp_path / "inbox.db").exists()


def test_the_json_example_is_a_job() -> None:
    """The message for other languages is read as it stands."""
    (example,) = blocks("docs/producing.md", "json")
    job = decode(example.encode(), "postmeter.send", now=NOW)
    assert json.loads(example)["message_id"] == job.id
