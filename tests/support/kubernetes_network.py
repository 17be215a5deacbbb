"""What a network policy must let through, and what it must not; each rule yields sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tests.support.kubernetes import of_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.kubernetes import Object

EVERYWHERE: Final = {"0.0.0.0/0", "::/0"}
METADATA: Final = {"0.0.0.0/0": "169.254.0.0/16", "::/0": "fd00:ec2::/32"}
"""Where clouds give out a node's own credentials, by the block that holds it."""


def let_in(objects: list[Object]) -> Iterator[str]:
    """Only Prometheus reaches the metrics: the one that KEDA asks."""
    asked = {
        urlsplit(trigger["metadata"]["serverAddress"]).netloc.split(".")[1]
        for scaled in of_kind(objects, "ScaledObject")
        for trigger in scaled["spec"]["triggers"]
    }
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            if not rule.get("from"):
                yield "everybody reaches the metrics"
            for source in rule.get("from", []):
                labels = source["namespaceSelector"]["matchLabels"]
                for name in asked - {labels["kubernetes.io/metadata.name"]}:
                    yield f"Prometheus of {name} is kept out"


def let_out(objects: list[Object]) -> Iterator[str]:
    """Servers may be anywhere, in the cluster and beyond; the cloud's metadata service is no server."""
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"]["egress"]:
            ports = [port["port"] for port in rule["ports"] if port["port"] != 53]
            blocks = [each["ipBlock"] for each in rule["to"] if "ipBlock" in each]
            open_to = {block["cidr"] for block in blocks}
            if {"namespaceSelector": {}} not in rule["to"] or not open_to >= EVERYWHERE:
                yield from (f"not every server has port {port} open" for port in ports)
            for block in blocks:
                kept_out = METADATA.get(block["cidr"])
                if kept_out is not None and kept_out not in block.get("except", []):
                    yield f"{block['cidr']} lets out to the cloud's metadata service"
