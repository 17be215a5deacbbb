"""Whether Kubernetes, and the operators that bring kinds of their own, would take an object."""

from __future__ import annotations

import importlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import kubernetes_validate
from pydantic import ValidationError

if TYPE_CHECKING:
    from tests.support.kubernetes import Object

VERSIONS = ("1.29", "1.37")
"""The oldest and the newest Kubernetes that the manifests are for."""

# Models made from the operators' own CRDs; imported by name, for they are 700 kB of source that
# mypy would read.
_MODELS = {
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
}
_FALLBACKS = {"static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"}


def faults(each: Object) -> list[str]:
    """What is wrong with an object: unknown fields, wrong types, missing fields."""
    return list(_faults(json.dumps(each, sort_keys=True)))


@cache  # most objects are in every overlay
def _faults(text: str) -> tuple[str, ...]:
    each: Object = json.loads(text)
    if each["kind"] in _MODELS:
        return tuple(_model_faults(each))
    if each["kind"] == "RabbitmqCluster":
        return tuple(_rabbitmq_faults(each))
    return tuple(fault for version in VERSIONS for fault in _core_faults(each, version))


def _core_faults(each: Object, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(each, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(step) for step in error.path)
        return [f"{each['kind']} in {version}: {where}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


def _model_faults(each: Object) -> list[str]:
    """What the operator's model does not take, or would drop."""
    model = getattr(importlib.import_module(_MODELS[each["kind"]]), each["kind"])
    each = {**each, "spec": dict(each["spec"])}
    problems = []
    # Newer than the model: keda.sh/docs/2.17/reference/scaledobject-spec, "fallback.behavior".
    if each["kind"] == "ScaledObject" and "behavior" in each["spec"].get("fallback", {}):
        fallback = dict(each["spec"]["fallback"])
        if fallback.pop("behavior") not in _FALLBACKS:
            problems.append("ScaledObject: spec.fallback.behavior: no such behaviour")
        each["spec"]["fallback"] = fallback
    try:
        kept = model.model_validate(each).model_dump(mode="json", by_alias=True, exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        return [*problems, f"{each['kind']}: {where}: {first['msg']}"]
    return problems + [f"{each['kind']}: {name}: unknown" for name in _dropped(each, kept)]


def _dropped(given: Any, kept: Any, where: str = "") -> list[str]:
    """The fields that a model read over because it does not know them."""
    if isinstance(given, dict) and isinstance(kept, dict):
        unknown = [f"{where}{name}" for name in given if name not in kept]
        return unknown + [
            deeper
            for name in given
            if name in kept
            for deeper in _dropped(given[name], kept[name], f"{where}{name}.")
        ]
    if isinstance(given, list) and isinstance(kept, list):
        pairs = zip(given, kept, strict=True)
        return [deeper for one, other in pairs for deeper in _dropped(one, other, where)]
    return []


def _rabbitmq_faults(each: Object) -> list[str]:
    """Check the fields that are used here; those of a pod are judged as parts of a pod.

    github.com/rabbitmq/cluster-operator, api/v1beta1/rabbitmqcluster_types.go: RabbitmqClusterSpec,
    RabbitmqClusterPersistenceSpec, RabbitmqClusterConfigurationSpec, RabbitmqClusterOverrideSpec.
    """
    spec = dict(each["spec"])
    problems = []
    if each["apiVersion"] != "rabbitmq.com/v1beta1":
        problems.append(f"RabbitmqCluster: apiVersion: {each['apiVersion']}")
    known = {
        "persistence": {"storage", "storageClassName"},
        "rabbitmq": {"additionalConfig", "additionalPlugins"},
    }
    for part, fields in known.items():
        inside = spec.pop(part, {})
        problems += [f"RabbitmqCluster: {part}.{name}: unknown" for name in set(inside) - fields]
    if spec.pop("replicas", 0) % 2 == 0:
        problems.append("RabbitmqCluster: replicas: an even number has no majority to lose")
    override = spec.pop("override", {})
    for step in ("statefulSet", "spec", "template", "spec"):
        problems += [
            f"RabbitmqCluster: override.{name}: unknown" for name in set(override) - {step}
        ]
        override = override.get(step, {})
    for part in {"initContainers", "containers"} & set(override):
        override[part] = [{**one, "image": "rabbitmq"} for one in override[part]]
    container = {"name": "rabbitmq", "image": "rabbitmq", "resources": spec.pop("resources", {})}
    pod: Object = {**override, "affinity": spec.pop("affinity", {})}
    pod["containers"] = [container, *override.get("containers", [])]
    problems += [f"RabbitmqCluster: {name}: unknown" for name in spec]
    kind = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rabbitmq"}, "spec": pod}
    return problems + [fault for version in VERSIONS for fault in _core_faults(kind, version)]
