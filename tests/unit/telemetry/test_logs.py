"""The logs: one line an event, in either form, from us and from libraries."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import SecretStr

from worker.telemetry.logs import configure, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs of a test go; afterwards everything is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line(stream: io.StringIO) -> None:
    """Off a terminal a line is one JSON object with time, level and logger; addresses masked."""
    configure(stream=stream)
    get_logger("postmeter.x").info("sent", job_id="1", to="jane@example.nz", reason="über\nzwei")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "sent",
        "level": "info",
        "logger": "postmeter.x",
        "job_id": "1",
        "to": "j…e@example.nz",
        "reason": "über\nzwei",
    }


def test_text_at_a_terminal(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    """At a terminal lines are text with colours, and without where NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    colourful, plain = Terminal(), Terminal()
    configure(stream=colourful)
    get_logger("x").info("sent")
    monkeypatch.setenv("NO_COLOR", "1")
    configure(stream=plain)
    get_logger("x").info("sent")
    assert "\x1b[" in colourful.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "sent" in plain.getvalue()


def test_text_line_cannot_be_forged(stream: io.StringIO) -> None:
    """What a server says stays on the line that quotes it."""
    configure(format="text", stream=stream)
    get_logger("x").info("sent", reply="250 ok\n2026 [info] forged\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_addresses_on_request(stream: io.StringIO) -> None:
    """Whole addresses are shown to whom they are asked for."""
    configure(show_addresses=True, stream=stream)
    get_logger("x").info("sent", to="jane@example.nz")
    assert lines(stream)[0]["to"] == "jane@example.nz"


def test_level(stream: io.StringIO) -> None:
    """What is below the level is not written, neither ours nor what our packages log."""
    configure(level="warning", stream=stream)
    get_logger("x").info("no")
    logging.getLogger("worker.broker").info("no")
    get_logger("x").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize("name", ["dramatiq", "alembic", "aiosmtplib", "asyncio"])
def test_libraries_speak_from_warning_up(name: str, stream: io.StringIO) -> None:
    """A library's warning comes as a line of the same form; its chatter does not, at any level."""
    configure(level="debug", stream=stream)
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("lost %s", "jane@example.nz")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == (
        "lost j…e@example.nz",
        "warning",
        name,
    )


def test_traceback_shows_no_locals(stream: io.StringIO) -> None:
    """A fault is logged with its traceback, without what the frames held."""
    configure(format="text", stream=stream)
    password = "hunter2-in-a-local"
    try:
        raise ValueError("a fault for bob@example.nz")
    except ValueError:
        get_logger("x").exception("fault", given=SecretStr(password))
        logging.getLogger("worker").exception("fault")
    written = stream.getvalue()
    assert written.count("Traceback (most recent call last)") == 2
    assert password not in written
    assert "bob@" not in written


def test_secrets_never(stream: io.StringIO) -> None:
    """Secrets are hidden even when addresses are shown."""
    configure(show_addresses=True, stream=stream)
    get_logger("x").warning(
        "no", password="hunter2", url="amqp://u:hunter2@h", s=SecretStr("hunter2")
    )
    logging.getLogger("pika").warning("at amqp://u:hunter2@h")
    assert "hunter2" not in stream.getvalue()
