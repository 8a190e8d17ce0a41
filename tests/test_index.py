"""One contract for every engine: the same answers, limits and errors, before and after a move."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BadInput
from model.reducer import unit
from serving.engines import build_index, engine_of, load_index, rebuilt
from serving.exact import BLOCK_BYTES, ExactIndex
from serving.index import MISSING, Index, Rows, Vectors, merge
from serving.scann_index import MIN_VECTORS, ScannForm

# Each engine at the sizes of its contract, and each form: rows, dimensions, how near a score is to
# the cosine, and the recall@10 of neighbours in loose groups.
SIZES = {
    "exact": (0, 1, 5, 16, 1000),
    "scann": (16, 17, 1000),
    "faiss:HNSW16": (1, 5, 16),
    "faiss:Flat": (1, 5, 1000),
}
FORMS = {
    "scann:brute,float32": (1000, 16, 1e-5, 1.0),
    "scann:brute,bfloat16": (1000, 16, 0.01, 0.97),
    "scann:brute,int8": (1000, 16, 0.02, 0.93),
    "scann:ah=2,float32": (25_000, 32, 1e-5, 0.9),
    "scann:tree=331,ah=2,float32": (110_000, 16, 1e-5, 0.9),
    "scann:tree=200,soar=1.5,avq=2.5,ah=2,bfloat16": (20_000, 16, 0.01, 0.9),
    "scann:tree=400,upper=20,soar=1.5,avq=2.5,ah=2,int8": (20_000, 16, 0.02, 0.85),
    "faiss:HNSW32": (10_000, 16, 1e-5, 0.9),
    "faiss:HNSW32_SQ8": (10_000, 16, 0.02, 0.9),
    "faiss:IVF64,PQ8x4fs,Refine(SQ8)": (10_000, 16, 0.02, 0.9),
    "faiss:IVF64,RaBitQ,RFlat": (10_000, 16, 1e-5, 0.8),
    "faiss:LSH256r": (5_000, 16, 0.3, 0.4),
    "two-stage:lists=64,code=2": (10_000, 16, 0.02, 0.85),
}


def vectors(n: int, dimensions: int, seed: int = 0) -> Vectors:
    """Unit vectors in loose groups, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(300, dimensions))
    spread = 0.7 * rng.normal(size=(n, dimensions))
    return unit(centres[rng.integers(0, 300, n)] + spread)


@pytest.fixture(scope="module", params=FORMS)
def built(request: pytest.FixtureRequest) -> tuple[Vectors, Index]:
    """An index of each form, built once."""
    n, dimensions, *_ = FORMS[request.param]
    base = vectors(n, dimensions)
    return base, build_index(base, request.param)


def equal(first: tuple[Rows, Vectors], second: tuple[Rows, Vectors]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def check_answer(
    base: Vectors, queries: Vectors, k: int, answer: tuple[Rows, Vectors], near: float = 1e-5
) -> None:
    """Shapes, types, order, and each score near the product with the row it stands beside."""
    rows, scores = answer
    assert (rows.shape, scores.shape) == ((len(queries), k), (len(queries), k))
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)
    missing = rows == MISSING
    np.testing.assert_array_equal(np.isneginf(scores), missing)
    assert (rows >= MISSING).all()
    assert (rows < len(base)).all()
    for row, score, gone in zip(rows, scores, missing, strict=True):
        known = row[~gone]
        assert len(set(known.tolist())) == len(known)
        assert (np.diff(gone.astype(int)) >= 0).all()
        assert (np.diff(score[~gone]) <= 0).all()
    products = np.einsum("qd,qkd->qk", queries, base[rows])
    np.testing.assert_allclose(scores[~missing], products[~missing], atol=near)


# Every engine.


@pytest.mark.parametrize(
    ("engine", "n"), [(engine, n) for engine, sizes in SIZES.items() for n in sizes]
)
def test_the_contract(engine: str, n: int, tmp_path: Path) -> None:
    base, queries = vectors(n, 16), vectors(7, 16, seed=1)
    index = build_index(base, engine)
    assert len(index) == n
    truth = ExactIndex(base)
    for k in (1, 10, n + 5):
        answer = index.search(queries, k)
        check_answer(base, queries, min(k, n), answer)
        np.testing.assert_allclose(answer[1], truth.search(queries, k)[1], atol=1e-5)
        check_answer(base, queries[:0], min(k, n), index.search(queries[:0], k))
    if n:
        own = index.search(base, 1)
        assert own[0][:, 0].tolist() == list(range(n))
        np.testing.assert_allclose(own[1], np.ones((n, 1)), atol=1e-5)
    index.save(tmp_path / "index")
    moved = shutil.move(tmp_path / "index", tmp_path / "elsewhere")
    again = load_index(Path(moved), index.description)
    assert (len(again), again.description) == (n, index.description)
    equal(again.search(queries, 10), index.search(queries, 10))


