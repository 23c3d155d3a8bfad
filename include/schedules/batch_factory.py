"""The DAGs of batch tasks: one for each task type, a run for each batch task."""

from __future__ import annotations

from airflow.sdk import DAG

from include.batch.model import TASK_TYPES, TaskType, dag_id_of
from include.batch.operators import BatchOperator, start_args
from include.schedules.parsing import requested_dag_ids
from include.settings import get_settings

#: A task that waits, for its retries or for devices that are away, keeps its run open.
RUNS_MOST = 1000

DOC = """\
Batch tasks of the type **{task_type}**, a run for each, started when one is created and again by its retry.

`expand` makes a sub-task of each target. The shards of `fan_out` share them, each taking what is due and not
taken; the log of a shard tells how far the batch task is. `settle` fails where a target failed.

- *Clear* a shard of `fan_out`, and the targets that failed are tried again; nothing else is sent twice.
- *Trigger DAG* needs `{{"task_id": "…"}}` of a batch task that is there, and goes on with what is left of it.
  Without one the run ends at once.
- To end a batch task, stop it over its API: to mark these tasks as failed only takes it out of sight.
"""


def build_batch_dags() -> dict[str, DAG]:
    """Return the DAGs of all task types by id; where Airflow asks for some, those."""
    wanted = requested_dag_ids()
    dags = [_dag(task_type) for task_type in TASK_TYPES if wanted is None or dag_id_of(task_type) in wanted]
    return {dag.dag_id: dag for dag in dags}


def _dag(task_type: TaskType) -> DAG:
    with DAG(
        dag_id=dag_id_of(task_type),
        dag_display_name=f"batch: {task_type}",
        schedule=None,
        catchup=False,
        max_active_runs=RUNS_MOST,
        tags=["batch", task_type],
        doc_md=DOC.format(task_type=task_type),
    ) as dag:
        expand = BatchOperator(task_id="expand", step="expand", retries=0)
        fan_out = BatchOperator.partial(
            task_id="fan_out",
            step="fan_out",
            start_trigger_args=start_args("fan_out"),
            start_from_trigger=True,
            retries=0,
        ).expand(shard=list(range(get_settings().batch_shards)))
        # Also after a shard that failed, since then there is something to tell.
        settle = BatchOperator(task_id="settle", step="settle", retries=0, trigger_rule="all_done")
        expand >> fan_out >> settle
    return dag
