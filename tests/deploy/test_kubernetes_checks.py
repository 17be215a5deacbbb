"""The checks of deploy/kubernetes can fail: each finds what is taken away, misspelt or let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.kubernetes import ROOT, find, render, render_with, worker
from tests.support.kubernetes_policy import faults as policy_faults
from tests.support.kubernetes_schemas import faults as schema_faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.kubernetes import Object


@pytest.fixture
def production() -> list[Object]:
    """What the production overlay applies; a copy to spoil."""
    return render(ROOT / "overlays" / "production")


def _worker_of(objects: list[Object]) -> Object:
    return worker(objects)["containers"][0]  # type: ignore[no-any-return]  # a part of an object


def _namespace(name: str) -> Object:
    labels = {"kubernetes.io/metadata.name": name}
    return {"namespaceSelector": {"matchLabels": labels}}


MUTATIONS: dict[str, Callable[[list[Object]], object]] = {
    "may run as root": lambda o: worker(o)["securityContext"].pop("runAsNonRoot"),
    "no seccomp profile": lambda o: worker(o)["securityContext"].pop("seccompProfile"),
    "has a token": lambda o: worker(o).pop("automountServiceAccountToken"),
    "Services set its variables": lambda o: worker(o).pop("enableServiceLinks"),
    "may gain privileges": lambda o: _worker_of(o)["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "keeps capabilities": lambda o: _worker_of(o)["securityContext"].pop("capabilities"),
    "write to its root": lambda o: _worker_of(o)["securityContext"].pop("readOnlyRootFilesystem"),
    "shares the node": lambda o: worker(o).update(hostNetwork=True),
    "state is no volume of a pod's own": lambda o: worker(o)["volumes"].__setitem__(
        2, {"name": "state", "hostPath": {"path": "/"}}
    ),
    "takes a port of the node": lambda o: _worker_of(o)["ports"][0].update(hostPort=9191),
    "privileged is set": lambda o: _worker_of(o)["securityContext"].update(privileged=True),
    "busybox may gain privileges": lambda o: worker(o).update(
        initContainers=[{"name": "busybox", "image": "busybox:1.37"}]
    ),
    "does not enforce": lambda o: find(o, "Namespace")["metadata"]["labels"].clear(),
    "asks for no memory": lambda o: _worker_of(o)["resources"].pop("requests"),
    "limits are not of memory alone": lambda o: _worker_of(o)["resources"]["limits"].update(cpu=1),
    "has no bound": lambda o: worker(o)["volumes"][3]["emptyDir"].pop("sizeLimit"),
    "never changes": lambda o: _worker_of(o)["volumeMounts"][0].update(subPath="system.toml"),
    "may write to /etc/postmeter": lambda o: _worker_of(o)["volumeMounts"][0].pop("readOnly"),
    "mounts and volumes differ": lambda o: worker(o)["volumes"].pop(),
    "no ConfigMap postmeter-company-acme": lambda o: o.remove(
        find(o, "ConfigMap", "postmeter-company-acme")
    ),
    "no key jane.toml": lambda o: find(o, "ConfigMap", "postmeter-company-acme")["data"].pop(
        "jane.toml"
    ),
    "a Secret in the tree": lambda o: o.append({"kind": "Secret", "metadata": {"name": "mine"}}),
    "POSTMETER_LEDGER_URL is written": lambda o: _worker_of(o)["env"].append(
        {"name": "POSTMETER_LEDGER_URL", "value": "postgresql://postmeter@db/postmeter"}
    ),
    "everybody can read": lambda o: worker(o)["volumes"][1]["projected"].pop("defaultMode"),
    "no pinned version": lambda o: _worker_of(o).update(image="postmeter/worker:latest"),
    "Service postmeter-worker: selects nothing": lambda o: find(o, "Service")["spec"][
        "selector"
    ].update(app="other"),
    "spreads no pod": lambda o: worker(o)["topologySpreadConstraints"][0]["labelSelector"][
        "matchLabels"
    ].update(app="other"),
    "PodDisruptionBudget postmeter-worker: selects nothing": lambda o: find(
        o, "PodDisruptionBudget"
    )["spec"]["selector"]["matchLabels"].update(app="other"),
    "NetworkPolicy postmeter-worker: selects nothing": lambda o: find(o, "NetworkPolicy")["spec"][
        "podSelector"
    ]["matchLabels"].update(app="other"),
    "selects no Service": lambda o: find(o, "Service")["metadata"]["labels"].clear(),
    "not called postmeter": lambda o: find(o, "ServiceMonitor")["spec"].update(jobLabel="app"),
    "ServiceMonitor's port": lambda o: find(o, "Service")["spec"]["ports"][0].update(name="http"),
    "drained one by one": lambda o: find(o, "PodDisruptionBudget")["spec"].update(minAvailable=1),
    "keeps its node from being removed": lambda o: find(o, "Deployment")["spec"]["template"][
        "metadata"
    ]["annotations"].pop("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"),
    "unknown variable": lambda o: _worker_of(o)["env"].append(
        {"name": "POSTMETER_PROCESES", "value": "2"}
    ),
    "on another port": lambda o: _worker_of(o)["ports"][0].update(containerPort=9192),
    "pod's loopback": lambda o: _worker_of(o)["env"].remove(
        {"name": "POSTMETER_METRICS_HOST", "value": "0.0.0.0"}  # noqa: S104 - what the manifest says
    ),
    "killed before its grace": lambda o: worker(o).update(terminationGracePeriodSeconds=30),
    "livenessProbe does not ask": lambda o: _worker_of(o)["livenessProbe"]["httpGet"].update(
        path="/readyz"
    ),
    "restarted for one slow answer": lambda o: _worker_of(o)["livenessProbe"].update(
        failureThreshold=1
    ),
    "POSTMETER_STATE is not mounted": lambda o: _worker_of(o)["volumeMounts"].pop(2),
    "start without POSTMETER_LEDGER_URL": lambda o: worker(o)["volumes"][1]["projected"]["sources"][
        0
    ]["secret"]["items"].pop(1),
    "takes a worker away": lambda o: find(o, "Deployment")["spec"]["strategy"].update(
        type="Recreate"
    ),
    "no roll-out begins": lambda o: find(o, "Deployment")["spec"]["strategy"][
        "rollingUpdate"
    ].update(maxSurge=0),
    "everybody reaches the metrics": lambda o: find(o, "NetworkPolicy")["spec"]["ingress"][0].pop(
        "from"
    ),
    "Prometheus of monitoring is kept out": lambda o: find(o, "NetworkPolicy")["spec"]["ingress"][
        0
    ].update({"from": [_namespace("observability")]}),
    "not every server has port 587 open": lambda o: find(o, "NetworkPolicy")["spec"]["egress"][
        2
    ].update(to=[{"podSelector": {}}]),
    "metadata service": lambda o: find(o, "NetworkPolicy")["spec"]["egress"][2].update(
        to=[{"namespaceSelector": {}}, *({"ipBlock": {"cidr": c}} for c in ("0.0.0.0/0", "::/0"))]
    ),
    "undoes what KEDA has set": lambda o: find(o, "Deployment")["spec"].update(replicas=2),
    "KEDA scales something else": lambda o: find(o, "ScaledObject")["spec"][
        "scaleTargetRef"
    ].update(name="worker"),
    "KEDA may leave no worker": lambda o: find(o, "ScaledObject")["spec"].update(minReplicaCount=0),
    "too large": lambda o: find(o, "ConfigMap", "postmeter-settings")["data"].update(
        more="x" * 300_000
    ),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_the_policy_sees_what_is_taken_away(what: str, production: list[Object]) -> None:
    """Each rule fails where what it guards is missing; none of them is decoration."""
    MUTATIONS[what](production)
    assert any(what in fault for fault in policy_faults(production)), policy_faults(production)


WRONG: dict[str, tuple[str, Callable[[Object], object]]] = {
    "readOnlyRootFileSystem": (
        "Deployment",
        lambda o: o["spec"]["template"]["spec"]["containers"][0]["securityContext"].update(
            readOnlyRootFileSystem=True
        ),
    ),
    "maxUnavailabel": ("PodDisruptionBudget", lambda o: o["spec"].update(maxUnavailabel=1)),
    "egres": ("NetworkPolicy", lambda o: o["spec"].update(egres=[])),
    "maxReplicas": ("ScaledObject", lambda o: o["spec"].update(maxReplicas=8)),
    "spec.minReplicaCount": ("ScaledObject", lambda o: o["spec"].update(minReplicaCount="two")),
    "no such behaviour": (
        "ScaledObject",
        lambda o: o["spec"]["fallback"].update(behavior="keep"),
    ),
    "spec.endpoints.scrapeTime": (
        "ServiceMonitor",
        lambda o: o["spec"]["endpoints"][0].update(scrapeTime="10s"),
    ),
    "spec.groups.rules.expression": (
        "PrometheusRule",
        lambda o: o["spec"]["groups"][0]["rules"][0].update(expression="1"),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_schemas_see_what_is_misspelt(what: str, production: list[Object]) -> None:
    """Kubernetes ignores unknown fields of a CRD in silence; here each is an error."""
    kind, spoil = WRONG[what]
    each = find(production, kind)
    spoil(each)
    assert any(what in fault for fault in schema_faults(each)), schema_faults(each)


def test_the_rabbitmq_cluster_is_judged_too(tmp_path: Path) -> None:
    """A field that its operator does not know is an error, and so is one of the pod's."""
    each = find(render_with("rabbitmq", tmp_path), "RabbitmqCluster")
    each["spec"]["persistence"]["size"] = "10Gi"
    each["spec"]["affinity"]["podAntiAfinity"] = {}
    template = each["spec"]["override"]["statefulSet"]["spec"]["template"]
    template["labels"] = {}
    template["spec"]["containers"][0]["securityContext"]["readOnly"] = True
    found = " ".join(schema_faults(each))
    assert "persistence.size: unknown" in found
    assert "podAntiAfinity" in found
    assert "override.labels: unknown" in found
    del each["spec"]["affinity"]["podAntiAfinity"]
    assert "'readOnly'" in " ".join(schema_faults(each))


def test_rabbitmq_is_not_refused_by_its_namespace(tmp_path: Path) -> None:
    """Its operator sets a user only; without the rest the restricted standard refuses its pods."""
    objects = render_with("rabbitmq", tmp_path)
    cluster = find(objects, "RabbitmqCluster")
    del cluster["spec"]["override"]
    name = cluster["metadata"]["name"]
    assert {
        f"{name}: may run as root",
        f"{name}: no seccomp profile",
        f"{name}: setup-container may gain privileges",
        f"{name}: rabbitmq keeps capabilities",
    } <= set(policy_faults(objects))
