"""deploy/compose.yaml: valid, closed to others, and in step with the code that it runs."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from config import process
from config.watcher import SettingsWatcher
from tests.support import compose
from worker.cli.worker import MARGIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCUMENT = compose.read(DEPLOY / "compose.yaml")
SERVICES = DOCUMENT["services"]
VARIABLES = compose.environment(DEPLOY / "postmeter.env")
NEEDED_SECONDS = float(VARIABLES["POSTMETER_GRACE_SECONDS"]) + MARGIN_SECONDS + 5.0
"""What the worker may need to end, and what the engine needs beside it."""


def tool(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the test tools."""
    program = Path(sys.executable).with_name(name)
    return subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_compose_specification() -> None:
    """The file is valid by the schema of the Compose Specification."""
    done = tool(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")
    )
    assert done.returncode == 0, done.stdout


def test_no_fault() -> None:
    """Every service is read-only, unprivileged, pinned, watched, limited and on the loopback."""
    assert compose.faults(DOCUMENT, NEEDED_SECONDS) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s["worker"].update(image="postmeter/worker:latest"), "worker: the image"),
        (lambda s: s["grafana"].update(image="grafana/grafana"), "grafana: the image"),
        (lambda s: s["postgres"].pop("read_only"), "postgres: its root"),
        (lambda s: s["mailpit"].pop("cap_drop"), "mailpit: it keeps"),
        (lambda s: s["rabbitmq"].pop("security_opt"), "rabbitmq: it may gain"),
        (lambda s: s["rabbitmq"].pop("user"), "rabbitmq: it runs as root"),
        (lambda s: s["postgres"].update(user="0:0"), "postgres: it runs as root"),
        (lambda s: s["prometheus"].pop("healthcheck"), "prometheus: nothing asks"),
        (lambda s: s["worker"].pop("restart"), "worker: it is not restarted"),
        (lambda s: s["mailpit"].update(ports=["8025:8025"]), "mailpit: port 8025:8025 is open"),
        (
            lambda s: s["worker"].update(volumes=["./compose/settings:/etc/postmeter"]),
            "worker: ./c",
        ),
        (
            lambda s: s["postgres"]["environment"].update(POSTGRES_PASSWORD="hunter2"),
            "postgres: POSTGRES_PASSWORD is a secret",
        ),
        (lambda s: s["grafana"].pop("deploy"), "grafana: its memory"),
        (
            lambda s: s["worker"]["depends_on"]["rabbitmq"].update(condition="service_started"),
            "worker: it does not wait until rabbitmq",
        ),
        (lambda s: s["worker"].update(stop_grace_period="30s"), "worker: it is killed before"),
        (lambda s: s["worker"].pop("stop_grace_period"), "worker: it is killed before"),
        (lambda s: s["worker"]["secrets"].append("nothing"), "secrets: nothing is not defined"),
        (lambda s: s["postgres"].pop("volumes"), "volumes: postgres is not used"),
    ],
)
def test_each_fault_is_seen(change: Callable[[dict[str, Any]], object], fault: str) -> None:
    """The check that finds nothing above does find what is broken on purpose."""
    broken = copy.deepcopy(DOCUMENT)
    change(broken["services"])
    assert [each for each in compose.faults(broken, NEEDED_SECONDS) if each.startswith(fault)]


