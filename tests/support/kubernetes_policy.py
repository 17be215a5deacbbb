"""What must hold of every manifest, whatever an overlay changes; each rule yields sentences."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from config.process import ProcessSettings
from tests.support.kubernetes import POD_KINDS, environment, find, of_kind, worker
from tests.support.kubernetes_network import let_in, let_out
from worker.cli.worker import MARGIN_SECONDS
from worker.telemetry.health import STALLED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.kubernetes import Object

DEFAULTS: Final = {name: field.default for name, field in ProcessSettings.model_fields.items()}
ALIVE, READY = "/healthz", "/readyz"
APPLY_NOTE_BYTES: Final = 262_144
"""What an object's annotations may have; ``kubectl apply`` writes the whole object into one."""


def faults(objects: list[Object]) -> list[str]:
    """Everything that is wrong with what is applied together."""
    return [fault for rule in RULES for fault in rule(objects)]


def _pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for each in of_kind(objects, *POD_KINDS):
        yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def restricted(objects: list[Object]) -> Iterator[str]:
    """The restricted pod security standard, and a root file system that nobody writes to.

    kubernetes.io/docs/concepts/security/pod-security-standards, "Restricted".
    """
    for name, pod in _pods(objects):
        yield from (f"{name}: {fault}" for fault in _unconfined(pod))
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: has a token of the cluster"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name}: Services set its variables"
    for each in of_kind(objects, "RabbitmqCluster"):
        made = _made_by_the_operator(each["spec"])
        yield from (f"{each['metadata']['name']}: {fault}" for fault in _unconfined(made))
    for each in of_kind(objects, "Namespace"):
        if each["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{each['metadata']['name']}: the namespace does not enforce this"


def _unconfined(pod: Object) -> Iterator[str]:
    inside = pod.get("securityContext", {})
    if not (inside.get("runAsNonRoot") is True and inside.get("runAsUser", 0) > 0):
        yield "may run as root"
    if inside.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    yield from (f"shares the node ({name})" for name in sorted(_OF_THE_NODE & set(pod)))
    for volume in pod.get("volumes", []):
        if not {"emptyDir", "projected"} & set(volume):
            yield f"{volume['name']} is no volume of a pod's own"
    for container in _containers(pod):
        own, name = container.get("securityContext", {}), container["name"]
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may gain privileges"
        if own.get("capabilities", {}) != {"drop": ["ALL"]}:
            yield f"{name} keeps capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its root"
        # Anything else undoes what holds for the whole pod: privileged, another user, no seccomp.
        yield from (f"{name}: {field} is set" for field in sorted(set(own) - _CONFINED))
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name} takes a port of the node"


_OF_THE_NODE: Final = frozenset({"hostIPC", "hostNetwork", "hostPID"})
_CONFINED: Final = frozenset({"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"})


def _containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def _made_by_the_operator(cluster: Object) -> Object:
    """A node's pod as RabbitMQ's operator makes it: a user of its own, and what the cluster overrides.

    github.com/rabbitmq/cluster-operator/issues/1910.
    """
    pod = cluster.get("override", {"statefulSet": {"spec": {"template": {"spec": {}}}}})
    for step in ("statefulSet", "spec", "template", "spec"):
        pod = pod[step]
    given = {each["name"]: each for each in _containers(pod)}
    return {
        "securityContext": {"runAsUser": 999, **pod.get("securityContext", {})},
        "containers": [{"name": name, **given.get(name, {})} for name in _OF_RABBITMQ],
    }


_OF_RABBITMQ: Final = ("setup-container", "rabbitmq")


def bounded(objects: list[Object]) -> Iterator[str]:
    """Memory has an end, CPU is asked for and not throttled, and so are folders in memory."""
    for name, pod in _pods(objects):
        for container in _containers(pod):
            resources = container.get("resources", {})
            if set(resources.get("requests", {})) != {"cpu", "memory"}:
                yield f"{name}: asks for no memory or CPU"
            if set(resources.get("limits", {})) != {"memory"}:
                yield f"{name}: its limits are not of memory alone"
        for volume in pod["volumes"]:
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{name}: {volume['name']} has no bound"


