"""What every step has from `pipelines.step`: reuse, one atomic commit, a report, exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tiny_shop import DAY_1, DAY_2, HERE, command

from model.errors import BadInput, Damaged, LookalikeError, Refused
from pipelines.settings import Settings
from pipelines.step import (
    CODE_VERSION,
    Looked,
    Outcome,
    Partition,
    Report,
    digest_of,
    exit_codes,
    file_digests,
    locked,
    made_from,
    only_looking,
    previous_day,
    run_step,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "root")


def write(settings: Settings, words: str, /, *, ds: date = DAY_1, **inputs: str) -> Report:
    """A step that writes `words`; its input `text` is the same unless inputs are given."""

    def body(folder: Path) -> Outcome:
        (folder / "deep").mkdir()
        (folder / "deep" / "text.txt").write_text(words)
        return Outcome(rows=len(words), details={"text": words})

    return run_step(settings, "demo", ds, inputs=inputs or {"text": words}, body=body)


def state(settings: Settings) -> dict[str, str]:
    """Every file of the step and its bytes, and what lies in staging."""
    folders = [settings.root / name for name in ("demo", "staging")]
    return {str(p): d for folder in folders for p, d in file_digests(folder).items()}


def in_process(settings: Settings, code: str) -> "subprocess.Popen[str]":
    """Python that has `settings`, `run_step`, `Outcome`, `DAY`."""
    head = f"""
        import os, signal, sys, time
        from datetime import date
        from pathlib import Path
        from pipelines import step
        from pipelines.settings import Settings
        from pipelines.step import Outcome, run_step
        settings, DAY = Settings(root=Path({str(settings.root)!r})), date({DAY_1:%Y, %-m, %-d})
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", text], cwd=HERE, stdout=subprocess.PIPE, text=True
    )


def test_the_report_says_what_was_done(settings: Settings) -> None:
    report = write(settings, "abc")
    output = Partition(settings, "demo", DAY_1).output
    assert report == Report(
        step="demo",
        ds=DAY_1,
        fingerprint=digest_of({"step": "demo", "code": CODE_VERSION, "text": "abc"}),
        digest=digest_of({"deep/text.txt": file_digests(output)["deep/text.txt"]}),
        rows=3,
        seconds=report.seconds,
        bytes=3,
        inputs={"text": "abc"},
        details={"text": "abc"},
    )
    assert 0 <= report.seconds < 5
    assert json.loads((output.parent / "report.json").read_bytes()) == report.model_dump(
        mode="json"
    )
    assert output == settings.root / "demo" / f"ds={DAY_1}" / report.fingerprint
    assert report.line() == f"demo         {report.seconds:7.1f} s         3 rows  text abc"


def test_the_line_of_a_report_leaves_out_long_facts(settings: Settings) -> None:
    report = write(settings, "a" * 61).model_copy(update={"reused": True})
    assert report.line() == "demo         unchanged        61 rows  "


def test_the_same_inputs_run_once(settings: Settings) -> None:
    first = write(settings, "abc")
    before = state(settings)
    again = write(settings, "never written", text="abc")
    assert again == first.model_copy(update={"reused": True})
    assert state(settings) == before


def test_who_only_looks_runs_nothing(settings: Settings) -> None:
    def would_run(words: str) -> bool:
        # Another process that holds the step's lock keeps nobody from looking.
        lock = settings.root / "locks" / f"demo-{DAY_1}.lock"
        with locked(lock), only_looking(), pytest.raises(Looked) as looked:
            write(settings, words)
        return looked.value.would_run

    assert would_run("abc")
    assert state(settings) == {}
    write(settings, "abc")
    assert (would_run("abc"), would_run("other")) == (False, True)
    assert write(settings, "other").rows == 5


def test_other_inputs_replace_the_output(settings: Settings) -> None:
    first, second = write(settings, "abc"), write(settings, "abcd")
    folder = Partition(settings, "demo", DAY_1).folder
    assert sorted(p.name for p in folder.iterdir()) == sorted([second.fingerprint, "report.json"])
    assert first.fingerprint != second.fingerprint
    assert (folder / second.fingerprint / "deep" / "text.txt").read_text() == "abcd"


