"""Commands, messages, properties and shadows of one device: by the vendor's SDK, a simulator behind it."""

from __future__ import annotations

import re

import httpx
import pytest
from huaweicloudsdkcore.exceptions.exceptions import ServerResponseException
from huaweicloudsdkiotda import v5 as iotda

from include.settings import get_settings
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import COMMAND, PROJECT
from tests.integration.gateway.simulated import simulator_process

TIME = re.compile(r"\d{8}T\d{6}Z")
DEVICE = "valve_n1"


@pytest.fixture(scope="module")
def shared_simulator():
    with simulator_process() as process:
        yield process


@pytest.fixture
def simulator(shared_simulator, monkeypatch):
    """A simulator as at its beginning; the settings name it as the gateway."""
    shared_simulator.admin("DELETE", "devices")
    shared_simulator.admin("DELETE", "faults")
    monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", shared_simulator.url)
    monkeypatch.setenv("CARILLON_BATCH_COMMAND_TIMEOUT_SECONDS", "5")
    get_settings.cache_clear()
    return shared_simulator


@pytest.fixture
async def device(simulator, sdk):
    """The SDK, and a device that the project has."""
    await sdk.call("add_device", body=iotda.AddDevice(node_id="n1", product_id="valve"))
    return sdk


@pytest.fixture
async def raw(device, url, database):
    """A client that sends what the SDK would not."""
    headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT])}
    base = f"{url}/v5/iot/{PROJECT}/devices/{DEVICE}"
    async with httpx.AsyncClient(base_url=base, headers=headers) as client:
        yield client


def command(**changes):
    return iotda.DeviceCommandRequest(**{**COMMAND, **changes})


def delayed(**changes):
    return iotda.AsyncDeviceCommandRequest(**{**COMMAND, "send_strategy": "delay", **changes})


@pytest.mark.parametrize("foreign", ["nobody", "valve_n2"])
async def test_nothing_is_said_to_a_device_that_is_not_the_projects(
    device, simulator, sdk_of, database, foreign
):
    """One that is nowhere, and one of another project."""
    other = sdk_of(token=await make_token(database, projects=["p2"]), project="p2")
    await other.call("add_device", body=iotda.AddDevice(node_id="n2", product_id="valve"))
    water = {"service_id": "water", "properties": {"on": True}}
    desired = iotda.UpdateDesired(service_id="water", desired={"on": True})
    for call, fields in [
        ("create_command", {"body": command()}),
        ("create_async_command", {"body": delayed()}),
        ("create_message", {"body": iotda.DeviceMessageRequest(message="hello")}),
        ("list_properties", {"service_id": "water"}),
        ("update_properties", {"body": iotda.DevicePropertiesRequest(services=[water])}),
        ("update_device_shadow_desired_data", {"body": iotda.UpdateDesireds(shadow=[desired])}),
        ("show_async_device_command", {"command_id": "c"}),
        ("show_device_message", {"message_id": "m"}),
    ]:
        answer = await device.refused(call, device_id=foreign, **fields)
        assert answer == (404, "IOTDA.014000", f"there is no device {foreign!r}"), call
    assert simulator.admin("GET", "counters").get("received", 0) == 0


