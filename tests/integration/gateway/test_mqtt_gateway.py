"""The MQTT gateway against a real Mosquitto with simulated devices; the broker is killed and restarted."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from include.gateway.connect import create_gateway, parse_connection
from include.gateway.model import Command, Message
from include.gateway.mqtt import MqttGateway
from tests.integration.gateway.mosquitto import Broker, Devices, devices_of, needs_mosquitto

pytestmark = needs_mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
async def devices(broker: Broker) -> AsyncIterator[Devices]:
    async with devices_of(broker) as devices:
        yield devices


@asynccontextmanager
async def opened(connection: str) -> AsyncIterator[MqttGateway]:
    gateway = create_gateway(parse_connection(connection))
    assert isinstance(gateway, MqttGateway)
    await gateway.open()
    try:
        await gateway.warm([])
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture
async def gateway(broker: Broker, devices: Devices) -> AsyncIterator[MqttGateway]:
    async with opened(broker.url) as gateway:
        yield gateway


def command(number: int = 0, do: str = "ok", timeout: float = 5.0) -> Command:
    return Command(f"d{number}", f"r{number}", "light", "on", {"do": do}, timeout)


async def send_all(gateway: MqttGateway, commands: list[Command]) -> Counter[str]:
    replies = await asyncio.gather(*[gateway.prepare(each).send() for each in commands])
    return Counter(reply.outcome for reply in replies)


class TestAnswers:
    async def test_acknowledged(self, gateway: MqttGateway, devices: Devices) -> None:
        reply = await gateway.prepare(command(7)).send()
        assert (reply.outcome, reply.status, reply.response) == ("acknowledged", None, '{"result_code":0}')
        assert devices.bodies == [
            (
                "$oc/devices/d7/sys/commands/request_id=r7",
                {
                    "object_device_id": "d7",
                    "service_id": "light",
                    "command_name": "on",
                    "paras": {"do": "ok"},
                },
            )
        ]

    @pytest.mark.parametrize(
        ("do", "outcome"),
        [
            *(("refuse", "refused"), ("garbage", "garbage"), ("silent", "timeout"), ("late", "timeout")),
            *(("foreign", "timeout"), ("twice", "acknowledged")),
        ],
    )
    async def test_outcomes(self, gateway: MqttGateway, do: str, outcome: str) -> None:
        reply = await gateway.prepare(command(1, do, 0.25)).send()
        assert reply.outcome == outcome
        assert gateway.waiting == {}

    async def test_a_late_answer_is_not_taken_for_another_command(self, gateway: MqttGateway) -> None:
        assert (await gateway.prepare(command(1, "late", 0.2)).send()).outcome == "timeout"
        other = Command("d1", "r-other", "light", "on", {"do": "silent"}, 0.6)
        assert (await gateway.prepare(other).send()).outcome == "timeout"
        assert gateway.ignored == 1

    async def test_a_late_answer_serves_the_repeat_of_its_command(self, gateway: MqttGateway) -> None:
        call = gateway.prepare(command(1, "late", 0.25))
        assert (await call.send()).outcome == "timeout"
        assert (await call.send()).ok

    async def test_the_second_of_two_answers_is_ignored(self, gateway: MqttGateway) -> None:
        assert (await gateway.prepare(command(1, "twice")).send()).ok
        async with asyncio.timeout(5):
            while not gateway.ignored:
                await asyncio.sleep(0.01)

    async def test_many(self, gateway: MqttGateway, devices: Devices) -> None:
        commands = [command(number, timeout=60) for number in range(3000)]
        assert await send_all(gateway, commands) == {"acknowledged": 3000}
        assert set(devices.received.values()) == {1}
        assert len(devices.received) == 3000

    async def test_two_gateways_on_one_broker(self, gateway: MqttGateway, broker: Broker) -> None:
        async with opened(broker.url + "?mqtt_version=3.1.1") as other:
            outcomes = await asyncio.gather(
                send_all(gateway, [command(number) for number in range(100)]),
                send_all(other, [command(number) for number in range(100, 200)]),
            )
        assert outcomes == [{"acknowledged": 100}] * 2


class TestOtherCalls:
    async def test_desired_properties(self, gateway: MqttGateway, devices: Devices) -> None:
        assert (await gateway.set_desired("d1", "light", {"level": 3})).ok
        ((topic, body),) = devices.bodies
        assert topic.startswith("$oc/devices/d1/sys/properties/set/request_id=")
        assert body["services"] == [{"service_id": "light", "properties": {"level": 3}}]

    async def test_properties_are_asked_for_and_set(self, gateway: MqttGateway, devices: Devices) -> None:
        services = [{"service_id": "light", "properties": {"level": 3}}]
        for reply in (
            await gateway.set_properties("d1", services),
            await gateway.query_properties("d1", "light"),
            await gateway.query_properties("d1", None),
        ):
            assert (reply.outcome, reply.response) == ("acknowledged", '{"result_code":0}')
        kinds = [topic.rpartition("/request_id=")[0] for topic, _ in devices.bodies]
        assert kinds == [f"$oc/devices/d1/sys/properties/{verb}" for verb in ("set", "get", "get")]
        assert [body.get("service_id") for _, body in devices.bodies] == [None, "light", ""]
        assert devices.bodies[0][1] == {"object_device_id": "d1", "services": services}
        assert (await gateway.query_properties("a/b", None)).outcome == "refused"

    async def test_messages(self, gateway: MqttGateway, devices: Devices) -> None:
        assert (await gateway.send_message(Message("d1", "m1", {"a": 1}, name="n"))).ok
        assert (await gateway.send_message(Message("d1", "m2", "x", topic="a/#"))).outcome == "refused"
        await asyncio.sleep(0.1)
        body = {"object_device_id": "d1", "name": "n", "id": "m1", "content": {"a": 1}}
        assert devices.bodies == [("$oc/devices/d1/sys/messages/down", body)]

    async def test_an_asynchronous_command_does_not_wait(
        self, gateway: MqttGateway, devices: Devices
    ) -> None:
        reply = await gateway.send_async_command(command(1, "silent"))
        assert (reply.outcome, reply.response) == ("acknowledged", '{"command_id":"r1","status":"SENT"}')
        async with asyncio.timeout(5):
            while ("d1", "r1") not in devices.received:
                await asyncio.sleep(0.01)


class TestPresence:
    async def test_offline_is_known_at_once(self, broker: Broker, devices: Devices) -> None:
        async with aiomqtt.Client("127.0.0.1", broker.port) as state:
            await state.publish("presence/d1", "offline", qos=1, retain=True)
            async with opened(broker.url + "?presence_topic=presence/{device_id}") as gateway:
                async with asyncio.timeout(5):
                    while (await gateway.prepare(command(1)).send()).outcome != "offline":
                        await asyncio.sleep(0.01)
                assert (await gateway.prepare(command(2)).send()).ok
                await state.publish("presence/d1", "online", qos=1, retain=True)
                async with asyncio.timeout(5):
                    while not (await gateway.prepare(command(1)).send()).ok:
                        await asyncio.sleep(0.01)

    async def test_a_stale_command_does_not_reach_a_device_that_comes_back(
        self, broker: Broker, gateway: MqttGateway
    ) -> None:
        """The broker keeps messages for a persistent session, so a command carries its expiry."""

        def session() -> aiomqtt.Client:
            return aiomqtt.Client("127.0.0.1", broker.port, identifier="sleepy", clean_session=False)

        topic = "$oc/devices/sleepy/sys/commands/+"
        async with session() as device:
            await device.subscribe(topic, qos=1)
        call = gateway.prepare(Command("sleepy", "r1", "light", "on", {"do": "silent"}, 1.0))
        assert (await call.send()).outcome == "timeout"
        await asyncio.sleep(2.2)
        async with session() as device:
            await asyncio.sleep(0.3)
            assert len(device.messages) == 0


class TestBroken:
    async def test_killed_in_mid_flight_and_restarted(
        self, broker: Broker, gateway: MqttGateway, devices: Devices
    ) -> None:
        commands = [command(number, "silent", 20) for number in range(300)]
        calls = [gateway.prepare(each) for each in commands]
        sending = [asyncio.create_task(call.send()) for call in calls]
        async with asyncio.timeout(10):
            while len(devices.received) < 300:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(broker.kill)
        async with asyncio.timeout(3):  # not the 20 s of their timeout
            replies = await asyncio.gather(*sending)
        assert {reply.outcome for reply in replies} == {"unreachable"}
        assert all(reply.retryable for reply in replies)

        await asyncio.to_thread(broker.start)
        devices.ready.clear()
        async with asyncio.timeout(10):
            await devices.ready.wait()
        assert await send_all(gateway, [command(number) for number in range(300)]) == {"acknowledged": 300}

    async def test_away_and_back(self, broker: Broker, gateway: MqttGateway, devices: Devices) -> None:
        broker.kill()
        assert await send_all(gateway, [command(n, timeout=0.5) for n in range(50)]) == {"unreachable": 50}
        broker.start()
        async with asyncio.timeout(10):
            while not (await gateway.prepare(command(1, timeout=1)).send()).ok:
                pass

    async def test_not_there_when_it_opens(self, broker: Broker) -> None:
        broker.kill()
        async with opened(broker.url) as gateway:
            assert (await gateway.prepare(command(1, timeout=0.5)).send()).outcome == "unreachable"
            broker.start()
            async with devices_of(broker):
                async with asyncio.timeout(10):
                    while not (await gateway.prepare(command(1)).send()).ok:
                        pass

    async def test_a_broker_that_stands_still(self, broker: Broker, gateway: MqttGateway) -> None:
        assert broker.process is not None
        os.kill(broker.process.pid, signal.SIGSTOP)
        try:
            replies = await asyncio.gather(
                *[gateway.prepare(command(n, timeout=0.5)).send() for n in range(9)]
            )
        finally:
            os.kill(broker.process.pid, signal.SIGCONT)
        assert {(reply.outcome, reply.error) for reply in replies} == {
            ("unreachable", "no confirmation of the broker within 0.5 s")
        }
        assert (await gateway.prepare(command(50)).send()).ok

    async def test_wrong_password(self, tmp_path: Path, broker: Broker) -> None:
        broker.kill()
        broker.config.write_text(broker.config.read_text().replace("anonymous true", "anonymous false"))
        broker.start()
        async with opened(broker.url.replace("//", "//me:wrong@")) as gateway:
            reply = await gateway.prepare(command(timeout=1.5)).send()
        assert reply.outcome == "unreachable"
        assert reply.error is not None
        assert "wrong" not in reply.error

    async def test_closed_with_commands_under_way(self, gateway: MqttGateway) -> None:
        sending = [asyncio.create_task(gateway.prepare(command(n, "silent")).send()) for n in range(3)]
        await asyncio.sleep(0.1)
        await gateway.close()
        assert {(await task).outcome for task in sending} == {"unreachable"}
        assert (await gateway.prepare(command(timeout=0.2)).send()).outcome == "unreachable"
