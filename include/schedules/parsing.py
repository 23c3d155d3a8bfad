"""For which DAGs the file is being parsed.

A task on a worker needs one DAG, and Airflow says so. It also parses the file after every task that ended in
the triggerer, only to look whether its DAG has a callback, and does not say so: with thousands of schedules
that would keep a processor busy with building DAGs that nobody asked for. The request then stands in the
frame of the function that parses; where it does not, all DAGs are built, which is always right.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

from airflow.sdk import get_parsing_context

PROCESSOR = "airflow.dag_processing.processor"


def requested_dag_ids() -> Collection[str] | None:
    """Return the ids of the DAGs that are asked for, None for all."""
    dag_id = get_parsing_context().dag_id
    if dag_id is not None:
        return [dag_id]
    return _of_callbacks() or None


def _of_callbacks() -> set[str]:
    processor = sys.modules.get(PROCESSOR)
    frame = sys._getframe() if processor else None
    while frame is not None:
        request = frame.f_locals.get("msg") if frame.f_globals.get("__name__") == PROCESSOR else None
        if request is not None:
            return {_dag_id(callback) for callback in getattr(request, "callback_requests", ())} - {""}
        frame = frame.f_back
    return set()


def _dag_id(callback: object) -> str:
    task_instance = getattr(callback, "ti", None)
    return str(getattr(task_instance or callback, "dag_id", ""))
