"""The forms of the embedder, asked with photos of the catalogue."""

import numpy as np
import pytest
from tiny_shop import DAY_1

from pipelines.catalogue import read_catalogue
from pipelines.content_store import View
from pipelines.embed import embedder_path, embedding_store
from pipelines.forms import read_forms
from pipelines.settings import Embed, Settings
from serving.embedder import Embedder
from serving.index import Vectors


def asked(settings: Settings, n: int) -> tuple[View, Vectors]:
    """Photos of the first items, and their float32 vectors."""
    catalogue = read_catalogue(settings, DAY_1)
    keys = catalogue.items["pixel_key"].to_pylist()[:n]
    store, shards = embedding_store(settings, DAY_1)
    return catalogue.pixels.view(catalogue.shards, keys), store.view(shards, keys)[:]


@pytest.mark.parametrize("precisions", [("float32", "int8"), ("int8",), ("int8", "int8")])
def test_float32_is_always_there_and_first(shop: Settings, precisions: tuple[str, ...]) -> None:
    photos, vectors = asked(shop, 200)
    embed = Embed.model_validate({"precisions": precisions})
    settings = shop.model_copy(update={"embed": embed})
    (exact, int8), absent = read_forms(settings, DAY_1, photos, vectors)
    assert (exact.precision, int8.precision, absent) == ("float32", "int8", {})
    np.testing.assert_array_equal(exact.full, vectors)
    wanted, _ = Embedder(embedder_path(shop, DAY_1, "int8")).embed(photos[:])
    np.testing.assert_array_equal(int8.full, wanted)
    assert not np.array_equal(int8.full, vectors)
    assert exact.photos_per_second > 0
    assert int8.photos_per_second > 0


def test_what_was_not_made_is_absent_with_the_reason(shop: Settings) -> None:
    settings = shop.model_copy(update={"embed": Embed(precisions=("float32", "bfloat16"))})
    photos, vectors = asked(shop, 3)
    (exact,), absent = read_forms(settings, DAY_1, photos, vectors)
    assert exact.precision == "float32"
    (why,) = absent.values()
    assert why in (
        f"`embed` made no bfloat16 embedder for {DAY_1}. Run it again.",
        "The processor has no instructions for bfloat16.",
    )


def test_a_shop_without_queries_has_forms_too(shop: Settings) -> None:
    photos, vectors = asked(shop, 0)
    forms, _ = read_forms(shop, DAY_1, photos, vectors)
    assert [form.full.shape for form in forms] == [vectors.shape] * 2
    assert all(form.photos_per_second > 0 for form in forms)
