"""The simulator's rules, without a socket."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest

from include.simulator.answers import Answer, Request
from include.simulator.devices import KEPT, Device, Received
from include.simulator.faults import Faults, Latency
from include.simulator.server import Simulator


def ask(simulator: Simulator, method: str, path: str, body: Any = None, **headers: str) -> tuple[Answer, Any]:
    given = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = simulator.handle(Request(method, path, given, raw))
    try:
        return answer, orjson.loads(answer.body)
    except ValueError:
        return answer, None


def command(simulator: Simulator, device: str = "d1", request_id: str = "r1") -> tuple[Answer, Any]:
    body = {"service_id": "light", "command_name": "on", "paras": {"v": 1}}
    path = f"/v5/iot/p/devices/{device}/commands"
    return ask(simulator, "POST", path, body, x_request_id=request_id)


def set_faults(simulator: Simulator, **faults: Any) -> None:
    answer, _ = ask(simulator, "PUT", "/_admin/faults", faults)
    assert answer.status == 200, answer.body


class TestCommands:
    def test_answered(self) -> None:
        answer, document = command(Simulator())
        assert answer.status == 200
        assert document == {
            "command_id": "r1",
            "response": {"result_code": 0, "response_name": "COMMAND_RESPONSE", "paras": {}},
            "error_code": None,
            "error_msg": None,
        }

    def test_a_repeat_is_counted(self) -> None:
        simulator = Simulator()
        for request_id in ("r1", "r1", "r2"):
            command(simulator, request_id=request_id)
        _, device = ask(simulator, "GET", "/_admin/devices/d1")
        assert (device["executed"], device["duplicates"]) == (2, 1)
        assert [item["request_id"] for item in device["received"]] == ["r1", "r1", "r2"]
        _, counters = ask(simulator, "GET", "/_admin/counters")
        assert (counters["received"], counters["duplicates"], counters["devices"]) == (3, 1, 1)
        assert ask(simulator, "GET", "/_admin/received")[1] == {"d1": {"r1": 2, "r2": 1}}

    def test_commands_are_logged_as_they_came(self) -> None:
        simulator = Simulator()
        for device, request_id in (("d2", "r1"), ("d1", "r2"), ("d2", "r1")):
            command(simulator, device, request_id)
        came = ask(simulator, "GET", "/_admin/arrivals")[1]["arrivals"]
        assert [(one["device_id"], one["request_id"], one["paras"]) for one in came] == [
            ("d2", "r1", {"v": 1}),
            ("d1", "r2", {"v": 1}),
            ("d2", "r1", {"v": 1}),
        ]
        assert came[0]["at"] <= came[1]["at"] <= came[2]["at"]

    def test_some_devices_are_forgotten_or_all(self) -> None:
        simulator = Simulator()
        for device in ("d1", "d2", "d3"):
            command(simulator, device)
        _, counters = ask(simulator, "DELETE", "/_admin/devices", {"device_ids": ["d1", "d3", "d9"]})
        assert (counters["devices"], counters["received"]) == (1, 3)
        assert ask(simulator, "GET", "/_admin/received")[1] == {"d2": {"r1": 1}}
        assert ask(simulator, "DELETE", "/_admin/devices", b"{}")[0].status == 400
        _, counters = ask(simulator, "DELETE", "/_admin/devices", b"")
        assert (counters["devices"], counters["received"]) == (0, 0)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff"])
    def test_bad_bodies(self, body: bytes) -> None:
        answer, _ = ask(Simulator(), "POST", "/v5/iot/p/devices/d1/commands", body)
        assert answer.status == 400

    @pytest.mark.parametrize("path", ["/", "/v5/iot/p", "/v5/iot/p/things/d1/commands", "/_admin/x"])
    def test_unknown_paths(self, path: str) -> None:
        assert ask(Simulator(), "POST", path, {})[0].status == 404


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "wire"),
        [("reset", "reset"), ("hang", "hang"), ("duplicate", "twice")],
    )
    def test_wire(self, fault: str, wire: str) -> None:
        simulator = Simulator()
        set_faults(simulator, **{fault: 1})
        assert command(simulator)[0].wire == wire

    def test_loss_is_told_after_the_patience(self) -> None:
        simulator = Simulator()
        set_faults(simulator, loss=1, patience=7)
        answer, document = command(simulator)
        assert (answer.status, answer.delay, document["error_code"]) == (200, 7, "IOTDA.014111")

    def test_refusal_and_unavailable(self) -> None:
        simulator = Simulator()
        set_faults(simulator, refuse=1)
        assert command(simulator)[1]["response"]["result_code"] == 1
        set_faults(simulator, unavailable=1)
        assert command(simulator)[0].status == 503

    def test_token_and_unknown_devices(self) -> None:
        simulator = Simulator()
        set_faults(simulator, token="t", unknown=["d2"])
        assert command(simulator)[1]["error_code"] == "IOTDA.000002"
        path = "/v5/iot/p/devices/d2/commands"
        assert (
            ask(simulator, "POST", path, {"paras": {}}, x_auth_token="t")[1]["error_code"] == "IOTDA.014000"
        )

    def test_share_of_offline_devices_is_the_same_each_time(self) -> None:
        faults = Faults(offline_share=0.3)
        away = {n for n in range(1000) if faults.takes_offline(f"d{n}")}
        assert 250 < len(away) < 350
        assert away == {n for n in range(1000) if faults.takes_offline(f"d{n}")}
        assert Faults(offline_share=1).takes_offline("x")

    def test_wrong_version(self) -> None:
        simulator = Simulator()
        path = "/v5/iot/p/devices/d1"
        assert ask(simulator, "GET", path)[1]["fw_version"] == "1.0.0"
        ask(simulator, "PUT", "/_admin/devices/d1", {"fw_version": "2.0.0"})
        assert ask(simulator, "GET", path)[1]["fw_version"] == "2.0.0"
        set_faults(simulator, wrong_version=1)
        assert ask(simulator, "GET", path)[1]["fw_version"] == "0.0.0"

    @pytest.mark.parametrize("body", [{"loss": 2}, {"lost": 1}, {"latency": {"seconds": -1}}, b"x"])
    def test_faults_that_make_no_sense(self, body: Any) -> None:
        assert ask(Simulator(), "PUT", "/_admin/faults", body)[0].status == 400

    def test_latencies(self) -> None:
        random = Random(1)
        for distribution in ("fixed", "uniform", "exponential"):
            latency = Latency(distribution=distribution, seconds=0.2)  # type: ignore[arg-type]
            mean = sum(latency.draw(random) for _ in range(5000)) / 5000
            assert mean == pytest.approx(0.2, rel=0.1)

    def test_put_replaces_and_delete_clears(self) -> None:
        simulator = Simulator()
        set_faults(simulator, loss=1)
        set_faults(simulator, refuse=1)
        assert ask(simulator, "GET", "/_admin/faults")[1]["loss"] == 0
        ask(simulator, "DELETE", "/_admin/faults")
        assert simulator.fleet.calm


class TestOnline:
    def test_offline_and_back(self) -> None:
        simulator = Simulator()
        ask(simulator, "POST", "/_admin/offline", {"device_ids": ["d1"]})
        answer, document = command(simulator)
        assert (answer.status, document["error_code"]) == (403, "IOTDA.014016")
        ask(simulator, "POST", "/_admin/online", {"device_ids": ["d1"]})
        assert command(simulator)[0].status == 200

    def test_a_shadow_reaches_it_when_it_comes_online(self) -> None:
        simulator = Simulator()
        ask(simulator, "PUT", "/_admin/devices/d1", {"online": False})
        path = "/v5/iot/p/devices/d1/shadow"
        for desired in ({"a": 1, "b": 2}, {"a": None, "c": 3}):
            ask(simulator, "PUT", path, {"shadow": [{"service_id": "s", "desired": desired}]})
        (item,) = ask(simulator, "GET", path)[1]["shadow"]
        assert item["desired"]["properties"] == {"b": 2, "c": 3}
        assert item["reported"]["properties"] == {}
        assert item["version"] == 2
        ask(simulator, "PUT", "/_admin/devices/d1", {"online": True})
        (item,) = ask(simulator, "GET", path)[1]["shadow"]
        assert item["reported"]["properties"] == {"b": 2, "c": 3}

    def test_a_wrong_shadow_version_is_refused(self) -> None:
        body = {"shadow": [{"service_id": "s", "desired": {}, "version": 5}]}
        assert ask(Simulator(), "PUT", "/v5/iot/p/devices/d1/shadow", body)[0].status == 400

    def test_a_delayed_command_reaches_it_when_it_comes_online(self) -> None:
        simulator = Simulator()
        set_faults(simulator, offline=["d1"])
        path = "/v5/iot/p/devices/d1/async-commands"
        body = {"service_id": "s", "command_name": "c", "paras": {}, "send_strategy": "delay"}
        _, document = ask(simulator, "POST", path, body, x_request_id="a1")
        assert (document["command_id"], document["status"]) == ("a1", "PENDING")
        now = ask(simulator, "POST", path, {**body, "send_strategy": "immediately"}, x_request_id="a2")
        assert now[1]["error_code"] == "IOTDA.014016"
        set_faults(simulator)
        assert [item["status"] for item in ask(simulator, "GET", path)[1]["commands"]] == ["SUCCESSFUL"]
        assert ask(simulator, "GET", "/_admin/received")[1] == {"d1": {"a1": 1}}


def test_memory_is_bounded() -> None:
    device = Device("d1")
    for number in range(3 * KEPT):
        device.receive(Received(f"r{number}", 0.0, "s", "c", {}))
    assert (len(device.received), len(device.seen), device.executed) == (KEPT, KEPT, 3 * KEPT)
