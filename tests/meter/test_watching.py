"""Watching a service: its alerts ring for their reasons, its dashboard shows what there is."""

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from meter.auditor.alarms import KINDS
from meter.auditor.monitor import Limits, Monitor, Trust
from meter.auditor.monitor_metrics import MonitorMetrics
from meter.host.metrics import Metrics
from meter.service.running import Endpoint
from tests.books import lifted, log_signer
from tests.programs import program, promtool
from tests.services import coupon_body, serving, until
from tests.test_readme import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "alerts.yml"
DASHBOARD = json.loads((DEPLOY / "dashboard.json").read_text(encoding="utf-8"))
# What Prometheus makes of a family, by its kind.
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
OF_PROMETHEUS = {"job", "le", "alertname", "alertstate"}


def series() -> dict[str, set[str]]:
    """Return what a scrape holds: each name with its labels."""
    metrics, found = Metrics(), {}
    labels = {
        each._name: set(each._labelnames)
        for each in vars(metrics).values()
        if hasattr(each, "_labelnames")
    }
    for family in (*metrics.registry.collect(), *metrics.money.collect()):
        for suffix in SUFFIXES[family.type]:
            found[family.name + suffix] = labels[family.name]
    return found


# The alerts


def test_each_alert_rings_for_its_reason_and_is_silent_otherwise():
    done = promtool("test", "rules", "alerts.test.yml", cwd=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = (DEPLOY / "alerts.test.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'alertname="(\w+)"', tests)) == set(names_of_alerts())


def names_of_alerts() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from (rule["alert"] for rule in group["rules"])


@pytest.mark.parametrize("expression", ["vector(1) < 0", "vector(1)"])
def test_an_alert_that_never_rings_or_always_does_is_noticed(tmp_path, expression):
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    rules["groups"][0]["rules"][-1]["expr"] = expression
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    shutil.copy(DEPLOY / "alerts.test.yml", tmp_path)
    assert promtool("test", "rules", "alerts.test.yml", cwd=tmp_path).returncode == 1


def test_the_alerts_name_metrics_and_labels_that_there_are(tmp_path):
    there = series() | monitor_series(tmp_path)
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            named = set(re.findall(r"\bkashi_\w+", rule["expr"]))
            assert named <= there.keys()
            labels = set().union(*(there[name] for name in named))
            asked = set(re.findall(r'(\w+)[!=]~?"', rule["expr"]))
            asked |= set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
            for names in re.findall(r"(?:by|without) \(([^)]*)\)", rule["expr"]):
                asked |= set(names.split(", "))
            assert asked <= labels | OF_PROMETHEUS, rule["alert"]


def monitor_series(folder: Path) -> dict[str, set[str]]:
    """Return the same of a scrape of a monitor with an alarm."""
    limits = Limits(gap_seconds=0, silence_seconds=0)
    monitor = Monitor(folder, Trust(log_signer("log").verifier), limits, lambda _: None)
    try:
        monitor.alarms.settle("silence", {"": "nothing answers"})
        found: dict[str, set[str]] = {}
        for family in MonitorMetrics(monitor).collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    finally:
        monitor.close()
    return found


def test_the_alarms_of_a_monitor_that_alerts_name_are_kinds():
    named = re.findall(r'kind!?="(\w+)"', RULES.read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(KINDS)


# The dashboard


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["panels"]
    return found


def test_the_dashboard_shows_every_metric_and_no_other():
    named = {name for each in expressions() for name in re.findall(r"\bkashi_\w+", each)}
    there = series()
    assert named <= there.keys()
    shown = {name for name in there if any(name.startswith(family_of(each)) for each in named)}
    assert shown == there.keys()


def family_of(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_the_dashboard_asks_for_labels_that_its_metrics_have():
    there = series()
    for panel in panels():
        for target in panel.get("targets", []):
            names = set(re.findall(r"\bkashi_\w+", target["expr"]))
            labels = set.intersection(*(there[name] for name in names)) if names else set()
            asked = {
                label
                for group in re.findall(r"by \(([^)]*)\)", target["expr"])
                for label in group.split(", ")
            }
            asked |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            asked |= set(re.findall(r'(\w+)=~?"', target["expr"]))
            assert asked <= labels | OF_PROMETHEUS, panel["title"]


def test_prometheus_takes_each_expression_of_the_dashboard(tmp_path):
    rules = [{"record": f"panel:{n}", "expr": each} for n, each in enumerate(expressions())]
    taken = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(taken), encoding="utf-8")
    done = promtool("check", "rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rules[0]["expr"] += ")"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(taken), encoding="utf-8")
    assert promtool("check", "rules", "rules.yml", cwd=tmp_path).returncode == 1


def test_the_panels_lie_side_by_side_and_ask_the_source_that_was_chosen():
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        for asked in (panel, *panel.get("targets", [])):
            assert panel["type"] == "row" or asked["datasource"]["uid"] == "${source}"
    (source,) = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        *("source", "datasource", "prometheus"),
    )


# A real Prometheus


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """Run Prometheus with our rules on one target, five looks a second; yield its URL."""
    host, _, path = target.removeprefix("http://").partition("/")
    settings = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "kashi",
                "scrape_timeout": "200ms",
                "metrics_path": f"/{path}",
                "static_configs": [{"targets": [host]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


async def asked(url: str, path: str) -> Any:
    """Return what Prometheus answers; nothing while it is not up."""
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
            if answer.status == 200:
                return (await answer.json())["data"]
    return None


async def test_a_real_prometheus_fires_an_alert_of_a_real_service_and_clears_it(database, tmp_path):
    async with (
        serving(database, tmp_path, own=Endpoint()) as service,
        prometheus(tmp_path, service.running.metrics_url) as url,
    ):

        async def rings(*names: str) -> None:
            async def do() -> bool:
                found = await asked(url, "/api/v1/alerts")
                if found is None:
                    return False
                firing = {a["labels"]["alertname"] for a in found["alerts"] if is_firing(a)}
                return firing == set(names)

            await until(do)

        async def is_scraped() -> bool:
            found = await asked(url, "/api/v1/query?query=kashi_pool_left_fen")
            return bool(found and found["result"])

        # The whole pool is one coupon but a hundredth.
        await service.open_books(lifted(pool="500000.00"), issued="100000.00")
        await until(is_scraped)
        await rings()
        await service.issue(2025, "395000.00")
        await rings("KashiPoolLow")
        await service.ask("/v1/coupons/withdraw", **coupon_body(2025, "395000.00"))
        await rings()


def is_firing(alert: dict[str, Any]) -> bool:
    return bool(alert["state"] == "firing")
