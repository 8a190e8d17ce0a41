"""Shops that many tests read: built once a session, and only if a test asks for one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from tiny_shop import DAY_1, DAY_2, copy_shop, draw_shop, import_day_2, run_steps

from pipelines.settings import Settings, Train
from pipelines.step import STEPS
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
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The first day, from ingest to promote. Read only: see `shop_copy`."""
    settings = draw_shop(tmp_path_factory.mktemp("shop") / "root")
    run_steps(settings, DAY_1)
    return settings


@pytest.fixture(scope="session")
def two_days(shop: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """`shop` after its second day. Read only: see `two_days_copy`."""
    settings = copy_shop(shop, tmp_path_factory.mktemp("two_days") / "root")
    import_day_2(settings)
    run_steps(settings, DAY_2)
    return settings


@pytest.fixture(scope="session")
def retrained(two_days: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The second day again, by another recipe: another embedder, reducer, index and bundle."""
    root = tmp_path_factory.mktemp("retrained") / "root"
    recipe = Train(width=8, blocks=(1, 1), epochs=1, projection=0.75, seed=1)
    settings = copy_shop(two_days, root, train=recipe)
    ledger = settings.root / LEDGER  # the first day serves, as when the second day began
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    run_steps(settings, DAY_2, STEPS[2:])
    return settings


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