@pytest.mark.parametrize("n", [0, 1, MIN_VECTORS - 1])
def test_scann_refuses_what_it_cannot_train_on(n: int) -> None:
    with pytest.raises(BadInput) as caught:
        build_index(vectors(n, 8), "scann")
    assert str(caught.value) == (
        f"Too few vectors for ScaNN. Expected at least 16. Received: {n}. Use the exact engine."
    )


@pytest.mark.parametrize("engine", ["scann", "faiss:HNSW16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_indexed(engine: str, value: float) -> None:
    base = vectors(20, 8)
    base[3, 3] = value
    with pytest.raises(BadInput) as caught:
        build_index(base, engine)
    assert str(caught.value) == (
        "The vectors to index hold NaN or infinity. Expected finite numbers."
    )


@pytest.mark.parametrize("engine", ["", "annoy", "scann:", "faiss", "faiss:", "exact:1", "HNSW32"])
def test_unknown_engines(engine: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_index(vectors(20, 8), engine)
    assert str(caught.value) == (
        f"Unknown index engine. Expected `exact`, `scann:FORM`, `faiss:FACTORY` or `two-stage`. "
        f"Received: `{engine}`."
    )


@pytest.mark.parametrize(
    ("factory", "reason"),
    [("Sparkle", "could not parse"), ("IVF64,Flat", "at least as large"), ("PQ3", "multiple")],
)
def test_what_faiss_cannot_build(factory: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_index(vectors(20, 8), f"faiss:{factory}")
    text = str(caught.value)
    assert text.startswith(
        f"Cannot build the Faiss index. Expected a factory string that 20 vectors of 8 dimensions "
        f"can fill, such as `HNSW32_SQ8`. Received: `{factory}`: "
    )
    assert reason in text


@pytest.mark.parametrize("engine", SIZES)
@pytest.mark.parametrize("k", [0, -3])
def test_k_is_at_least_one(engine: str, k: int) -> None:
    index = build_index(vectors(20, 8), engine)
    with pytest.raises(BadInput) as caught:
        index.search(vectors(2, 8), k)
    assert str(caught.value) == f"Invalid `k`. Expected at least 1. Received: {k}."


def queries_with(value: float) -> Vectors:
    queries = vectors(3, 8)
    queries[1, 2] = value
    return queries


NOT_FINITE = "A query vector holds NaN or infinity. Expected finite numbers."
NO_DIRECTION = "A query vector is all zeros. It has no direction, so nothing is near it."


@pytest.mark.parametrize("engine", SIZES)
@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (queries_with(np.nan), NOT_FINITE),
        (queries_with(np.inf), NOT_FINITE),
        (queries_with(-np.inf), NOT_FINITE),
        (np.zeros((1, 8), np.float32), NO_DIRECTION),
        (np.stack([vectors(1, 8)[0], np.zeros(8, np.float32)]), NO_DIRECTION),
        (vectors(2, 7), "Wrong query shape. Expected [queries, 8]. Received: (2, 7)."),
        (vectors(1, 8)[0], "Wrong query shape. Expected [queries, 8]. Received: (8,)."),
        (vectors(2, 8)[None], "Wrong query shape. Expected [queries, 8]. Received: (1, 2, 8)."),
        (
            np.empty((0, 7), np.float32),
            "Wrong query shape. Expected [queries, 8]. Received: (0, 7).",
        ),
    ],
)
def test_queries_without_an_answer_are_refused(engine: str, queries: Vectors, message: str) -> None:
    index = build_index(vectors(20, 8), engine)
    with pytest.raises(BadInput) as caught:
        index.search(queries, 5)
    assert str(caught.value) == message


@pytest.mark.parametrize("engine", SIZES)
def test_queries_in_any_layout_are_welcome(engine: str) -> None:
    base, queries = vectors(100, 8), vectors(6, 8, seed=2)
    index = build_index(base, engine)
    expected = index.search(queries, 5)
    equal(index.search(np.asfortranarray(queries), 5), expected)
    equal(index.search(queries.astype(np.float64), 5), expected)
    equal(index.search(np.repeat(queries, 2, axis=0)[::2], 5), expected)


@pytest.mark.parametrize("engine", SIZES)
def test_duplicates_are_all_found(engine: str) -> None:
    base = np.concatenate([vectors(200, 8), np.repeat(vectors(1, 8, seed=5), 30, axis=0)])
    rows, scores = build_index(base, engine).search(base[-1:], 30)
    assert sorted(rows[0].tolist()) == list(range(200, 230))
    np.testing.assert_allclose(scores, np.ones((1, 30)), atol=1e-5)


@pytest.mark.parametrize("engine", SIZES)
def test_searching_changes_neither_queries_nor_answers(engine: str) -> None:
    index, queries = build_index(vectors(500, 8), engine), vectors(9, 8, seed=3)
    kept = queries.copy()
    expected = index.search(queries, 4)
    np.testing.assert_array_equal(queries, kept)
    equal(index.search(queries, 4), expected)


def test_another_engine_is_not_loaded(tmp_path: Path) -> None:
    for description, received in (({"engine": "annoy"}, "annoy"), ({}, "None")):
        with pytest.raises(BadInput) as caught:
            load_index(tmp_path, description)
        assert str(caught.value).endswith(f"Received: `{received}`.")


# The exact engine.


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 70), st.integers(0, 1000))
def test_exact_equals_sorting_everything(n: int, q: int, k: int, seed: int) -> None:
    base, queries = vectors(n, 5, seed), vectors(q, 5, seed + 1)
    rows, scores = ExactIndex(base).search(queries, k)
    check_answer(base, queries, min(k, n), (rows, scores))
    expected = -np.sort(-(queries @ base.T), axis=1)[:, :k]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_exact_takes_the_first_of_equals() -> None:
    base = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    rows, scores = ExactIndex(base).search(np.array([[0.6, 0.8, 0.0]], np.float32), 6)
    assert rows.tolist() == [[2, 3, 0, 1, 4, 5]]
    assert scores[0].tolist() == pytest.approx([0.8, 0.8, 0.6, 0.6, 0, 0])


