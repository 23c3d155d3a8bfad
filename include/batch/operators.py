"""The operator of a batch DAG's tasks; its work is all in `BatchTrigger`."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import StartTriggerArgs

from include.batch.triggers import BatchTrigger, StepName, cleared_at
from include.ledger.operators import CONF, summary_of

TRIGGER = f"{BatchTrigger.__module__}.{BatchTrigger.__qualname__}"


class BatchOperator(BaseOperator):
    """Expands, fans out or settles the batch task that the run's configuration names, from the triggerer.

    :param step: which of the three
    :param shard: which shard of `fan_out`; mapped over a literal list
    """

    template_fields = ("conf",)
    start_from_trigger = True
    ui_color = "#d7d0f2"

    def __init__(
        self,
        *,
        step: StepName,
        shard: int = 0,
        start_trigger_args: StartTriggerArgs | None = None,
        start_from_trigger: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.shard = shard
        self.start_trigger_args = start_trigger_args or start_args(step)
        self.start_from_trigger = start_from_trigger
        self.conf = CONF

    def execute(self, context: Any) -> None:
        """Take the same road from a worker or `airflow dags test`, which start no task from a trigger."""
        cleared = cleared_at(context["ti"])
        trigger = BatchTrigger(
            step=self.step,
            conf=self.conf,
            shard=self.shard,
            cleared_at=cleared.isoformat() if cleared else "",
        )
        self.defer(trigger=trigger, method_name="finish")

    def finish(self, context: Any, event: Any = None) -> Any:
        """End the task as the trigger's event says."""
        return summary_of(event)


def start_args(step: StepName) -> StartTriggerArgs:
    """Return what starts the task in the triggerer."""
    return StartTriggerArgs(
        trigger_cls=TRIGGER,
        next_method="finish",
        trigger_kwargs={"step": step, "conf": CONF},
        next_kwargs=None,
    )
