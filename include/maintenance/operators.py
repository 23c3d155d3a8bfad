"""The task of a maintenance DAG; its work is done in `include.maintenance.evaluation`."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from include.kit.operators import run_in_worker

#: Projects that a run names in what it returns; its log names all.
NAMED_MOST = 100


class EvaluateOperator(BaseOperator):
    """Opens the maintenance tasks that have their notice, and moves those that are due or overdue by now.

    Returns how many came to each state, in all and by project, and of how many objects there is no data.

    :param schedule_id: of the table `schedule`
    """

    ui_color = "#f2e2c4"

    def __init__(self, *, schedule_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule_id = schedule_id

    def execute(self, context: Any) -> dict[str, Any]:
        from include.maintenance.summary import alarms, lines, summarise

        moved, lacking = run_in_worker(self._evaluate())
        for line in lines(moved):
            self.log.info(line)
        for line in alarms(lacking):
            self.log.warning(line)
        return {**summarise(moved, most=NAMED_MOST), "no_data": sum(one.count for one in lacking)}

    async def _evaluate(self) -> Any:
        from include.kit.db import Database, database_url
        from include.maintenance.evaluation import evaluate_schedule
        from include.maintenance.evaluation_repository import EvaluationRepository

        database = await Database(database_url(), max_size=1).open()
        try:
            moved = await evaluate_schedule(database, self.schedule_id)
            async with database.transaction() as connection:
                return moved, await EvaluationRepository(connection).count_no_data(self.schedule_id)
        finally:
            await database.close()
