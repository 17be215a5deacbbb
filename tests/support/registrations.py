"""App registrations for tests that reach no authority."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.registration import Registration, registration_of


def app(cloud: str = "global", grant: str = "client-secret", **changes: Any) -> Registration:
    """Make one as a context's values do: client id ``app-1`` of ``contoso.test``."""
    values: dict[str, Any] = {
        "tenant_id": "contoso.test",
        "client_id": "app-1",
        "grant": grant,
        "client_secret": SecretStr("s"),
        "client_secret_expires": None,
        "certificate_file": None,
        "cloud": cloud,
        "authority_url": "https://login.example.test:8443/",
        "graph_url": "https://graph.example.test/",
        "ca_file": Path("ca.pem"),
    }
    made = registration_of(lambda key: values[key.removeprefix("microsoft_365.")])
    return replace(made, **changes)
