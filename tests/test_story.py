"""Three days of a shop, as its people live them: Airflow, MLflow and two replicas, all real.

Day 1 is promoted by policy. Day 2 is sabotaged, and blocked by the gate. Day 3 is reviewed by a
person over Airflow's API, tried in shadow and canary, found bad there and taken out; approved once
more, it serves. Then each of the three ways back: the command, the registry's stage, the DAG.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pyarrow.parquet as pq
import pytest
from real_airflow import Airflow, standalone, wait
from real_mlflow import mlflow_server
from released import shoppers
from tiny_bundle import OPERATOR, OPERATOR_SECRET
from tiny_shop import DAY_1, DAY_2, HERE, draw_shop

from pipelines.importers import import_feed
from pipelines.release import current_user
from pipelines.server_environment import server_environment
from pipelines.server_process import free_port, server_process
from pipelines.settings import Settings, load_settings
from serving.ledger import Entry, champion, read_ledger, read_standing

pytestmark = pytest.mark.slow

DAY_3 = date(2026, 11, 21)
DAGS = ("daily_retrain", "release", "follow_registry", "rollback")
MINUTES = 60.0
RECIPE = """
[preprocess]
pixel_spec = "decode|orient|resize(32)|pad"
[train]
width = 8
blocks = [1, 1]
epochs = 2
projection = 0.75
[localise]
boxes = "feed"
width = 4
epochs = 1
[reduce]
dimensions = {dimensions}
[index]
engine = "scann"
[gate]
min_leaf_lift = 0
min_recall = {min_recall}
[bless]
items = 20
photos = 5
max_p99_ms = 60000
[evidence]
items = 20
photos = 20
[review]
by = "{by}"
max_recall_drop = 0.2
max_leaf_drop = 0.5
max_slowdown = 1000
[rollout]
replicas = {replicas}
shadow_share = 1
shadow_seconds = 5
canary_share = 0.5
canary_seconds = {canary_seconds}
min_queries = 20
max_slowdown = 1000
[registry]
tracking_uri = "{mlflow}"
[serve]
operator_keys = "{keys}"
"""


class Shop:
    """What the people of a shop see and do."""

    def __init__(self, root: Path, airflow: Airflow, facts: dict[str, Any]) -> None:
        self.root, self.airflow, self._facts = root, airflow, facts
        self.set()

    def set(self, **given: Any) -> Settings:
        """Write the settings of all; the usual ones where none are given."""
        usual = {"dimensions": 12, "min_recall": 0.5, "by": "policy", "canary_seconds": 5}
        config = self.root / "lookalike.toml"
        config.write_text(RECIPE.format(**self._facts, **{**usual, **given}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOOKALIKE_CONFIG", str(config))
            self.settings = load_settings(root=self.root)
        return self.settings

    def lookalike(self, *arguments: str) -> str:
        """What the command says."""
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments],
            cwd=HERE,
            env=self.airflow.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def history(self) -> list[tuple[str, date, str]]:
        return [(entry.action, entry.ds, entry.who) for entry in read_ledger(self.root)]

    def serves(self) -> Entry:
        entry = champion(self.root)
        assert entry is not None
        return entry

    def wait_for_replicas(self, digest: str) -> None:
        for url in self.settings.rollout.replicas:
            wait(lambda url=url: _digest(url) == digest, seconds=30)  # type: ignore[misc]


def _digest(url: str) -> str:
    return str(httpx.get(f"{url}/v1/bundle").json()["digest"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, httpx.Client]]:
    root = tmp_path_factory.mktemp("story") / "root"
    draw_shop(root)
    with ExitStack() as stack:
        tracking = stack.enter_context(mlflow_server(root)).url
        ports = [free_port(), free_port()]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        airflow = Airflow.of(root, "")
        facts = {"mlflow": tracking, "replicas": json.dumps(urls)}
        shop = Shop(root, airflow, facts | {"keys": f"{OPERATOR}:{OPERATOR_SECRET}"})
        for port in ports:
            stack.enter_context(
                server_process(
                    server_environment(shop.settings), "127.0.0.1", port,
                    root / f"replica-{port}.log", seconds=60, until="/livez",
                )
            )  # fmt: skip
        api = stack.enter_context(standalone(airflow))
        for dag in DAGS:
            wait(lambda dag=dag: api.get(f"/dags/{dag}").is_success, seconds=120)  # type: ignore[misc]
        yield shop, api


def unpause(api: httpx.Client, *dags: str) -> None:
    for dag in dags:
        api.patch(f"/dags/{dag}", json={"is_paused": False}).raise_for_status()


def trigger(api: httpx.Client, dag: str, run: str, **conf: Any) -> None:
    body = {"dag_run_id": run, "logical_date": None, "conf": conf}
    api.post(f"/dags/{dag}/dagRuns", json=body).raise_for_status()


def state_of(api: httpx.Client, dag: str, run: str) -> str:
    return str(api.get(f"/dags/{dag}/dagRuns/{run}").json()["state"])


def newest(api: httpx.Client, dag: str) -> dict[str, Any]:
    runs = api.get(f"/dags/{dag}/dagRuns", params={"order_by": "-id", "limit": 1}).json()
    found: dict[str, Any] = next(iter(runs["dag_runs"]), {})
    return found


def tasks_of(api: httpx.Client, dag: str, run: str) -> dict[str, str]:
    found = api.get(f"/dags/{dag}/dagRuns/{run}/taskInstances").json()["task_instances"]
    return {task["task_id"]: task["state"] for task in found}


def run_day(api: httpx.Client, day: date) -> str:
    """The nightly run of a day; returns how it ended."""
    trigger(api, "daily_retrain", f"day-{day}", ds=str(day))
    over = ("success", "failed")
    wait(lambda: state_of(api, "daily_retrain", f"day-{day}") in over, seconds=20 * MINUTES)
    return state_of(api, "daily_retrain", f"day-{day}")


def released(api: httpx.Client, after: str, *, seconds: float = 5 * MINUTES) -> dict[str, Any]:
    """The next run of `release` that is over."""

    def over() -> bool:
        run = newest(api, "release")
        return run.get("dag_run_id") != after and run.get("state") in ("success", "failed")

    wait(over, seconds=seconds)
    return newest(api, "release")


def import_day_3(settings: Settings) -> None:
    """Forty of the first items have another price, and one is gone."""
    feed = pq.read_table(settings.root / "sample" / "day1.parquet").slice(0, 40).to_pylist()
    for row in feed:
        row["price"] = round((row["price"] or 10.0) * 1.1, 2)
        row["updated_at"] = None
    path = settings.root / "sample" / "day3.jsonl"
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in feed))
    import_feed(settings, DAY_3, path)


def test_three_days(shop: tuple[Shop, httpx.Client]) -> None:
    people, api = shop
    unpause(api, *DAGS)

    # Day 1, by policy.
    assert run_day(api, DAY_1) == "success"
    first_run = released(api, "")
    assert tasks_of(api, "release", first_run["dag_run_id"]) == {
        "review": "success", "ask": "skipped", "decide": "skipped", "promote": "success",
        "prune": "success", "collect": "success",
    }  # fmt: skip
    assert people.history() == [("approve", DAY_1, "policy"), ("promote", DAY_1, "policy")]
    first = people.serves()
    people.wait_for_replicas(first.bundle)

    # Day 2 is sabotaged: one dimension is left of twelve.
    people.set(dimensions=1, min_recall=0.99)
    import_feed(people.settings, DAY_2, people.root / "sample" / "day2.parquet")
    assert run_day(api, DAY_2) == "failed"
    assert tasks_of(api, "daily_retrain", f"day-{DAY_2}")["gate"] == "failed"
    assert len(people.history()) == 2
    assert newest(api, "release")["dag_run_id"] == first_run["dag_run_id"]

    # Day 3 is for a person to decide.
    people.set(by="person", canary_seconds=600)
    import_day_3(people.settings)
    assert run_day(api, DAY_3) == "success"
    asked = wait_for_question(api)
    assert asked["subject"] == "May version 2 serve?"
    assert asked["body"].startswith("You are asked because: review.by is `person`")
    assert len(people.history()) == 2
    replicas = people.settings.rollout.replicas
    items = [item["item_id"] for item in httpx.get(f"{replicas[0]}/v1/items").json()["items"]]
    with shoppers(replicas, items[:3]) as answers:
        answer(api, asked, "Approve", why="shoes look good")
        wait(lambda: in_canary(people.root), seconds=3 * MINUTES)
        trigger(api, "rollback", "panic", why="hats look odd")
        wait(lambda: read_standing(people.root).candidate is None, seconds=MINUTES)
        released(api, first_run["dag_run_id"])
    assert {answer.status_code for answer in answers} == {200}
    who = asked_of(api, asked)
    assert people.history()[2:] == [
        ("approve", DAY_3, who), ("shadow", DAY_3, who), ("canary", DAY_3, who),
        ("abort", DAY_3, triggered_by(api, "rollback", "panic")),
    ]  # fmt: skip
    assert (people.serves(), read_ledger(people.root)[-1].why) == (first, "hats look odd")
    assert tasks_of(api, "release", newest(api, "release")["dag_run_id"])["promote"] == "failed"
    people.wait_for_replicas(first.bundle)

    # They looked again: by the command, and what follows the registry rolls it out.
    people.set(canary_seconds=5)
    said = people.lookalike("review", "2", "--approve", "--why", "only one hat")
    assert said == f"Version 2: approve by {current_user()}, only one hat.\n"
    wait(lambda: people.serves().ds == DAY_3, seconds=4 * MINUTES)
    third = people.serves()
    people.wait_for_replicas(third.bundle)

    # Back by the command, forward by the registry's stage, back by the DAG.
    people.lookalike("rollback", "--why", "a")
    assert people.serves().bundle == first.bundle
    people.wait_for_replicas(first.bundle)
    client = mlflow.MlflowClient(people.settings.tracking_uri)
    client.set_model_version_tag("lookalike", "2", "reviewed_by", "cleo")
    with pytest.warns(FutureWarning, match="stage"):
        client.transition_model_version_stage("lookalike", "2", "Production")
    wait(lambda: people.serves().bundle == third.bundle, seconds=3 * MINUTES)
    assert people.serves().who == "cleo"
    people.wait_for_replicas(third.bundle)
    trigger(api, "rollback", "again", why="b")
    wait(lambda: people.serves().bundle == first.bundle, seconds=2 * MINUTES)
    people.wait_for_replicas(first.bundle)
    assert [entry.action for entry in read_ledger(people.root)[-3:]] == ["rollback"] * 3

    # Ledger and registry say the same.
    agreed = {"1": "Production", "2": "Archived"}, {"champion": "1"}
    wait(lambda: (stages(client), aliases(client)) == agreed, seconds=MINUTES)


def wait_for_question(api: httpx.Client) -> dict[str, Any]:
    """The task that waits for a person."""
    path, open_ = "/dags/~/dagRuns/~/hitlDetails", {"response_received": False}
    wait(lambda: bool(api.get(path, params=open_).json()["hitl_details"]), seconds=3 * MINUTES)
    found: dict[str, Any] = api.get(path, params=open_).json()["hitl_details"][0]
    return found


def place(asked: dict[str, Any]) -> str:
    task = asked["task_instance"]
    return f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/-1"


def answer(api: httpx.Client, asked: dict[str, Any], option: str, *, why: str) -> None:
    body = {"chosen_options": [option], "params_input": {"why": why}}
    api.patch(f"{place(asked)}/hitlDetails", json=body).raise_for_status()


def asked_of(api: httpx.Client, asked: dict[str, Any]) -> str:
    """Who answered, as Airflow knows it."""
    detail = api.get(f"{place(asked)}/hitlDetails").json()
    return str(detail["responded_by_user"]["name"])


def triggered_by(api: httpx.Client, dag: str, run: str) -> str:
    return str(api.get(f"/dags/{dag}/dagRuns/{run}").json()["triggering_user_name"])


def in_canary(root: Path) -> bool:
    candidate = read_standing(root).candidate
    return candidate is not None and candidate.action == "canary"


def stages(client: mlflow.MlflowClient) -> dict[str, str]:
    versions = client.search_model_versions("name = 'lookalike'")
    return {str(version.version): version.current_stage for version in versions}


def aliases(client: mlflow.MlflowClient) -> dict[str, str]:
    model = client.get_registered_model("lookalike")
    return {name: str(number) for name, number in model.aliases.items()}