def test_a_lost_output_is_made_again(settings: Settings) -> None:
    first = write(settings, "abc")
    output = Partition(settings, "demo", DAY_1).output
    output.rename(output.with_name("lost"))
    again = write(settings, "abc")
    assert (again.reused, again.digest) == (False, first.digest)


def test_the_digest_is_of_the_bytes_and_not_of_the_time(settings: Settings, tmp_path: Path) -> None:
    here = write(settings, "abc")
    time.sleep(0.01)
    there = write(Settings(root=tmp_path / "other"), "abc", ds=DAY_2)
    other = write(Settings(root=tmp_path / "third"), "abd", text="abc")
    assert here.digest == there.digest
    assert here.fingerprint == other.fingerprint
    assert here.digest != other.digest


def test_a_body_that_raises_leaves_the_old_state(settings: Settings) -> None:
    write(settings, "abc")
    before = state(settings)

    def body(folder: Path) -> Outcome:
        (folder / "half.txt").write_text("half")
        raise BadInput("broken")

    with pytest.raises(BadInput, match="broken"):
        run_step(settings, "demo", DAY_1, inputs={"text": "other"}, body=body)
    assert state(settings) == before
    assert write(settings, "abc").reused


def test_what_a_killed_run_left_in_staging_is_removed(settings: Settings) -> None:
    stale = settings.root / "staging" / f"demo-{DAY_1}" / "half.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("half")
    report = write(settings, "abc")
    output = Partition(settings, "demo", DAY_1).output
    assert list(file_digests(output)) == ["deep/text.txt"]
    assert report.bytes == 3
    assert list((settings.root / "staging").iterdir()) == []


