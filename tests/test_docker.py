"""What can be held true of docker/ where no engine runs: paths, locks, users, ports, commands."""

import configparser
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parents[1]
DOCKER = HERE / "docker"
BIN = Path(sys.executable).parent
EXTRAS = ("orchestrate", "train", "serve")
TARGETS = (*EXTRAS, "airflow")
OURS = ("airflow", "mlflow", "search")
TAG = re.compile(r"[a-z/]+:v?\d+\.\d+[\w.-]*")
SECRET = re.compile(r"(?i)(password|secret|token|api_?key)\w*\s*[:=]")


@cache
def stages() -> dict[str, list[list[str]]]:
    """The instructions of each stage of the Dockerfile, FROM first, as words."""
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            words = shlex.split(line)
            if words[0] == "FROM":
                found[words[3]] = []
            found[list(found)[-1]].append(words)
    return found


def lineage(stage: str) -> list[list[str]]:
    """The instructions of a stage after those of the stages that it is built from."""
    source = stages()[stage][0][1]
    return (lineage(source) if source in stages() else []) + stages()[stage]


def copied(stage: str) -> list[str]:
    """What a stage copies from the project."""
    copies = [words[1:-1] for words in stages()[stage] if words[0] == "COPY"]
    return [path for paths in copies if not paths[0].startswith("--from") for path in paths]


def last(stage: str, instruction: str) -> list[str]:
    return [words[1:] for words in lineage(stage) if words[0] == instruction][-1]


def variables(stage: str) -> dict[str, str]:
    pairs = [word.split("=", 1) for words in lineage(stage) if words[0] == "ENV" for word in words]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return services


SERVICES: dict[str, dict[str, Any]] = compose()["services"]


def test_the_dockerfile_has_a_target_for_each_extra_and_one_for_airflow() -> None:
    assert list(stages()) == ["base", "wheel", *TARGETS]


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_target_installs_the_lock_of_its_extra_with_hashes(extra: str) -> None:
    assert copied(extra) == [f"lock/{extra}.txt"]
    runs = [" ".join(words) for words in stages()[extra] if words[0] == "RUN"]
    assert runs == [
        f"RUN python -m venv /opt/{extra} && /opt/{extra}/bin/pip install --require-hashes "
        f"-r /tmp/{extra}.txt",
        f"RUN /opt/{extra}/bin/pip install --no-deps --no-index /wheel/*.whl",
    ]


def test_the_wheel_is_built_by_the_locked_setuptools() -> None:
    """awk takes its lines out of lock/all.txt as the Makefile takes those of uv."""
    run = next(words for words in stages()["wheel"] if words[0] == "RUN")
    program = run[run.index("awk") + 1]
    assert program in (HERE / "Makefile").read_text().replace("^uv==", "^setuptools==")
    assert "--require-hashes" in run
    assert "--no-build-isolation" in run
    assert re.search(r"^setuptools==", (HERE / "lock" / "all.txt").read_text(), re.MULTILINE)


def test_what_is_copied_exists_and_the_ignore_file_lets_it_in() -> None:
    paths = [path for stage in stages() for path in copied(stage)]
    assert [path for path in paths if not (HERE / path).exists()] == []
    rules = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert rules[1] == "*"
    assert {path.split("/")[0] for path in paths} == let_in


def test_every_image_runs_as_a_user_that_is_not_root() -> None:
    assert {target: last(target, "USER") for target in TARGETS} == {
        target: ["lookalike"] for target in TARGETS
    }


