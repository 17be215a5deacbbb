"""Which operation of Graph a method and a path ask for."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

UPLOADS: Final = "/uploads/"
"""Where upload addresses begin: outside of ``/v1.0``, as Microsoft's are on another host."""

_MESSAGE = r"/v1\.0/users/([^/]+)/messages/([^/]+)"
_ROUTES: Final = tuple(
    (method, re.compile(path), operation)
    for method, path, operation in (
        ("POST", r"/v1\.0/users/([^/]+)/messages", "create"),
        ("GET", r"/v1\.0/users/([^/]+)/messages", "list"),
        ("GET", _MESSAGE, "get"),
        ("PATCH", _MESSAGE, "update"),
        ("DELETE", _MESSAGE, "delete"),
        ("POST", rf"{_MESSAGE}/send", "send"),
        ("POST", rf"{_MESSAGE}/attachments", "attach"),
        ("GET", rf"{_MESSAGE}/attachments", "attachments"),
        ("DELETE", rf"{_MESSAGE}/attachments/([^/]+)", "detach"),
        ("POST", rf"{_MESSAGE}/attachments/(?:microsoft\.graph\.)?createUploadSession", "session"),
        ("POST", r"/v1\.0/users/([^/]+)/sendMail", "sendmail"),
        ("GET", r"/v1\.0/users/([^/]+)/mailFolders/([^/]+)/messages", "sent"),
        ("PUT", rf"{UPLOADS}([^/]+)", "upload"),
        ("GET", rf"{UPLOADS}([^/]+)", "upload-status"),
        ("DELETE", rf"{UPLOADS}([^/]+)", "upload-cancel"),
        ("GET", r"/_graphd/state", "control-state"),
        ("POST", r"/_graphd/faults", "control-faults"),
    )
)


def route(method: str, path: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the operation and what the path names, decoded; None where there is none such."""
    path = re.sub(r"^/v1\.0/me/", "/v1.0/users/me/", path)
    for verb, pattern, operation in _ROUTES:
        found = pattern.fullmatch(path)
        if verb == method and found:
            return operation, tuple(unquote(part) for part in found.groups())
    return None
