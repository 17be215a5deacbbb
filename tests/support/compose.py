"""What is wrong with a compose file, in sentences: how services must be kept apart, and what they need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PINNED: Final = re.compile(r"[^:@]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?$")
_SECONDS: Final = re.compile(r"(\d+)s")
_ROOTLESS: Final = {
    "postmeter/worker": "deploy/Dockerfile",
    "prom/prometheus": "nobody",
    "grafana/grafana": "grafana",
}
"""Images whose own user is not root; the others' is said in the compose file."""


def read(file: Path) -> dict[str, Any]:
    """The document."""
    document: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return document


def environment(file: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def faults(document: Mapping[str, Any], grace_seconds: float) -> list[str]:
    """What is wrong with the document, service by service.

    Args:
        grace_seconds: how long the worker may need to end.
    """
    found = [
        f"{name}: {fault}"
        for name, service in document["services"].items()
        for fault in _service(name, service, grace_seconds)
    ]
    for kind in ("volumes", "secrets", "networks"):
        asked = {
            each for service in document["services"].values() for each in _named(service, kind)
        }
        found += [f"{kind}: {name} is not defined" for name in asked - set(document[kind])]
        found += [
            f"{kind}: {name} is not used" for name in set(document[kind]) - asked - {"default"}
        ]
    return sorted(found)


def mounts(document: Mapping[str, Any]) -> Iterator[str]:
    """Each path of the tree that a service mounts or reads."""
    for service in document["services"].values():
        yield from service.get("env_file", ())
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                yield source


def _service(name: str, service: Mapping[str, Any], grace_seconds: float) -> Iterator[str]:
    image, once = service["image"], service.get("restart") == "no"
    user = str(service.get("user", "")).partition(":")[0]
    rootless = image.partition(":")[0] in _ROOTLESS or (user.isdecimal() and user != "0")
    checks = {
        f"the image {image} is not pinned to a version": _PINNED.fullmatch(image),
        "its root can be written to": service.get("read_only") is True,
        "it keeps capabilities": service.get("cap_drop") == ["ALL"],
        "it may gain privileges": "no-new-privileges:true" in service.get("security_opt", ()),
        "it runs as root": rootless,
        "nothing asks whether it is well": "healthcheck" in service,
        "it is not restarted": once or service.get("restart") == "unless-stopped",
        "its memory has no limit": once or "memory" in _limits(service),
        f"it is killed before the {grace_seconds:g} s that mail in hand may take": (
            name != "worker" or _stop_seconds(service) >= grace_seconds
        ),
    }
    yield from (fault for fault, well in checks.items() if not well)
    yield from _open_to_others(service)
    for other, asked in service.get("depends_on", {}).items():
        if asked["condition"] == "service_started":
            yield f"it does not wait until {other} is well"


def _open_to_others(service: Mapping[str, Any]) -> Iterator[str]:
    for port in service.get("ports", ()):
        if not port.startswith("127.0.0.1:"):
            yield f"port {port} is open to other machines"
    for volume in service.get("volumes", ()):
        if volume.startswith(".") and not volume.endswith(":ro"):
            yield f"{volume} can be written to"
    for key, value in service.get("environment", {}).items():
        if "PASSWORD" in key and not str(value).startswith("/run/secrets/"):
            yield f"{key} is a secret in the open"


def _stop_seconds(service: Mapping[str, Any]) -> float:
    """How long the engine waits between SIGTERM and SIGKILL; 10 s where nothing is said."""
    found = _SECONDS.fullmatch(service.get("stop_grace_period", "10s"))
    return float(found[1]) if found else 0.0


def _limits(service: Mapping[str, Any]) -> Mapping[str, Any]:
    limits: Mapping[str, Any] = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return limits


def _named(service: Mapping[str, Any], kind: str) -> Iterator[str]:
    for each in service.get(kind, ()):
        name = each["source"] if isinstance(each, dict) else each.partition(":")[0]
        if not name.startswith("."):
            yield name