KILLS = {
    "in the body": """
        def body(folder):
            (folder / "half.txt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """,
    "before the output is in place": """
        step.replace_folder = lambda source, target: os.kill(os.getpid(), signal.SIGKILL)
    """,
    "between output and report": """
        step.write_atomically = lambda path, data: os.kill(os.getpid(), signal.SIGKILL)
    """,
    "while the report is written": """
        os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
    """,
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_kill_leaves_the_old_state_and_the_next_run_the_new_one(
    settings: Settings, moment: str
) -> None:
    old = write(settings, "abc")
    code = """
        def body(folder):
            (folder / "deep").mkdir()
            (folder / "deep" / "text.txt").write_text("new")
            return Outcome(3, {"text": "new"})
    """
    end = 'run_step(settings, "demo", DAY, inputs={"text": "new"}, body=body)'
    process = in_process(settings, textwrap.dedent(code) + textwrap.dedent(KILLS[moment]) + end)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    partition = Partition(settings, "demo", DAY_1)
    assert partition.done() == old
    assert (partition.output / "deep" / "text.txt").read_text() == "abc"
    new = write(settings, "new")
    assert not new.reused
    assert (partition.output / "deep" / "text.txt").read_text() == "new"
    folders = [path.name for path in partition.folder.iterdir() if path.is_dir()]
    assert folders == [new.fingerprint]


def test_a_kill_after_the_report_leaves_the_new_state(settings: Settings) -> None:
    write(settings, "abc")
    process = in_process(
        settings,
        """
        def body(folder):
            (folder / "text.txt").write_text("new")
            return Outcome(3)
        step._drop_former = lambda folder, keep: os.kill(os.getpid(), signal.SIGKILL)
        run_step(settings, "demo", DAY, inputs={"text": "new"}, body=body)
        """,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert write(settings, "never written", text="new").reused
    assert (Partition(settings, "demo", DAY_1).output / "text.txt").read_text() == "new"


def test_two_processes_take_turns(settings: Settings) -> None:
    """Each body lasts 0.3 s; of two with the same inputs the second finds it done."""
    code = """
        span = []
        def body(folder):
            span.append(time.time())
            time.sleep(0.3)
            span.append(time.time())
            return Outcome(1)
        report = run_step(settings, "demo", DAY, inputs={"text": TEXT}, body=body)
        print("reused" if report.reused else "done")
        print(*span)
    """
    answers = []
    for texts in ("aa", "bc"):
        both = [in_process(settings, code.replace("TEXT", repr(text))) for text in texts]
        answers += [process.communicate(timeout=60)[0].splitlines()[-2:] for process in both]
    assert sorted(answer for answer, _ in answers) == ["done", "done", "done", "reused"]
    spans = [tuple(map(float, span.split())) for _, span in answers[2:]]
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start


def test_a_step_that_has_not_run_names_the_command(settings: Settings) -> None:
    with pytest.raises(BadInput) as caught:
        Partition(settings, "index", DAY_1).done()
    assert str(caught.value) == (
        f"Step `index` has no output for {DAY_1}. "
        f"Run it first: python -m pipelines.index --ds {DAY_1}"
    )
    assert Partition(settings, "index", DAY_1).report() is None


def test_what_was_made_from_the_same_is_found_up_to_the_day_itself(settings: Settings) -> None:
    days = [date(2026, 11, day) for day in (17, 18, 19, 20)]
    for ds, embedder in zip(days, ("a", "a", "b", "c"), strict=True):
        write(settings, embedder, ds=ds, embedder=embedder, photos=str(ds))

    def found(ds: date, embedder: str) -> date | None:
        partition = made_from(settings, "demo", ds, {"embedder": embedder})
        return partition and partition.ds

    assert [found(days[2], name) for name in "abcd"] == [days[1], days[2], None, None]
    assert [found(days[3], name) for name in "abcd"] == [days[1], days[2], days[3], None]
    shutil.rmtree(Partition(settings, "demo", days[1]).output)
    assert found(days[2], "a") == days[0]


def test_the_previous_day_is_the_newest_that_is_done(settings: Settings) -> None:
    assert previous_day(settings, "demo", DAY_2) is None
    for day in (date(2026, 9, 30), date(2026, 11, 2), DAY_1, DAY_2):
        write(settings, "abc", ds=day)
    (settings.root / "demo" / "ds=2026-11-18").mkdir()  # begun, never done
    found = previous_day(settings, "demo", DAY_1)
    assert found == Partition(settings, "demo", date(2026, 11, 2))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), 3),
        (BadInput("bad"), 65),
        (Damaged("torn"), 65),
        (LookalikeError("any"), 65),
        (OSError(28, "No space left on device"), 75),
        (FileNotFoundError(2, "gone"), 75),
    ],
)
def test_exit_codes(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_codes():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == f"{type(error).__name__}: {error}\n"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_codes():
        _ = 1 / 0


def test_the_command_of_a_step(shop: Settings, settings: Settings) -> None:
    """0 and the report as the last line; 65 for what another try cannot mend."""
    done = command(shop, "ingest", DAY_1)
    expected = Partition(shop, "ingest", DAY_1).done().model_copy(update={"reused": True})
    assert done.returncode == 0
    assert Report.model_validate_json(done.stdout.splitlines()[-1]) == expected
    assert done.stderr.splitlines()[-1] == expected.line()
    bad = command(settings, "ingest", DAY_1)
    assert bad.returncode == 65
    assert bad.stderr.splitlines()[-1].startswith(f"BadInput: There is no feed for {DAY_1}.")


def test_the_command_of_a_step_on_a_broken_disk_or_a_broken_date(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = command(Settings(root=tmp_path / "file"), "ingest", DAY_1)
    assert broken.returncode == 75
    assert broken.stderr.startswith("NotADirectoryError: ")
    never: Any = "2026-02-30"
    usage = command(Settings(root=tmp_path), "ingest", never)
    assert usage.returncode == 2
    assert os.listdir(tmp_path) == ["file"]


def test_an_output_that_lost_what_it_refers_to_is_made_again(tmp_path: Path) -> None:
    settings, shard = Settings(root=tmp_path), tmp_path / "shards" / "a"

    def body(folder: Path) -> Outcome:
        shard.parent.mkdir(exist_ok=True)
        shard.write_text("pixels")
        (folder / "shards.json").write_text('["a"]')
        return Outcome(rows=1)

    def run() -> bool:
        report = run_step(
            settings, "embed", DAY_1, inputs={}, body=body, intact=lambda output: shard.is_file()
        )
        return report.reused

    assert (run(), run()) == (False, True)
    shard.unlink()
    assert (run(), run()) == (False, True)


def test_a_registry_that_is_away_is_worth_another_try(capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(SystemExit) as caught, exit_codes():
        raise MlflowException("connection refused")
    assert caught.value.code == 75
    assert capsys.readouterr().err == "The registry failed: connection refused\n"