def mounted(objects: list[Object]) -> Iterator[str]:
    """Every mount has its volume, follows its source, and is written to only where it is empty."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(objects, "ConfigMap")}
    for name, pod in _pods(objects):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = [mount for one in _containers(pod) for mount in one.get("volumeMounts", [])]
        if {mount["name"] for mount in mounts} != set(volumes):
            yield f"{name}: mounts and volumes differ"
        for mount in mounts:
            volume = volumes.get(mount["name"], {})
            if "subPath" in mount:
                yield f"{name}: {mount['mountPath']} never changes (subPath)"
            if mount.get("readOnly") is not True and "emptyDir" not in volume:
                yield f"{name}: may write to {mount['mountPath']}"
            for source in volume.get("projected", {}).get("sources", []):
                data = source.get("configMap", {"name": None})
                if data["name"] is not None and data["name"] not in maps:
                    yield f"{name}: no ConfigMap {data['name']}"
                for item in data.get("items", []):
                    if item["key"] not in maps.get(data["name"], {}):
                        yield f"{name}: no key {item['key']} in {data['name']}"


def secret(objects: list[Object]) -> Iterator[str]:
    """Secrets are named, never written; addresses with passwords are files."""
    for each in of_kind(objects, "Secret"):
        yield f"{each['metadata']['name']}: a Secret in the tree"
    for name, pod in _pods(objects):
        for container in _containers(pod):
            for variable in environment(container):
                if re.search(r"PASS|SECRET$|TOKEN|_URL$", variable):
                    yield f"{name}: {variable} is written in the manifest"
        for volume in pod["volumes"]:
            projected = volume.get("projected", {})
            secrets = any("secret" in source for source in projected.get("sources", []))
            if secrets and projected.get("defaultMode", 0o644) & 0o007:
                yield f"{name}: everybody can read {volume['name']}"


def pinned(objects: list[Object]) -> Iterator[str]:
    """An image is a version, never what happens to be the latest."""
    for name, pod in _pods(objects):
        for container in _containers(pod):
            image = container["image"].rpartition("/")[2]
            if "@sha256:" not in image and not re.fullmatch(r"[^:]+:v?\d[\w.-]*", image):
                yield f"{name}: {container['image']} is no pinned version"


def selecting(objects: list[Object]) -> Iterator[str]:
    """Whoever selects pods selects some."""
    for each in objects:
        if each["kind"] in _SELECTORS:
            selector = _SELECTORS[each["kind"]](each["spec"])
            own = [each] if each["kind"] == "Deployment" else of_kind(objects, *POD_KINDS)
            labels = [one["spec"]["template"]["metadata"]["labels"] for one in own]
            if not _matches(selector, labels):
                yield f"{each['kind']} {each['metadata']['name']}: selects nothing"
    for name, pod in _pods(objects):
        for spread in pod.get("topologySpreadConstraints", []):
            own = [one for one in of_kind(objects, *POD_KINDS) if one["metadata"]["name"] == name]
            labels = [one["spec"]["template"]["metadata"]["labels"] for one in own]
            if not _matches(spread["labelSelector"]["matchLabels"], labels):
                yield f"{name}: spreads no pod of its own"


_SELECTORS: Final[dict[str, Callable[[Object], dict[str, str]]]] = {
    "Service": lambda spec: spec["selector"],
    "Deployment": lambda spec: spec["selector"]["matchLabels"],
    "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
    "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
}


def _matches(selector: dict[str, str], labels: list[dict[str, str]]) -> bool:
    return any(selector.items() <= each.items() for each in labels)


def scraped(objects: list[Object]) -> Iterator[str]:
    """Prometheus finds the worker's Service and its port, under the job's name of the rules."""
    services = of_kind(objects, "Service")
    labels = [each["metadata"].get("labels", {}) for each in services]
    ports = {port["name"] for each in services for port in each["spec"]["ports"]}
    for spec in (each["spec"] for each in of_kind(objects, "ServiceMonitor")):
        if not _matches(spec["selector"]["matchLabels"], labels):
            yield "the ServiceMonitor selects no Service"
        if not _matches({spec["jobLabel"]: "postmeter"}, labels):
            yield "the job is not called postmeter"
        if not {endpoint["port"] for endpoint in spec["endpoints"]} <= ports:
            yield "no Service has the ServiceMonitor's port"


def drained(objects: list[Object]) -> Iterator[str]:
    """Nodes can be drained, one worker at a time, also where there is one worker only.

    github.com/kubernetes/autoscaler, cluster-autoscaler/FAQ.md: a pod with local storage keeps its
    node, unless it names all of it as safe to evict.
    """
    for spec in (each["spec"] for each in of_kind(objects, "PodDisruptionBudget")):
        if spec.get("maxUnavailable") != 1 or "minAvailable" in spec:
            yield "nodes cannot be drained one by one"
    template = find(objects, "Deployment", "postmeter-worker")["spec"]["template"]
    local = {each["name"] for each in template["spec"]["volumes"] if "emptyDir" in each}
    notes = template["metadata"].get("annotations", {})
    for name in sorted(local - set(notes.get(_SAFE_TO_EVICT, "").split(","))):
        yield f"{name} keeps its node from being removed"


_SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


def works(objects: list[Object]) -> Iterator[str]:
    """The worker's variables, port, probes and grace fit the code."""
    pod = worker(objects)
    container = pod["containers"][0]
    known = {f"POSTMETER_{name}".upper() for name in DEFAULTS}
    given = environment(container)
    yield from (f"unknown variable {name}" for name in given if name not in known)

    def value(name: str) -> Any:
        return given.get(f"POSTMETER_{name}".upper(), DEFAULTS[name])

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if ports.get("metrics") != int(value("metrics_port")):
        yield "the metrics are on another port"
    if value("metrics_host") not in {"0.0.0.0", "::"}:  # noqa: S104 - a pod's probes come from its node
        yield "the metrics are bound to the pod's loopback"
    if pod["terminationGracePeriodSeconds"] < float(value("grace_seconds")) + MARGIN_SECONDS + 5:
        yield "the worker is killed before its grace is over"
    probes = {"startupProbe": ALIVE, "livenessProbe": ALIVE, "readinessProbe": READY}
    for probe, path in probes.items():
        asked = container.get(probe, {}).get("httpGet", {})
        if asked != {"path": path, "port": "metrics"}:
            yield f"{probe} does not ask {path}"
    alive = container["livenessProbe"]
    if alive["failureThreshold"] * alive["periodSeconds"] < 2 * STALLED_SECONDS:
        yield "the worker is restarted for one slow answer"
    for mounted_at, needed in (("settings", True), ("secrets", True), ("state", False)):
        mounts = {
            each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]
        }
        if mounts.get(value(mounted_at)) is not needed:
            yield f"POSTMETER_{mounted_at.upper()} is not mounted as it must be"


