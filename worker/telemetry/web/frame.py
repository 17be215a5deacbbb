"""What every page has around its contents: the head, the style, and the headers it is sent with.

The policy lets a page load nothing and run nothing: not even an escaping that was forgotten could
do harm. Its style is inside the page, allowed by its hash.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from worker.telemetry.web.markup import Markup, tag, together

_STYLE_FILE: Final = Path(__file__).with_name("style.css")


@cache
def style() -> Markup:
    """The style sheet; its own file, so that an editor knows what it is."""
    return Markup(_STYLE_FILE.read_text(encoding="utf-8"))


@cache
def headers() -> list[tuple[str, str]]:
    """What browsers are told about every page (CSP: W3C, Content Security Policy Level 3)."""
    digest = b64encode(sha256(style().encode()).digest()).decode()
    policy = (
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "; ".join(policy)),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    ]


def frame(title: str, body: Markup) -> bytes:
    """Write a whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", title),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("style", style()),
    )
    skip = tag("a", "Skip to the contents", href="#main", class_="skip")
    page = tag("html", head, tag("body", together(skip, body)), lang="en")
    return f"<!doctype html>\n{page}\n".encode()