def test_what_is_mounted_is_in_the_tree() -> None:
    """Each file and folder that a service mounts exists, but for the secrets."""
    paths = set(compose.mounts(DOCUMENT))
    assert "./prometheus/postmeter.rules.yaml" in paths
    assert [path for path in paths if not (DEPLOY / path).exists()] == []
    build = SERVICES["worker"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_the_workers_environment(tmp_path: Path) -> None:
    """The shared variables are the worker's own, its values are valid, and no secret is among them."""
    assert SERVICES["worker"]["env_file"] == ["postmeter.env"]
    (tmp_path / "POSTMETER_LEDGER_URL").write_text("postgresql://postmeter@postgres/postmeter\n")
    loaded = process.load({**VARIABLES, "POSTMETER_SECRETS": str(tmp_path)})
    assert process.ledger_url(loaded) == "postgresql://postmeter@postgres/postmeter"
    assert loaded.settings == Path("/etc/postmeter")
    assert f":{loaded.metrics_port}" in SERVICES["worker"]["ports"][0]
    targets = {each["target"] for each in SERVICES["worker"]["secrets"]}
    folder = VARIABLES["POSTMETER_SECRETS"].removeprefix("/run/secrets/")
    assert targets == {f"{folder}/POSTMETER_BROKER_URL", f"{folder}/POSTMETER_LEDGER_URL"}
    assert not [name for name in VARIABLES if "URL" in name or "PASSWORD" in name]


def test_its_settings() -> None:
    """The tree is without an error or a warning; Acme sends to Mailpit, at 30 a minute at most."""
    watcher = SettingsWatcher(DEPLOY / "compose/settings", {})
    settings = watcher.current
    assert settings.errors_by_context() == {}
    assert settings.context_warnings == ()
    acme = settings.resolve("acme", None, "batch")
    assert (acme.server_address, acme.port) == ("mailpit", 1025)
    assert acme.batch_emails_per_min == 30


def test_versions() -> None:
    """The worker is this version; RabbitMQ and PostgreSQL are ones that it supports."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert SERVICES["worker"]["image"] == f"postmeter/worker:{project['version']}"
    assert SERVICES["ledger"]["image"] == SERVICES["worker"]["image"]
    major = {
        name: int(SERVICES[name]["image"].partition(":")[2].partition(".")[0])
        for name in ("rabbitmq", "postgres")
    }
    assert major["rabbitmq"] == 4
    assert major["postgres"] >= 13  # docs/ledger.md


def test_the_ledger_comes_before_the_workers() -> None:
    """Workers of a new version find its tables: a service that runs once has made them."""
    assert SERVICES["ledger"]["command"] == ["ledger", "upgrade"]
    assert SERVICES["ledger"]["restart"] == "no"
    assert SERVICES["worker"]["depends_on"]["ledger"] == {
        "condition": "service_completed_successfully"
    }


def test_secrets_are_made_not_kept(tmp_path: Path) -> None:
    """make-secrets makes every secret file that is asked for, once; git would keep none of them."""
    script = DEPLOY / "compose/make-secrets"
    folder = tmp_path / "secrets"
    subprocess.run([script, folder], check=True, capture_output=True)
    asked = {Path(each["file"]) for each in DOCUMENT["secrets"].values()}
    assert {path.parent for path in asked} == {Path("compose/secrets")}
    made = {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert {path.name for path in asked} <= set(made)
    assert folder.stat().st_mode & 0o777 == 0o700
    # A container's user is nobody here; the folder keeps others out.
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    passwords = [made[f"{name}-password"] for name in ("rabbitmq", "postgres", "grafana")]
    assert len(set(passwords)) == 3
    assert min(map(len, passwords)) == 48
    broker, ledger = (urlsplit(made[f"POSTMETER_{name}_URL"]) for name in ("BROKER", "LEDGER"))
    assert (broker.hostname, broker.port, broker.password) == ("rabbitmq", 5672, passwords[0])
    assert (ledger.hostname, ledger.port, ledger.password) == ("postgres", 5432, passwords[1])
    assert f"default_pass = {passwords[0]}" in made["rabbitmq-user.conf"].splitlines()
    (folder / "POSTMETER_LEDGER_URL").unlink()
    subprocess.run([script, folder], check=True, capture_output=True)
    assert {path.name: path.read_text().strip() for path in folder.iterdir()} == made
    ignored = subprocess.run(
        ["git", "check-ignore", *(str(DEPLOY / path) for path in asked)],
        cwd=DEPLOY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(ignored.stdout.splitlines()) == len(asked)


def test_prometheus_finds_every_worker() -> None:
    """Its configuration is that of deploy/prometheus, but for addresses; promtool takes it."""
    ours = compose.read(DEPLOY / "compose/prometheus.yml")
    theirs = compose.read(DEPLOY / "prometheus/prometheus.yml")
    jobs = {job["job_name"]: job for job in ours["scrape_configs"]}
    assert jobs["postmeter"].pop("dns_sd_configs") == [
        {"names": ["worker"], "type": "A", "port": 9191, "refresh_interval": "10s"}
    ]
    for job in theirs["scrape_configs"]:
        job.pop("static_configs")
    jobs["rabbitmq"].pop("static_configs")
    assert ours == theirs
    if shutil.which("promtool") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "no promtool here: install prometheus (Debian: apt-get install prometheus)"
        )
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", DEPLOY / "compose/prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    """What provisioning names is what the compose file mounts and calls its services."""
    provisioning = DEPLOY / "grafana/provisioning"
    [source] = compose.read(provisioning / "datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = compose.read(provisioning / "dashboards/postmeter.yaml")["providers"]
    folder = provider["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in SERVICES["grafana"]["volumes"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/postmeter-overview.json"
    dashboard = json.loads((DEPLOY / "grafana/dashboards/postmeter-overview.json").read_text())
    assert dashboard["uid"] == "postmeter-overview"


def test_yaml_without_surprises() -> None:
    """No key stands twice, which YAML readers pass over in silence."""

    class Strict(yaml.SafeLoader):
        """Refuses a key that is there already."""

    def mapping(loader: Strict, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"twice in {node.start_mark}: {keys}"
        loader.flatten_mapping(node)
        return dict(loader.construct_pairs(node, deep=True))

    Strict.add_constructor("tag:yaml.org,2002:map", mapping)
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    assert yaml.load(text, Strict) == DOCUMENT  # noqa: S506 - it is a SafeLoader