class TestCommands:
    async def test_the_device_answers(self, device, simulator):
        answer = await device.call("create_command", device_id=DEVICE, body=command())
        assert re.fullmatch("[0-9a-f]{32}", answer.pop("command_id"))
        assert answer == {"response": {"result_code": 0, "response_name": "COMMAND_RESPONSE", "paras": {}}}
        [received] = simulator.admin("GET", f"devices/{DEVICE}")["received"]
        assert {name: received[name] for name in COMMAND} == COMMAND

    async def test_the_device_refuses(self, device, simulator):
        simulator.faults(refuse=1)
        answer = await device.call("create_command", device_id=DEVICE, body=command())
        assert answer["response"]["result_code"] == 1

    async def test_the_device_does_not_answer(self, device, simulator):
        simulator.faults(loss=1, patience=0.2)
        answer = await device.call("create_command", device_id=DEVICE, body=command())
        assert answer["error_code"] == "IOTDA.014111"
        assert "response" not in answer

    async def test_the_device_is_away_unknown_or_frozen(self, device, simulator):
        simulator.faults(offline=[DEVICE])
        answer = await device.refused("create_command", device_id=DEVICE, body=command())
        assert answer == (403, "IOTDA.014016", "The device is not online.")
        simulator.faults(unknown=[DEVICE])
        assert (await device.refused("create_command", device_id=DEVICE, body=command()))[:2] == (
            404,
            "IOTDA.014000",
        )
        await device.call("freeze_device", device_id=DEVICE)
        answer = await device.refused("create_command", device_id=DEVICE, body=command())
        assert answer == (403, "CARILLON.0102", "The device is frozen: nothing is sent to it.")
        assert simulator.admin("GET", "counters").get("received", 0) == 0

    @pytest.mark.parametrize("faults", [{"unavailable": 1}, {"reset": 1}, {"garbage": 1}])
    async def test_a_platform_that_fails(self, device, simulator, faults):
        simulator.faults(**faults)
        with pytest.raises(ServerResponseException) as caught:
            await device.call("create_command", device_id=DEVICE, body=command())
        assert (caught.value.status_code, caught.value.error_code) == (502, "CARILLON.0001")
        assert caught.value.error_msg.startswith("a server that is needed for this did not answer (id ")

    async def test_without_a_gateway(self, device, monkeypatch):
        monkeypatch.delenv("AIRFLOW_CONN_DEVICE_GATEWAY")
        get_settings.cache_clear()
        with pytest.raises(ServerResponseException) as caught:
            await device.call("create_command", device_id=DEVICE, body=command())
        assert (caught.value.status_code, caught.value.error_code) == (502, "CARILLON.0001")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"service_id": "s" * 65}, "service_id"),
            ({"command_name": "c" * 129}, "command_name"),
            ({"paras": None}, "paras"),
            ({"paras": "on"}, "paras"),
            ({"colour": 1}, "colour"),
        ],
    )
    async def test_bad_commands(self, raw, changes, field):
        answer = await raw.post("/commands", json={**COMMAND, **changes})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
        assert answer.json()["error_msg"].startswith(field)


class TestAsyncCommands:
    async def test_to_a_device_that_is_there(self, device, simulator):
        body = iotda.AsyncDeviceCommandRequest(**COMMAND, send_strategy="immediately")
        made = await device.call("create_async_command", device_id=DEVICE, body=body)
        assert TIME.fullmatch(made.pop("created_time"))
        assert TIME.fullmatch(made.pop("sent_time", "20260101T000000Z"))
        assert made == {
            **COMMAND,
            "device_id": DEVICE,
            "command_id": made["command_id"],
            "expire_time": 0,
            "status": "SENT",
            "send_strategy": "immediately",
        }
        [received] = simulator.admin("GET", f"devices/{DEVICE}")["received"]
        assert received["request_id"] == made["command_id"]

    async def test_to_a_device_that_is_away(self, device, simulator, connection):
        simulator.faults(offline=[DEVICE])
        made = await device.call("create_async_command", device_id=DEVICE, body=delayed(expire_time=60))
        assert (made["status"], made["expire_time"]) == ("PENDING", 60)
        shown = await device.call(
            "show_async_device_command", device_id=DEVICE, command_id=made["command_id"]
        )
        assert shown == made
        long = await device.call("create_async_command", device_id=DEVICE, body=delayed())
        assert long["expire_time"] == 86_400
        listed = await device.call("list_async_commands", device_id=DEVICE)
        ids = [one["command_id"] for one in listed["commands"]]
        assert (ids, listed["page"]["count"]) == ([long["command_id"], made["command_id"]], 2)
        assert "paras" not in listed["commands"][0]
        connection.execute("UPDATE device_command SET expires_at = now() WHERE command_id = %s", [ids[1]])
        history = await device.call("list_async_history_commands", device_id=DEVICE)
        assert [(one["command_id"], one["status"]) for one in history["commands"]] == [(ids[1], "EXPIRED")]
        assert await device.call("count_async_history_commands", device_id=DEVICE) == {"count": 1}
        sent = await device.call("count_async_history_commands", device_id=DEVICE, status="SUCCESSFUL")
        assert sent == {"count": 0}
        at_once = iotda.AsyncDeviceCommandRequest(**COMMAND, send_strategy="immediately")
        refused = await device.refused("create_async_command", device_id=DEVICE, body=at_once)
        assert refused[:2] == (403, "IOTDA.014016")
        history = await device.call("list_async_history_commands", device_id=DEVICE, status="FAILED")
        assert len(history["commands"]) == 1

    async def test_filters_and_pages(self, device, simulator):
        simulator.faults(offline=[DEVICE])
        for number in range(5):
            body = delayed(command_name=f"name-{number % 2}")
            await device.call("create_async_command", device_id=DEVICE, body=body)
        page = await device.call("list_async_commands", device_id=DEVICE, limit=2)
        assert (len(page["commands"]), page["page"]["count"]) == (2, 5)
        rest = await device.call(
            "list_async_commands", device_id=DEVICE, marker=page["page"]["marker"], offset=1
        )
        assert len(rest["commands"]) == 2
        named = await device.call("list_async_commands", device_id=DEVICE, command_name="name-1")
        assert (len(named["commands"]), named["page"]["count"]) == (2, 2)
        none = await device.call("list_async_commands", device_id=DEVICE, status="SENT")
        assert none["commands"] == []
        before = await device.call("list_async_commands", device_id=DEVICE, end_time="20200101T000000Z")
        assert before["commands"] == []

    async def test_twenty_wait(self, device, simulator):
        simulator.faults(offline=[DEVICE])
        for _ in range(20):
            await device.call("create_async_command", device_id=DEVICE, body=delayed())
        refused = await device.refused("create_async_command", device_id=DEVICE, body=delayed())
        assert refused == (403, "CARILLON.0103", "20 wait for the device already.")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"expire_time": 172_801}, "expire_time"),
            ({"expire_time": -1}, "expire_time"),
            ({"send_strategy": "later"}, "send_strategy"),
            ({"paras": {"a": "x" * 32_761}}, "paras"),
        ],
    )
    async def test_bad_commands(self, raw, changes, field):
        answer = await raw.post("/async-commands", json={**COMMAND, "send_strategy": "delay", **changes})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
        assert answer.json()["error_msg"].startswith(field)

    async def test_somebody_elses_command(self, device, simulator):
        simulator.faults(offline=[DEVICE])
        made = await device.call("create_async_command", device_id=DEVICE, body=delayed())
        await device.call("add_device", body=iotda.AddDevice(node_id="n2", product_id="valve"))
        for device_id, command_id in (("valve_n2", made["command_id"]), (DEVICE, "none")):
            refused = await device.refused(
                "show_async_device_command", device_id=device_id, command_id=command_id
            )
            assert refused[0] == 404


