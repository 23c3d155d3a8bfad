"""Random calls, allowed or not, between random work of the engine: the API agrees with a plain model."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, ClassVar

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from include.batch.expansion import expand
from include.batch.model import Step, Subtask
from include.batch.repository import TaskRepository
from include.batch.settling import record
from include.batch.subtask_repository import SubtaskRepository
from include.kit.clock import system_clock
from include.kit.db import Database
from tests.batch_rows import insert_lamps, lamps
from tests.builders import make_token, serve
from tests.integration.api_plugin.iot_batch.batch_model import FINISHED, ModelTask, RefusedError
from tests.integration.api_plugin.iot_batch.iot_wire import COMMAND, PROJECT, insert_package

CLAIMER = 7
KNOWN = lamps(4)
NAMES = [*KNOWN, "ghost"]
OUTCOMES = st.sampled_from(["Success", "Fail", "Removed"])
CALLS = st.sampled_from(["retry", "stop", "confirm", "delete"])
START = st.fixed_dictionaries(
    {
        "upgrade": st.booleans(),
        "confirm": st.booleans(),
        "later": st.sampled_from([False, False, True]),
        "retries": st.sampled_from([0, 0, 1, 2]),
        "devices": st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True),
        # How far it has come before the first call: else few walks would meet a task that has ended.
        "begun": st.integers(0, 5),
        "ended": st.lists(OUTCOMES, max_size=5),
    }
)


class World:
    """The API, and the engine's own steps, on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stack = AsyncExitStack()

    async def open(self) -> World:
        self.database = await Database(self.url).open()
        self.stack.push_async_callback(self.database.close)
        self.client = await self.stack.enter_async_context(serve("iot"))
        self.client.headers["X-Auth-Token"] = await make_token(self.database, projects=[PROJECT])
        self.package = await insert_package(self.database)
        return self

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.client.request(method, f"/{PROJECT}/batchtasks{path}", json=body)

    async def expand(self, task_id: str) -> None:
        async with self.database.transaction() as connection:
            found = await TaskRepository(connection).find_task(task_id=task_id)
            assert found is not None
            await expand(connection, found.id, system_clock())

    async def claim(self, task_id: str, limit: int) -> list[Subtask]:
        """Claim what is due as a shard does (`fanout.py`)."""
        async with self.database.transaction() as connection:
            tasks = TaskRepository(connection)
            found = await tasks.find_task(task_id=task_id)
            assert found is not None
            task = await tasks.lock_task(found.id)
            if task is None or task.finished or task.status == "Stopping":
                return []
            now = system_clock()
            fresh = limit if task.due_at <= now else 0
            claimed = await SubtaskRepository(connection).claim_subtasks(
                task, limit=limit, fresh=fresh, claimer=CLAIMER, now=now
            )
            if claimed and task.status == "Waitting":
                await tasks.move_task(task.id, "Processing", now)
        return [one.subtask for one in claimed]

    async def record(self, subtask: Subtask, outcome: Any) -> None:
        async with self.database.transaction() as connection:
            task = await TaskRepository(connection).lock_task(subtask.batch_id)
            assert task is not None
            step = Step(subtask.id, outcome)
            await record(connection, task, [(subtask, step)], claimer=CLAIMER, now=system_clock())

    async def pass_time(self, task_id: str) -> None:
        """Let the moment come for which a task is scheduled."""
        async with self.database.transaction() as connection:
            await connection.execute(
                "UPDATE batch_task SET schedule_time = created_at WHERE task_id = %s", [task_id]
            )
            await connection.execute(
                "UPDATE batch_subtask SET wake_at = now() WHERE wake_at > now() AND batch_id ="
                " (SELECT id FROM batch_task WHERE task_id = %s)",
                [task_id],
            )


