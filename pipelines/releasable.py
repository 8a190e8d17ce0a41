"""What a bundle must be before it may be released: registered, whole, blessed twice, not too old.

MLflow and the engines take seconds to import, so each is imported where it is needed: a rollback
needs neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from model.errors import BadInput, Damaged, Refused
from pipelines.blessing import read_blessing
from pipelines.settings import Settings
from pipelines.step import staging
from serving.bundle import Bundle, store, verify
from serving.ledger import Entry, standing


@dataclass(frozen=True)
class Registered:
    """A version of the registry and the bundle that it is."""

    version: str
    ds: date
    digest: str


def registered(settings: Settings, ds: date, digest: str) -> Registered:
    """The version that the bundle has. Raises BadInput without one."""
    from pipelines.registry import version_of

    version = version_of(settings, digest)
    if version is None:
        raise BadInput(f"Bundle {digest} is not in the registry. Run step `register` first.")
    return Registered(version, ds, digest)


def of_version(settings: Settings, version: str) -> Registered:
    """The bundle of a version. Raises BadInput for one that the registry does not have."""
    from pipelines.registry import versions

    found = {str(each.version): each for each in versions(settings)}
    if version not in found:
        raise BadInput(
            f"The registry has no version {version}. Expected one of {sorted(found, key=int)}. "
            f"`lookalike status` lists them."
        )
    tags = found[version].tags
    return Registered(version, date.fromisoformat(tags["ds"]), tags["bundle"])


def check(settings: Settings, candidate: Registered, entries: Sequence[Entry]) -> Bundle:
    """Its files, every byte read. Raises Refused where a newer day's bundle serves or a blessing
    is missing, Damaged where the files are not the bundle's.
    """
    champion = standing(reversed(entries)).champion
    if champion is not None and champion.ds > candidate.ds:
        raise Refused(
            f"The bundle of {candidate.ds} is older than the champion of {champion.ds}, which "
            f"stays. To serve an older bundle on purpose: lookalike rollback --to VERSION."
        )
    bundle = verified(settings, candidate.digest, candidate.version)
    if not bundle.manifest["verdict"].get("passed"):
        raise Refused(
            f"The gate has not blessed bundle {bundle.digest}. Expected a verdict that passed. "
            f"Received: {verdict_of(bundle)}."
        )
    read_blessing(settings, bundle.digest)
    return bundle


def verified(settings: Settings, digest: str, version: str) -> Bundle:
    """Every byte of it; from the artefact store, if it is not here any more."""
    folder = settings.root / "bundles" / digest
    if not folder.is_dir():
        _restore(settings, digest, version, folder.parent)
    return verify(folder, digest)


def try_out(bundle: Bundle) -> None:
    """Load it and ask it: what fails here must not reach shoppers."""
    from serving.champion import self_test
    from serving.engine import Engine

    self_test(Engine(bundle))


def verdict_of(bundle: Bundle) -> str:
    """The gate's, in a few words."""
    verdict = bundle.manifest["verdict"]
    slices = verdict.get("slices", [])
    k = verdict.get("k")
    recall = f", recall@{k} {slices[0]['recall']:.3f}" if slices else ", nothing asked"
    return ("passed" if verdict.get("passed") else "refused") + recall


def _restore(settings: Settings, digest: str, version: str, bundles: Path) -> None:
    from pipelines.registry import download

    with staging(settings.root, f"restore-{digest}") as folder:
        found = download(settings, version, folder)
        try:
            verify(found, digest)
        except Damaged as error:
            raise Damaged(
                f"Version {version}, bundle {digest}, is damaged in the artefact store: {error}"
            ) from error
        store(found, bundles, digest)