class TestMessages:
    async def test_to_a_device_that_is_there(self, device, simulator):
        body = iotda.DeviceMessageRequest(
            message_id="m-1",
            name="greeting",
            message="hello",
            topic="words",
            properties=iotda.PropertiesDTO(correlation_data="c", response_topic="t"),
        )
        made = await device.call("create_message", device_id=DEVICE, body=body)
        assert TIME.fullmatch(made["result"]["created_time"])
        assert TIME.fullmatch(made["result"]["finished_time"])
        assert (made["message_id"], made["result"]["status"]) == ("m-1", "DELIVERED")
        [received] = simulator.admin("GET", f"devices/{DEVICE}")["messages"]
        assert (received["message"], received["topic"]) == ("hello", "words")
        shown = await device.call("show_device_message", device_id=DEVICE, message_id="m-1")
        assert shown == {
            **made["result"],
            "message_id": "m-1",
            "name": "greeting",
            "message": "hello",
            "encoding": "none",
            "payload_format": "standard",
            "topic": "words",
            "properties": {"correlation_data": "c", "response_topic": "t"},
        }
        assert await device.call("list_device_messages", device_id=DEVICE) == {
            "device_id": DEVICE,
            "messages": [shown],
        }
        again = await device.refused("create_message", device_id=DEVICE, body=body)
        assert again == (400, "IOTDA.000006", "The device had a message with this id before.")

    async def test_to_a_device_that_is_away(self, device, simulator, connection):
        simulator.faults(offline=[DEVICE])
        body = iotda.DeviceMessageRequest(message={"a": [1]}, ttl=5)
        made = await device.call("create_message", device_id=DEVICE, body=body)
        assert made["result"] == {"status": "PENDING", "created_time": made["result"]["created_time"]}
        connection.execute("UPDATE device_message SET expires_at = now()")
        shown = await device.call("show_device_message", device_id=DEVICE, message_id=made["message_id"])
        assert (shown["status"], shown["message"]) == ("TIMEOUT", {"a": [1]})
        missing = await device.refused("show_device_message", device_id=DEVICE, message_id="none")
        assert missing[0] == 404

    async def test_an_id_of_a_hundred_characters(self, device, simulator):
        body = iotda.DeviceMessageRequest(message_id="m" * 100, message="hello")
        made = await device.call("create_message", device_id=DEVICE, body=body)
        assert made["result"]["status"] == "DELIVERED"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "message"),
            ({"message": "m", "message_id": "m" * 101}, "message_id"),
            ({"message": "m", "name": "n" * 129}, "name"),
            ({"message": "m", "encoding": "hex"}, "encoding"),
            ({"message": "m", "payload_format": "xml"}, "payload_format"),
            ({"message": "m", "ttl": 4}, "ttl"),
            ({"message": "m", "ttl": 1445}, "ttl"),
            ({"message": "m", "topic": "a", "topic_full_name": "b"}, "topic and topic_full_name"),
            ({"message": "m", "properties": {"correlation_data": "c" * 129}}, "properties.correlation_data"),
            ({"message": "m", "properties": {"response_topic": "c" * 129}}, "properties.response_topic"),
            ({"message": "m", "properties": {"user_properties": [{}] * 21}}, "properties.user_properties"),
        ],
    )
    async def test_bad_messages(self, raw, body, field):
        answer = await raw.post("/messages", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
        assert answer.json()["error_msg"].startswith(field)


class TestProperties:
    async def test_through_to_the_device(self, device, simulator):
        services = [{"service_id": "valve", "properties": {"open": True}}]
        body = iotda.DevicePropertiesRequest(services=services)
        answer = await device.call("update_properties", device_id=DEVICE, body=body)
        assert answer["response"] == {"result_code": 0, "result_desc": "success"}
        assert re.fullmatch("[0-9a-f]{32}", answer["request_id"])
        answer = await device.call("list_properties", device_id=DEVICE, service_id="valve")
        [service] = answer["response"]["services"]
        assert (service["service_id"], service["properties"]) == ("valve", {"open": True})

    async def test_a_device_that_is_away(self, device, simulator):
        simulator.faults(offline=[DEVICE])
        body = iotda.DevicePropertiesRequest(services=[{"service_id": "valve", "properties": {"a": 1}}])
        refused = await device.refused("update_properties", device_id=DEVICE, body=body)
        assert refused[:2] == (403, "IOTDA.014016")

    async def test_bad_properties(self, raw):
        for body in ({}, {"services": []}, {"services": [{"service_id": "s"}]}):
            answer = await raw.put("/properties", json=body)
            assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")


class TestShadow:
    def desired(self, **changes):
        one = {"service_id": "valve", "desired": {"open": True, "rate": 5}, **changes}
        return iotda.UpdateDesireds(shadow=[iotda.UpdateDesired(**one)])

    async def put(self, device, **changes):
        return await device.call(
            "update_device_shadow_desired_data", device_id=DEVICE, body=self.desired(**changes)
        )

    async def test_here_and_at_the_gateway(self, device, simulator):
        made = await self.put(device, version=0)
        [service] = made["shadow"]
        assert TIME.fullmatch(service["desired"].pop("event_time"))
        assert made == {
            "device_id": DEVICE,
            "shadow": [
                {
                    "service_id": "valve",
                    "desired": {"properties": {"open": True, "rate": 5}},
                    "reported": {"properties": {}},
                    "version": 1,
                }
            ],
        }
        shadows = simulator.admin("GET", f"devices/{DEVICE}")["shadow"]
        assert shadows["valve"]["reported"] == {"open": True, "rate": 5}
        made = await self.put(device, desired={"rate": None})
        assert made["shadow"][0]["desired"]["properties"] == {"open": True}
        shown = await device.call("show_device_shadow", device_id=DEVICE)
        assert shown == made
        stale = await device.refused(
            "update_device_shadow_desired_data", device_id=DEVICE, body=self.desired(version=1)
        )
        assert stale[:2] == (400, "IOTDA.000006")
        made = await self.put(device, desired={})
        assert made["shadow"][0]["version"] == 3

    async def test_a_device_that_is_away_gets_it_later(self, device, simulator):
        simulator.faults(offline=[DEVICE])
        await self.put(device)
        shadows = simulator.admin("GET", f"devices/{DEVICE}")["shadow"]
        assert (shadows["valve"]["desired"], shadows["valve"]["reported"]) == ({"open": True, "rate": 5}, {})

    async def test_bad_shadows(self, raw):
        for body in (
            {},
            {"shadow": []},
            {"shadow": [{"service_id": "s"}]},
            {"shadow": [{"service_id": "s", "desired": {"a.b": 1}}]},
            {"shadow": [{"service_id": "s", "desired": {"$a": 1}}]},
            {"shadow": [{"service_id": "s", "desired": {}, "version": -1}]},
        ):
            answer = await raw.put("/shadow", json=body)
            assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
