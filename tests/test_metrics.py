"""What is counted, and what alerts and the dashboard make of it.

That the running service exposes every figure that they name: tests/test_service.py.
"""

import json
import re
from pathlib import Path

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tiny_bundle import draw_photo, make_root, site

from model.pixels import REASONS

MONITORING = Path(__file__).parents[1] / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{panel['title']}, {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics_in(expression: str) -> set[str]:
    """Names in a PromQL expression that are neither labels, functions nor words of the language."""
    bare = re.sub(
        r'"[^"]*"|\[[^]]*\]|\{[^}]*\}|\b(by|without|on|ignoring)\s*\([^)]*\)', "", expression
    )
    names = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)
    return set(names) - KEYWORDS


def scrape(url: str) -> Samples:
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_reader_of_expressions() -> None:
    expression = 'sum by (le) (rate(a_b_total{c=~"d.."}[5m])) / 2 > 1.5e3 or absent(e:f) == 0'
    assert metrics_in(expression) == {"a_b_total", "e:f"}


def test_rules_say_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) == 10
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "action"}
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_prometheus_reads_the_rules_and_the_service() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    assert config["scrape_configs"] == [
        {"job_name": "lookalike", "static_configs": [{"targets": ["127.0.0.1:3000"]}]}
    ]


def test_the_dashboard_has_two_columns_without_gaps() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert [(place["x"], place["w"]) for place in places] == [(0, 12), (12, 12)] * (
        len(places) // 2
    )
    bottom = 0
    for left, right in zip(places[::2], places[1::2], strict=True):
        assert (left["y"], right["y"], left["h"]) == (bottom, bottom, right["h"])
        bottom += left["h"]


def test_what_is_counted(tmp_path: Path) -> None:
    with site(make_root(tmp_path)) as url:
        for _ in range(3):
            httpx.post(f"{url}/v1/search", content=draw_photo(1))
        httpx.post(f"{url}/v1/search", content=b"no photo")
        httpx.post(f"{url}/v1/search", content=b"\0" * 10_000_001)
        httpx.get(f"{url}/v1/items/item-008/similar")
        httpx.get(f"{url}/v1/items/item-008/image")
        httpx.get(f"{url}/v1/items/item-009/image")
        httpx.get(f"{url}/static/page.js")
        httpx.get(f"{url}/a")
        httpx.get(f"{url}/b")
        digest = httpx.get(f"{url}/v1/bundle").json()["digest"]
        samples = scrape(url)

    def of(name: str, *labels: str) -> dict[tuple[str, ...], float]:
        found = {}
        for (sample, pairs), value in samples.items():
            if sample == name:
                given = dict(pairs)
                found[tuple(given.pop(label) for label in labels)] = value
                assert not given
        return found

    assert of("lookalike_requests_total", "route", "status") == {
        ("/v1/search", "200"): 3,
        ("/v1/search", "415"): 1,
        ("/v1/search", "413"): 1,
        ("/v1/items/{item_id}/similar", "200"): 1,
        ("/v1/items/{item_id}/image", "200"): 2,
        ("/static/{path}", "200"): 1,
        ("other", "404"): 2,
        ("/v1/bundle", "200"): 1,
    }
    counts = of("lookalike_stage_seconds_count", "stage")
    assert counts == {("decode",): 3, ("embed",): 3, ("search",): 4, ("total",): 4}
    refused = {(reason,): 0 for reason in REASONS}
    refused |= {("image_not_an_image",): 1, ("image_too_large",): 1}
    assert of("lookalike_rejected_images_total", "reason") == refused
    shed = {("overloaded",): 0, ("deadline",): 0, ("rate_limited",): 0}
    assert of("lookalike_shed_requests_total", "code") == shed
    assert of("lookalike_failed_bundle_loads_total") == {(): 0}
    assert of("lookalike_bundle_refused") == {(): 0}
    assert of("lookalike_bundle_info", "digest", "version") == {(digest, "1"): 1}
    assert of("lookalike_items") == {(): 60}
    assert of("lookalike_ready") == {(): 1}
    assert of("lookalike_index_age_seconds")[()] > 0
    assert of("process_resident_memory_bytes")[()] > 10_000_000
