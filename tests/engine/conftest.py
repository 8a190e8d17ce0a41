"""One bundle for all tests of the engine, and what answers from it."""

from pathlib import Path

import pytest
from tiny_bundle import add_bundle

from engine.shop import ITEMS
from serving.bundle import verify
from serving.engine import Engine


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="package")
def digest(root: Path) -> str:
    return add_bundle(root, items=ITEMS)


@pytest.fixture(scope="package")
def engine(root: Path, digest: str) -> Engine:
    return Engine(verify(root / "bundles" / digest, digest), threads=1)