def test_exact_searches_block_by_block() -> None:
    base = vectors(40_000, 4)
    block = BLOCK_BYTES // (4 * len(base))
    queries = vectors(block + 3, 4, seed=1)
    rows, scores = ExactIndex(base).search(queries, 3)
    edge = slice(block - 2, block + 3)
    alone = ExactIndex(base).search(queries[edge], 3)
    np.testing.assert_array_equal(rows[edge], alone[0])
    np.testing.assert_allclose(scores[edge], alone[1], atol=1e-6)


# Every form.


def test_each_form_finds_the_neighbours(built: tuple[Vectors, Index]) -> None:
    base, index = built
    engine = engine_of(index.description)
    n, dimensions, near, least = FORMS[engine]
    assert (index.description["n"], index.description["dimensions"]) == (n, dimensions)
    queries = vectors(200, dimensions, seed=1)
    answer = index.search(queries, 10)
    check_answer(base, queries, 10, answer, near)
    one = [index.search(query[None], 10)[1][0] for query in queries]
    np.testing.assert_allclose(np.stack(one), answer[1], atol=1e-5)
    _, truth = ExactIndex(base).search(queries, 10)
    found = np.einsum("qd,qkd->qk", queries, base[answer[0]])
    assert (found >= truth[:, -1:] - 1e-4).mean() >= least


def test_each_form_answers_the_same_after_a_move(
    built: tuple[Vectors, Index], tmp_path: Path
) -> None:
    base, index = built
    queries = vectors(50, base.shape[1], seed=2)
    index.save(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    again = load_index(tmp_path / "there", index.description)
    equal(again.search(queries, 10), index.search(queries, 10))
    names = {path.suffix for path in (tmp_path / "there").rglob("*")}
    assert names <= {".npy", ".pb", ".pbtxt", ".faiss", ".bin", ".json"}  # no pickle


def test_a_short_answer_ends_with_missing(built: tuple[Vectors, Index]) -> None:
    base, index = built
    near = FORMS[engine_of(index.description)][2]
    queries = vectors(2, base.shape[1], seed=3)
    rows, scores = index.search(queries, len(base) + 1)
    check_answer(base, queries, len(base), (rows, scores), near)


def test_more_effort_finds_no_less(built: tuple[Vectors, Index]) -> None:
    base, index = built
    queries = vectors(200, base.shape[1], seed=4)
    _, truth = ExactIndex(base).search(queries, 10)
    effort = dict(index.description["effort"])  # type: ignore[call-overload]

    def recall(value: int) -> float:
        rows, _ = index.with_effort(dict.fromkeys(effort, value)).search(queries, 10)
        scores = np.where(rows < 0, -1, np.einsum("qd,qkd->qk", queries, base[rows]))
        return float((scores >= truth[:, -1:] - 1e-4).mean())

    least, most = recall(1), recall(300)
    assert least < most if effort else least == most
    seven = dict.fromkeys(effort, 7)
    assert index.with_effort(seven).description["effort"] == seven
    assert index.description["effort"] == effort


@pytest.mark.parametrize(
    ("factory", "names"),
    [
        ("PCA8,HNSW8", ["efSearch"]),
        ("L2norm,HNSW8_SQ8", ["efSearch"]),
        ("IVF16_HNSW8,Flat", ["nprobe"]),
        ("OPQ4,IVF16,PQ4x4fs,RFlat", ["nprobe", "k_factor_rf"]),
        ("Flat", []),
    ],
)
def test_a_factory_brings_its_effort(factory: str, names: list[str]) -> None:
    index = build_index(vectors(1000, 16), f"faiss:{factory}")
    assert list(index.description["effort"]) == names  # type: ignore[call-overload]
    assert len(index.with_effort(dict.fromkeys(names, 4)).search(vectors(3, 16, seed=1), 5)[0]) == 3


def test_an_index_of_an_earlier_version_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="^This index was written by an earlier version"):
        load_index(tmp_path, {"engine": "scann", "form": "brute force", "n": 3, "dimensions": 2})


