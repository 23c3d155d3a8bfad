"""The task of a maintenance DAG; its work is done in `include.maintenance.evaluation`."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from include.kit.operators import run_in_worker

#: Projects that a run names in what it returns; its log names all.
NAMED_MOST = 100


class EvaluateOperator(BaseOperator):
    """Opens the maintenance tasks that have their notice, and moves those that are due or overdue by now.

    Returns how many came to each state, in all and by project.

    :param schedule_id: of the table `schedule`
    """

    ui_color = "#f2e2c4"

    def __init__(self, *, schedule_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule_id = schedule_id

    def execute(self, context: Any) -> dict[str, Any]:
        from include.maintenance.summary import lines, summarise

        moved = run_in_worker(self._evaluate())
        for line in lines(moved):
            self.log.info(line)
        return summarise(moved, most=NAMED_MOST)

    async def _evaluate(self) -> Any:
        from include.kit.db import Database, database_url
        from include.maintenance.evaluation import evaluate_schedule

        database = await Database(database_url(), max_size=1).open()
        try:
            return await evaluate_schedule(database, self.schedule_id)
        finally:
            await database.close()
