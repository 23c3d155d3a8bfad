"""Device timers over a real MQTT broker: what devices answer counts, and the broker dies in the middle."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

import paho.mqtt.publish
import pytest
from anyio.from_thread import start_blocking_portal

from tests.e2e.client import Client
from tests.e2e.conftest import Launcher
from tests.e2e.killing import wait_settled
from tests.e2e.receiver import Receiver
from tests.e2e.timers import TimerUser, next_minute, sleep_until
from tests.integration.gateway.mosquitto import Broker, Devices, devices_of, needs_mosquitto

pytestmark = needs_mosquitto

AHEAD = 25
ANSWER_SECONDS = 4
FLEET = 300


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def devices(broker: Broker) -> Iterator[Devices]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(devices_of(broker)) as devices:
        yield devices


@pytest.fixture(scope="module")
def user(launch: Launcher, broker: Broker) -> Iterator[TimerUser]:
    presence = quote("presence/{device_id}", safe="")
    connection = f"{broker.url}?presence_topic={presence}"
    env = {
        "AIRFLOW_CONN_DEVICE_GATEWAY": connection,
        "CARILLON_TIMER_TIMEOUT_SECONDS": str(ANSWER_SECONDS),
    }
    up = launch(env=env)
    assert "simulator" not in up.instance.processes
    yield TimerUser(Client(up, Receiver()))
    assert up.stop() == 0


def do(what: str) -> str:
    return json.dumps({"do": what})


def be(broker: Broker, device_id: str, presence: str) -> None:
    """Keep what a device says of its presence, as its connection or its last will would."""
    paho.mqtt.publish.single(
        f"presence/{device_id}", presence, qos=1, retain=True, hostname="127.0.0.1", port=broker.port
    )


def test_a_broker_killed_with_commands_under_way(user: TimerUser, broker: Broker, devices: Devices) -> None:
    """Who has answered by then is left alone; the others hear the same request again."""
    far = next_minute(12 * 3600)
    user.own_devices("quick", "slow-1", "slow-2")
    for device_id, what in (("quick", "ok"), ("slow-1", "slow"), ("slow-2", "slow")):
        user.create(device_id, far, *[do(what)] * 100, offline="deliver_when_online")
    due = user.trigger("quick")
    user.client.wait("all are out", lambda: len(devices.bodies) == FLEET)
    user.client.wait("a third has answered", lambda: len(devices.answered) >= 100)
    time.sleep(0.3)
    broker.kill()
    answered = set(devices.answered)
    time.sleep(1)
    broker.start()
    assert wait_settled(user.client, due.timestamp(), FLEET) == Counter(succeeded=FLEET)
    assert answered == {key for key in devices.arrivals if key[0] == "quick"}
    counts = devices.received
    assert len(counts) == FLEET
    assert {counts[key] for key in counts if key in answered} == {1}
    assert {counts[key] for key in counts if key not in answered} == {2}
    for key, arrivals in devices.arrivals.items():
        assert arrivals[-1] < devices.answered[key]
    rows = user.client.rows("SELECT id, attempts FROM execution WHERE due_at = %s ORDER BY attempts, id", due)
    assert {f"exec_{row['id']}": row["attempts"] for row in rows} == {
        request_id: count for (_, request_id), count in counts.items()
    }


@pytest.fixture(scope="module")
def due(user: TimerUser, broker: Broker, devices: Devices) -> datetime:
    """An instant that has just come, on which devices of every kind had a timer."""
    user.own_devices("lamp", "late", "stubborn", "silent", "away", "back-soon")
    for device_id in ("away", "back-soon"):
        be(broker, device_id, "offline")
    due = next_minute(AHEAD)
    for device_id, what in (("lamp", "ok"), ("late", "late"), ("stubborn", "refuse"), ("silent", "silent")):
        user.create(device_id, due, do(what))
    user.create("away", due, do("ok"), offline="skip")
    user.create("back-soon", due, do("ok"), offline="deliver_when_online")
    sleep_until(due)
    return due


def arrivals_of(devices: Devices, device_id: str) -> dict[str, list[float]]:
    """Return when each request came to a device, by request id."""
    return {request: at for (device, request), at in devices.arrivals.items() if device == device_id}


@pytest.mark.parametrize("device_id", ["lamp", "late"])
def test_a_command_succeeds_by_the_answer_of_its_device(
    user: TimerUser, devices: Devices, due: datetime, device_id: str
) -> None:
    [execution] = user.wait_ended(device_id)
    [(request_id, [at])] = arrivals_of(devices, device_id).items()
    assert 0 <= at - due.timestamp() < 1
    assert (request_id, execution["state"], execution["attempts"]) == (
        f"exec_{execution['id']}",
        "succeeded",
        1,
    )
    [attempt] = user.client.own("GET", f"/executions/{execution['id']}/attempts")["items"]
    assert json.loads(attempt["response"]) == {"result_code": 0}
    ended = datetime.fromisoformat(attempt["end_at"]).timestamp()
    assert ended - at >= {"lamp": 0, "late": 0.4}[device_id]


def test_a_refusal_is_final(user: TimerUser, devices: Devices, due: datetime) -> None:
    [execution] = user.wait_ended("stubborn")
    assert (execution["state"], execution["reason"]) == ("failed", "the device answered with result code 1")
    assert Counter(map(len, arrivals_of(devices, "stubborn").values())) == {1: 1}


def test_a_device_that_is_away_is_skipped(user: TimerUser, devices: Devices, due: datetime) -> None:
    [execution] = user.wait_ended("away")
    assert (execution["state"], execution["reason"]) == ("failed", "device offline: skipped by policy")
    assert arrivals_of(devices, "away") == {}


def test_a_device_that_comes_back_gets_its_command_then(
    user: TimerUser, broker: Broker, devices: Devices, due: datetime
) -> None:
    [definition] = user.definition_ids("back-soon")
    statement = "SELECT 1 FROM execution WHERE definition_id = %s AND state = 'retrying'"
    user.client.wait("tried", lambda: user.client.rows(statement, int(definition)))
    be(broker, "back-soon", "online")
    came = time.time()
    [execution] = user.wait_ended("back-soon")
    assert (execution["state"], execution["reason"]) == ("succeeded", None)
    [[at]] = arrivals_of(devices, "back-soon").values()
    assert at > came


def test_a_device_that_does_not_answer_fails_within_its_minute(
    user: TimerUser, devices: Devices, due: datetime
) -> None:
    [execution] = user.wait_ended("silent", timeout=90)
    assert execution["state"] == "failed"
    assert execution["reason"] == f"no answer of the device within {ANSWER_SECONDS} s"
    [(request_id, arrivals)] = arrivals_of(devices, "silent").items()
    assert (request_id, len(arrivals), execution["attempts"]) == (f"exec_{execution['id']}", 4, 4)
    assert 0 <= arrivals[0] - due.timestamp() < 1
    assert arrivals[-1] < due.timestamp() + 60
