"""The dashboards are what the script writes, what Grafana understands, and ask for what there is."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import grafana_foundation_sdk.models.units as grafana_units
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.build import FOLDER, documents, main, written
from deploy.grafana.frame import DRILLDOWN, OVERVIEW, TAG, WIDTH
from deploy.prometheus import build as rules
from docs import build_dashboards
from tests.support.dashboards import dashboards, filled, panels, queries
from tests.support.promql import readings
from worker.telemetry import metrics
from worker.telemetry.metrics import Kind

GRAPHS_OF_THE_OVERVIEW = 5
FIGURES_OF_THE_OVERVIEW = 8
PANELS_AT_MOST = 26
PICTURE_BYTES = 300_000
OURS = {
    **{metric.name: metric for metric in metrics.ALL if metric.kind is not Kind.HISTOGRAM},
    **{f"{m.name}_bucket": m for m in metrics.ALL if m.kind is Kind.HISTOGRAM},
}
OTHERS = {
    "up": {"job"},
    "ALERTS": {"job", "alertname", "alertstate", "severity"},
    "rabbitmq_(detailed_)?queue_messages_ready": {"queue"},
    "rabbitmq_(detailed_)?queue_messages_unacked": {"queue"},
    "rabbitmq_(detailed_)?queue_consumers": {"queue"},
}
"""Of Prometheus itself and of RabbitMQ's plugin (/metrics/detailed, /metrics/per-object)."""
ANNOTATION_KEYS = {"titleFormat", "textFormat", "tagKeys", "step", "useValueForTime"}
"""Keys of an annotation that belong to Grafana's Prometheus data source, so not to its schema."""
VARIABLE = re.compile(r"\$\{?([a-z]\w*)")
LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
DEPLOY = Path(__file__).parents[2] / "deploy"
DOCUMENTS = dashboards()
ASKED = list(queries())