def together(objects: list[Object]) -> Iterator[str]:
    """Several workers share one ledger and one broker; their number belongs to one owner."""
    deployment = find(objects, "Deployment", "postmeter-worker")
    needed = {
        item["path"]
        for volume in worker(objects)["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "secret" in source and not source["secret"].get("optional")
        for item in source["secret"].get("items", [])
    }
    for name in ("POSTMETER_BROKER_URL", "POSTMETER_LEDGER_URL"):
        if name not in needed:
            yield f"pods start without {name}, each with one of its own"
    update = deployment["spec"]["strategy"]
    if update["type"] != "RollingUpdate" or update["rollingUpdate"]["maxUnavailable"] != 0:
        yield "a roll-out takes a worker away before it adds one"
    elif update["rollingUpdate"]["maxSurge"] == 0:
        yield "no roll-out begins: the API server refuses it"
    for each in of_kind(objects, "ScaledObject"):
        if "replicas" in deployment["spec"]:
            yield "each apply undoes what KEDA has set"
        if each["spec"]["scaleTargetRef"]["name"] != deployment["metadata"]["name"]:
            yield "KEDA scales something else"
        if not 1 <= each["spec"]["minReplicaCount"] <= each["spec"]["fallback"]["replicas"]:
            yield "KEDA may leave no worker, or fewer than it needs without Prometheus"


def small(objects: list[Object]) -> Iterator[str]:
    """``kubectl apply`` can note every object."""
    for each in objects:
        if len(str(each)) > APPLY_NOTE_BYTES:
            yield f"{each['metadata']['name']}: too large for kubectl apply"


RULES: Final[tuple[Callable[[list[Object]], Iterator[str]], ...]] = (
    *(restricted, bounded, mounted, secret, pinned, selecting, scraped, drained, works, together),
    *(let_in, let_out, small),
)
