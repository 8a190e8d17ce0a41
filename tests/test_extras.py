"""Each extra alone in an environment of its own: all that it promises, and nothing that it bars."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
UV = str(Path(sys.executable).with_name("uv"))
SOURCES = ("dags", "model", "pipelines", "serving", "pyproject.toml", "README.md", "LICENSE")
PROMISED = {
    "orchestrate": ("dags.daily_retrain", "pipelines.airflow", "pipelines.cli"),
    "train": (
        "pipelines.cli",
        "pipelines.importers",
        "pipelines.sample",
        *(f"pipelines.{step}" for step in ("ingest", "preprocess", "analysis", "train")),
        *(f"pipelines.{step}" for step in ("training", "localise", "localisation")),
    ),
    "serve": (
        "pipelines.cli",
        "pipelines.status",
        "pipelines.release",
        *(f"pipelines.{step}" for step in ("embed", "reduce", "index", "gate", "gate_run")),
        *(f"pipelines.{step}" for step in ("bundle", "bless", "evidence", "register", "registry")),
        *(f"pipelines.{step}" for step in ("artefacts", "review", "decide", "promote", "follow")),
        *(f"pipelines.{step}" for step in ("prune", "collect")),
        *(f"pipelines.{step}" for step in ("look", "ingest", "preprocess", "train", "localise")),
        "serving.service",
        "serving.scann_index",
    ),
}
BARRED = {
    "orchestrate": {"apache_beam", "bentoml", "keras", "mlflow", "scann", "tensorflow"},
    "train": {"airflow", "bentoml", "scann"},
    "serve": {"airflow", "apache_beam", "keras", "tensorflow", "tensorflow_transform"},
}
# Names of ours that did not come from the environment show that the checkout leaked into it.
PROBE = """
import importlib, importlib.util, json, sys
promised, barred = json.loads(sys.argv[1])
modules = [importlib.import_module(name) for name in promised]
facts = {
    "elsewhere": [m.__name__ for m in modules if not m.__file__.startswith(sys.prefix)],
    "barred": [name for name in barred if importlib.util.find_spec(name)],
}
sys.stdout.write("\\n" + json.dumps(facts))
"""
FIND_SIMILAR = """
import numpy as np
from serving.scann_index import ScannIndex
vectors = np.eye(32, dtype=np.float32)
rows, scores = ScannIndex.build(vectors).search(vectors[:3], 1)
print(rows.tolist())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, built from a copy, as in docker/Dockerfile."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (HERE / name).is_dir():
            shutil.copytree(HERE / name, folder / "source" / name)
        else:
            shutil.copy2(HERE / name, folder / "source" / name)
    run(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable,
        "--out-dir", str(folder), str(folder / "source"), cwd=folder)  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("extra", PROMISED)
def test_an_extra_alone_does_its_part(extra: str, wheel: Path, tmp_path: Path) -> None:
    python = str(tmp_path / "bin" / "python")
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path), cwd=tmp_path)
    lock = str(HERE / "lock" / f"{extra}.txt")
    run(UV, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock, cwd=tmp_path)
    run(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--no-index", str(wheel),
        cwd=tmp_path)  # fmt: skip
    asked = json.dumps([PROMISED[extra], sorted(BARRED[extra])])
    answer = run(python, "-c", PROBE, asked, cwd=tmp_path)
    assert json.loads(answer.splitlines()[-1]) == {"elsewhere": [], "barred": []}
    assert "Usage: lookalike" in run(str(tmp_path / "bin" / "lookalike"), "--help", cwd=tmp_path)
    if extra == "serve":
        assert run(python, "-c", FIND_SIMILAR, cwd=tmp_path) == "[[0], [1], [2]]\n"
        assert list(tmp_path.glob("lib/*/site-packages/serving/page/index.html"))


def run(*command: str, cwd: Path) -> str:
    environment = {**os.environ, "AIRFLOW_HOME": str(cwd / "airflow"), "LOOKALIKE_ROOT": str(cwd)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
