"""What breaks and how it mends: killed, stopped and restarted processes under real callbacks."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from include.cli.supervisor import Supervisor
from tests.e2e.client import Client, crontab_at, whole_second
from tests.e2e.conftest import Launcher, Up
from tests.e2e.killing import armed_triggerer, kill_now, pids, triggerers, wait_settled
from tests.e2e.receiver import Receiver

AHEAD = 25


@pytest.fixture(scope="module")
def up(launch: Launcher) -> Iterator[Up]:
    """Two schedulers and two triggerers: what must be done once is done once all the same."""
    up = launch(schedulers=2, triggerers=2, env={"CARILLON_PER_HOST_LIMIT": "512"})
    yield up
    assert up.stop() == 0


@pytest.fixture(scope="module")
def client(up: Up, receiver: Receiver) -> Client:
    return Client(up, receiver)


def test_two_schedulers_and_two_triggerers_double_nothing(client: Client) -> None:
    due = whole_second(AHEAD)
    paths = [f"/ok/ha{n}" for n in range(300)]
    client.add(*paths, start_time=crontab_at(due))
    assert wait_settled(client, due, 300) == Counter(succeeded=300)
    hits = [hit for hit in client.receiver.hits if hit.path.startswith("/ok/ha")]
    assert sorted(hit.path for hit in hits) == sorted(paths)
    assert all(hit.at >= due for hit in hits)


def test_a_triggerer_killed_with_the_window_armed_is_replaced_before_the_instant(client: Client) -> None:
    due = whole_second(AHEAD)
    (task,) = client.add("/ok/failover", start_time=crontab_at(due))
    client.wait_armed(task, due)
    victim = armed_triggerer(client, client.dag_id(task))
    left = due - time.time()
    assert left > 9, "the machine was too slow for this test to mean anything"
    time.sleep(left - 10 if left > 10 else 0)
    kill_now(client.up, [victim], hold=14)
    (hit,) = client.receiver.wait("/ok/failover")
    assert due <= hit.at < due + 1.5
    time.sleep(3)
    assert len(client.receiver.of("/ok/failover")) == 1


def test_triggerers_killed_between_arming_and_firing(client: Client) -> None:
    due = whole_second(AHEAD)
    (task,) = client.add("/ok/armed", start_time=crontab_at(due))
    client.wait_armed(task, due)
    kill_now(client.up, triggerers(client.up))
    (hit,) = client.receiver.wait("/ok/armed", timeout=90)
    assert hit.at >= due
    assert wait_settled(client, due, 1) == Counter(succeeded=1)


def test_triggerers_killed_with_200_calls_in_flight(client: Client) -> None:
    due = whole_second(AHEAD + 10)
    paths = [f"/slow/4/{n}" for n in range(200)]
    client.add(*paths, start_time=crontab_at(due), timeout=30)
    client.wait("200 calls in flight", lambda: len(slow_hits(client)) >= 200, timeout=90)
    kill_now(client.up, triggerers(client.up))
    assert wait_settled(client, due, 200, timeout=240) == Counter(succeeded=200)
    ids: dict[str, set[str]] = {}
    for hit in slow_hits(client):
        ids.setdefault(hit.path, set()).add(hit.webhook_id)
        assert hit.at >= due
    assert sorted(ids) == sorted(paths)
    assert all(len(found) == 1 for found in ids.values())
    moment = datetime.fromtimestamp(due, UTC)
    first = client.rows("SELECT state, error FROM attempt WHERE due_at = %s AND number = 1", moment)
    assert Counter(row["state"] for row in first) == Counter(failed=200)
    assert all(row["error"].startswith("interrupted") for row in first)


def slow_hits(client: Client) -> list:  # type: ignore[type-arg]
    return [hit for hit in list(client.receiver.hits) if hit.path.startswith("/slow/4/")]


def test_schedulers_down_over_three_instants(client: Client) -> None:
    at = {"start_time": "*/10 * * * * *", "type": 2}
    once, skip, every = (
        client.add(f"/ok/down/{policy}", misfire=policy, **at)[0]
        for policy in ("fire_once", "skip", "fire_all")
    )
    client.receiver.wait("/ok/down/fire_all", 2, timeout=90)
    control = Supervisor(Path(client.up.instance.control_socket))
    names = [name for name in pids(client.up) if name.startswith("scheduler")]
    for name in names:
        control.stop(name)
    time.sleep(95)  # the window armed by then ends within 75 s; three instants and more pass after it
    dag_id, woke = client.dag_id(once), time.time()
    for name in names:
        control.start(name)
    before = len(client.receiver.of("/ok/down/fire_all"))
    client.receiver.wait("/ok/down/fire_all", before + 3, timeout=120)
    time.sleep(5)
    # The window of a run lies a minute after its data interval (ADR 0005).
    statement = (
        "SELECT run_id FROM dag_run WHERE dag_id = %s AND queued_at > to_timestamp(%s)"
        " AND data_interval_start + interval '1 minute' < to_timestamp(%s)"
    )
    runs = client.rows(statement, dag_id, woke, woke, airflow=True)
    # Not one for each instant: that which was planned before, that which Airflow's look at the DAG planned
    # meanwhile, and one for all the rest.
    assert 1 <= len(runs) <= 3, runs
    states = {task: ledger_states(client, task) for task in (once, skip, every)}
    assert states[every].keys() <= {"succeeded", "pending", "running"}
    assert states[once]["skipped"] >= 2
    assert states[once]["succeeded"] >= 3
    assert states[skip]["skipped"] + states[skip]["missed"] >= 2
    for task in (once, skip, every):
        client.update(task, enable=2)
    assert no_gap(client, once)


def ledger_states(client: Client, task: str) -> Counter[str]:
    rows = client.rows("SELECT state FROM execution WHERE definition_id = %s", int(task))
    return Counter(row["state"] for row in rows)


def no_gap(client: Client, task: str) -> bool:
    """Whether every instant since the first has its row."""
    rows = client.rows(
        "SELECT extract(epoch FROM due_at)::bigint AS due FROM execution"
        " WHERE definition_id = %s ORDER BY due_at",
        int(task),
    )
    dues = [row["due"] for row in rows]
    return dues == list(range(dues[0], dues[-1] + 1, 10))


def test_postgres_restarted_in_mid_run(client: Client) -> None:
    due = whole_second(AHEAD + 6)
    paths = [f"/slow/2/pg{n}" for n in range(50)]
    client.add(*paths, start_time=crontab_at(due), redo_param="1")
    (later,) = client.add("/ok/afterpg", start_time=crontab_at(due + 45))
    client.wait("calls in flight", lambda: len(client.receiver.of("/slow/2/pg0")) == 1, timeout=90)
    postgres = psutil.Process(client.up.instance.processes["postgres"])
    postgres.send_signal(signal.SIGKILL)
    psutil.wait_procs([postgres], timeout=10)

    def back() -> bool:
        try:
            return bool(client.rows("SELECT 1"))
        except Exception:  # the server is down or starting: that is what is waited for
            return False

    client.wait("the database is back", back, timeout=60)
    assert wait_settled(client, due, 50, timeout=240) == Counter(succeeded=50)
    client.receiver.wait("/ok/afterpg", timeout=240)
    moment = datetime.fromtimestamp(due + 45, UTC)
    client.wait(
        "recorded",
        lambda: client.rows("SELECT 1 FROM execution WHERE due_at = %s AND state = 'succeeded'", moment),
        timeout=60,
    )
    assert later
