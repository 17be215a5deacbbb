"""What the words of alerts are put together from: numbers with their nouns, and labels as phrases."""

from __future__ import annotations

from typing import Final

VALUE: Final = '{{ $value | printf "%.0f" }}'
"""A count in whole digits, where ``{{ $value }}`` writes 1e+06."""
COMPANY: Final = (
    '{{ if eq $labels.company "_unknown" }}a company that the settings do not have'
    "{{ else }}{{ $labels.company }}{{ end }}"
)
SETTINGS_FIRST: Final = (
    '{{ if eq $labels.company "_unknown" }}, and write its settings or correct the name that the'
    " application gives{{ end }}"
)
HOLD: Final = (
    '{{ if eq $labels.reason "credential" }}a login is refused'
    '{{ else if eq $labels.reason "tls" }}TLS fails'
    '{{ else if eq $labels.reason "unreachable" }}a server cannot be reached'
    "{{ else }}a server refuses it{{ end }}"
)
"""Why something is held: ``telemetry.standing.HOLD_REASONS``."""
HELD_TARGET: Final = (
    'a{{ if eq $labels.target_kind "account" }}n{{ end }} {{ $labels.target_kind }}'
)


def either(one: str, many: str) -> str:
    """The first where the value is 1, else the second."""
    return f"{{{{ if eq $value 1.0 }}}}{one}{{{{ else }}}}{many}{{{{ end }}}}"


def counted(noun: str, *, many: str = "s") -> str:
    """``1 email``, ``2 emails``.

    Args:
        many: what is added for several.
    """
    return f"{VALUE} {noun}{{{{ if ne $value 1.0 }}}}{many}{{{{ end }}}}"


def once_past(past: str, coming: str) -> str:
    """The first where a time that is left is over, else the second."""
    return f"{{{{ if lt $value 0.0 }}}}{past}{{{{ else }}}}{coming}{{{{ end }}}}"
