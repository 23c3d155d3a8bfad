"""Device timers through the whole system: set over document 001, run by Airflow, received by devices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import Up
from tests.e2e.receiver import Receiver
from tests.e2e.timers import TimerUser, next_minute, sleep_until
from tests.integration.gateway.simulated import call_admin
from tests.timer_rows import LOCAL, mask

#: Enough for a new schedule to become a DAG and to arm its first window.
AHEAD = 25

SWITCH = '{"switch":1,"scene":{"name":"evening","levels":[20,40]}}'
WHOLE = '{"service_id":"light","command_name":"dim","paras":{"level":40}}'
DEVICES = ("lamp", "dimmer", "once", "other-days", "paused")


@dataclass
class Minute:
    """Groups of timers that were due at one instant, which is over."""

    user: TimerUser
    due: datetime
    groups: dict[str, dict[str, Any]]

    def commands(self, device_id: str) -> list[dict[str, Any]]:
        """Return what the device received, as the simulator wrote it down."""
        url = self.user.client.up.instance.gateway_url
        commands: list[dict[str, Any]] = call_admin(url, "GET", f"devices/{device_id}")["received"]
        return commands


@pytest.fixture(scope="module")
def user(instance: Up) -> TimerUser:
    user = TimerUser(Client(instance, Receiver()))
    user.own_devices(*DEVICES[1:])
    row = {"device_id": "lamp", "node_id": "lamp", "name": "lamp", "project_id": "p1", "product_id": "lamp"}
    user.client.own("POST", "/devices", json=row)
    assert user.client.command("bind", "--user", user.name, "--device", "lamp", "--json")["changed"]
    return user


@pytest.fixture(scope="module")
def minute(user: TimerUser) -> Minute:
    due, client = next_minute(AHEAD), user.client
    groups = {
        "lamp": user.create("lamp", due, SWITCH, period=mask(due)),
        "dimmer": user.create("dimmer", due, WHOLE),
        "once": user.create("once", due, SWITCH, period="0000000"),
        "other-days": user.create("other-days", due, SWITCH, WHOLE, period=mask(due, holds=False)),
        "paused": user.create("paused", due, SWITCH),
    }
    [resting] = user.definition_ids("paused")
    client.wait_armed(resting, due.timestamp(), timeout=90)
    assert client.own("POST", "/devices/paused/timers/pause")["paused"]
    assert datetime.now(due.tzinfo) < due - timedelta(seconds=2), "too slow a machine to mean anything"
    sleep_until(due)
    for device_id in ("lamp", "dimmer", "once"):
        user.wait_ended(device_id)
    return Minute(user, due, groups)


@pytest.mark.parametrize("device_id", ["lamp", "dimmer", "once"])
def test_a_command_arrives_once_within_its_second(minute: Minute, device_id: str) -> None:
    [execution] = minute.user.executions(device_id)
    [command] = minute.commands(device_id)
    assert 0 <= command["at"] - minute.due.timestamp() < 1
    assert command["request_id"] == f"exec_{execution['id']}"


def test_the_commands_text_is_what_the_device_gets(minute: Minute) -> None:
    [lamp], [dimmer] = minute.commands("lamp"), minute.commands("dimmer")
    assert (lamp["service_id"], lamp["command_name"], lamp["paras"]) == ("timer", "set", json.loads(SWITCH))
    assert (dimmer["service_id"], dimmer["command_name"], dimmer["paras"]) == ("light", "dim", {"level": 40})


@pytest.mark.parametrize("device_id", ["lamp", "dimmer", "once"])
def test_the_own_api_has_the_execution_and_its_attempt(minute: Minute, device_id: str) -> None:
    client = minute.user.client
    [execution] = minute.user.executions(device_id)
    assert datetime.fromisoformat(execution["due_at"]) == minute.due
    shown = {name: execution[name] for name in ("kind", "state", "reason", "origin", "attempts")}
    assert shown == {
        "kind": "timer",
        "state": "succeeded",
        "reason": None,
        "origin": "scheduled",
        "attempts": 1,
    }
    [attempt] = client.own("GET", f"/executions/{execution['id']}/attempts")["items"]
    assert (attempt["state"], attempt["status"]) == ("succeeded", 200)
    assert json.loads(attempt["response"])["result_code"] == 0


def test_get_shows_a_group_as_documented(minute: Minute) -> None:
    group, local = minute.groups["lamp"], minute.due.astimezone(LOCAL)
    crontab = {"hour": f"{local.hour:02}", "minute": f"{local.minute:02}"}
    assert minute.user.get(group) == {
        "tasks": [{"crontab": crontab, "commands": SWITCH, "name": group["tasks"][0]["name"]}],
        "period": mask(minute.due),
        "enabled": True,
        "group_id": group["group_id"],
        "update_time": group["create_time"],
        "create_time": group["create_time"],
        "next_run_at": f"{local + timedelta(days=7):%Y-%m-%d %H:%M:%S}",
    }
    listed = minute.user.call("GET", "/tasks/", params={"device_id": "lamp"})
    assert listed["data"]["results"] == [minute.user.get(group)]


def test_a_one_shot_disables_itself(minute: Minute) -> None:
    before, after = minute.groups["once"], minute.user.get(minute.groups["once"])
    due = f"{minute.due.astimezone(LOCAL):%Y-%m-%d %H:%M:%S}"
    assert (before["enabled"], before["next_run_at"]) == (True, due)
    assert (after["enabled"], after["next_run_at"]) == (False, None)


def test_a_day_that_the_mask_leaves_out(minute: Minute) -> None:
    assert (minute.user.executions("other-days"), minute.commands("other-days")) == ([], [])
    tomorrow = minute.due.astimezone(LOCAL) + timedelta(days=1)
    assert minute.user.get(minute.groups["other-days"])["next_run_at"] == f"{tomorrow:%Y-%m-%d %H:%M:%S}"


def test_airflow_has_the_dag_of_the_time_of_day_with_its_run(minute: Minute) -> None:
    client, local = minute.user.client, minute.due.astimezone(LOCAL)
    dag_id = f"timer.{local:%H%M}"
    tags = client.airflow("GET", f"/dags/{dag_id}")["tags"]
    assert {tag["name"] for tag in tags} == {"timer", "Asia/Shanghai"}
    runs = f"/dags/{dag_id}/dagRuns"
    client.wait("the run ended", lambda: client.airflow("GET", runs)["dag_runs"][0]["end_date"])
    [run] = client.airflow("GET", runs)["dag_runs"]
    assert (run["run_type"], run["state"]) == ("scheduled", "success")
    assert datetime.fromisoformat(run["data_interval_end"]) == minute.due
    [execution] = minute.user.executions("lamp")
    assert execution["run_id"] == run["dag_run_id"]


def test_a_paused_device_stays_silent_until_it_is_resumed(minute: Minute) -> None:
    client = minute.user.client
    [execution] = minute.user.executions("paused")
    assert (execution["state"], execution["reason"]) == ("skipped", "disabled")
    assert minute.commands("paused") == []
    assert minute.user.get(minute.groups["paused"])["next_run_at"] is None
    resumed = client.own("POST", "/devices/paused/timers/resume")
    assert not resumed["paused"]
    [group] = resumed["groups"]
    assert datetime.fromisoformat(group["next_at"]) == minute.due + timedelta(days=1)


def test_a_group_runs_on_demand_whatever_its_days_are(minute: Minute) -> None:
    user = minute.user
    run = user.client.own("POST", f"/timer-groups/{minute.groups['other-days']['group_id']}/run")
    executions = user.wait_ended("other-days", timeout=60)
    assert {each["id"] for each in executions} == set(run["execution_ids"])
    assert [(each["state"], each["origin"]) for each in executions] == [("succeeded", "manual")] * 2
    commands = minute.commands("other-days")
    assert {each["request_id"] for each in commands} == {f"exec_{each}" for each in run["execution_ids"]}
    assert sorted(each["command_name"] for each in commands) == ["dim", "set"]
    assert user.get(minute.groups["other-days"])["enabled"]
