"""The HTTP gateway against the simulator: every fault, and a simulator that is killed in mid-flight."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from include.errors import EgressDeniedError
from include.gateway.http import GatewayGuard
from include.gateway.model import DeviceEvent, Message, PreparedCommand, Reply
from include.kit.clock import system_clock
from tests.integration.gateway.simulated import SimulatorProcess, command, opened, simulator_process
from tests.integration.kit.peers import Reader, Writer, always, peer


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with simulator_process() as process:
        yield process
        assert process.stop() == 0


@pytest.fixture
def simulator(process: SimulatorProcess) -> SimulatorProcess:
    """A simulator without faults and without memories."""
    process.admin("DELETE", "faults")
    process.admin("DELETE", "devices")
    return process


async def send_all(calls: list[PreparedCommand]) -> Counter[str]:
    replies = await asyncio.gather(*[call.send() for call in calls])
    return Counter(reply.outcome for reply in replies)


class TestCommands:
    async def test_prepared_warmed_and_acknowledged(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            calls = [gateway.prepare(command(number)) for number in range(50)]
            await gateway.resolve(calls)
            await gateway.warm(calls)
            assert await send_all(calls) == {"acknowledged": 50}
        device = simulator.admin("GET", "devices/d7")
        (received,) = device["received"]
        assert {**received, "at": 0} == {
            "request_id": "r7",
            "at": 0,
            "service_id": "light",
            "command_name": "on",
            "paras": {"level": 7},
            "kind": "command",
        }

    async def test_without_any_preparation(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            reply = await gateway.prepare(command()).send()
        assert (reply.outcome, reply.status, reply.error) == ("acknowledged", 200, None)
        assert reply.response == '{"result_code":0,"response_name":"COMMAND_RESPONSE","paras":{}}'
        assert reply.begin_at <= reply.end_at

    async def test_a_repeat_carries_the_same_request_id(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            call = gateway.prepare(command())
            assert [(await call.send()).ok for _ in range(3)] == [True] * 3
        device = simulator.admin("GET", "devices/d0")
        assert (device["executed"], device["duplicates"]) == (1, 2)

    async def test_token(self, simulator: SimulatorProcess) -> None:
        simulator.faults(token="secret")
        async with opened(simulator.url) as gateway:
            assert (await gateway.prepare(command()).send()).outcome == "unreachable"
        async with opened(simulator.url.replace("//", "//:secret@")) as gateway:
            assert (await gateway.prepare(command()).send()).ok

    async def test_many(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            calls = [gateway.prepare(command(number)) for number in range(3000)]
            await gateway.resolve(calls)
            assert await send_all(calls) == {"acknowledged": 3000}
        counters = simulator.admin("GET", "counters")
        assert (counters["received"], counters["executed"], counters["duplicates"]) == (3000, 3000, 0)

    async def test_what_cannot_be_sent_fails_alone(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            bad = command(request_id="r 1")
            calls = [gateway.prepare(bad), gateway.prepare(command())]
            await gateway.resolve(calls)
            await gateway.warm(calls)
            assert await send_all(calls) == {"refused": 1, "acknowledged": 1}


class TestFaults:
    @pytest.mark.parametrize(
        ("faults", "outcome"),
        [
            ({"offline": ["d0"]}, "offline"),
            ({"offline_share": 1}, "offline"),
            ({"unknown": ["d0"]}, "refused"),
            ({"refuse": 1}, "refused"),
            ({"loss": 1, "patience": 0.1}, "timeout"),
            ({"loss": 1, "patience": 30}, "timeout"),
            ({"latency": {"seconds": 30}, "patience": 60}, "timeout"),
            ({"hang": 1}, "timeout"),
            ({"reset": 1}, "unreachable"),
            ({"unavailable": 1}, "unreachable"),
            ({"garbage": 1}, "garbage"),
            ({"duplicate": 1}, "acknowledged"),
            ({"latency": {"distribution": "uniform", "seconds": 0.1}}, "acknowledged"),
        ],
        ids=str,
    )
    async def test_one_outcome_for_each(
        self, simulator: SimulatorProcess, faults: dict[str, object], outcome: str
    ) -> None:
        simulator.faults(seed=1, **faults)
        async with opened(simulator.url) as gateway:
            timeout = 0.4 if outcome == "timeout" else 10
            calls = [gateway.prepare(command(0, timeout=timeout, request_id=f"r{n}")) for n in range(20)]
            await gateway.resolve(calls)
            assert await send_all(calls) == {outcome: 20}
            simulator.admin("DELETE", "faults")
            assert (await gateway.prepare(command(1)).send()).ok  # none of it spoils what comes after

    async def test_all_at_once(self, simulator: SimulatorProcess) -> None:
        shares = dict.fromkeys(
            ("loss", "refuse", "unavailable", "garbage", "reset", "hang", "duplicate"), 0.1
        )
        latency = {"distribution": "exponential", "seconds": 0.01}
        simulator.faults(seed=2, latency=latency, patience=0.2, offline_share=0.1, **shares)
        async with opened(simulator.url) as gateway:
            calls = [gateway.prepare(command(number, timeout=0.5)) for number in range(1000)]
            await gateway.resolve(calls)
            outcomes = await send_all(calls)
        assert set(outcomes) == {"acknowledged", "refused", "offline", "timeout", "unreachable", "garbage"}
        assert outcomes.total() == 1000

    async def test_online_again(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            call = gateway.prepare(command())
            simulator.admin("POST", "offline", {"device_ids": ["d0"]})
            assert (await call.send()).outcome == "offline"
            simulator.admin("POST", "online", {"device_ids": ["d0"]})
            assert (await call.send()).ok


class TestOtherCalls:
    async def test_desired_properties_wait_for_the_device(self, simulator: SimulatorProcess) -> None:
        simulator.admin("POST", "offline", {"device_ids": ["d1"]})
        async with opened(simulator.url) as gateway:
            assert (await gateway.set_desired("d1", "light", {"level": 3})).ok
        assert simulator.admin("GET", "devices/d1")["shadow"]["light"]["reported"] == {}
        simulator.admin("POST", "online", {"device_ids": ["d1"]})
        assert simulator.admin("GET", "devices/d1")["shadow"]["light"]["reported"] == {"level": 3}

    async def test_asynchronous_commands(self, simulator: SimulatorProcess) -> None:
        simulator.admin("POST", "offline", {"device_ids": ["d1"]})
        async with opened(simulator.url) as gateway:
            assert (await gateway.send_async_command(command(0))).ok
            assert (await gateway.send_async_command(command(1))).outcome == "offline"
            assert (await gateway.send_async_command(command(1), strategy="delay", expire_time=60)).ok
        assert simulator.admin("GET", "devices/d1")["pending"] == ["r1"]
        assert simulator.admin("GET", "devices/d0")["received"][0]["kind"] == "async-command"

    async def test_messages(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            reply = await gateway.send_message(Message("d0", "m1", "hello", name="greeting"))
        assert (reply.outcome, reply.status) == ("acknowledged", 201)
        (message,) = simulator.admin("GET", "devices/d0")["messages"]
        assert {**message, "at": 0} == {"message_id": "m1", "name": "greeting", "message": "hello", "at": 0}


class TestOtherServers:
    """What no simulated platform does, and a broken proxy might."""

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "garbage"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "garbage"),
            (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", "garbage"),
            (b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx", "unreachable"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", "garbage"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "garbage"),
        ],
    )
    async def test_answers(self, answer: bytes, outcome: str) -> None:
        async with peer(always(answer)) as server, opened(server.url) as gateway:
            assert (await gateway.prepare(command(timeout=2)).send()).outcome == outcome

    async def test_an_answer_beyond_the_limit(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"
        async with peer(always(head + b" " * 3_000_000)) as server, opened(server.url) as gateway:
            assert (await gateway.prepare(command()).send()).outcome == "garbage"

    async def test_closed_without_a_word(self) -> None:
        async def close(request: bytes, reader: Reader, writer: Writer) -> None:
            writer.close()

        async with peer(close) as server, opened(server.url) as gateway:
            assert (await gateway.prepare(command()).send()).outcome == "unreachable"

    async def test_nobody_listens(self) -> None:
        async with peer(always(b"")) as server:
            url = server.url
        async with opened(url) as gateway:
            calls = [gateway.prepare(command(number)) for number in range(3)]
            await gateway.resolve(calls)
            await gateway.warm(calls)
            assert await send_all(calls) == {"unreachable": 3}

    async def test_a_name_that_does_not_resolve(self) -> None:
        async with opened("http://gateway.invalid") as gateway:
            call = gateway.prepare(command())
            await gateway.resolve([call])
            assert (await call.send()).outcome == "unreachable"

    async def test_headers_and_request_id_on_the_wire(self) -> None:
        async with peer(always(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as server:
            connection = (
                server.url.replace("//", "//me:pw@") + "/?project_id=p%2F1&headers=%7B%22X-App%22:%22a%22%7D"
            )
            async with opened(connection) as gateway:
                await gateway.prepare(command()).send()
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /v5/iot/p%2F1/devices/d0/commands HTTP/1.1"
        assert {"X-App: a", "X-Request-Id: r0", "Authorization: Basic bWU6cHc="} <= set(lines)
        assert body == b'{"service_id":"light","command_name":"on","paras":{"level":0}}'

    async def test_after_the_end(self) -> None:
        async with opened("http://127.0.0.1:9") as gateway:
            pass
        assert (await gateway.prepare(command()).send()).outcome == "unreachable"


class TestEvents:
    def event(self, device_id: str = "d1") -> DeviceEvent:
        return DeviceEvent(device_id, "m1", "version_query", {"a": 1}, system_clock())

    async def test_a_message_to_the_topic_of_events(self, simulator: SimulatorProcess) -> None:
        async with opened(simulator.url) as gateway:
            reply = await gateway.send_event(self.event())
        assert reply.outcome == "acknowledged"
        [message] = simulator.admin("GET", "devices/d1")["messages"]
        assert message["topic_full_name"] == "$oc/devices/d1/sys/events/down"
        assert (message["message_id"], message["payload_format"], message["ttl"]) == ("m1", "raw", 0)
        assert json.loads(message["message"])["services"][0]["paras"] == {"a": 1}
        assert simulator.admin("GET", "devices/d1")["ota"]["queries"] == 1

    async def test_nobody_keeps_it_for_one_that_is_away(self, simulator: SimulatorProcess) -> None:
        simulator.faults(offline=["d1"], unknown=["d2"])
        async with opened(simulator.url) as gateway:
            assert (await gateway.send_event(self.event())).outcome == "offline"
            assert (await gateway.send_event(self.event("d2"))).outcome == "refused"
            assert (await gateway.send_event(self.event("d/2"))).outcome == "refused"
        assert simulator.admin("GET", "devices/d1")["messages"] == []


class TestEgress:
    """The operator's gateway may be anywhere; nothing else is opened by that."""

    async def test_only_the_gateway(self) -> None:
        guard = GatewayGuard("10.1.2.3")
        assert await guard.resolve("10.1.2.3", 80) == ("10.1.2.3",)
        for other in ("10.1.2.4", "localhost", "example.com"):
            with pytest.raises(EgressDeniedError):
                await guard.resolve(other, 80)


