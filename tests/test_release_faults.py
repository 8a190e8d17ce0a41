"""A release that is killed at twenty moments: one bundle serves, and ledger and registry agree.

What was killed is done again, as Airflow would; nothing is promoted by halves meanwhile.
"""

import random
import signal
import time

import pytest
from conftest import CopyShop
from kills import Kill
from real_mlflow import mlflow_server
from released import items_of_both_days, replicas, shoppers
from test_registry import aliases, stages
from tiny_shop import DAY_1, DAY_2, command, copy_shop, finish, start

from pipelines.follow import follow
from pipelines.registry import move_stage
from pipelines.release import roll_back
from pipelines.replicas import ask_replicas
from pipelines.server_process import free_port
from pipelines.settings import Registry, Settings
from pipelines.stages import sync
from serving.bundle import verify
from serving.ledger import LEDGER, champion, read_ledger, read_standing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*[Ss]tage.*:FutureWarning"),  # MLflow's, on stages
]

MODULES = {  # what is killed, and how it is started
    "review": ("-m", "pipelines.review", "--ds", str(DAY_2)),
    "promote": ("-m", "pipelines.promote", "--ds", str(DAY_2)),
    "follow": ("-m", "pipelines.follow"),
    "roll_back": ("-m", "pipelines.roll_back", "--why", "odd"),
}


def moments(seed: int) -> list[Kill]:
    rng = random.Random(seed)
    counts = {"review": 3, "promote": 11, "follow": 3, "roll_back": 3}
    return [
        Kill(name, (number + rng.random()) / count)
        for name, count in counts.items()
        for number in range(count)
    ]


def day_before(settings: Settings) -> None:
    """The first day serves; the second is registered, and nothing is decided about it."""
    lines = (settings.root / LEDGER).read_bytes().splitlines(keepends=True)
    (settings.root / LEDGER).write_bytes(b"".join(lines[:2]))
    for step in ("review", "promote"):
        for report in (settings.root / step / f"ds={DAY_2}").glob("report.json"):
            report.unlink()
    sync(settings)


def check_agreement(settings: Settings) -> None:
    """Whatever was decided: one champion, whole, in the ledger, the registry and every replica."""
    serving = champion(settings.root)
    assert serving is not None
    verify(settings.root / "bundles" / serving.bundle, serving.bundle)
    found = stages(settings)
    assert [version for version, stage in found.items() if stage == "Production"] == [
        serving.version
    ]
    assert aliases(settings)["champion"] == serving.version
    deadline = time.monotonic() + 20
    while not all(replica.serves(serving.bundle) for replica in ask_replicas(settings)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def seconds(two_days: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What each command takes when nothing happens to it."""
    settings = copy_shop(two_days, tmp_path_factory.mktemp("timed") / "root")
    day_before(settings)
    took = {}
    with replicas(settings, 1) as shop:
        for name, arguments in MODULES.items():
            started = time.monotonic()
            done = finish(start(shop, *arguments))
            assert done.returncode == 0, done.stderr
            took[name] = time.monotonic() - started
    return took


@pytest.mark.parametrize("kill", moments(20261122), ids=str)
def test_killed_and_done_again(
    two_days_copy: CopyShop, seconds: dict[str, float], kill: Kill
) -> None:
    settings = two_days_copy()
    day_before(settings)
    with replicas(settings, 2) as shop:
        urls = shop.rollout.replicas
        with shoppers(urls, items_of_both_days(settings)[:2]) as answers:
            before(shop, kill.name)
            entries = len(read_ledger(settings.root))
            process = start(shop, *MODULES[kill.name])
            time.sleep(kill.share * seconds[kill.name])
            process.send_signal(signal.SIGKILL)
            finish(process)
            standing = read_standing(settings.root)
            assert standing.champion is not None
            verify(settings.root / "bundles" / standing.champion.bundle)
            again(shop, kill.name, entries)
            check_agreement(shop)
    assert {answer.status_code for answer in answers} == {200}
    assert champion_day(settings) == (DAY_1 if kill.name == "roll_back" else DAY_2)


def before(settings: Settings, name: str) -> None:
    """All that comes before the command that is killed."""
    if name == "review":
        return
    assert command(settings, "review", DAY_2).returncode == 0
    if name == "roll_back":
        assert command(settings, "promote", DAY_2).returncode == 0
    if name == "follow":  # somebody does by hand what the rollout would do
        move_stage(settings, "2", "Production")


def again(settings: Settings, name: str, entries: int) -> None:
    """As Airflow would, and for a rollback as a person who looks at what serves."""
    if name == "roll_back":
        if len(read_ledger(settings.root)) == entries:
            roll_back(settings, to=None, who="ada", why="once more")
        follow(settings)
        return
    follow(settings)
    for step in ("review", "promote"):
        done = command(settings, step, DAY_2)
        assert done.returncode == 0, done.stderr


def champion_day(settings: Settings) -> object:
    entry = champion(settings.root)
    return entry and entry.ds


def test_a_registry_that_dies_in_the_middle_follows_when_it_is_back(
    two_days_copy: CopyShop,
) -> None:
    """Decisions go on without it; nothing that the ledger has is lost."""
    settings, port = two_days_copy(), free_port()
    served = settings.model_copy(
        update={"registry": Registry(tracking_uri=f"http://127.0.0.1:{port}")}
    )
    with mlflow_server(settings.root, port):
        assert stages(served) == {"1": "Archived", "2": "Production"}
    roll_back(served, to=None, who="ada", why="odd")  # nobody is there
    assert champion_day(settings) == DAY_1
    with mlflow_server(settings.root, port):
        assert stages(served) == {"1": "Archived", "2": "Production"}
        assert follow(served) == []
        assert stages(served) == {"1": "Production", "2": "Archived"}
        assert aliases(served)["champion"] == "1"
