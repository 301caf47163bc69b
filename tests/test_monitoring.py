"""What is shipped for Prometheus and Grafana asks for what a real server tells."""

import json
import re
from pathlib import Path

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import serving

ROOT = Path(__file__).parent.parent
DASHBOARD = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())
SCRAPING = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
MONITOR = (ROOT / "docs/how-to/monitor.md").read_text()

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = {
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    },
    **{rule["alert"]: rule["expr"] for rule in RULES},
}
FUNCTIONS = {"histogram_quantile", "increase", "rate", "sum"}
"""What is used of PromQL."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of all that a real server tells, by the name of the sample, and of its family."""
    store = f"sqlite:///{tmp_path_factory.mktemp('monitoring') / 'chat.db'}"
    with serving("--store", store, "--completion", "echo") as server:
        text = httpx.get(f"{server.http}/metrics", timeout=30).text
    names: dict[str, set[str]] = {"up": {"instance", "job"}}
    for family in text_string_to_metric_families(text):
        # One with labels has no samples before something happens.
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_count", "_sum"),
        }.get(family.type, ("",))
        for suffix in suffixes:
            labels = {label for sample in family.samples for label in sample.labels}
            names[f"{family.name}{suffix}"] = labels
    return names


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_is_asked_for_is_told(told: dict[str, set[str]], name: str) -> None:
    expression = EXPRESSIONS[name]
    metrics = set(re.findall(r"\b(?:graphql_app_\w+|up)\b", expression))
    assert metrics
    assert metrics <= told.keys()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_is_one_of_promql(name: str) -> None:
    expression = EXPRESSIONS[name]
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|ignoring|on) ?\([\w, ]*\)", "", expression)
    assert set(re.findall(r"(\w+)\s*\(", bare)) <= FUNCTIONS
    for matchers in re.findall(r"\{([^}]*)\}", expression):
        assert re.fullmatch(r'(?:, )?(?:\w+(?:=|!=|=~|!~)"[^"]*"(?:, )?)+', matchers)
    for window in re.findall(r"\[([^\]]*)\]", expression):
        assert re.fullmatch(r"\d+[smh]|\$__rate_interval", window)
    # A counter is asked for its rate, a histogram for a quantile.
    for counter in re.findall(r"(\w+)\s*\((graphql_app_\w+_(?:total|bucket))", expression):
        assert counter[0] in ("rate", "increase")


def test_each_panel_has_its_place_its_source_and_what_it_shows() -> None:
    places: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert 0 < place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "job"}


def test_each_alert_says_what_is_wrong_and_the_page_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
        assert f"`{rule['alert']}`" in MONITOR


def test_prometheus_is_told_of_the_alerts_and_of_the_token() -> None:
    assert SCRAPING["rule_files"] == ["alerts.yml"]
    [scraping] = SCRAPING["scrape_configs"]
    assert scraping["job_name"] == "graphql-app"
    assert "credentials_file" in scraping["authorization"]


def test_the_page_lists_all_that_is_told(told: dict[str, set[str]]) -> None:
    families = {
        re.sub(r"_(?:bucket|count|sum)$", "", name)
        for name in told
        if name.startswith("graphql_app_") and not name.endswith("_created")
    }
    listed = set(re.findall(r"^\| `(graphql_app_\w+)`", MONITOR, re.MULTILINE))
    assert listed == families


def test_nothing_is_counted_by_what_a_client_can_choose(told: dict[str, set[str]]) -> None:
    ours = [labels for name, labels in told.items() if name.startswith("graphql_app_")]
    assert set().union(*ours) <= {
        *("code", "kind", "le", "method", "model", "python", "reason", "status", "transport"),
        "version",
    }
