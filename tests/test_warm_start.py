"""A training that starts from the network of an earlier day, whatever moved since."""

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.backbone import Network, build
from model.errors import BadInput, Damaged
from model.pixel_spec import PixelSpec
from model.taxonomy import Taxonomy
from model.warm_start import CLOSED, Head, check_pixels, inherit, warm_start

# 2026-11: Keras 3.15 copies TensorFlow variables to NumPy 2 the old way when it saves weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

Floats = npt.NDArray[np.floating]

SIDE = 16
GREY = {"mean": [200.0] * 3, "deviation": [60.0] * 3}
TINY = Network(blocks=(1,), width=8)
COLOURS = {
    "Fashion > Bags": (30, 90, 180),
    "Fashion > Hats": (200, 40, 60),
    "Home > Cups": (60, 150, 110),
    "Home > Mugs": (20, 20, 20),
    "Home > Posters": (120, 200, 230),
    "Home > Lamps > Floor": (190, 120, 20),
    "Home > Lamps > Table": (235, 180, 40),
    "Home > Rugs": (130, 60, 160),
    "Garden": (90, 230, 60),
}
SAME = ("Fashion > Bags", "Fashion > Hats")
FORMER = Taxonomy((*SAME, "Home > Cups", "Home > Lamps", "Home > Mugs", "Home > Posters"))
NOW = FORMER.rearranged(
    {
        "Home > Cups": ("Home > Crockery",),
        "Home > Mugs": ("Home > Crockery",),
        "Home > Lamps": ("Home > Lamps > Floor", "Home > Lamps > Table"),
        "Home > Posters": (),
    }
).extended(
    ["Home > Crockery", "Home > Lamps > Floor", "Home > Lamps > Table", "Home > Rugs", "Garden"]
)
PARENT = {path: path for path in COLOURS} | {
    "Home > Lamps > Floor": "Home > Lamps",
    "Home > Lamps > Table": "Home > Lamps",
}


def photos(
    paths: list[str], seed: int, *, each: int = 12
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Discs in the colour of their category, of their own shade and place, on noise."""
    rng = np.random.default_rng(seed)
    names = [path for path in paths for _ in range(each)]
    pixels = rng.integers(200, 256, (len(names), SIDE, SIDE, 3))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for photo, name in zip(pixels, names, strict=True):
        x, y = rng.uniform(6, 10, 2)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(5, 7) ** 2
        photo[inside] = COLOURS[name] + rng.integers(-20, 21, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8), names


def network(
    leaves: int, brands: int = 0, *, like: Network = TINY, side: int | None = None
) -> keras.Model:
    return build(like, leaves, **GREY, side=side, attributes={"brand": brands} if brands else {})


def learn(model: keras.Model, pixels: Floats, leaf: Floats, *, epochs: int) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss={"logits": loss})
    model.fit(pixels, {"logits": leaf}, epochs=epochs, batch_size=12, verbose=0)
    return model


def logits(model: keras.Model, pixels: Floats, name: str = "logits") -> Floats:
    return np.asarray(keras.ops.convert_to_numpy(model(pixels, training=False)[name]))


def ids(names: list[str], taxonomy: Taxonomy, rename: Mapping[str, str]) -> npt.NDArray[np.int32]:
    return np.array([taxonomy.ids[rename.get(name, name)] for name in names], np.int32)


def right(model: keras.Model, pixels: Floats, leaf: Floats) -> float:
    return float(np.mean(logits(model, pixels).argmax(axis=1) == leaf))


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that learned FORMER."""
    keras.utils.set_random_seed(1)
    sold = [path for path in COLOURS if path not in ("Home > Rugs", "Garden")]
    pixels, names = photos(sold, 0)
    model = learn(network(len(FORMER.leaves)), pixels, ids(names, FORMER, PARENT), epochs=12)
    path = tmp_path_factory.mktemp("former") / "model.keras"
    model.save(path)
    return path


def warm(former: Path, head: Head | None = None, seed: int = 2) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = network(len(NOW.leaves))
    warm_start(model, former, {"leaf": head or Head(FORMER, NOW)})
    return model


def test_nothing_changes_but_the_heads(former: Path) -> None:
    before, after = keras.saving.load_model(former), warm(former)
    pixels, _ = photos(list(COLOURS), 3, each=3)
    for name in ("stem", "stage1", "embedding"):
        np.testing.assert_array_equal(logits(after, pixels, name), logits(before, pixels, name))
    assert getattr(after, "optimizer", None) is None


def test_unchanged_leaves_are_as_right_as_before(former: Path) -> None:
    before, after = keras.saving.load_model(former), warm(former)
    pixels, names = photos(list(SAME), 3, each=40)
    places = [FORMER.ids[path] for path in SAME]
    np.testing.assert_allclose(
        logits(after, pixels)[:, places], logits(before, pixels)[:, places], rtol=1e-5, atol=1e-4
    )
    accuracy = right(before, pixels, ids(names, FORMER, {}))
    assert accuracy > 0.8
    assert right(after, pixels, ids(names, NOW, {})) == accuracy


def test_odds_of_merged_split_new_and_retired_leaves(former: Path) -> None:
    """12 cups and 36 mugs were known; of the lamps 9 are floor lamps and 29 are table lamps."""
    counts = np.array([12, 12, 12, 12, 36, 0]) - 1
    today = np.zeros(len(NOW.leaves), np.int64)
    today[NOW.ids["Home > Lamps > Floor"]], today[NOW.ids["Home > Lamps > Table"]] = 9, 29
    before = keras.saving.load_model(former)
    after = warm(former, Head(FORMER, NOW, counts, today))
    pixels, _ = photos(list(COLOURS), 3, each=4)
    old = dict(zip(FORMER.leaves, logits(before, pixels).T.astype(np.float64), strict=True))
    new = dict(zip(NOW.leaves, logits(after, pixels).T.astype(np.float64), strict=True))

    def same(one: Floats, other: Floats) -> None:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)

    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    same(new["Home > Crockery"], 0.25 * old["Home > Cups"] + 0.75 * old["Home > Mugs"] + entropy)
    both = np.exp(old["Home > Cups"]) + np.exp(old["Home > Mugs"])
    assert (np.exp(new["Home > Crockery"]) <= 1.001 * both).all()
    same(new["Home > Lamps > Floor"], old["Home > Lamps"] + math.log(0.25))
    same(new["Home > Lamps > Table"], old["Home > Lamps"] + math.log(0.75))
    kin = [new[path] for path in new if path.startswith("Home") and NOW.open[NOW.ids[path]]]
    kin = [logit for logit in kin if logit is not new["Home > Rugs"]]
    assert len(kin) == 3
    same(new["Home > Rugs"], np.mean(kin, axis=0))
    everything = [*kin, *(new[path] for path in SAME)]
    same(new["Garden"], np.mean(everything, axis=0))
    for path in ("Home > Cups", "Home > Lamps", "Home > Mugs", "Home > Posters"):
        same(new[path], np.full(len(pixels), CLOSED))


