"""Structured logs: JSON in a container, readable at a terminal; one line an event, on stderr.

What libraries log goes the same way, from WARNING up.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import structlog
from structlog.typing import FilteringBoundLogger

from worker.telemetry.masking import mask, one_line, redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

Logger: TypeAlias = FilteringBoundLogger
Format = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]

OURS = ("worker", "config", "producers", "postmeter")
"""The names below which ``level`` holds; everything else is a library."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)
_OWN = frozenset({"_record", "_from_structlog"})
"""Keys of structlog's own, which no renderer sees."""
_TRACEBACKS = frozenset({"exception", "stack"})


def configure(
    *,
    format: Format = "auto",  # noqa: A002 - the name of the setting
    level: Level = "info",
    show_addresses: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Set up the logs of this process and of those that it forks.

    Args:
        format: ``auto`` is text on a terminal, else JSON.
        show_addresses: show whole email addresses instead of ``j…e@example.nz``.
        stream: standard error unless set.
    """
    stream = stream or sys.stderr
    text = format == "text" or (format == "auto" and stream.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    chain: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        # Never with the locals of frames, which may hold passwords.
        structlog.processors.format_exc_info,
        _each(redact),
    ]
    if not show_addresses:
        chain.append(_each(mask))
    if text:
        chain.append(_each(one_line, but=_OWN | _TRACEBACKS))
    renderer = _renderer(text=text, colours=stream.isatty() and "NO_COLOR" not in os.environ)
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name="": _NamedLogger(stream, name),
    )
    _route_libraries(stream, number, chain, renderer)


def get_logger(name: str) -> Logger:
    """A logger whose lines carry its name."""
    return cast("Logger", structlog.get_logger(name))


class _NamedLogger(structlog.WriteLogger):
    """Writes lines to a stream, and knows its name as the standard library's loggers do."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _renderer(*, text: bool, colours: bool) -> Processor:
    if text:
        return structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback
        )
    return _json_line


def _json_line(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """Render one line; an encoder made once costs half of what ``json.dumps`` does."""
    return _ENCODER.encode(line)


def _route_libraries(
    stream: TextIO, level: int, chain: list[Processor], renderer: Processor
) -> None:
    """Let everything that goes through ``logging`` end in the same stream and form."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level)


def _each(change: Callable[[Any, str], Any], but: frozenset[str] = _OWN) -> Processor:
    """A processor that changes every value of a line."""

    def process(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        for key, value in line.items():
            if key not in but:
                line[key] = change(value, key)
        return line

    return process
