"""The operator that fires a window; its work is all in `FireTrigger`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import StartTriggerArgs

from include.ledger.triggers import FireTrigger

TRIGGER = f"{FireTrigger.__module__}.{FireTrigger.__qualname__}"

CONF = "{{ (dag_run.conf or {}) | tojson }}"

#: Rendered by the triggerer when it starts the task.
RENDERED = {
    # A run that was triggered without a logical date has no data interval.
    "interval_start": "{{ (data_interval_start | default(none) or dag_run.run_after).isoformat() }}",
    "interval_end": "{{ (data_interval_end | default(none) or dag_run.run_after).isoformat() }}",
    "run_id": "{{ run_id }}",
    "run_type": "{{ dag_run.run_type.value if dag_run.run_type.value is defined else dag_run.run_type }}",
    "conf": CONF,
}


class FireOperator(BaseOperator):
    """Fires one shard of a schedule's window, from the triggerer.

    :param fire: the arguments of `FireTrigger` that the schedule fixes
    :param shard: which shard; mapped over a literal list
    """

    template_fields = tuple(RENDERED)
    start_from_trigger = True
    ui_color = "#f4c87b"

    def __init__(
        self,
        *,
        fire: Mapping[str, Any],
        shard: int = 0,
        start_trigger_args: StartTriggerArgs | None = None,
        start_from_trigger: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fire = dict(fire)
        self.shard = shard
        self.start_trigger_args = start_trigger_args or start_args(fire)
        self.start_from_trigger = start_from_trigger
        for name, template in RENDERED.items():
            setattr(self, name, template)

    def execute(self, context: Any) -> None:
        """Take the same road from a worker or `airflow dags test`, which start no task from a trigger."""
        rendered = {name: getattr(self, name) for name in RENDERED}
        try_number = context["ti"].try_number
        trigger = FireTrigger(**self.fire, **rendered, shard=self.shard, try_number=try_number)
        self.defer(trigger=trigger, method_name="finish")

    def finish(self, context: Any, event: Any = None) -> Any:
        """End the task as the trigger's event says."""
        return summary_of(event)


def summary_of(event: Any) -> Any:
    """Return the summary that a trigger's last event carries. Raises AirflowException: the task failed."""
    summary = (getattr(event, "xcoms", None) or {}).get("summary")
    if event is not None and "fail" in json.dumps(event, default=str):
        raise AirflowException(f"failed: {summary or event}")
    return summary


def start_args(fire: Mapping[str, Any]) -> StartTriggerArgs:
    """Return what starts the task in the triggerer."""
    return StartTriggerArgs(
        trigger_cls=TRIGGER, next_method="finish", trigger_kwargs={**fire, **RENDERED}, next_kwargs=None
    )