def test_an_epoch_later_it_knows_more_than_one_from_scratch(former: Path) -> None:
    sold = [path for path in COLOURS if path != "Home > Posters"]
    rename = {"Home > Cups": "Home > Crockery", "Home > Mugs": "Home > Crockery"}
    train, test = photos(sold, 5), photos(sold, 6)
    keras.utils.set_random_seed(2)
    scratch = network(len(NOW.leaves))
    found = [
        right(
            learn(model, train[0], ids(train[1], NOW, rename), epochs=1),
            test[0],
            ids(test[1], NOW, rename),
        )
        for model in (warm(former), scratch)
    ]
    assert found[0] > found[1] + 0.2


def test_a_value_of_an_attribute_keeps_its_row_by_name(tmp_path: Path) -> None:
    brands = (Taxonomy(("Acme", "Birch", "Corvo")), Taxonomy(("Aster", "Birch", "Acme", "Corvo")))
    before, after = network(6, 3), network(6, 4)
    before.save(tmp_path / "model.keras")
    heads = {"leaf": Head(FORMER, FORMER), "attribute_brand": Head(*brands)}
    warm_start(after, tmp_path / "model.keras", heads)
    pixels, _ = photos(["Garden"], 0)
    old, new = (logits(model, pixels, "attribute_brand") for model in (before, after))
    expected = np.stack([old.mean(axis=1), old[:, 1], old[:, 0], old[:, 2]], axis=1)
    np.testing.assert_allclose(new, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(logits(after, pixels), logits(before, pixels))


@pytest.mark.parametrize("brands", [(0, 3), (3, 0)])
def test_an_attribute_may_come_and_go(tmp_path: Path, brands: tuple[int, int]) -> None:
    before, after = (network(6, count) for count in brands)
    before.save(tmp_path / "model.keras")
    fresh = after.get_layer("attribute_brand").get_weights() if brands[1] else []
    warm_start(after, tmp_path / "model.keras", {"leaf": Head(FORMER, FORMER)})
    pixels, _ = photos(["Garden"], 0)
    np.testing.assert_array_equal(logits(after, pixels), logits(before, pixels))
    kept = after.get_layer("attribute_brand").get_weights() if brands[1] else []
    assert [each.tolist() for each in kept] == [each.tolist() for each in fresh]


LEAVES = st.lists(
    st.sampled_from([f"{top} > {name}" for top in "AB" for name in "vwxyz"]),
    min_size=1, max_size=6, unique=True,
)  # fmt: skip


@given(LEAVES, LEAVES, st.integers(0, 2**32 - 1), st.data())
def test_no_leaf_claims_odds_that_its_photos_did_not_have(
    before: list[str], new: list[str], seed: int, data: st.DataObject
) -> None:
    former = Taxonomy(tuple(before))
    goals = st.lists(st.sampled_from([*"NOPQ", *before]), max_size=3, unique=True).map(tuple)
    moves = data.draw(st.dictionaries(st.sampled_from(before), goals, max_size=4))
    try:
        now = former.rearranged(moves)
    except BadInput:  # a circle
        return
    sold = [end for path in before for end in now.now(path)]
    now = now.extended([*sold, *(end for path in new for end in now.now(path))])
    rng = np.random.default_rng(seed)
    counts = (rng.integers(0, 50, len(before)), rng.integers(0, 50, len(now.leaves)))
    found = inherit(Head(former, now, *counts))
    logits = rng.normal(0, 3, len(before))
    odds = np.exp(found.weights @ logits + found.offset)

    follow = [{former for former in before if leaf in now.now(former)} for leaf in now.leaves]
    ours = np.array([bool(names) for names in follow]) & now.open
    kept = sum(np.exp(logits[number]) for number, path in enumerate(before) if now.now(path))
    assert odds[ours].sum() <= kept * 1.001
    if all(len(names) < 2 for names in follow):  # nothing merged, so nothing is lost either
        assert odds[ours].sum() == pytest.approx(kept, rel=1e-3)
    for place, names in enumerate(follow):
        if ours[place] and len(names) == 1 and len(now.now(*names)) == 1:
            assert odds[place] == pytest.approx(np.exp(logits[before.index(*names)]), rel=1e-3)
    newcomers = now.open & ~ours
    assert (odds[newcomers] <= odds[ours].max(initial=1) * 1.001).all()
    np.testing.assert_allclose(odds[~now.open], math.exp(CLOSED), rtol=1e-4)
    np.testing.assert_allclose(found.weights[now.open].sum(axis=1), float(ours.any()), atol=1e-5)


def test_a_leaf_that_was_closed_then_is_new_when_it_comes_back() -> None:
    closed = Taxonomy(("A > x", "A > y", "B")).rearranged({"A > y": ()})
    back = closed.rearranged({"A > y": ("A > y",)})
    found = inherit(Head(closed, back))
    np.testing.assert_array_equal(found.weights, np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]]))
    np.testing.assert_array_equal(found.offset, np.zeros(3))


