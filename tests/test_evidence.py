"""The evidence of whole shops: what changed since the champion, whatever became of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from structlog.testing import capture_logs
from test_gate_page import Document
from tiny_shop import DAY_1, DAY_2, forget

from model.errors import Refused
from pipelines import evidence, register
from pipelines.blessing import read_blessing
from pipelines.bundle import bundle_digest
from pipelines.evidence_record import (
    PAGE,
    RECORD,
    AnswerFacts,
    DataFacts,
    Evidence,
    Serving,
    Shift,
    read_evidence,
)
from pipelines.registry import versions
from pipelines.settings import Registry, Settings
from pipelines.step import STEPS, Partition
from pipelines.tracking import client
from serving.bundle import verify
from serving.engine import Engine
from serving.ledger import LEDGER

NEW = ("Kitchen > Drinkware > Travel Cups",)  # of the sample's second day


def found(settings: Settings, ds: Any) -> Evidence:
    return read_evidence(settings, ds, bundle_digest(settings, ds))


def page(settings: Settings, ds: Any) -> str:
    return (Partition(settings, "evidence", ds).output / PAGE).read_text()


def damage(settings: Settings, digest: str) -> None:
    """The last bit of a bundle's vectors; the file is a link to that of the shop copied."""
    path = settings.root / "bundles" / digest / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_a_first_bundle_has_no_champion(shop: Settings) -> None:
    digest = bundle_digest(shop, DAY_1)
    bundle = verify(shop.root / "bundles" / digest, digest)
    verdict, record = bundle.manifest["verdict"], read_blessing(shop, digest)
    mine = found(shop, DAY_1)
    assert mine == Evidence(
        ds=DAY_1,
        bundle=digest,
        champion=None,
        champion_ds=None,
        champion_version=None,
        champion_fault=None,
        data=DataFacts(items=sum(bundle.manifest["counts"].values())),
        retrained=True,
        space_changed=True,
        recall=verdict["slices"][0]["recall"],
        champion_recall=None,
        leaf_precision=verdict["leaf_precision"],
        champion_leaf_precision=None,
        churn_net=None,
        answers=AnswerFacts(),
        serving=Serving(
            p50_ms=record["p50_ms"],
            p99_ms=record["p99_ms"],
            load_seconds=record["load_seconds"],
            memory_bytes=record["memory_bytes"],
        ),
        champion_serving=None,
        steps=mine.steps,
    )
    assert "It is the first: nothing serves yet" in page(shop, DAY_1)


def test_what_the_day_took(two_days: Settings) -> None:
    mine = found(two_days, DAY_2)
    reports = [Partition(two_days, step, DAY_2).done() for step in STEPS[:10]]
    assert [(each.step, each.seconds, each.rows) for each in mine.steps] == [
        (report.step, report.seconds, report.rows) for report in reports
    ]
    assert mine.seconds == round(sum(report.seconds for report in reports), 3)


def test_the_second_day_is_told_to_the_item(two_days: Settings) -> None:
    mine, before = found(two_days, DAY_2), found(two_days, DAY_1)
    assert mine.data == DataFacts(
        items=before.data.items + 1,
        champion_items=before.data.items,
        added=2,
        removed=1,
        changed=1,
        restated={"price": 1, "in_stock": 1},
        categories_added=NEW,
        categories_unlearned=NEW,
        shifts=mine.data.shifts,
    )
    assert (mine.champion, mine.champion_ds, mine.champion_version) == (before.bundle, DAY_1, "1")
    assert (mine.retrained, mine.space_changed) == (False, False)
    assert mine.champion_recall == before.recall
    assert mine.champion_serving == before.serving


def test_queries_are_asked_of_both_and_the_most_changed_are_shown(two_days: Settings) -> None:
    answers = found(two_days, DAY_2).answers
    assert answers.asked == {"photos": 20, "items": 20}
    assert answers.overlap is not None
    assert 0.8 < answers.overlap <= 1
    assert page(two_days, DAY_2).count("<article>") == answers.queries_changed
    assert Partition(two_days, "evidence", DAY_2).done().rows == 40


def test_what_the_gate_found_beside_this_champion(two_days: Settings) -> None:
    digest = bundle_digest(two_days, DAY_2)
    verdict = verify(two_days.root / "bundles" / digest, digest).manifest["verdict"]
    mine = found(two_days, DAY_2)
    rival = verdict["rivals"][0]
    assert (mine.churn_net, mine.leaf_precision, mine.champion_leaf_precision) == (
        verdict["churn"]["net"],
        rival["leaf_precision"],
        rival["champion"],
    )


