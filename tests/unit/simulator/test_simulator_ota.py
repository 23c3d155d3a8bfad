"""Simulated devices that are upgraded, on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from include.simulator.answers import Answer, Request
from include.simulator.ota import Ota
from include.simulator.server import Simulator


class Bench:
    """A simulator without a loop: what is to happen later waits until the time has come."""

    def __init__(self, **faults: Any) -> None:
        self.now = 0.0
        self.pending: list[tuple[float, Callable[[], None]]] = []
        self.said: list[dict[str, Any]] = []
        self.simulator = Simulator()
        self.simulator.pusher.add = self.said.append  # type: ignore[method-assign]
        self.simulator.ota = Ota(self.simulator.fleet, self.said.append, later=self.later)
        self.simulator.iotda.ota = self.simulator.ota
        self.ask("PUT", "/_admin/faults", {"ota": faults})

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.pending.append((self.now + seconds, call))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[Answer, Any]:
        answer = self.simulator.handle(Request(method, path, {}, orjson.dumps(body)))
        return answer, orjson.loads(answer.body)

    def send(self, event_type: str, message_id: str = "m1", device: str = "d1", **paras: Any) -> Any:
        service = {"service_id": "$ota", "event_type": event_type, "paras": paras}
        body = {
            "message_id": message_id,
            "message": orjson.dumps({"object_device_id": device, "services": [service]}).decode(),
            "topic_full_name": "$oc/devices/d1/sys/events/down",
            "ttl": 0,
        }
        return self.ask("POST", "/v5/iot/p/devices/d1/messages", body)[1]["result"]["status"]

    def upgrade(self, message_id: str = "m1") -> None:
        assert self.send("firmware_upgrade_v2", message_id, version="2.0.0") == "DELIVERED"

    def pass_(self, seconds: float) -> list[Any]:
        """Let time pass; return what devices said meanwhile, in short."""
        self.run_until(self.now + seconds)
        said, self.said[:] = list(self.said), []
        return [self.short(event) for event in said]

    def run_until(self, moment: float) -> None:
        while due := [one for one in self.pending if one[0] <= moment]:
            first = min(due, key=lambda one: one[0])
            self.pending.remove(first)
            self.now = first[0]
            first[1]()
        self.now = moment

    def short(self, event: dict[str, Any]) -> Any:
        if "status" in event:
            return event["status"]
        paras = event["services"][0]["paras"]
        return paras.get("fw_version") or (paras["result_code"], paras["progress"])

    def device(self) -> Any:
        return self.ask("GET", "/_admin/devices/d1")[1]


def test_asked_told_asked() -> None:
    bench = Bench(seconds=4, steps=4)
    assert bench.send("version_query") == "DELIVERED"
    assert bench.pass_(0) == ["1.0.0"]
    bench.upgrade()
    assert [bench.pass_(1) for _ in range(4)] == [[(0, 25)], [(0, 50)], [(0, 75)], [(0, 100)]]
    bench.send("version_query", "m2")
    assert bench.pass_(0) == ["2.0.0"]
    assert bench.device()["ota"] == {
        "queries": 2,
        "notices": {"m1": 1},
        "upgrades": 1,
        "reports": 6,
        "upgrading": False,
    }


def test_the_same_notice_again_and_another_on_the_way_begin_nothing() -> None:
    bench = Bench(seconds=4)
    bench.upgrade()
    bench.upgrade()
    bench.upgrade("m2")
    bench.pass_(10)
    bench.upgrade()
    assert bench.pass_(10) == []
    assert (bench.device()["ota"]["upgrades"], bench.device()["ota"]["notices"]) == (1, {"m1": 3, "m2": 1})


@pytest.mark.parametrize(
    ("faults", "said", "version"),
    [
        ({"results": {"5": 1}}, [(0, 25), (5, 50)], "1.0.0"),
        ({"keeps_version": 1}, [(0, 25), (0, 50), (0, 75), (0, 100)], "1.0.0"),
        ({"twice": 1}, [(0, 25), (0, 25), (0, 50), (0, 50), (0, 75), (0, 75), (0, 100), (0, 100)], "2.0.0"),
        ({"silent": 1}, [], "1.0.0"),
        ({"deaf": 1}, [], "1.0.0"),
        ({"slow": 1, "slowness": 3}, [(0, 25)], "1.0.0"),
        ({"steps": 1}, [(0, 100)], "2.0.0"),
    ],
)
def test_faults(faults: dict[str, Any], said: list[Any], version: str) -> None:
    bench = Bench(**{"seconds": 4, "steps": 4, **faults})
    bench.upgrade()
    assert bench.pass_(4) == said
    assert bench.device()["fw_version"] == version


def test_one_that_goes_away_stands_still_until_it_is_back() -> None:
    bench = Bench(seconds=4, away=1, away_seconds=10)
    bench.upgrade()
    assert bench.pass_(2) == [(0, 25), (0, 50), "OFFLINE"]
    assert bench.send("version_query") == "FAILED"
    assert bench.pass_(5) == []
    assert bench.pass_(5) == ["ONLINE", (0, 75)]
    assert bench.pass_(1) == [(0, 100)]


def test_one_that_is_taken_away_by_the_admin() -> None:
    bench = Bench(seconds=4)
    bench.upgrade()
    bench.ask("POST", "/_admin/offline", {"device_ids": ["d1"]})
    assert bench.pass_(9) == ["OFFLINE"]
    bench.ask("POST", "/_admin/online", {"device_ids": ["d1"]})
    bench.ask("POST", "/_admin/online", {"device_ids": ["d1"]})
    assert bench.pass_(0) == ["ONLINE", (0, 25)]


def test_faults_that_take_devices_away_are_told_too() -> None:
    bench = Bench()
    bench.ask("PUT", "/_admin/faults", {"offline": ["d7"]})
    bench.ask("DELETE", "/_admin/faults")
    assert bench.said == [
        {"device_id": "d7", "status": status, "status_time": event["status_time"]}
        for status, event in zip(("OFFLINE", "ONLINE"), bench.said, strict=True)
    ]


def test_sub_devices_answer_through_their_gateway() -> None:
    bench = Bench()
    bench.send("version_query", device="sub-1")
    bench.run_until(0)
    [event] = bench.said
    assert (event["device_id"], event["object_device_id"]) == ("d1", "sub-1")


def test_software_and_modules() -> None:
    bench = Bench(seconds=0)
    bench.send("software_upgrade", "m1", version="3")
    bench.pass_(0)
    bench.send("module_upgrade_v2", "m2", version="4", module_name="valve")
    bench.pass_(0)
    assert (bench.device()["fw_version"], bench.device()["sw_version"]) == ("1.0.0", "3")
    bench.send("version_query")
    bench.run_until(0)
    assert bench.said[0]["services"][0]["paras"]["modules"] == {"valve": "4"}


@pytest.mark.parametrize(
    "faults", [{"results": {"0": 1}}, {"results": {"5": 2}}, {"steps": 0}, {"slowness": 0.5}, {"nothing": 1}]
)
def test_faults_that_make_no_sense(faults: dict[str, Any]) -> None:
    assert Bench().ask("PUT", "/_admin/faults", {"ota": faults})[0].status == 400


def test_where_it_is_pushed_is_told_without_the_token() -> None:
    bench = Bench()
    _, shown = bench.ask("PUT", "/_admin/push", {"url": "http://127.0.0.1:1/x", "token": "secret"})
    assert shown == {"url": "http://127.0.0.1:1/x", "waiting": 0, "pushed": 0, "refused": 0, "lost": 0}
    assert bench.ask("GET", "/_admin/push")[1] == shown
    assert bench.ask("DELETE", "/_admin/push")[1]["url"] is None
    assert bench.ask("PUT", "/_admin/push", {"url": "ftp://x", "token": ""})[0].status == 400
