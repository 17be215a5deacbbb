"""The provisioning email: the link that connects a mobile app with its server."""

from __future__ import annotations

import html
from urllib.parse import urlsplit

from .emails import Email
from .errors import InvalidJob

_STYLE = (
    "display:inline-block;padding:12px 20px;border-radius:6px;background:#1f5fbf;color:#ffffff;"
    "text-decoration:none"
)


def provisioning_email(to: str, *, app: str, link: str, download: str) -> Email:
    """An email, as text and HTML, that says where to get an app and how to connect it.

    Args:
        to: who gets it.
        app: the app's name.
        link: connects the app; any scheme of an app, such as ``https`` or ``accredo``.
        download: where to get the app (``https``).

    Raises:
        InvalidJob: a link that is none, or that a mail must not carry.
    """
    _check("link", link, forbidden=("javascript", "data", "file", "vbscript"))
    _check("download", download, allowed=("https", "http"))
    text = f"""\
Set up {app} on your phone or tablet

1. Install {app}:
   {download}

2. Open this link on the same device to connect it:
   {link}

The link is meant for you alone: please do not pass it on. If you did not
expect this message, you can ignore it.
"""
    name, where, connect = (html.escape(part) for part in (app, download, link))
    page = f"""\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Set up {name}</title></head>
<body style="font-family:Arial,Helvetica,sans-serif;font-size:16px;line-height:1.5;color:#222222">
<h1 style="font-size:20px">Set up {name} on your phone or tablet</h1>
<p>1. Install {name}:</p>
<p><a href="{where}" style="{_STYLE}">Get {name}</a><br>{where}</p>
<p>2. Open this link on the same device to connect it:</p>
<p><a href="{connect}" style="{_STYLE}">Connect {name}</a><br>{connect}</p>
<p style="color:#555555">The link is meant for you alone: please do not pass it on. If you did not
expect this message, you can ignore it.</p>
</body>
</html>
"""
    return Email(
        to,
        f"Set up {app}",
        text=text,
        html=page,
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no out-of-office replies
    )


def _check(
    field: str, url: str, *, allowed: tuple[str, ...] = (), forbidden: tuple[str, ...] = ()
) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    bad = not scheme or scheme in forbidden or (allowed and scheme not in allowed)
    if bad or not url.isprintable() or " " in url:
        wanted = " or ".join(allowed) if allowed else "an app's own scheme or https"
        raise InvalidJob(field, f"not a link: use {wanted}")