def test_a_rebuilt_index_is_of_the_same_engine_and_effort() -> None:
    base = vectors(3000, 16)
    index = build_index(base, "faiss:HNSW16").with_effort({"efSearch": 33})
    again = rebuilt(index, base[:2000])
    assert again.description == {**index.description, "n": 2000}


@pytest.mark.parametrize(
    "text",
    ["", "tree", "tree=x,ah=2", "ah=0", "tree=-3,ah=2", "brute,float64", "ah=2,soar=1.5,leaves=3"],
)
def test_what_is_no_form(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        ScannForm.parse(text)
    assert str(caught.value) == (
        f"Not a form of ScaNN's index. Expected such as `brute,float32`, `ah=2,int8` or "
        f"`tree=600,soar=1.5,avq=2.5,ah=2,bfloat16`. Received: `{text}`."
    )


def test_a_form_needs_its_parts() -> None:
    for text, start in (
        ("tree=9", "A tree needs codes: add `ah=2`. "),
        ("upper=3,ah=2", "`upper`, `soar` and `avq` are of a tree: add it. "),
        ("soar=1.5,ah=2", "`upper`, `soar` and `avq` are of a tree: add it. "),
    ):
        with pytest.raises(BadInput) as caught:
            ScannForm.parse(text)
        assert str(caught.value).startswith(start)
    with pytest.raises(BadInput) as caught:
        build_index(vectors(100, 8), "scann:tree=60,ah=2")
    assert str(caught.value) == (
        "Too many partitions for 100 vectors. Expected two in each at least. "
        "Received: `tree=60,ah=2,float32`."
    )


@given(
    st.builds(
        ScannForm,
        tree=st.integers(1, 5000),
        upper=st.just(0),
        soar=st.sampled_from([0.0, 1.0, 1.5]),
        avq=st.sampled_from([0.0, 2.5]),
        ah=st.integers(1, 4),
        storage=st.sampled_from(["float32", "bfloat16", "int8"]),
    )
)
def test_a_form_reads_what_it_writes(form: ScannForm) -> None:
    assert ScannForm.parse(str(form)) == form


# Merging two answers.


@settings(max_examples=50)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(0, 1000))
def test_a_merge_equals_one_search_over_both(n: int, m: int, k: int, seed: int) -> None:
    both, queries = vectors(n + m, 6, seed), vectors(4, 6, seed + 1)
    first = ExactIndex(both[:n]).search(queries, k)
    rows, scores = ExactIndex(both[n:]).search(queries, k)
    found = merge(first, (rows + np.int32(n), scores), k)
    check_answer(both, queries, min(k, n + m), found)
    np.testing.assert_allclose(found[1], ExactIndex(both).search(queries, k)[1], atol=1e-6)


def test_a_merge_puts_missing_last() -> None:
    first = np.array([[4, 2, MISSING]], np.int32), np.array([[0.9, 0.5, -np.inf]], np.float32)
    second = np.array([[7]], np.int32), np.array([[0.7]], np.float32)
    rows, scores = merge(first, second, 4)
    assert rows.tolist() == [[4, 7, 2, MISSING]]
    np.testing.assert_allclose(scores, np.array([[0.9, 0.7, 0.5, -np.inf]], np.float32))


# Importing ScaNN beside TensorFlow.

SEARCH = """
import sys
import numpy as np
from serving.scann_index import ScannIndex
base = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
assert ScannIndex.build(base).search(base, 1)[0].shape == (50, 1)
"""
WITHOUT = SEARCH + 'assert not [name for name in sys.modules if name.startswith("tensorflow")]'
BEFORE = WITHOUT + "\nimport tensorflow as tf\nassert int(tf.constant(3) + 4) == 7"
AFTER = (
    f"import tensorflow as tf\n{SEARCH}\nassert sys.modules['tensorflow'] is tf\n"
    "assert int(tf.constant(3) + 4) == 7"
)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(BEFORE, id="without and before"),
        # As in most processes that run these tests.
        pytest.param(AFTER, id="after", marks=pytest.mark.slow),
    ],
)
def test_scann_is_imported_with_before_and_after_tensorflow(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
