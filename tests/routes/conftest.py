"""One server for all tests of the routes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_bundle import make_root, site

from routes.answers import champion_digest
from serving.bundle import verify
from serving.engine import Engine


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="package")
def url(root: Path) -> Iterator[str]:
    with site(root) as url:
        yield url


@pytest.fixture(scope="package")
def engine(root: Path) -> Engine:
    digest = champion_digest(root)
    return Engine(verify(root / "bundles" / digest, digest))
