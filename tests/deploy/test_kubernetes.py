"""deploy/kubernetes as kubectl renders it: valid, restricted, and of one mind with the code."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.kubernetes import (
    ROOT,
    environment,
    find,
    of_kind,
    render,
    render_with,
    worker,
)
from tests.support.kubernetes_policy import faults as policy_faults
from tests.support.kubernetes_schemas import faults as schema_faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kubernetes import Object

DEPLOY = ROOT.parent
COMPONENTS = sorted(path.name for path in (ROOT / "components").iterdir())
OVERLAYS = sorted(path.name for path in (ROOT / "overlays").iterdir())
UPGRADE = "ledger-upgrade"


@pytest.fixture
def production() -> list[Object]:
    """What the production overlay applies; a copy to change."""
    return render(ROOT / "overlays" / "production")


@pytest.mark.parametrize("folder", ["base", *(f"overlays/{name}" for name in OVERLAYS)])
def test_what_is_applied_is_valid_and_restricted(folder: str) -> None:
    """Each overlay, and the base alone, renders without a warning, fits the schemas and the policy."""
    objects = render(ROOT / folder)
    assert [fault for each in objects for fault in schema_faults(each)] == []
    assert policy_faults(objects) == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_fits_the_base_alone(component: str, tmp_path: Path) -> None:
    """A component needs no other: an overlay elsewhere may take any one of them."""
    objects = render_with(component, tmp_path)
    assert [fault for each in objects for fault in schema_faults(each)] == []
    assert policy_faults(objects) == []


def test_the_job_that_upgrades_the_ledger_is_valid_and_restricted() -> None:
    """It reads the ledger's address alone, and is of the image that production runs."""
    [job] = render(ROOT / UPGRADE)
    assert schema_faults(job) == []
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    deployed = render(ROOT / "overlays" / "production")
    assert image == worker(deployed)["containers"][0]["image"]
    others = [each for each in render(ROOT / "base") if each["kind"] != "Job"]
    assert policy_faults([*others, job]) == []


