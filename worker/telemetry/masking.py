"""What a log must not show: secrets ever, addresses unless asked for; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

HIDDEN: Final = "***"
_SECRET_KEY: Final = re.compile(
    r"pass(?:word|wd|phrase)?$|secret|token|api_?key|private_?key|^authorization$|cookie",
    re.IGNORECASE,
)
_URL_PASSWORD: Final = re.compile(r"(://[^\s:/@]*:)[^\s/@]+(?=@)")
_LOCAL: Final = r"\s@<>()\[\]\\,;:\"'="
# A local part begins where its run of characters begins, so that each run is looked at once.
_ADDRESS: Final = re.compile(
    rf"(?<![^{_LOCAL}])([^{_LOCAL}]+|\"[^\"\r\n]+\")@((?:[\w-]+\.)*[\w-]+|\[[0-9A-Fa-f.:]+\])"
)
_KEEPS_ADDRESS: Final = frozenset({"message_id", "job_id"})
"""Keys whose values look like addresses and are none."""
# Unicode's Bidi_Control (UAX #9): with them a text shows its letters in another order.
_BIDI: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029, *_BIDI), "?")


def mask_addresses(text: str) -> str:
    """Shorten every address in a text: ``j…e@example.nz``."""
    return _ADDRESS.sub(_masked, text) if "@" in text else text


def _masked(found: re.Match[str]) -> str:
    local = found[1]
    shown = f"{local[0]}…{local[-1]}" if len(local) > 2 else "…"  # noqa: PLR2004 - two letters say all
    return f"{shown}@{found[2]}"


def redact(value: Any, key: str = "") -> Any:
    """Hide secrets by type (``SecretStr``), by key, and passwords inside addresses of servers."""
    if value and _is_secret(key):
        return HIDDEN
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1{HIDDEN}", value) if "://" in value else value
    return HIDDEN if hasattr(value, "get_secret_value") else _inside(value, redact)


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def mask(value: Any, key: str = "") -> Any:
    """Shorten every address in a value, but for ids that only look like one."""
    if isinstance(value, str):
        return value if key in _KEEPS_ADDRESS else mask_addresses(value)
    return _inside(value, mask)


def one_line(value: Any, _key: str = "") -> Any:
    """Take control characters out of text from outside.

    It must not write lines of its own, nor turn the order of letters round.
    """
    if isinstance(value, str):
        return value if value.isprintable() else value.translate(_CONTROLS)
    return _inside(value, one_line)


def _inside(value: Any, change: Callable[[Any, str], Any]) -> Any:
    """Apply a change to what a container holds; anything but a number becomes its text."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {key: change(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [change(item, "") for item in value]
    return change(str(value), "")
