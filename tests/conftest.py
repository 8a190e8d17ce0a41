"""Shops that many tests read: built once a session, and only if a test asks for one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from tiny_shop import (
    DAY_1,
    DAY_2,
    copy_shop,
    draw_shop,
    import_day_2,
    run_steps,
    tiny_settings,
)

from pipelines.settings import Localise, Settings, Train
from pipelines.step import STEPS, locked
from serving.ledger import LEDGER

CopyShop = Callable[..., Settings]

hypothesis_settings.register_profile("busy machine", deadline=None)
hypothesis_settings.load_profile("busy machine")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither a lookalike.toml nor LOOKALIKE_* of the developer reach a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
            patch.delenv(name)
        empty = tmp_path_factory.mktemp("config") / "empty.toml"
        empty.touch()
        patch.setenv("LOOKALIKE_CONFIG", str(empty))
        yield


@pytest.fixture(scope="session")
def migrations_read_once() -> None:
    from empty_registry import read_migrations_once  # MLflow takes three seconds to import

    read_migrations_once()


@pytest.fixture(scope="session")
def shop(migrations_read_once: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The first day, from ingest to promote. Read only: see `shop_copy`."""

    def build(root: Path) -> None:
        run_steps(draw_shop(root), DAY_1)

    return tiny_settings(built_once(tmp_path_factory, "shop", build))


@pytest.fixture(scope="session")
def two_days(shop: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """`shop` after its second day. Read only: see `two_days_copy`."""

    def build(root: Path) -> None:
        settings = copy_shop(shop, root)
        import_day_2(settings)
        run_steps(settings, DAY_2)

    return tiny_settings(built_once(tmp_path_factory, "two_days", build))


@pytest.fixture(scope="session")
def retrained(two_days: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The second day again, by another recipe: another embedder, reducer, index and bundle.

    Its localiser learned from where the classifier looks, as that of a shop with few boxes.
    """
    recipe = Train(width=8, blocks=(1, 1), epochs=1, projection=0.75, seed=1)
    few_boxes = Localise(boxes="auto", min_boxes=10_000, width=4, epochs=1)

    def build(root: Path) -> None:
        settings = copy_shop(two_days, root, train=recipe, localise=few_boxes)
        ledger = settings.root / LEDGER  # the first day serves, as when the second day began
        ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
        run_steps(settings, DAY_2, STEPS[2:])

    return tiny_settings(built_once(tmp_path_factory, "retrained", build), train=recipe)


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """The root that `build` makes, by the first of the session's processes that asks for it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with locked(folder.with_suffix(".lock")):
        if not (folder / "built").exists():
            shutil.rmtree(folder, ignore_errors=True)
            build(folder / "root")
            (folder / "built").touch()
    return folder / "root"


@pytest.fixture
def shop_copy(shop: Settings, tmp_path: Path) -> CopyShop:
    """`shop_copy(reduce=Reduce(dimensions=2))`: a private copy, with other sections."""
    return _copier(shop, tmp_path)


@pytest.fixture
def two_days_copy(two_days: Settings, tmp_path: Path) -> CopyShop:
    return _copier(two_days, tmp_path)


def _copier(settings: Settings, folder: Path) -> CopyShop:
    def copy(name: str = "root", **given: Any) -> Settings:
        return copy_shop(settings, folder / name, **given)

    return copy
