"""Device timers while gateway and triggerers are killed, and ten thousand of them at one instant."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta

import psycopg
import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import Up
from tests.e2e.killing import armed_triggerer, kill_now, wait_settled
from tests.e2e.receiver import Receiver
from tests.e2e.timers import TimerUser, next_minute, sleep_until
from tests.integration.gateway.simulated import SimulatorProcess
from tests.timer_rows import LOCAL, multiply

AHEAD = 25
SWITCH = '{"switch":1}'
#: Seconds that a device takes to answer where something is killed meanwhile; 128 commands go out at a time.
LATENCY = 2.0
MANY = 10_000


@pytest.fixture(scope="module")
def user(pair: Up) -> TimerUser:
    return TimerUser(Client(pair, Receiver()))


@pytest.fixture(autouse=True)
def _calm(gateway: SimulatorProcess) -> None:
    gateway.faults()
    gateway.admin("DELETE", "devices")


def make_slow(gateway: SimulatorProcess) -> None:
    gateway.faults(latency={"distribution": "fixed", "seconds": LATENCY})


def arrivals(gateway: SimulatorProcess) -> list[tuple[str, float]]:
    """Return the requests that came to all devices, and when."""
    came = gateway.admin("GET", "arrivals")["arrivals"]
    return [(command["request_id"], command["at"]) for command in came]


def received(gateway: SimulatorProcess) -> Counter[str]:
    """Return how often each request came."""
    return Counter(request for request, _ in arrivals(gateway))


def requests_of(user: TimerUser, due: datetime, attempts: int) -> set[str]:
    """Return the requests of an instant that succeeded at the so-manieth attempt."""
    statement = "SELECT id FROM execution WHERE due_at = %s AND state = 'succeeded' AND attempts = %s"
    return {f"exec_{row['id']}" for row in user.client.rows(statement, due, attempts)}


def test_a_gateway_killed_with_commands_under_way(user: TimerUser, gateway: SimulatorProcess) -> None:
    devices, far = ("g1", "g2", "g3"), next_minute(12 * 3600)
    make_slow(gateway)
    user.own_devices(*devices)
    for device_id in devices:
        user.create(device_id, far, *[SWITCH] * 100, offline="deliver_when_online")
    due = user.trigger("g1")
    user.client.wait("a second wave", lambda: len(received(gateway)) >= 200)
    time.sleep(LATENCY / 4)
    now = time.time()
    first = arrivals(gateway)
    gateway.kill()
    time.sleep(1)  # whose turn comes now finds nobody
    gateway.start()
    assert wait_settled(user.client, due.timestamp(), 300) == Counter(succeeded=300)
    acknowledged = {request for request, at in first if at + LATENCY < now - 0.2}
    again = received(gateway)
    assert acknowledged
    assert not acknowledged & set(again)
    assert acknowledged <= requests_of(user, due, 1)
    assert set(again.values()) == {1}
    assert {request for request, _ in first} | set(again) == {
        f"exec_{row['id']}" for row in user.client.rows("SELECT id FROM execution WHERE due_at = %s", due)
    }


def test_a_triggerer_killed_with_commands_under_way(user: TimerUser, gateway: SimulatorProcess) -> None:
    devices, client = ("h1", "h2", "h3", "h4"), user.client
    gateway.admin("DELETE", "devices")
    make_slow(gateway)
    user.own_devices(*devices)
    due = next_minute(AHEAD)
    for device_id in devices:
        user.create(device_id, due, *[SWITCH] * 100)
    client.wait_armed(user.definition_ids("h1")[0], due.timestamp(), timeout=120)
    victim = armed_triggerer(client, f"timer.{due.astimezone(LOCAL):%H%M}")
    assert time.time() < due.timestamp(), "too slow a machine to mean anything"
    sleep_until(due)
    client.wait("some have answered", lambda: len(requests_of(user, due, 1)) >= 50)
    acknowledged = requests_of(user, due, 1)
    kill_now(client.up, [victim])
    gateway.faults()
    assert wait_settled(client, due.timestamp(), 400) == Counter(succeeded=400)
    counts = received(gateway)
    assert {counts[request] for request in acknowledged} == {1}
    repeated = {request for request, count in counts.items() if count > 1}
    assert repeated
    assert max(counts.values()) == 2
    assert repeated <= requests_of(user, due, 2)
    assert set(counts) == requests_of(user, due, 1) | requests_of(user, due, 2)
    assert min(at for _, at in arrivals(gateway)) >= due.timestamp()
    [row] = client.rows("SELECT count(DISTINCT definition_id) FROM execution WHERE due_at = %s", due)
    assert row["count"] == 400
    interrupted = client.rows("SELECT error FROM attempt WHERE due_at = %s AND state = 'failed'", due)
    assert len(interrupted) == len(requests_of(user, due, 2))
    assert all(row["error"].startswith("interrupted") for row in interrupted)


def triggerer_jobs(client: Client) -> list[int]:
    """Return the ids of the triggerers that live, by Airflow's own record."""
    statement = (
        "SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
        " AND latest_heartbeat > now() - interval '5 seconds'"
    )
    return [row["id"] for row in client.rows(statement, airflow=True)]


def test_ten_thousand_at_one_instant_are_shared_by_two_triggerers(
    user: TimerUser, gateway: SimulatorProcess
) -> None:
    client = user.client
    gateway.admin("DELETE", "devices")
    gateway.faults()
    user.own_devices("first", "last")
    client.wait("both triggerers are there", lambda: len(triggerer_jobs(client)) == 2, timeout=180)
    due = next_minute(AHEAD)
    group = user.create("first", due, SWITCH)
    with psycopg.connect(client.up.instance.database_url) as connection:
        multiply(connection, group["group_id"], MANY - 1)
    user.create("last", due, SWITCH)  # tells the schedule how many hang on it
    claimers: set[int] = set()

    def both() -> bool:
        statement = "SELECT DISTINCT claimed_by FROM execution WHERE due_at = %s AND state = 'running'"
        claimers.update(row["claimed_by"] for row in client.rows(statement, due))
        return len(claimers) == 2

    assert time.time() < due.timestamp() - 3, "too slow a machine to mean anything"
    sleep_until(due - timedelta(seconds=3))
    client.wait("both triggerers claim", both)
    assert wait_settled(client, due.timestamp(), MANY, timeout=150) == Counter(succeeded=MANY)
    assert gateway.admin("GET", "counters")["devices"] == MANY
    assert received(gateway) == Counter(requests_of(user, due, 1))
    [row] = client.rows("SELECT count(DISTINCT definition_id) FROM execution WHERE due_at = %s", due)
    assert row["count"] == MANY
    assert min(at for _, at in arrivals(gateway)) >= due.timestamp()