def test_the_image_is_of_this_version() -> None:
    """Nobody deploys this checkout's manifests with another version's image."""
    version = re.search(
        r'^version = "(.+)"', (ROOT.parents[1] / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert version is not None
    for folder in ("base", "overlays/development", "overlays/production"):
        image = worker(render(ROOT / folder))["containers"][0]["image"]
        assert image.endswith(f"postmeter/worker:{version[1]}")


def test_development_runs_the_servers_of_compose() -> None:
    """The two ways to try everything out have the same versions of the same servers."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    images = {service.get("image") for service in compose["services"].values()}
    pods = of_kind(render(ROOT / "overlays" / "development"), "Deployment")
    assert {pod["spec"]["template"]["spec"]["containers"][0]["image"] for pod in pods} <= images


def test_the_worker_has_the_environment_of_every_installation() -> None:
    """What deploy/postmeter.env sets for compose, systemd and Debian holds here too."""
    lines = (DEPLOY / "postmeter.env").read_text().splitlines()
    shared = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    given = environment(worker(render(ROOT / "base"))["containers"][0])
    own = {"POSTMETER_METRICS_HOST", "POSTMETER_LOGIN_KEY_FILE"}
    assert {name: value for name, value in given.items() if name not in own} == shared


def test_prometheus_gets_the_rules_that_everybody_gets(production: list[Object]) -> None:
    """The PrometheusRule has the groups of deploy/prometheus/postmeter.rules.yaml."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "postmeter.rules.yaml").read_text())
    assert find(production, "PrometheusRule")["spec"]["groups"] == rules["groups"]


def test_keda_asks_for_a_rule_that_exists(production: list[Object]) -> None:
    """Its query is a recording rule of the same overlay, of the job that the monitor names."""
    [trigger] = find(production, "ScaledObject")["spec"]["triggers"]
    asked = re.fullmatch(r'max\(([a-z_:]+)\{job="postmeter"\}\)', trigger["metadata"]["query"])
    groups = find(production, "PrometheusRule")["spec"]["groups"]
    recorded = {rule.get("record") for group in groups for rule in group["rules"]}
    assert asked is not None
    assert asked[1] in recorded
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "1")
    assert environment(worker(production)["containers"][0])["POSTMETER_PROCESSES"] == "1"


def test_the_dashboards_are_those_of_grafana(production: list[Object]) -> None:
    """Each dashboard of deploy/grafana is in a ConfigMap that Grafana's sidecar looks for."""
    shown = [
        each
        for each in of_kind(production, "ConfigMap")
        if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]
    files = {name: text for each in shown for name, text in each["data"].items()}
    folder = DEPLOY / "grafana" / "dashboards"
    assert files == {path.name: path.read_text() for path in folder.glob("*.json")}
    assert files


def test_the_network_policy_lets_out_what_is_needed(production: list[Object]) -> None:
    """DNS, PostgreSQL, RabbitMQ, the settings' mail servers and HTTPS; in, the metrics alone."""
    policy = find(production, "NetworkPolicy")["spec"]
    out = {(port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"]}
    trees = "".join(
        text
        for each in of_kind(production, "ConfigMap")
        for name, text in each["data"].items()
        if name.endswith(".toml")
    )
    mail = {int(port) for port in re.findall(r"^port = (\d+)", trees, re.MULTILINE)}
    assert mail
    assert {(port, "TCP") for port in mail | {25, 465, 587, 443, 53, 5432, 5671, 5672}} <= out
    assert (53, "UDP") in out
    assert [rule["ports"] for rule in policy["ingress"]] == [
        [{"port": "metrics", "protocol": "TCP"}]
    ]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_development_makes_secrets_that_fit_its_servers() -> None:
    """The addresses have the passwords that the servers get, new ones each time."""
    script = ROOT / "overlays" / "development" / "make-secrets"
    runs = [subprocess.run([script], capture_output=True, text=True, check=True) for _ in "12"]
    made = list(yaml.safe_load_all(runs[0].stdout))
    assert [fault for each in made for fault in schema_faults(each)] == []
    servers = find(made, "Secret", "postmeter-servers")["stringData"]
    urls = find(made, "Secret", "postmeter-connections")["stringData"]
    assert servers["rabbitmq-password"] in urls["POSTMETER_BROKER_URL"]
    assert servers["postgresql-password"] in urls["POSTMETER_LEDGER_URL"]
    assert len({each.stdout for each in runs}) == len(runs)
    objects = render(ROOT / "overlays" / "development")
    services = {
        (each["metadata"]["name"], port["port"])
        for each in of_kind(objects, "Service")
        for port in each["spec"]["ports"]
    }
    for url in urls.values():
        host, port = url.rpartition("@")[2].split("/")[0].split(":")
        assert (host, int(port)) in services


def test_the_readme_names_what_is_there() -> None:
    """Each folder is in its table, and each path of its commands exists."""
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^\| `([a-z/-]+)` ", text, re.MULTILINE))
    folders = {
        path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("kustomization.yaml")
    }
    assert listed == folders - {"components/prometheus-rule"}
    assert "`components/prometheus-rule`" in text
    paths = re.findall(r"(?<![\w/])deploy/[\w./-]+\w", text)
    assert [path for path in paths if not (ROOT.parents[1] / path).exists()] == []
    assert [link for link in re.findall(r"\]\(([^)#]+)", text) if not (ROOT / link).exists()] == []


def test_the_readme_upgrades_in_an_order_that_ends_with_workers(production: list[Object]) -> None:
    """A Job's template cannot be changed, and KEDA starts no first worker: no worker, no metrics.

    github.com/kedacore/keda/issues/7411: while its query has no answer, 0 replicas stay 0.
    """
    section = (ROOT / "README.md").read_text().partition("## Upgrade")[2]
    commands = section.split("```")[1].splitlines()
    [job] = render(ROOT / UPGRADE)
    least = find(production, "ScaledObject")["spec"]["minReplicaCount"]
    steps = (
        "paused-replicas=0",
        f"delete job {job['metadata']['name']} --ignore-not-found",
        f"apply -k deploy/kubernetes/{UPGRADE}",
        "apply -k deploy/kubernetes/overlays/production",
        "paused-replicas-",
        f"scale deployment/postmeter-worker --replicas={least}",
    )
    at = [[step in line for line in commands].index(True) for step in steps]
    assert at == sorted(at)