def _recorded() -> set[str]:
    groups = rules.document()["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_the_files_are_what_the_script_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``python deploy/grafana/build.py`` writes them anew; nothing else lies in their folder."""
    monkeypatch.setattr("sys.argv", ["build.py", "--folder", str(tmp_path)])
    main()
    fresh = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert fresh == {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert fresh == {name: written(document) for name, document in documents().items()}


def test_the_page_explains_every_panel() -> None:
    """docs/dashboards.md is generated; ``python docs/build_dashboards.py`` writes it anew."""
    page = build_dashboards.document()
    assert build_dashboards.PATH.read_text(encoding="utf-8") == page
    for picture in re.findall(r"\]\((images/[^)]+)\)", page):
        size = (build_dashboards.PATH.parent / picture).stat().st_size
        assert 10_000 < size <= PICTURE_BYTES, picture


def test_another_site_is_in_every_link_to_a_worker() -> None:
    """The status page and the runbook are where ``--site`` says."""
    for document in documents("https://mail.example.nz/").values():
        urls = {link["url"] for link in document["links"]}
        assert {"https://mail.example.nz/", "https://mail.example.nz/runbook/"} <= urls
        assert "localhost" not in written(document)


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_grafana_knows_every_key(uid: str) -> None:
    """Read and written by Grafana's own schema (10.1), nothing is lost and nothing changed."""
    assert list(_not_in_the_schema(DOCUMENTS[uid])) == []


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_overrides_set_what_a_panel_has(uid: str) -> None:
    """The schema leaves their values open, so each is held against it where it takes effect."""
    document = copy.deepcopy(DOCUMENTS[uid])
    for panel in panels(document):
        defaults = panel["fieldConfig"]["defaults"]
        for override in panel["fieldConfig"]["overrides"]:
            for each in override["properties"]:
                group, _, key = each["id"].rpartition(".")
                (defaults[group] if group else defaults)[key] = each["value"]
    assert list(_not_in_the_schema(document)) == []


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_tables_have_the_columns_that_their_queries_return(uid: str) -> None:
    """A query of one label's series, joined by it, has that label and a value named by its letter."""
    for panel in panels(DOCUMENTS[uid]):
        if panel["type"] != "table":
            continue
        *join, chosen, ordered = panel["transformations"]
        names = chosen["options"]["include"]["names"]
        assert list(ordered["options"]["renameByName"]) == names
        refs = [target["refId"] for target in panel["targets"]]
        values = {f"Value #{ref}" for ref in refs} if join else {"Value"}
        labels = set.union(
            *(set(r.grouped) for t in panel["targets"] for r in readings(filled(t["expr"], {})))
        )
        assert set(names) <= labels | values
        assert values <= set(names)
        assert [each["id"] for each in panel["transformations"][-2:]] == [
            "filterFieldsByName",
            "organize",
        ]
        assert [each["options"]["byField"] for each in join] == (
            [names[0]] if len(refs) > 1 else []
        )
        titles = set(ordered["options"]["renameByName"].values())
        assert {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]} == titles


def _not_in_the_schema(document: dict[str, Any]) -> Any:
    register_default_plugins()
    read = Dashboard.from_json(copy.deepcopy(document))
    yield from _lost(document, json.loads(json.dumps(read, cls=JSONEncoder)), document["uid"])


def _lost(ours: Any, theirs: Any, path: str) -> Any:
    """Where the schema has dropped or changed something of ours; it may add defaults."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs and not (".annotations" in path and key in ANNOTATION_KEYS):
                yield f"{path}.{key}"
            elif key in theirs:
                yield from _lost(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for n, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _lost(one, other, f"{path}[{n}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def test_uids_are_those_that_alerts_and_links_name() -> None:
    """They never change: bookmarks, ``dashboard_url`` of every alert and each other's links."""
    assert set(DOCUMENTS) == {OVERVIEW, DRILLDOWN} == {"postmeter-overview", "postmeter-drilldown"}
    for uid, other in ((OVERVIEW, DRILLDOWN), (DRILLDOWN, OVERVIEW)):
        assert DOCUMENTS[uid]["tags"] == [TAG]
        assert f"/d/{other}" in [link["url"] for link in DOCUMENTS[uid]["links"]]
        assert "id" not in DOCUMENTS[uid], "a number of one Grafana's database"
        assert "version" not in DOCUMENTS[uid], "Grafana counts that"
    alerts = [rule for group in rules.document()["groups"] for rule in group["rules"]]
    urls = {alert["annotations"]["dashboard_url"] for alert in alerts if "alert" in alert}
    assert {url.rpartition("/d/")[2] for url in urls} == {OVERVIEW}


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_panels_have_numbers_and_places_of_their_own(uid: str) -> None:
    """No two share an id or a cell of the grid, and the page has no holes at its right."""
    shown = DOCUMENTS[uid]["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len(panels(DOCUMENTS[uid])) <= PANELS_AT_MOST
    taken: dict[tuple[int, int], str] = {}
    for panel in shown:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        for cell in itertools.product(columns, range(place["y"], place["y"] + place["h"])):
            assert cell[0] < WIDTH
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    bottom = max(y for _, y in taken)
    assert len(taken) == WIDTH * (bottom + 1)


def test_the_overview_is_one_look() -> None:
    """Some figures and few graphs: what a person sees at once."""
    kinds = [panel["type"] for panel in panels(DOCUMENTS[OVERVIEW])]
    assert kinds.count("stat") == FIGURES_OF_THE_OVERVIEW
    assert kinds.count("timeseries") == len(kinds) - FIGURES_OF_THE_OVERVIEW
    assert kinds.count("timeseries") <= GRAPHS_OF_THE_OVERVIEW


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_panels_explain_themselves(uid: str) -> None:
    """Each has sentences that say what it shows, and a unit that Grafana has."""
    known = {value for name, value in vars(grafana_units).items() if isinstance(value, str)}
    for panel in panels(DOCUMENTS[uid]):
        assert panel["description"].endswith("."), panel["title"]
        assert len(panel["description"].split()) > 8, panel["title"]
        config = panel["fieldConfig"]
        set_here = [
            p["value"] for o in config["overrides"] for p in o["properties"] if p["id"] == "unit"
        ]
        default = config["defaults"].get("unit") or panel["options"]["yAxis"]["unit"]
        for unit in (default, *set_here):
            assert unit in known or unit.startswith("suffix:"), panel["title"]


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_every_variable_is_defined(uid: str) -> None:
    """What titles and queries name is in the list, or Grafana's own."""
    document = DOCUMENTS[uid]
    defined = {variable["name"] for variable in document["templating"]["list"]}
    texts = [panel["title"] for panel in document["panels"]]
    texts += [asked.expr for asked in ASKED if asked.dashboard == uid]
    used = {name for text in texts for name in VARIABLE.findall(text)}
    assert used <= defined
    assert defined - used <= {"datasource"}
    sources = {json.dumps(panel["datasource"]) for panel in panels(document)}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}


@pytest.mark.parametrize(
    "asked", ASKED, ids=lambda asked: f"{asked.dashboard}/{asked.panel}/{asked.ref}"
)
def test_a_query_asks_for_what_there_is(asked: Any) -> None:
    """It is PromQL; its metrics exist and have its labels; counters are read as rates."""
    found = readings(asked.filled())
    assert found
    recorded = _recorded()
    for reading in found:
        if reading.name in recorded:
            continue
        metric = OURS.get(reading.name)
        labels = {"job", "le"} | set(metric.labels) if metric else OTHERS[reading.name]
        others = {"job", "scope", "company"} if len(found) > 1 else set()
        assert reading.matched <= labels
        assert reading.grouped <= labels | others
        if metric and metric.kind is not Kind.GAUGE:
            assert reading.through[0] in {"rate", "increase"}, asked.expr


@pytest.mark.parametrize(
    "asked", ASKED, ids=lambda asked: f"{asked.dashboard}/{asked.panel}/{asked.ref}"
)
def test_what_every_host_tells_is_taken_once(asked: Any) -> None:
    """A gauge of the ledger is the same on every host, so it is never added up as it comes."""
    own = {metrics.CONNECTIONS.name}
    for reading in readings(asked.filled()):
        metric = OURS.get(reading.name)
        if metric and metric.kind is Kind.GAUGE and metric.name not in own:
            inner = next(name for name in reading.through if not name.endswith("_over_time"))
            assert inner in {"max", "min", "count"}, asked.expr


@pytest.mark.parametrize("uid", DOCUMENTS)
def test_variables_are_labels_of_metrics(uid: str) -> None:
    """What a person may choose is read from series that every installation has."""
    variables = DOCUMENTS[uid]["templating"]["list"]
    for variable in (one for one in variables if one["type"] == "query"):
        found = LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert found, variable["name"]
        (reading,) = readings(filled(found[1], {}))
        assert reading.matched | {found[2]} <= {"job", *OURS[reading.name].labels}


def test_each_metric_is_on_a_dashboard() -> None:
    """Nothing is exported that no panel shows, but for what only alerts are made of."""
    read = {reading.name for asked in ASKED for reading in readings(asked.filled())}
    assert set(OURS) - read == {metrics.WORST_WINDOW.name}


def test_limits_are_dashed_steps() -> None:
    """A limit that changes jumps; it is no mean of before and after."""
    drawn = []
    for document in DOCUMENTS.values():
        for panel in panels(document):
            for target in panel["targets"]:
                if target["legendFormat"].startswith("limit of"):
                    override = panel["fieldConfig"]["overrides"][-1]
                    assert override["matcher"] == {"id": "byFrameRefID", "options": target["refId"]}
                    style = {each["id"]: each["value"] for each in override["properties"]}
                    assert style["custom.lineInterpolation"] == "stepAfter"
                    assert style["custom.lineStyle"]["fill"] == "dash"
                    drawn.append(panel["title"])
    assert len(drawn) == len(DOCUMENTS)


def test_grafana_is_provisioned_with_them() -> None:
    """The data source has a fixed uid; the folder is where compose.yaml mounts the dashboards."""
    folder = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())
    assert [(one["uid"], one["type"]) for one in source["datasources"]] == [
        ("postmeter-prometheus", "prometheus")
    ]
    provider = yaml.safe_load((folder / "dashboards" / "postmeter.yaml").read_text())
    path = provider["providers"][0]["options"]["path"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    mounts = [mount.split(":") for mount in compose["services"]["grafana"]["volumes"]]
    assert ["./grafana/dashboards", path] in [mount[:2] for mount in mounts]
    assert ["./grafana/provisioning", "/etc/grafana/provisioning"] in [m[:2] for m in mounts]
