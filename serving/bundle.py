"""A bundle: everything that answers a query, in one folder under one digest.

    manifest.json    schema, space id, pixel spec, counts, index description, verdict, file digests
    embedder.onnx    uint8 [n, side, side, 3] -> vector float32 [n, d], leaf float32 [n, leaves]
    localiser.onnx   uint8 [n, side, side, 3] -> box float32 [n, 4]; not in every bundle
    index/           the base index, over the first `base` items
    vectors.npy      float32 [items, d]; the items after `base` are searched exactly
    items.arrow      one row an item, in the order of the vectors
    taxonomy.json    leaf paths, in the order of the embedder's leaf output, and what moved since
    categories.json  the only paths that an item may have; not in a bundle of a free taxonomy
    verdict.json     what the gate measured
    transform/       the TF-Transform graph and vocabularies of the day

Nothing in it can be promoted alone. `verify` reads every byte before any parser opens a file;
ScaNN's own parser aborts the process on some flipped bits.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from model.errors import Damaged
from model.pixel_spec import PixelSpec

if TYPE_CHECKING:
    from model.taxonomy import Taxonomy

MANIFEST = "manifest.json"
LOCALISER = "localiser.onnx"
CATEGORIES = "categories.json"
LIVE_SEQUENCE = "live_sequence"  # in the manifest: of the newest live change that is taken in
SCHEMA_VERSION = 2
FORBIDDEN_SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill", ".py", ".pyc", ".so", ".sh")
PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


@dataclass(frozen=True)
class Bundle:
    """A verified folder."""

    folder: Path
    digest: str
    manifest: dict[str, Any]

    @property
    def pixel_spec(self) -> PixelSpec:
        return PixelSpec.parse(self.manifest["pixel_spec"])

    @cached_property
    def taxonomy(self) -> "Taxonomy":
        from model.taxonomy import Taxonomy  # a rollback verifies bundles, and waits for no NumPy

        return Taxonomy.from_json((self.folder / "taxonomy.json").read_bytes())

    @cached_property
    def categories(self) -> frozenset[str] | None:
        """The paths that the shop has fixed; None where any will do."""
        path = self.folder / CATEGORIES
        return frozenset(json.loads(path.read_bytes())) if path.exists() else None


def seal(folder: Path, facts: dict[str, Any]) -> str:
    """Write the manifest of a finished folder; returns the bundle's digest."""
    files = {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"schema_version": SCHEMA_VERSION, **facts, "files": files}
    data = json.dumps(manifest, indent=1, sort_keys=True).encode()
    (folder / MANIFEST).write_bytes(data)
    return _digest(data)


def verify(folder: Path, digest: str | None = None) -> Bundle:
    """Check every file against the manifest, and the manifest against `digest`.

    Raises Damaged that names the file, what was expected and what is there.
    """
    found, manifest = read_manifest(folder, digest)
    listed: dict[str, str] = manifest["files"]
    for name in listed:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise Damaged(f"The manifest names a file outside the bundle: {name}.")
    present = _present(folder)
    if present != set(listed):
        extra, gone = sorted(present - set(listed)), sorted(set(listed) - present)
        raise Damaged(f"The bundle's files differ. Not in the manifest: {extra}. Missing: {gone}.")
    for name, expected in listed.items():
        _check_file(folder, name, expected)
    return Bundle(folder, found, manifest)


def store(source: Path, bundles: Path, digest: str) -> Path:
    """Move a sealed folder to its place by digest; there already is good too.

    A file that a stored bundle has too becomes a link to that one, so that bundles of one embedder
    hold it once. Only to one that is whole: a flipped bit in a file is one in all bundles that
    share it, and `verify` finds it in each.
    """
    target = bundles / digest
    bundles.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        _share(source, bundles)
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        verify(target, digest)
        shutil.rmtree(source)
    return target


def _share(source: Path, bundles: Path) -> None:
    """Put links in place of the files that a stored bundle has under the same name."""
    stored = [(folder, _listed(folder)) for folder in sorted(bundles.iterdir())]
    for name, digest in _listed(source).items():
        for folder, listed in stored:
            if listed.get(name) == digest and _linked(folder / name, source / name, digest):
                break


def _listed(folder: Path) -> dict[str, str]:
    """The sha256 of each file by a manifest; of none where that cannot be read."""
    try:
        listed: dict[str, str] = read_manifest(folder, None)[1]["files"]
    except Damaged:
        return {}
    return listed


def _linked(there: Path, here: Path, digest: str) -> bool:
    """Whether `here` is `there` now. Not if that is damaged, or the disk has no links."""
    if there.is_symlink() or not there.is_file():
        return False
    if there.samefile(here):
        return True
    if _sha256(there) != digest:
        return False
    spare = here.with_name(f"{here.name}.link")
    try:
        os.link(there, spare)
    except OSError:
        return False
    os.replace(spare, here)
    return True


def live_sequence(folder: Path) -> int:
    """The newest live change that a bundle's folder has; 0 where the folder is not here."""
    try:
        return int(json.loads((folder / MANIFEST).read_bytes()).get(LIVE_SEQUENCE, 0))
    except FileNotFoundError:
        return 0


def read_manifest(folder: Path, digest: str | None) -> tuple[str, dict[str, Any]]:
    """The manifest and its digest, which is checked before JSON is read."""
    try:
        data = (folder / MANIFEST).read_bytes()
        found = _digest(data)
        if digest is not None and found != digest:
            raise Damaged(
                f"The {MANIFEST} of bundle {folder.name} is damaged, or that of another bundle. "
                f"Expected {digest}. Found: {found}."
            )
        manifest = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"The bundle {folder.name} has no readable {MANIFEST}: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        raise Damaged(f"Unknown {MANIFEST}. Expected schema version {SCHEMA_VERSION}.")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise Damaged(f"Unknown {MANIFEST}. Expected `files`: a sha256 for each name.")
    return found, manifest


def _present(folder: Path) -> set[str]:
    names = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Damaged(f"The bundle holds a link or a device, which is not allowed: {name}.")
        if path.is_file() and name != MANIFEST:
            if path.suffix.lower() in FORBIDDEN_SUFFIXES:
                raise Damaged(f"The bundle holds a file that could run code: {name}.")
            names.add(name)
    return names


def _check_file(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    with path.open("rb") as file:
        if file.read(2) in PICKLE_STARTS:
            raise Damaged(f"The bundle holds a pickle, which could run code: {name}.")
    found = _sha256(path)
    if found != expected:
        raise Damaged(
            f"The file {name} of bundle {folder.name} is damaged. "
            f"Expected sha256 {expected[:12]}. Found: {found[:12]}. Restore the bundle."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:16]
