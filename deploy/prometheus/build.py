"""Writes the rules of Prometheus, plain and as a PrometheusRule: ``python deploy/prometheus/build.py``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if __name__ == "__main__":  # the packages lie two folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import yaml

from deploy.prometheus import alerts, recordings
from deploy.prometheus.model import GRAFANA, SITE, Dialect, written
from deploy.prometheus.thresholds import BUDGET_SECONDS, SHORT_SECONDS, Thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPLOY: Final = Path(__file__).resolve().parents[1]
RULES: Final = DEPLOY / "prometheus" / "postmeter.rules.yaml"
WRAPPED: Final = DEPLOY / "kubernetes" / "components" / "prometheus-rule" / "prometheusrule.yaml"
HEAD: Final = (
    "# Made by deploy/prometheus/build.py; do not edit. What it means: docs/alerting.md.\n"
)


def document(
    *,
    site: str = SITE,
    grafana: str = GRAFANA,
    scale: float = 1.0,
    dialect: Dialect | None = None,
) -> dict[str, Any]:
    """The groups of rules, as a rules file has them.

    Args:
        site: whose ``/runbook/`` has the pages.
        grafana: where the dashboards are.
        scale: how many times faster time passes: every range, ``for`` and threshold of time.
        dialect: how expressions are written, in place of the default with that scale.
    """
    how = dialect or Dialect(scale=scale)
    groups = (
        ("postmeter-standing", SHORT_SECONDS, recordings.standing(how)),
        ("postmeter-flow", SHORT_SECONDS, recordings.flow(how)),
        ("postmeter-budget", BUDGET_SECONDS, recordings.budget(how)),
        ("postmeter-alerts", SHORT_SECONDS, alerts.alerts(how)),
    )
    urls = {"site": site, "grafana": grafana}
    return {
        "groups": [
            {
                "name": name,
                "interval": written(how.interval_seconds(seconds)),
                "rules": [rule.document(how, **urls) for rule in rules],
            }
            for name, seconds, rules in groups
        ]
    }


def wrapped(groups: dict[str, Any]) -> dict[str, Any]:
    """The same groups as an object for the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "postmeter", "labels": {"app.kubernetes.io/name": "postmeter"}},
        "spec": groups,
    }


def texts(groups: dict[str, Any]) -> dict[Path, str]:
    """Each file that is made, and what is in it."""
    return {RULES: HEAD + _dumped(groups), WRAPPED: HEAD + _dumped(wrapped(groups))}


class _Dumper(yaml.SafeDumper):
    """Writes an expression of several lines as such."""


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def _dumped(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both files, or the rules to another one."""
    asked = _parser().parse_args(arguments)
    dialect = Dialect(
        job=asked.job, groups=tuple(asked.group_by.split(",")), thresholds=_thresholds(asked.set)
    )
    groups = document(site=asked.site, grafana=asked.grafana, dialect=dialect)
    made = texts(groups) if asked.output is None else {asked.output: texts(groups)[RULES]}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write the rules of Prometheus.")
    parser.add_argument("--site", default=SITE, help="whose /runbook/ has the pages (%(default)s)")
    parser.add_argument("--grafana", default=GRAFANA, help="where Grafana is (%(default)s)")
    parser.add_argument("--job", default="postmeter", help="the workers' scrape job (%(default)s)")
    parser.add_argument(
        "--group-by",
        default="job",
        metavar="LABELS",
        help="what tells installations apart, as namespace,job (%(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another threshold; thresholds.py lists them",
    )
    parser.add_argument("--output", type=Path, help="write the rules here, and nothing else")
    return parser


def _thresholds(pairs: Sequence[str]) -> Thresholds:
    usual = Thresholds()
    names = [each.name for each in fields(usual)]
    changed: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in names:
            raise SystemExit(f"no threshold is called {name!r}; there are {', '.join(names)}")
        try:
            changed[name] = type(getattr(usual, name))(value)
        except ValueError:
            raise SystemExit(f"{value!r} is no number for {name}") from None
    return replace(usual, **changed)


if __name__ == "__main__":
    raise SystemExit(main())
