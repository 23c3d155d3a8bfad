"""`./carillon clean`: reading what `airflow db clean` says, and old task logs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.cli import airflow_runs
from include.cli.airflow_runs import clean_runs, clean_task_logs, read_counts
from include.cli.main import main

BEFORE = datetime(2026, 11, 1, tzinfo=UTC)

OUTPUT = """
Checking table xcom
Found 0 rows meeting deletion criteria.

Checking table dag_run
Found 12 rows meeting deletion criteria.
Performing Delete (batch 1, max 20000 rows)...
Moving data to table _airflow_deleted__dag_run__20261101
Finished Performing Delete
"""


def test_rows_are_read_by_table() -> None:
    assert read_counts(OUTPUT) == {"xcom": 0, "dag_run": 12}
    assert read_counts("nothing of that kind") == {}


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_command_is_complete(dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def run_child(argv: list[str], environment: dict[str, str]) -> str:
        calls.append(argv)
        return OUTPUT

    monkeypatch.setattr(airflow_runs, "run_child", run_child)
    assert clean_runs({}, BEFORE, dry_run=dry_run) == {"xcom": 0, "dag_run": 12}
    [words] = calls
    assert words[words.index("--clean-before-timestamp") + 1] == "2026-11-01T00:00:00+00:00"
    assert {"--yes", "--skip-archive", "--error-on-cleanup-failure"} <= set(words)
    assert ("--dry-run" in words) is dry_run


def make_run(folder: Path, name: str, age: timedelta) -> Path:
    run = folder / "dag_id=callback.x" / f"run_id={name}"
    log = run / "task_id=fire" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text("words")
    stamp = (BEFORE - age).timestamp()
    for path in (log, log.parent, run):
        os.utime(path, (stamp, stamp))
    return run


def test_old_task_logs_go(tmp_path: Path) -> None:
    old, young = make_run(tmp_path, "old", timedelta(days=1)), make_run(tmp_path, "young", -timedelta(days=1))
    still_written = make_run(tmp_path, "long", timedelta(days=9))
    (still_written / "task_id=fire" / "attempt=1.log").write_text("more words")
    processor = tmp_path / "dag_processor"
    processor.mkdir()
    assert clean_task_logs(tmp_path, BEFORE, dry_run=True) == 1
    assert old.exists()
    assert clean_task_logs(tmp_path, BEFORE, dry_run=False) == 1
    assert [old.exists(), young.exists(), still_written.exists(), processor.exists()] == [
        False, True, True, True
    ]  # fmt: skip


def test_without_an_instance_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
    assert main(["clean"]) == 1
    assert "start one with ./carillon up" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--keep-days", "--airflow-keep-days"])
def test_nothing_can_be_kept_for_no_time(option: str) -> None:
    assert main(["clean", option, "0"]) == 2
