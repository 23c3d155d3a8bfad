"""What the demo shows: a table while it runs, a summary and what to look at next, or one JSON document."""

from __future__ import annotations

import statistics
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from include.demo.callbacks import Demo, Task

_STYLES = {"succeeded": "green", "failed": "red", "retrying": "yellow", "skipped": "magenta", "missed": "red"}
COLUMNS = ("task", "kind", "runs", "due", "sent", "late ms", "attempts", "result")


def table(demo: Demo) -> Table:
    """Return one row a task, about its latest execution."""
    grid = Table(title="Callbacks, each with its latest execution", title_justify="left")
    for column in COLUMNS:
        grid.add_column(column, justify="right" if column in ("runs", "late ms", "attempts") else "left")
    for task in demo.tasks:
        *words, result = row(task)
        grid.add_row(*words, Text(result, style=_STYLES.get(result.split(":")[0], "")))
    return grid


def row(task: Task) -> tuple[str, ...]:
    """Return the cells of a task, in the order of `COLUMNS`."""
    name = f"{task.task_id} {task.name.split('-', 2)[-1]}"
    if not task.executions:
        return name, task.kind, "0", "", "", "", "", "waiting"
    latest = task.executions[0]
    due, sent, late = datetime.fromisoformat(latest["due_at"]), sent_at(latest), latest["lateness_ms"]
    result = latest["state"] + (f": {latest['reason']}" if latest["reason"] else "")
    return (
        name,
        task.kind,
        str(len(task.executions)),
        _clock(due, 0),
        _clock(sent, 3) if sent else "",
        "" if late is None else f"{late:.1f}",
        str(latest["attempts"]),
        result,
    )


def line(task: Task, execution: dict[str, Any]) -> str:
    """Return what is printed of an execution where no table can be drawn."""
    due = datetime.fromisoformat(execution["due_at"])
    late = execution["lateness_ms"]
    words = [
        f"{_clock(due, 0)} {task.name.split('-', 2)[-1]:<11}",
        "       -" if late is None else f"{late:8.1f} ms late",
        f"{execution['attempts']} attempt{'' if execution['attempts'] == 1 else 's'}",
        execution["state"] + (f": {execution['reason']}" if execution["reason"] else ""),
    ]
    return "  ".join(words)


def sent_at(execution: dict[str, Any]) -> datetime | None:
    """Return when the first byte of the first attempt left."""
    if execution["lateness_ms"] is None:
        return None
    return datetime.fromisoformat(execution["due_at"]) + timedelta(milliseconds=execution["lateness_ms"])


def document(demo: Demo, url: str, calls: dict[str, int], seconds: float) -> dict[str, Any]:
    """Return the whole story as JSON."""
    return {
        "instance": url,
        "seconds": round(seconds, 1),
        "tasks": [
            {
                "task_id": task.task_id,
                "name": task.name,
                "kind": task.kind,
                "expects": task.expects,
                "as_expected": task.as_expected,
                "executions": [_execution(one) for one in task.executions],
            }
            for task in demo.tasks
        ],
        "received": calls,
        "summary": summary(demo),
    }


def summary(demo: Demo) -> dict[str, Any]:
    """Return the figures of the whole demo."""
    late = [one["lateness_ms"] for one in demo.executions if one["lateness_ms"] is not None]
    return {
        "executions": len(demo.executions),
        "attempts": sum(one["attempts"] for one in demo.executions),
        "succeeded": sum(one["state"] == "succeeded" for one in demo.executions),
        "failed": sum(one["state"] == "failed" for one in demo.executions),
        "lateness_ms_median": round(statistics.median(late), 2) if late else None,
        "lateness_ms_max": round(max(late), 2) if late else None,
        "not_as_expected": [task.name for task in demo.tasks if not task.as_expected],
    }


def closing_lines(demo: Demo, url: str) -> list[str]:
    """Return the summary and where to look next, for people."""
    figures = summary(demo)
    failing = next((task for task in demo.tasks if task.expects == "failed"), demo.tasks[0])
    lines = [
        f"{figures['executions']} executions, {figures['attempts']} attempts:"
        f" {figures['succeeded']} succeeded, {figures['failed']} failed (one task always does).",
    ]
    if figures["lateness_ms_median"] is not None:
        lines.append(
            f"Lateness of the first byte: median {figures['lateness_ms_median']} ms,"
            f" at most {figures['lateness_ms_max']} ms. The first runs of a new schedule may be late: Airflow"
            " has to learn of it."
        )
    if figures["not_as_expected"]:
        lines.append(f"Not as expected: {', '.join(figures['not_as_expected'])}.")
    return [
        *lines,
        "The tasks are deleted, their history stays. Look next at",
        f"  {url}/  Airflow: one DAG a schedule, a run a window",
        f"  {url}/carillon/v1/docs  executions, attempts, lateness",
        f"  ./carillon explain {failing.task_id}  why that one failed",
    ]


def _execution(one: dict[str, Any]) -> dict[str, Any]:
    sent = sent_at(one)
    return {
        "due_at": one["due_at"],
        "sent_at": sent.isoformat() if sent else None,
        "lateness_ms": one["lateness_ms"],
        "attempts": one["attempts"],
        "state": one["state"],
        "reason": one["reason"],
    }


def _clock(moment: datetime, digits: int) -> str:
    text = moment.astimezone().strftime("%H:%M:%S.%f")
    return text[: 8 + (digits + 1 if digits else 0)]
