"""Maintenance through the whole system, by a clock on which a minute is a day: created over document 002,
noticed by Airflow, handled, and due again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import Launcher, Up
from tests.e2e.receiver import Receiver

#: Days in a minute, and what a start and a tick may take where others use the machine, too.
SPEED = 1440
START_SECONDS = 600
TICKS_SECONDS = 300

DAILY = "maintenance.every_2_days"
STATISTICS = "maintenance.statistics"


@dataclass
class Keeper:
    """A client of document 002."""

    client: Client

    def call(self, action: str, **fields: Any) -> Any:
        url = f"{self.client.up.url}/mixtimer/api"
        answer = self.client.session.post(url, json={"action": action, **fields}, timeout=60).json()
        assert answer["code"] == 200, answer
        return answer["result"]

    def create(self, uid: str, **fields: Any) -> None:
        """Create a project and start it: of the document, every 2 days with a notice of one."""
        body = {
            "uid": uid, "name": uid, "alias": "", "description": "", "guide": "",
            "cycle_type": "自然时间周期", "statistics_id": "", "period_num": 2, "period_unit": "日",
            "notice_num": 1, "notice_unit": "日", "object_id_list": ["a", "c"], **fields,
        }  # fmt: skip
        self.call("create_v2_project", **body)
        self.call("start_v2_project", uid=uid)

    def tasks(self, uid: str) -> dict[str, str]:
        """Return the uids of a project's open tasks by object."""
        where = json.dumps([["project_id", "=", uid]])
        page = self.call("get_v2_task_list", page_size=100, page_index=1, where_and=where)
        return {task["object_id"]: task["uid"] for task in page["data"]}

    def wait_task(self, uid: str, object_id: str, *, after: str = "") -> str:
        """Return the uid of the open task of an object, of one that is newer."""

        def newer() -> str | None:
            found = self.tasks(uid).get(object_id)
            return found if found != after else None

        return str(self.client.wait(f"a task of {object_id}", newer, TICKS_SECONDS))

    def runs(self, dag_id: str, run_type: str) -> list[dict[str, Any]]:
        """Return what successful runs returned, the newest first."""
        query = f"run_type={run_type}&state=success&order_by=-id&limit=100"
        runs = self.client.airflow("GET", f"/dags/{dag_id}/dagRuns?{query}")["dag_runs"]
        place = "taskInstances/evaluate/xcomEntries/return_value"
        values = [
            self.client.airflow("GET", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/{place}")["value"]
            for run in runs
        ]
        return [json.loads(value) if isinstance(value, str) else value for value in values]

    def reported(self, dag_id: str, uid: str) -> int:
        """Return how many tasks of a project runs say that they opened or moved."""
        projects = [one for run in self.runs(dag_id, "scheduled") for one in run["projects"]]
        return sum(one["noticed"] + one["due"] + one["overdue"] for one in projects if one["uid"] == uid)


@pytest.fixture(scope="module")
def keeper(prepare: Launcher) -> Iterator[Keeper]:
    env = {
        "CARILLON_MAINTENANCE_SPEED": str(SPEED),
        "CARILLON_MAINTENANCE_EPOCH": datetime.now(UTC).isoformat(),
        "CARILLON_START_TIMEOUT_SECONDS": str(START_SECONDS),
    }
    up: Up = prepare(env=env).start()
    up.wait_ready(START_SECONDS)
    keeper = Keeper(Client(up, Receiver()))
    keeper.create("short")
    keeper.create("stopped")
    yield keeper
    assert up.stop() == 0


@dataclass(frozen=True)
class Stopped:
    """A project that was stopped with one task open; another was ignored.

    :ivar task: of object `c`
    :ivar runs: how many there had been of its DAG
    """

    task: str
    runs: int


@pytest.fixture(scope="module")
def stopped(keeper: Keeper) -> Stopped:
    keeper.wait_task("stopped", "a")
    keeper.call("stop_v2_project", uid="stopped")
    tasks = keeper.tasks("stopped")
    keeper.call("v2_handle_ignore", task_id=tasks["a"])
    return Stopped(tasks["c"], len(keeper.runs(DAILY, "scheduled")))


def test_noticed_handled_and_due_again(keeper: Keeper, stopped: Stopped) -> None:
    """The other project is stopped before this, so that days pass for both."""
    first = keeper.wait_task("short", "a")
    assert keeper.wait_task("short", "c") != first
    keeper.client.wait("a run that says so", lambda: keeper.reported(DAILY, "short") >= 2, TICKS_SECONDS)
    handle = keeper.call("v2_handle", task_id=first, handler_id_list=[1], handler_name_list=["Li"], fee=12.5)
    assert handle["uid"].startswith("MTH")
    second = keeper.wait_task("short", "a", after=first)
    moments = keeper.client.rows(
        "SELECT closed_at, due_at, created_at FROM maintenance_task WHERE uid = ANY(%s) ORDER BY id",
        [first, second],
    )
    handled, again = moments
    assert handled["closed_at"] < again["created_at"]
    # Two days from the day on which it was handled, by the clocks of Shanghai.
    assert timedelta(days=1) < again["due_at"] - handled["closed_at"] <= timedelta(days=2)


def test_stopped_has_no_more_of_them(keeper: Keeper, stopped: Stopped) -> None:
    enough = stopped.runs + 2
    keeper.client.wait("two more runs", lambda: len(keeper.runs(DAILY, "scheduled")) >= enough, TICKS_SECONDS)
    assert keeper.tasks("stopped") == {"c": stopped.task}


def test_a_dag_test_evaluates(keeper: Keeper) -> None:
    keeper.create("tested")
    [row] = keeper.client.rows("SELECT id FROM definition WHERE name = 'tested'")
    keeper.client.wait_live(str(row["id"]))
    keeper.client.dags_test(keeper.client.dag_id(str(row["id"])))


def test_samples_start_it_at_once(keeper: Keeper) -> None:
    """A statistic that grows to its threshold, told over the own API."""
    statistic = {"name": "Running hours"}
    keeper.client.own("PUT", "/statistics/hours", json=statistic)
    keeper.create(
        "counted", cycle_type="统计周期", statistics_id="hours", period_num=25, object_id_list=["m"]
    )
    [row] = keeper.client.rows("SELECT id FROM definition WHERE name = 'counted'")
    keeper.client.wait_live(str(row["id"]))
    for value in (100, 125):
        # Its moment is the present one by the clock of maintenance.
        now = keeper.client.own("PUT", "/statistics/hours", json=statistic)["updated_at"]
        rows = [{"object_id": "m", "at": now, "value": value}]
        report = keeper.client.own("POST", "/statistics/hours/samples", json={"rows": rows})
        assert report["crossed"] == (value == 125)
    keeper.client.wait(
        "a run by the event", lambda: keeper.runs(STATISTICS, "asset_triggered"), TICKS_SECONDS
    )
    assert list(keeper.tasks("counted")) == ["m"]