def test_it_is_the_same_after_the_promotion(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    done, record = Partition(settings, "evidence", DAY_2).done(), found(settings, DAY_2)
    assert evidence.run(settings, DAY_2).reused
    forget(settings, DAY_2, "evidence")
    assert evidence.run(settings, DAY_2).fingerprint == done.fingerprint
    assert found(settings, DAY_2) == record
    assert "<td>promoted</td><td>policy</td>" in page(settings, DAY_2)


def test_a_champion_that_the_gate_did_not_ask_has_no_figures_of_the_gate(
    two_days_copy: CopyShop,
) -> None:
    """Another bundle came to serve between the gate and now."""
    settings = two_days_copy()
    (settings.root / LEDGER).unlink()
    forget(settings, DAY_2, "evidence")
    evidence.run(settings, DAY_2)
    mine = found(settings, DAY_2)
    assert (mine.champion, mine.churn_net, mine.champion_leaf_precision) == (None, None, None)
    assert mine.leaf_precision is not None


@pytest.mark.parametrize("fate", ["damaged", "gone"])
def test_a_lost_champion_does_not_block_its_successor(two_days_copy: CopyShop, fate: str) -> None:
    settings = two_days_copy()
    former, whole = bundle_digest(settings, DAY_1), found(settings, DAY_2)
    if fate == "gone":
        shutil.rmtree(settings.root / "bundles" / former)
        fault = f"The files of bundle {former} are not there any more."
    else:
        damage(settings, former)
        fault = f"The file vectors.npy of bundle {former} is damaged."
    forget(settings, DAY_2, "evidence")
    with capture_logs() as logs:
        evidence.run(settings, DAY_2)
    mine = found(settings, DAY_2)
    assert mine.champion_fault is not None
    assert mine.champion_fault.startswith(fault)
    assert [(log["event"], log["bundle"]) for log in logs if log["log_level"] == "warning"] == [
        ("champion.unreadable", former)
    ]
    assert mine == whole.model_copy(
        update={
            "champion_fault": mine.champion_fault,
            "data": DataFacts(
                items=whole.data.items, categories_unlearned=whole.data.categories_unlearned
            ),
            "retrained": True,
            "space_changed": True,
            "champion_recall": None,
            "answers": AnswerFacts(),
        }
    )
    assert fault in page(settings, DAY_2)


def test_a_champion_that_came_back_is_compared_with(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    whole, former = (
        found(settings, DAY_2),
        settings.root / "bundles" / bundle_digest(settings, DAY_1),
    )
    former.rename(settings.root / "aside")
    forget(settings, DAY_2, "evidence")
    evidence.run(settings, DAY_2)
    (settings.root / "aside").rename(former)
    evidence.run(settings, DAY_2)
    assert found(settings, DAY_2) == whole


def test_nobody_can_tell_other_photos_once_the_champions_day_is_cleared(
    two_days_copy: CopyShop,
) -> None:
    settings = two_days_copy()
    whole = found(settings, DAY_2)
    forget(settings, DAY_1, "index", "bless")
    forget(settings, DAY_2, "evidence")
    evidence.run(settings, DAY_2)
    data = whole.data.model_copy(update={"changed": None})
    assert found(settings, DAY_2) == whole.model_copy(update={"data": data})
    assert "Nobody can tell which photos are others" in page(settings, DAY_2)


def test_a_new_embedder_is_told(retrained: Settings) -> None:
    mine = found(retrained, DAY_2)
    assert (mine.retrained, mine.space_changed) == (True, True)
    assert mine.champion == bundle_digest(retrained, DAY_1)
    assert mine.answers.overlap is not None
    assert mine.answers.overlap < 0.9
    text = page(retrained, DAY_2)
    assert text.count("<article>") == mine.answers.queries_changed <= 40
    assert "The embedder is another." in text
    assert Document(text).open == []


def test_photos_that_cannot_be_read_are_empty_tiles(two_days_copy: CopyShop) -> None:
    settings = two_days_copy()
    digest = bundle_digest(settings, DAY_2)
    engine = Engine(verify(settings.root / "bundles" / digest, digest))
    for location in set(engine.items.table["image"].to_pylist()):
        Path(settings.root / location).unlink()
    forget(settings, DAY_2, "evidence")
    evidence.run(settings, DAY_2)
    text, mine = page(settings, DAY_2), found(settings, DAY_2)
    assert mine.answers.asked["items"] == 20
    assert text.count("<article>") == mine.answers.queries_changed
    assert ('class="tile empty"' in text) == bool(mine.answers.queries_changed)


def test_without_it_nothing_is_registered(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    digest = bundle_digest(settings, DAY_1)
    forget(settings, DAY_1, "evidence", "register")
    with pytest.raises(Refused) as refused:
        register.run(settings, DAY_1)
    assert str(refused.value) == (
        f"There is no evidence for bundle {digest}. Expected a page that compares it with what "
        f"serves. Run it first: python -m pipelines.evidence --ds {DAY_1}"
    )
    with pytest.raises(Refused, match=r"^There is no evidence for bundle 0000"):
        read_evidence(settings, DAY_1, "0000")


def test_it_lies_with_its_version(two_days: Settings, tmp_path: Path) -> None:
    newest, oldest = versions(two_days)
    for version, ds in ((newest, DAY_2), (oldest, DAY_1)):
        output = Partition(two_days, "evidence", ds).output
        for name in (PAGE, RECORD):
            stored = client(two_days).download_artifacts(version.run_id, name, str(tmp_path))
            assert Path(stored).read_bytes() == (output / name).read_bytes()
        mine = found(two_days, ds)
        net = "unknown" if mine.churn_net is None else str(mine.churn_net)
        tags = {name: tag for name, tag in version.tags.items() if name.startswith("evidence.")}
        assert tags == {
            "evidence.churn_net": net,
            "evidence.items": str(mine.data.items),
            "evidence.retrained": str(mine.retrained),
        }


def test_a_version_gets_its_newest_evidence(two_days_copy: CopyShop, tmp_path: Path) -> None:
    """The ledger changed since it was registered: it would replace nothing any more."""
    settings = two_days_copy(registry=Registry(model="another"))
    register.run(settings, DAY_2)
    (settings.root / LEDGER).unlink()
    evidence.run(settings, DAY_2)
    assert register.run(settings, DAY_2).details["version"] == "1"
    (version,) = versions(settings)
    stored = client(settings).download_artifacts(version.run_id, RECORD, str(tmp_path))
    assert Evidence.model_validate_json(Path(stored).read_bytes()).champion is None
    assert version.tags["evidence.churn_net"] == "unknown"


def test_shifts_are_those_of_the_items(two_days: Settings) -> None:
    data = found(two_days, DAY_2).data
    assert sum(each.now - each.was for each in data.shifts) == 1
    assert all(isinstance(each, Shift) and each.now != each.was for each in data.shifts)
    assert tuple(each.category for each in data.shifts if not each.was) == NEW
