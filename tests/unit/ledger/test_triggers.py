"""The trigger and its operator: arguments in, arguments out, the scope they mean."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from include.ledger.operators import RENDERED, TRIGGER, FireOperator, start_args
from include.ledger.scopes import CronScope, ManualScope, OnceScope
from include.ledger.triggers import FireTrigger
from include.ledger.windows import Window

FIXED: dict[str, Any] = {
    "schedule_id": 7,
    "kind": "callback",
    "expression": "0 30 9 * * *",
    "zone": "Asia/Shanghai",
    "dense": False,
    "shards": 2,
}
OF_A_RUN = {
    "interval_start": "2026-03-01T01:30:00+00:00",
    "interval_end": "2026-03-02T01:30:00+00:00",
    "run_id": "scheduled__x",
    "run_type": "scheduled",
    "conf": "{}",
}


def trigger(**changes: Any) -> FireTrigger:
    return FireTrigger(**{**FIXED, **OF_A_RUN, **changes})


def test_serialize_gives_class_path_and_constructor_arguments() -> None:
    path, arguments = trigger(shard=1, try_number=3).serialize()
    assert path == "include.ledger.triggers.FireTrigger" == TRIGGER
    assert arguments == {**FIXED, **OF_A_RUN, "shard": 1, "try_number": 3}
    assert FireTrigger(**arguments).serialize() == (path, arguments)


def test_start_args_carry_every_argument_as_a_literal_or_a_template() -> None:
    arguments = start_args(FIXED)
    assert arguments.trigger_cls == TRIGGER
    assert arguments.trigger_kwargs == {**FIXED, **RENDERED}
    FireTrigger(**arguments.trigger_kwargs)


class TestScope:
    def test_scheduled_window(self) -> None:
        scope = trigger(shard=1).scope()
        assert isinstance(scope, CronScope)
        assert scope.window == Window(
            datetime(2026, 3, 1, 1, 30, tzinfo=UTC), datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
        )
        assert (scope.shard.schedule_id, scope.shard.shard, scope.shard.shards) == (7, 1, 2)

    def test_dense_window_is_the_interval_moved_back(self) -> None:
        scope = trigger(dense=True, expression="* * * * * *").scope()
        assert isinstance(scope, CronScope)
        assert scope.window.end == datetime(2026, 3, 2, 1, 31, tzinfo=UTC)

    def test_one_shots(self) -> None:
        assert isinstance(trigger(expression="@once", dense=True).scope(), OnceScope)

    @pytest.mark.parametrize(
        ("conf", "ids"), [("{}", None), ('{"definition_ids": [1, 2]}', [1, 2]), ("", None), ("null", None)]
    )
    def test_manual_run(self, conf: str, ids: list[int] | None) -> None:
        scope = trigger(run_type="manual", conf=conf).scope()
        assert isinstance(scope, ManualScope)
        assert scope.definition_ids == ids

    def test_map_index_and_try_number_come_from_the_task_instance(self) -> None:
        fire = trigger()
        fire._task_instance = SimpleNamespace(map_index=1, try_number=2)
        assert (fire.scope().shard.shard, fire.scope().shard.run_try) == (1, 2)


def test_a_worker_takes_the_same_road() -> None:
    """`airflow dags test` calls execute(): it defers to the trigger that the triggerer would have started."""
    operator = FireOperator(task_id="fire", fire=FIXED, shard=1)
    for name, value in OF_A_RUN.items():
        setattr(operator, name, value)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({"ti": SimpleNamespace(try_number=4)})
    _, arguments = deferred.value.trigger.serialize()
    assert arguments == {**FIXED, **OF_A_RUN, "shard": 1, "try_number": 4}