class Machine(RuleBasedStateMachine):
    """One task after the other."""

    world: ClassVar[World]
    runner: ClassVar[asyncio.Runner]

    held: dict[str, Subtask]
    gone: bool
    model: ModelTask

    @initialize(start=START)
    def begin(self, start: dict[str, Any]) -> None:
        self.create(**start)

    @precondition(lambda self: self.gone or self.model.status in FINISHED)
    @rule(start=START)
    def begin_another(self, start: dict[str, Any]) -> None:
        self.create(**start)

    def create(
        self,
        upgrade: bool,
        confirm: bool,
        later: bool,
        retries: int,
        devices: list[str],
        begun: int,
        ended: list[str],
    ) -> None:
        self.held, self.gone = {}, False
        policy: dict[str, Any] = {"retry_count": retries, "retry_interval": 0}
        if later:
            policy["schedule_time"] = f"{system_clock() + timedelta(hours=1):%Y%m%dT%H%M%SZ}"
        made = self.runner.run(
            self.world.call(
                "POST",
                "",
                {
                    "task_name": "walk",
                    "task_type": "softwareUpgrade" if upgrade else "createCommands",
                    "need_confirm": upgrade and confirm,
                    "targets": devices,
                    "document": {"package_id": self.world.package} if upgrade else COMMAND,
                    "task_policy": policy,
                },
            )
        )
        assert made.status_code == 201, made.text
        self.model = ModelTask(
            made.json()["task_id"], upgrade, upgrade and confirm, later, retries, devices, set(KNOWN)
        )
        if later or begun:  # the reconciler expands those that are scheduled by itself
            self.expand()
        if begun:
            self.claim(begun)
        if self.held and ended:
            self.record(ended)

    # --- the engine

    @precondition(lambda self: not self.gone)
    @rule()
    def expand(self) -> None:
        self.runner.run(self.world.expand(self.model.task_id))
        self.model.expand()
        self.look()

    @precondition(lambda self: not self.gone)
    @rule(limit=st.integers(1, 5))
    def claim(self, limit: int) -> None:
        due = self.model.due()
        claimed = self.runner.run(self.world.claim(self.model.task_id, limit))
        targets = [one.target for one in claimed]
        assert set(targets) <= due
        assert len(targets) == min(limit, len(due))
        self.model.claim(targets)
        self.held.update({one.target: one for one in claimed})
        self.look()

    @precondition(lambda self: self.held)
    @rule(outcomes=st.lists(OUTCOMES, min_size=1, max_size=5))
    def record(self, outcomes: list[str]) -> None:
        for target, outcome in zip(sorted(self.held), outcomes, strict=False):
            self.runner.run(self.world.record(self.held.pop(target), outcome))
            self.model.record(target, outcome)
        self.look()

    @precondition(lambda self: not self.gone)
    @rule(outcomes=st.lists(OUTCOMES, min_size=5, max_size=5))
    def work(self, outcomes: list[str]) -> None:
        """All that is due, to its end."""
        self.expand()
        self.claim(5)
        if self.held:
            self.record(outcomes)

    @precondition(lambda self: self.model.later and not self.gone)
    @rule()
    def pass_time(self) -> None:
        self.runner.run(self.world.pass_time(self.model.task_id))
        self.model.later = False
        self.look()

    # --- clients

    @rule(name=CALLS, named=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
    def call_on_some(self, name: str, named: list[str]) -> None:
        self.call(name, named)

    @rule(name=CALLS)
    def call_on_all(self, name: str) -> None:
        self.call(name, None)

    def call(self, name: str, named: list[str] | None) -> None:
        if name == "delete":
            self.delete()
            return
        body = {} if named is None else {"targets": named}
        answer = self.runner.run(self.world.call("POST", f"/{self.model.task_id}/{name}", body))
        if self.gone:
            assert answer.status_code == 404
            return
        try:
            fit = getattr(self.model, name)(named)
        except RefusedError:
            assert (answer.status_code, answer.json()["error_code"]) == (403, "IOTDA.014219")
        else:
            assert answer.status_code == 200, answer.text
            results = answer.json()["targets"]
            assert [one["target"] for one in results] == list(dict.fromkeys(named or []))
            succeeded = [one["target"] for one in results if one["status"] == "success"]
            assert named is None or succeeded == fit
        self.look()

    def delete(self) -> None:
        answer = self.runner.run(self.world.call("DELETE", f"/{self.model.task_id}"))
        if self.gone:
            assert answer.status_code == 404
            return
        try:
            self.model.delete()
        except RefusedError:
            assert answer.status_code == 403
        else:
            assert answer.status_code == 204
            self.gone = True
        self.look()

    def look(self) -> None:
        """Compare what the API shows with the model."""
        answer = self.runner.run(self.world.call("GET", f"/{self.model.task_id}?limit=50"))
        if self.gone:
            assert answer.status_code == 404
            return
        shown = answer.json()
        progress = shown["batchtask"]["task_progress"]
        assert shown["batchtask"]["status"] == self.model.status
        assert progress == self.model.progress()
        assert progress["total"] == sum(progress.values()) - progress["total"]
        assert {one["target"]: one["status"] for one in shown["task_details"]} == {
            target: one.status for target, one in self.model.subtasks.items()
        }
        assert self.runner.run(self.runs()) == self.model.runs

    async def runs(self) -> int:
        async with self.world.database.transaction() as connection:
            found = await TaskRepository(connection).find_task(task_id=self.model.task_id)
        assert found is not None
        return found.runs_wanted


@pytest.mark.timeout(900)  # what fails is made small, which takes many more walks
def test_the_api_agrees_with_the_model(
    database_url: str, started_runs: list[str], connection: psycopg.Connection
) -> None:
    insert_lamps(connection, len(KNOWN), PROJECT)
    with asyncio.Runner() as runner:
        world = runner.run(World(database_url).open())
        Machine.world, Machine.runner = world, runner
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=80,
                    stateful_step_count=20,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(world.stack.aclose())
