"""A bundle's files: what is damaged, foreign or able to run code is refused, by its name."""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_bundle import LEAVES, SPEC, make_root

from model.errors import Damaged
from model.pixel_spec import PixelSpec
from model.taxonomy import Taxonomy
from serving.bundle import MANIFEST, SCHEMA_VERSION, seal, store, verify
from serving.engine import Engine
from serving.ledger import champion


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle; its folder is named by its digest."""
    root = make_root(tmp_path_factory.mktemp("shop"), items=20)
    entry = champion(root)
    assert entry is not None
    return root / "bundles" / entry.bundle


@pytest.fixture
def bundle(sealed: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(sealed, tmp_path / sealed.name))


def files_of(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def small(folder: Path) -> tuple[Path, str]:
    """A bundle of two files, and its digest."""
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "deep" / "b.bin").write_bytes(b"two")
    return folder, seal(folder, {"space_id": "s"})


def rewrite(folder: Path, **facts: object) -> str:
    """Change the manifest as somebody with write access would; returns its digest."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).unlink()
    if not facts:
        return seal(folder, manifest)
    data = json.dumps({**manifest, **facts}).encode()
    (folder / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()[:16]


def refusal(folder: Path, digest: str | None = None) -> str:
    with pytest.raises(Damaged) as caught:
        verify(folder, digest)
    return str(caught.value)


def test_a_whole_bundle_is_what_its_manifest_says(sealed: Path) -> None:
    found = verify(sealed, sealed.name)
    assert (found.folder, found.digest) == (sealed, sealed.name)
    assert found.pixel_spec == PixelSpec.parse(SPEC)
    assert found.taxonomy == Taxonomy(tuple(path for path, _, _ in LEAVES))
    assert found.manifest["schema_version"] == SCHEMA_VERSION
    assert sorted([*found.manifest["files"], MANIFEST]) == files_of(sealed)
    assert verify(sealed) == found


def test_sealing_twice_gives_one_digest(tmp_path: Path) -> None:
    (_, first), (_, second) = small(tmp_path / "x"), small(tmp_path / "y")
    assert first == second
    assert len(first) == 16


def test_every_flipped_bit_and_every_lost_byte_is_found(bundle: Path) -> None:
    """In every file, first, middle and last byte; and never does a parser see it."""
    names = files_of(bundle)
    assert len(names) >= 8
    for name in names:
        path = bundle / name
        whole = path.read_bytes()
        spoiled = [whole[:-1], whole[: len(whole) // 2], b"", whole + b"\0"]
        for place in {0, len(whole) // 2, len(whole) - 1}:
            spoiled.append(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        for data in spoiled:
            path.write_bytes(data)
            with pytest.raises(Damaged, match=f"{name} of bundle {bundle.name} is damaged"):
                Engine(verify(bundle, bundle.name))
        path.write_bytes(whole)
    verify(bundle, bundle.name)


def test_a_damaged_file_is_named_with_both_digests(bundle: Path) -> None:
    (bundle / "verdict.json").write_bytes(b"{}")
    expected = json.loads((bundle / MANIFEST).read_bytes())["files"]["verdict.json"]
    assert refusal(bundle) == (
        f"The file verdict.json of bundle {bundle.name} is damaged. "
        f"Expected sha256 {expected[:12]}. Found: 44136fa355b3. Restore the bundle."
    )


@pytest.mark.parametrize(
    "name", ["new.txt", "index/new.npy", "transform/saved_model.pb", ".hidden"]
)
def test_a_file_that_is_not_listed_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_bytes(b"new")
    assert refusal(bundle) == (
        f"The bundle's files differ. Not in the manifest: {[name]}. Missing: []."
    )


def test_a_missing_file_is_named(bundle: Path) -> None:
    for name in files_of(bundle):
        if name != MANIFEST:
            (bundle / name).rename(bundle.parent / "aside")
            assert refusal(bundle) == (
                f"The bundle's files differ. Not in the manifest: []. Missing: {[name]}."
            )
            (bundle.parent / "aside").rename(bundle / name)


@pytest.mark.parametrize(
    "name", ["a.pkl", "a.pickle", "a.joblib", "a.dill", "a.py", "b/a.pyc", "a.so", "a.sh", "a.PKL"]
)
def test_a_file_that_could_run_code_is_refused_though_it_is_listed(
    tmp_path: Path, name: str
) -> None:
    folder, _ = small(tmp_path / "x")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"import os")
    assert refusal(folder, rewrite(folder)) == (
        f"The bundle holds a file that could run code: {name}."
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_under_another_name_is_refused_though_it_is_listed(
    tmp_path: Path, protocol: int
) -> None:
    folder, _ = small(tmp_path / "x")
    (folder / "weights.npy").write_bytes(pickle.dumps({"a": 1}, protocol=protocol))
    assert refusal(folder, rewrite(folder)) == (
        "The bundle holds a pickle, which could run code: weights.npy."
    )


@pytest.mark.parametrize("name", ["a.txt", "link.txt", "deep", "deep/link", MANIFEST])
def test_links_are_refused(tmp_path: Path, name: str) -> None:
    """Also one to a file with the right bytes, to a folder, and one that leads nowhere."""
    folder, digest = small(tmp_path / "x")
    target = tmp_path / "outside"
    if (folder / name).exists():
        (folder / name).rename(target)
    (folder / name).symlink_to(target)
    assert refusal(folder, digest) == (
        f"The bundle holds a link or a device, which is not allowed: {name}."
    )


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    folder, digest = small(tmp_path / "x")
    os.mkfifo(folder / "pipe")
    assert refusal(folder, digest) == (
        "The bundle holds a link or a device, which is not allowed: pipe."
    )


@pytest.mark.parametrize("name", ["../secret", "deep/../../secret", "/etc/passwd", ".."])
def test_names_outside_the_bundle_are_refused(tmp_path: Path, name: str) -> None:
    folder, _ = small(tmp_path / "x")
    (tmp_path / "secret").write_bytes(b"one")
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    digest = rewrite(folder, files={**files, name: files["a.txt"]})
    assert refusal(folder, digest) == f"The manifest names a file outside the bundle: {name}."


@pytest.mark.parametrize("name", ["./a.txt", "deep//b.bin", "deep", MANIFEST])
def test_a_name_is_spelt_in_one_way(tmp_path: Path, name: str) -> None:
    folder, _ = small(tmp_path / "x")
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    digest = rewrite(folder, files={**files, name: files["a.txt"]})
    assert refusal(folder, digest) == (
        f"The bundle's files differ. Not in the manifest: []. Missing: {[name]}."
    )


def test_a_manifest_of_another_digest_is_refused(tmp_path: Path) -> None:
    folder, digest = small(tmp_path / "x")
    other = rewrite(folder, space_id="t")
    assert refusal(folder, digest) == (
        f"The manifest.json of bundle x is damaged, or that of another bundle. "
        f"Expected {digest}. Found: {other}."
    )
    assert verify(folder, other).manifest["space_id"] == "t"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "The bundle x has no readable manifest.json: "),
        ("", "The bundle x has no readable manifest.json: "),
        ("{", "The bundle x has no readable manifest.json: "),
        ("[" * 200_000, "The bundle x has no readable manifest.json: "),
        ("\udcff", "The bundle x has no readable manifest.json: "),
        ("[]", "Unknown manifest.json. Expected schema version 2."),
        ("{}", "Unknown manifest.json. Expected schema version 2."),
        ('{"schema_version": 3, "files": {}}', "Unknown manifest.json. Expected schema version 2."),
        ('{"schema_version": 2}', "Unknown manifest.json. Expected `files`: "),
        ('{"schema_version": 2, "files": null}', "Unknown manifest.json. Expected `files`: "),
        ('{"schema_version": 2, "files": ["a"]}', "Unknown manifest.json. Expected `files`: "),
        ('{"schema_version": 2, "files": {"a": 1}}', "Unknown manifest.json. Expected `files`: "),
    ],
)
def test_an_unknown_manifest_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    folder, _ = small(tmp_path / "x")
    (folder / MANIFEST).unlink()
    if text is not None:
        (folder / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    assert refusal(folder).startswith(message)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x").startswith("The bundle x has no readable manifest.json: ")


def test_a_moved_bundle_answers_the_same(sealed: Path, tmp_path: Path) -> None:
    here = Engine(verify(sealed, sealed.name), threads=1)
    moved = Path(shutil.move(shutil.copytree(sealed, tmp_path / "copy"), tmp_path / "far away"))
    there = Engine(verify(moved, sealed.name), threads=1)
    assert there.similar("item-009", 5).hits == here.similar("item-009", 5).hits
    for name in files_of(moved):
        assert str(sealed.parent).encode() not in (moved / name).read_bytes()


def test_storing_moves_the_folder_and_twice_is_fine(tmp_path: Path) -> None:
    bundles = tmp_path / "deep" / "bundles"
    first, digest = small(tmp_path / "x")
    assert store(first, bundles, digest) == bundles / digest
    assert not first.exists()
    second, same = small(tmp_path / "x")
    assert (same, store(second, bundles, same)) == (digest, bundles / digest)
    assert not second.exists()
    assert [path.name for path in bundles.iterdir()] == [digest]
    assert files_of(bundles / digest) == ["a.txt", "deep/b.bin", MANIFEST]


def test_storing_over_a_damaged_bundle_says_so_and_keeps_the_new_one(tmp_path: Path) -> None:
    first, digest = small(tmp_path / "x")
    target = store(first, tmp_path / "bundles", digest)
    (target / "a.txt").write_bytes(b"two")
    second, _ = small(tmp_path / "x")
    with pytest.raises(Damaged, match=f"The file a.txt of bundle {digest} is damaged"):
        store(second, tmp_path / "bundles", digest)
    assert verify(second, digest).folder == second


def test_storing_what_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store(tmp_path / "x", tmp_path / "bundles", "0" * 16)


def shared(one: Path, other: Path) -> list[str]:
    """Files of two bundles that are one on the disk."""
    common = set(files_of(one)) & set(files_of(other))
    return sorted(name for name in common if (one / name).samefile(other / name))


def flip(path: Path) -> None:
    """Where it is: whoever shares the file has it flipped too."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def pair(folder: Path) -> tuple[Path, str]:
    """A bundle of three files, one of which no other has, and its digest."""
    source, _ = small(folder)
    (source / "own.json").write_text(json.dumps(folder.name))
    return source, rewrite(source)


def test_bundles_share_what_is_the_same(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    one, other = (store(*at) for at in placed(tmp_path, bundles, "one", "other"))
    assert shared(one, other) == ["a.txt", "deep/b.bin"]
    for folder in (one, other):
        verify(folder, folder.name)
    shutil.rmtree(one)
    verify(other, other.name)


def placed(tmp_path: Path, bundles: Path, *names: str) -> Iterator[tuple[Path, Path, str]]:
    for name in names:
        source, digest = pair(tmp_path / name)
        yield source, bundles, digest


def test_damage_is_found_in_all_that_share_it_and_not_passed_on(tmp_path: Path) -> None:
    """What comes next, or again from the artefact store, keeps a file of its own."""
    bundles = tmp_path / "bundles"
    one, other = (store(*at) for at in placed(tmp_path, bundles, "one", "other"))
    again, digest = pair(tmp_path / "again" / "other")
    flip(one / "a.txt")
    for folder in (one, other):
        with pytest.raises(Damaged, match=r"^The file a\.txt of bundle"):
            verify(folder, folder.name)
    (third,) = (store(*at) for at in placed(tmp_path, bundles, "third"))
    shutil.rmtree(other)
    assert store(again, bundles, digest) == other
    assert shared(other, one) == shared(third, one) == ["deep/b.bin"]
    assert shared(other, third) == ["a.txt", "deep/b.bin"]
    for folder in (third, other):
        verify(folder, folder.name)


@pytest.mark.parametrize("manifest", [None, b"{", b"[]", b'{"files": 1}'])
def test_a_neighbour_without_a_manifest_is_no_hindrance(
    tmp_path: Path, manifest: bytes | None
) -> None:
    bundles = tmp_path / "bundles"
    (one,) = (store(*at) for at in placed(tmp_path, bundles, "one"))
    (one / MANIFEST).unlink()
    if manifest is not None:
        (one / MANIFEST).write_bytes(manifest)
    (other,) = (store(*at) for at in placed(tmp_path, bundles, "other"))
    verify(other, other.name)
    assert shared(other, one) == []


def test_a_link_of_a_neighbour_is_not_followed(tmp_path: Path) -> None:
    bundles, outside = tmp_path / "bundles", tmp_path / "outside"
    (one,) = (store(*at) for at in placed(tmp_path, bundles, "one"))
    (one / "a.txt").rename(outside)
    (one / "a.txt").symlink_to(outside)
    (other,) = (store(*at) for at in placed(tmp_path, bundles, "other"))
    assert not (other / "a.txt").samefile(outside)
    verify(other, other.name)
