"""The lock files: every version has a hash, no address, and all five agree."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
EXTRAS = ("orchestrate", "train", "serve", "bench")
LOCKS = (*EXTRAS, "all")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pins(lock: str) -> list[Requirement]:
    """The requirements of a lock, without their hashes. Raises AssertionError for what has none."""
    text = (HERE / "lock" / f"{lock}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not HASH.search(line)] == []
    return [Requirement(HASH.sub("", line).strip()) for line in lines]


def versions(lock: str) -> dict[str, set[str]]:
    """The versions of each package; several where markers tell them apart."""
    found: dict[str, set[str]] = {}
    for pin in pins(lock):
        found.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier))
    return found


def direct(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for in the environment that the lock describes."""
    extras = PROJECT["optional-dependencies"]
    chosen = [extra for extra in extras if extra != "bench"] if lock == "all" else [lock]
    asked = [*PROJECT["dependencies"], *(line for extra in chosen for line in extras[extra])]
    return [Requirement(line) for line in asked]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_one_version_with_hashes(lock: str) -> None:
    operators = {pin.name: [part.operator for part in pin.specifier] for pin in pins(lock)}
    assert {name for name, used in operators.items() if used != ["=="]} == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    text = (HERE / "lock" / f"{lock}.txt").read_text()
    assert re.findall(r"(?m)https?:|git\+|file:|^--", text) == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_of_an_extra_agrees_with_the_lock_of_all(extra: str) -> None:
    """The peers of the benchmarks are nowhere else."""
    everything = versions("all")
    if extra == "bench":
        everything = versions(extra) | everything
    other = {
        name: (found, everything.get(name))
        for name, found in versions(extra).items()
        if not found <= everything.get(name, set())
    }
    assert other == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_the_project_asks_for(lock: str) -> None:
    here = {str(name): str(value) for name, value in default_environment().items()}
    locked = {
        canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version)
        for pin in pins(lock)
        if pin.marker is None or pin.marker.evaluate(here)
    }
    missing = [
        str(asked)
        for asked in direct(lock)
        if canonicalize_name(asked.name) not in locked
        or locked[canonicalize_name(asked.name)] not in asked.specifier
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("extra", "absent"),
    [
        ("orchestrate", {"tensorflow", "apache-beam", "keras", "mlflow", "scann", "bentoml"}),
        ("train", {"scann", "bentoml", "apache-airflow"}),
        ("serve", {"tensorflow", "keras", "apache-beam", "tensorflow-transform", "apache-airflow"}),
    ],
)
def test_an_extra_lacks_what_it_must_not_have(extra: str, absent: set[str]) -> None:
    assert absent & set(versions(extra)) == set()