async def test_killed_and_restarted_in_mid_flight() -> None:
    """1,000 commands while the simulator dies and returns: no exception, and a retry gets all through."""
    with simulator_process() as simulator:
        simulator.faults(latency={"distribution": "uniform", "seconds": 0.05})
        async with opened(simulator.url) as gateway:
            calls = [gateway.prepare(command(number, timeout=5)) for number in range(1000)]
            await gateway.resolve(calls)
            await gateway.warm(calls)
            sending = [asyncio.create_task(call.send()) for call in calls]
            while sum(task.done() for task in sending) < 200:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(simulator.kill)
            replies: list[Reply] = await asyncio.gather(*sending)
            outcomes = Counter(reply.outcome for reply in replies)
            assert set(outcomes) <= {"acknowledged", "unreachable", "garbage"}
            assert outcomes["acknowledged"] >= 200
            assert outcomes["unreachable"] > 0
            assert all(reply.retryable != reply.ok for reply in replies)

            await asyncio.to_thread(simulator.start)
            again = [call for call, reply in zip(calls, replies, strict=True) if reply.retryable]
            assert await send_all(again) == {"acknowledged": len(again)}
        received = simulator.admin("GET", "received")
        assert len(received) == len(again)
        assert all(counts == {f"r{device[1:]}": 1} for device, counts in received.items())
