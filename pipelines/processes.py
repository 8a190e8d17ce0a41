"""`make up` and `make down`: Airflow, MLflow and the search page under supervisord.

`docker/processes.conf` says what runs; what ends is started again. `up` returns when all three
pages answer.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer

from model.errors import LookalikeError
from pipelines.airflow import airflow_environment, program
from pipelines.operator_key import make_operator_key
from pipelines.settings import Settings, load_settings
from pipelines.step import digest_of, exit_codes

CONFIG = Path(__file__).parents[1] / "docker" / "processes.conf"
START_SECONDS = 300  # all at once on a busy machine
MLFLOW_PORT, AIRFLOW_PORT = 5000, 8080


def main(action: Annotated[str, typer.Argument(help="up or down")]) -> None:
    """Start or stop them."""
    with exit_codes():
        settings = load_settings()
        if action == "up":
            up(settings)
        elif action == "down":
            down(settings)
        else:
            raise typer.BadParameter(f"expected up or down, received {action}")


def up(settings: Settings) -> None:
    """Start what does not run yet and wait until it answers. Raises LookalikeError if not."""
    environment = _environment(settings)
    (settings.root / "logs").mkdir(parents=True, exist_ok=True)
    make_operator_key(settings.root)
    if _control(environment, "pid").returncode:
        for command in (["db", "migrate"], ["pools", "set", "gpu", "1", "one training at a time"]):
            _run(
                [program("airflow"), *command], environment, settings.root / "logs" / "airflow.log"
            )
        subprocess.run([program("supervisord"), "-c", str(CONFIG)], env=environment, check=True)
    pages = {
        "search": f"http://{settings.serve.host}:{settings.serve.port}",
        "MLflow": f"http://127.0.0.1:{environment['LOOKALIKE_MLFLOW_PORT']}",
        "Airflow": f"http://127.0.0.1:{environment['AIRFLOW__API__PORT']}",
    }
    deadline = time.monotonic() + START_SECONDS
    for name, url in pages.items():
        while not _answers(url):
            if time.monotonic() > deadline:
                raise LookalikeError(
                    f"{name} does not answer at {url}. See {settings.root / 'logs'}, then run "
                    f"`make down`."
                )
            time.sleep(0.5)
        typer.echo(f"{name:<8} {url}")
    typer.echo("Stop them with `make down`.")


def down(settings: Settings) -> None:
    """Stop everything that `up` started; fine when nothing runs."""
    environment = _environment(settings)
    running = _control(environment, "pid")
    if running.returncode:
        typer.echo("Nothing runs.")
        return
    _control(environment, "shutdown")
    # It stops answering at once, and ends when all that it started has ended.
    while _lives(int(running.stdout)):
        time.sleep(0.2)
    typer.echo("Stopped.")


def _environment(settings: Settings) -> dict[str, str]:
    root = settings.root.resolve()
    port = os.environ.get("LOOKALIKE_AIRFLOW_PORT", str(AIRFLOW_PORT))
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "LOOKALIKE_MLFLOW_PORT": str(MLFLOW_PORT),
        **airflow_environment(settings),
        "LOOKALIKE_ROOT": str(root),
        "LOOKALIKE_BIN": str(Path(sys.executable).parent),
        # A socket's path has at most 107 characters; a checkout may lie deep.
        "LOOKALIKE_SOCKET": f"/tmp/lookalike-{os.getuid()}-{digest_of(str(root))}.sock",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def _control(environment: dict[str, str], action: str) -> subprocess.CompletedProcess[bytes]:
    command = [program("supervisorctl"), "-c", str(CONFIG), action]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _run(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("a") as file:
        subprocess.run(command, env=environment, stdout=file, stderr=file, check=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
