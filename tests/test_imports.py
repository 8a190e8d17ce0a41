"""Who may import whom, read from the source, and what an import may load, seen in a process."""

import ast
import json
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from tiny_bundle import bentoml_environment

ROOT = Path(__file__).parents[1]
OURS = ("dags", "model", "monitoring", "pipelines", "serving")
FORBIDDEN = {  # package -> what it never imports
    "model": {"serving", "pipelines", "dags", "monitoring"},
    "serving": {"pipelines", "dags", "monitoring"},
    "monitoring": {"pipelines", "dags"},
    "pipelines": {"dags"},
}
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): ast.parse(path.read_text(), str(path))
    for package in OURS
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(module: str) -> set[str]:
    """Every module that the source names, at the top or inside a function, in full."""
    found = set()
    for node in ast.walk(SOURCES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in SOURCES else str(node.module))
    return found


def package_of(module: str) -> str:
    return module.partition(".")[0]


def test_the_sources_are_there() -> None:
    assert {package_of(module) for module in SOURCES} >= {"dags", "model", "pipelines", "serving"}
    assert imports("model.fit") >= {"keras", "numpy", "model.augment", "model.pixels"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_arrow_points_back(package: str) -> None:
    wrong = {
        (module, imported)
        for module in SOURCES
        if package_of(module) == package
        for imported in imports(module)
        if package_of(imported) in FORBIDDEN[package]
    }
    assert wrong == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: imports(module) & SOURCES.keys() for module in SOURCES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_serving_takes_from_model_only_what_needs_no_tensorflow() -> None:
    taken = {
        imported
        for module in SOURCES
        if package_of(module) == "serving"
        for imported in imports(module)
        if package_of(imported) == "model"
    }
    assert taken == {
        "model.boxes", "model.errors", "model.ground", "model.pixel_spec", "model.pixels",
        "model.taxonomy",
    }  # fmt: skip


PEOPLE = "airflow.providers.standard.operators.hitl."  # the SDK has no task that asks a person


def test_dags_import_only_airflow_sdk_and_the_standard_library() -> None:
    wrong = {
        (module, imported)
        for module in SOURCES
        if package_of(module) == "dags"
        for imported in imports(module)
        if package_of(imported) not in {"dags", *sys.stdlib_module_names}
        and not f"{imported}.".startswith(("airflow.sdk.", PEOPLE))
    }
    assert wrong == set()


def test_nothing_of_ours_can_unpickle() -> None:
    wrong = {
        (module, imported)
        for module in SOURCES
        for imported in imports(module)
        if package_of(imported) in PICKLES
    }
    assert wrong == set()


def test_every_array_is_loaded_without_pickle() -> None:
    """`np.load` and `np.save` of objects would be pickles."""
    loads = [
        (module, ast.unparse(node))
        for module, source in SOURCES.items()
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"np.load", "numpy.load"}
    ]
    assert [load for load in loads if "allow_pickle=False" not in load[1]] == []
    assert len(loads) >= 3


# What an import really loads.


def run(script: str, environment: dict[str, str]) -> dict[str, object]:
    """The last line that `script` prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


LOADED = """
import importlib, json, sys
for module in {modules}:
    importlib.import_module(module)
heavy = ("tensorflow", "apache_beam", "keras", "mlflow", "airflow", "scann")
print(json.dumps({{"heavy": [name for name in heavy if name in sys.modules]}}))
"""


def test_importing_serving_loads_nothing_heavy(tmp_path: Path) -> None:
    """ScaNN waits until an index asks for it."""
    modules = [module for module in SOURCES if package_of(module) == "serving"]
    assert "serving.service" in modules
    found = run(LOADED.format(modules=modules), bentoml_environment(tmp_path))
    assert found == {"heavy": []}


DAGS = """
import importlib, json, sys, time
import airflow.sdk
seconds = {{}}
for module in {modules}:
    started = time.process_time()
    importlib.import_module(module)
    seconds[module] = time.process_time() - started
heavy = ("tensorflow", "apache_beam", "mlflow", "keras", "numpy", "model", "pipelines", "serving")
print(json.dumps({{"heavy": [name for name in heavy if name in sys.modules], "s": seconds}}))
"""


def test_importing_a_dag_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    """Airflow does it every few seconds. In CPU seconds, so that other work does not count."""
    modules = [module for module in SOURCES if module.startswith("dags.")]
    assert "dags.daily_retrain" in modules
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    found = run(DAGS.format(modules=modules), environment)
    assert found["heavy"] == []
    seconds = found["s"]
    assert isinstance(seconds, dict)
    assert {module: spent for module, spent in seconds.items() if spent >= 1.0} == {}
