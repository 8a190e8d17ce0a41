"""README.md names everything that a user can call, set, ask or watch, and no file names a machine.

Each test lists what is missing.
"""

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import typer.main
from prometheus_client.parser import text_string_to_metric_families

from pipelines.cli import app
from pipelines.settings import Section, Settings
from pipelines.step import EXIT_CODES, STEPS
from serving.metrics import Metrics
from serving.openapi import document

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text()
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
HOST = re.compile(r"https?://([\w.-]+)")
OF_A_MACHINE = re.compile(r"(?<![\w.*}])/(?:home|root|work|Users|workspace)/\w")
LOCAL = {"127.0.0.1", "localhost", "mlflow", "search"}  # this machine, and services of compose
CITED = {"github.com", "www.apache.org", "www.w3.org"}  # upstream issues, the licence, SVG
BINARY = {".jpg", ".png", ".webp", ".gif", ".ico", ".npz"}


@cache
def tracked() -> dict[str, str]:
    """The text of every file under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True
    )
    paths = [HERE / name for name in listed.stdout.split("\0") if name]
    return {
        str(path.relative_to(HERE)): path.read_text()
        for path in paths
        if path.is_file() and path.suffix not in BINARY
    }


def test_every_command_is_described() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name in commands if f"`lookalike {name}" not in README] == []


def test_every_target_of_make_is_described() -> None:
    targets = re.findall(r"^\.PHONY: (.*)$", (HERE / "Makefile").read_text(), re.MULTILINE)[0]
    ours = set(targets.split()) - {"browser"}  # a part of `test`
    assert [name for name in sorted(ours) if f"make {name}" not in README] == []


def test_every_setting_is_described() -> None:
    """As `train.epochs`, or as `epochs` in a row that begins with `train`."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)$", README, re.MULTILINE)
    named = {f"{section}.{field}" for section, rest in rows for field in re.findall(r"\w+", rest)}
    named |= set(re.findall(r"\b\w+\.\w+\b", README))
    settings = Settings()
    fields = [
        f"{section}.{field}"
        for section, value in settings
        if isinstance(value, Section)
        for field in type(value).model_fields
    ]
    assert [name for name in fields if name not in named] == []
    assert "LOOKALIKE_ROOT" in README


def test_every_step_and_its_exit_codes_are_described() -> None:
    assert [step for step in STEPS if f"| `{step}` |" not in README] == []
    codes = re.findall(r"Exit codes: [^.]*", README)[0]
    assert [code for code in EXIT_CODES.values() if not re.search(rf"\b{code}\b", codes)] == []


def test_every_route_is_described() -> None:
    routes = [
        f"{method.upper()} {path}"
        for path, methods in document()["paths"].items()
        for method in methods
    ]
    assert [route for route in routes if f"`{route}" not in README] == []


def test_every_metric_is_described() -> None:
    families = text_string_to_metric_families(Metrics().text().decode())
    names = [family.name for family in families if family.name.startswith("lookalike")]
    assert [name for name in names if f"`{name}" not in README] == []


def test_every_link_leads_somewhere() -> None:
    links = [link for link in LINK.findall(README) if not urlsplit(link).scheme]
    assert [link for link in links if not (HERE / link).exists()] == []


def test_nothing_is_left_to_fill_in() -> None:
    assert re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b", README) == []


def test_no_file_names_a_folder_of_a_machine() -> None:
    found = {name: OF_A_MACHINE.findall(text) for name, text in tracked().items()}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_no_file_names_a_host_but_those_it_cites() -> None:
    """Where packages and images come from is the business of the machine, not of the project."""
    hosts = {name: set(HOST.findall(text)) for name, text in tracked().items()}
    other = {name: found - LOCAL - CITED for name, found in hosts.items()}
    assert {name: found for name, found in other.items() if found} == {}