def test_nothing_phones_home_from_an_image() -> None:
    asked = {
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    for target in TARGETS:
        assert asked.items() <= variables(target).items()


def test_airflow_runs_each_step_in_the_environment_of_its_extra() -> None:
    copies = [words[1:] for words in stages()["airflow"] if words[0] == "COPY"]
    assert copies == [
        ["--from=train", "/opt/train", "/opt/train"],
        ["--from=serve", "/opt/serve", "/opt/serve"],
    ]
    found = variables("airflow")
    assert found["LOOKALIKE_TRAIN_PYTHON"] == "/opt/train/bin/python"
    assert found["LOOKALIKE_SERVE_PYTHON"] == "/opt/serve/bin/python"
    assert last("base", "FROM")[0].startswith("python:3.11-")  # the folder below has the version
    dags = "/opt/orchestrate/lib/python3.11/site-packages/dags"
    assert found["AIRFLOW__CORE__DAGS_FOLDER"] == dags


def test_the_server_is_checked_for_life() -> None:
    check = " ".join(last("serve", "HEALTHCHECK"))
    assert "http://127.0.0.1:3000/livez" in check
    assert last("serve", "EXPOSE") == ["3000"]


def test_no_image_floats() -> None:
    images = [words[1] for parts in stages().values() for words in parts if words[0] == "FROM"]
    images = [image for image in images if image not in stages()]
    images += [service["image"] for service in SERVICES.values() if "image" in service]
    assert [image for image in images if not TAG.fullmatch(image)] == []


def test_the_files_hold_no_secret() -> None:
    for path in (DOCKER / "Dockerfile", DOCKER / "compose.yaml"):
        assert SECRET.findall(path.read_text()) == []


def test_the_services_are_what_the_platform_has() -> None:
    built = {name: SERVICES[name]["build"]["target"] for name in OURS}
    assert built == {"airflow": "airflow", "mlflow": "serve", "search": "serve"}
    for name in OURS:
        build = SERVICES[name]["build"]
        assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / "Dockerfile"
    assert set(SERVICES) == {*OURS, "prometheus", "grafana"}


def test_ports_answer_on_this_machine_only() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {
        "airflow": ["127.0.0.1:8080:8080"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "search": ["127.0.0.1:3000:3000", "127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3001:3000"],
    }


def test_services_gain_no_rights() -> None:
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"privileged", "user", "pid", "devices"} & set(service) == set()


def test_mounted_files_exist_and_volumes_are_declared() -> None:
    mounts = [mount.split(":") for one in SERVICES.values() for mount in one.get("volumes", ())]
    files = [source for source, *_ in mounts if source.startswith("..")]
    names = {source for source, *_ in mounts if not source.startswith("..")}
    assert [path for path in files if not (DOCKER / path).resolve().is_file()] == []
    assert all(mount[-1] == "ro" for mount in mounts if mount[0].startswith(".."))
    assert names == set(compose()["volumes"])
    assert [mount[-1] for mount in mounts if mount[0] == "shop"] == ["/shop", "/shop", "ro"]


def test_prometheus_reads_its_rules_and_reaches_the_server() -> None:
    """It shares the network of `search`, where the target of the file is the server."""
    config = yaml.safe_load((HERE / "monitoring" / "prometheus.yml").read_text())
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert SERVICES["prometheus"]["network_mode"] == "service:search"
    assert targets == ["127.0.0.1:3000"]
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in ("prometheus.yml", *config["rule_files"])} < (
        mounted
    )


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    configs = {name: yaml.safe_load(part["content"]) for name, part in compose()["configs"].items()}
    assert {part["source"] for part in SERVICES["grafana"]["configs"]} == set(configs)
    source = configs["datasource"]["datasources"][0]
    assert (source["type"], source["url"]) == ("prometheus", "http://search:9090")
    folder = configs["dashboards"]["providers"][0]["options"]["path"]
    mounted = SERVICES["grafana"]["volumes"][0].split(":")[1]
    assert Path(mounted).parent == Path(folder)


def test_the_registry_is_the_one_of_compose() -> None:
    uri = SERVICES["airflow"]["environment"]["LOOKALIKE_REGISTRY__TRACKING_URI"]
    command = SERVICES["mlflow"]["command"]
    allowed = next(word.split("=")[1] for word in command if word.startswith("--allowed-hosts="))
    assert uri == "http://mlflow:5000"
    assert "mlflow:5000" in allowed.split(",")
    assert "--backend-store-uri=sqlite:////shop/mlflow.db" in command


def test_commands_are_console_scripts() -> None:
    airflow = SERVICES["airflow"]["command"]
    assert airflow[:2] == ["sh", "-c"]
    started = {line.removeprefix("exec ").split()[0] for line in airflow[2].split(" && ")}
    started |= {SERVICES["mlflow"]["command"][0]}
    started |= {Path(last(target, "CMD")[0].strip('[",')).name for target in ("airflow", "serve")}
    assert started == {"airflow", "mlflow", "lookalike"}
    assert [name for name in started if not (BIN / name).is_file()] == []


def test_supervisord_starts_each_process_with_all_that_it_starts() -> None:
    config = configparser.RawConfigParser(interpolation=None)
    config.read_string((DOCKER / "processes.conf").read_text())
    programs = {
        name.removeprefix("program:"): shlex.split(config[name]["command"])
        for name in config.sections()
        if name.startswith("program:")
    }
    assert {config[f"program:{name}"]["autorestart"] for name in programs} == {"true"}
    contained = ["%(ENV_LOOKALIKE_BIN)s/python", "-m", "pipelines.contained"]
    assert {name: command[:3] for name, command in programs.items()} == dict.fromkeys(
        programs, contained
    )
    started = {
        name: [command[3].removeprefix("%(ENV_LOOKALIKE_BIN)s/"), command[4]]
        for name, command in programs.items()
    }
    assert started == {
        "mlflow": ["mlflow", "server"],
        "search": ["lookalike", "serve"],
        "airflow-api-server": ["airflow", "api-server"],
        "airflow-dag-processor": ["airflow", "dag-processor"],
        "airflow-triggerer": ["airflow", "triggerer"],
        "airflow-scheduler": ["airflow", "scheduler"],
    }