def test_without_anyone_to_follow_a_row_is_zero() -> None:
    found = inherit(Head(Taxonomy(("a",)).rearranged({"a": ()}), Taxonomy(("b", "c"))))
    np.testing.assert_array_equal(found.weights, np.zeros((2, 1)))
    np.testing.assert_array_equal(found.offset, np.zeros(2))


@pytest.mark.parametrize(
    ("like", "leaves", "side", "message"),
    [
        (Network(blocks=(1,), width=4), 11, None, r"Expected \('stem/kernel', \(3, 3, 3, 4\)\)"),
        (Network(blocks=(1, 1), width=8), 11, None, "is built in another way"),
        (Network(blocks=(2,), width=8), 11, None, "is built in another way"),
        (Network(blocks=(1,), width=8, shallow=True), 11, None, "is built in another way"),
        (TINY, 11, SIDE, r"Expected \(16, 16, 3\). Received: \(None, None, 3\)"),
        (TINY, 5, None, r"head `leaf` .* a head \(8, 11\). Received: \(8, 6\) for \(8, 5\)"),
    ],
)
def test_another_network_is_refused_and_nothing_taken_over(
    former: Path, like: Network, leaves: int, side: int | None, message: str
) -> None:
    fresh = network(leaves, like=like, side=side)
    before = fresh.get_weights()
    with pytest.raises(BadInput, match=message) as caught:
        warm_start(fresh, former, {"leaf": Head(FORMER, NOW)})
    assert 'Set train.start = "scratch".' in str(caught.value)
    for one, other in zip(fresh.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_backbone_of_others_is_taken_over_too(tmp_path: Path) -> None:
    like = Network(backbone="keras.applications.MobileNetV2")
    before, after = (network(6, like=like, side=32) for _ in range(2))
    before.save(tmp_path / "model.keras")
    warm_start(after, tmp_path / "model.keras", {"leaf": Head(FORMER, FORMER)})
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(logits(after, pixels), logits(before, pixels))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_weights(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 4, len(data) // 2, 97):
        data[place] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, empty, without_weights, flipped, Path.unlink])
def test_a_damaged_file_is_named(
    former: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(former.read_bytes())
    damage(path)
    with pytest.raises(Damaged, match=r"model\.keras: .* Set train\.start = \"scratch\"\."):
        warm_start(network(len(NOW.leaves)), path, {"leaf": Head(FORMER, NOW)})


def test_other_pixels_are_refused() -> None:
    spec = PixelSpec.parse("decode|orient|resize(32)|pad")
    check_pixels(str(spec), spec)
    with pytest.raises(BadInput, match=r"Expected: .*resize\(32\).* Received: .*resize\(64\)"):
        check_pixels("decode|orient|resize(64)|pad", spec)
