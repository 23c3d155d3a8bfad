"""Devices over MQTT: each pump is a client of its own, as with the vendor's device SDKs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import paho.mqtt.client as paho

from tests.integration.gateway.mosquitto import Broker
from tests.upgrade_rows import pumps


class Pump:
    """A device over MQTT: tells its version, loads in three steps, tells the new one.

    :ivar heard: the events it got
    :ivar does: `well`, `keeps_version`, `silent`, `twice`, or a result code
    """

    def __init__(self, broker: Broker, device_id: str, does: str | int = "well") -> None:
        self.device_id = device_id
        self.does = does
        self.version = "1.0.0"
        self.heard: list[dict[str, Any]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=device_id)
        self.client.will_set(f"presence/{device_id}", b"offline", qos=1, retain=True)
        self.client.on_connect = self._connected
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def leave(self) -> None:
        """Break off without a word, so that the broker tells the last will."""
        self.client.loop_stop()
        sock = self.client.socket()
        if sock is not None:
            sock.close()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(f"$oc/devices/{self.device_id}/sys/events/down", qos=1)

    def ready(self) -> None:
        self.client.publish(f"presence/{self.device_id}", b"online", qos=1, retain=True)

    def _take(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        [service] = body["services"]
        self.heard.append(service)
        if self.does == "silent":
            return
        if service["event_type"] == "version_query":
            self._say("version_report", {"fw_version": self.version, "sw_version": "1"})
            return
        for percent in (30, 60):
            self._progress(0, percent)
        if isinstance(self.does, int):
            self._progress(self.does, 60)
            return
        if self.does != "keeps_version":
            self.version = service["paras"]["version"]
        self._progress(0, 100)

    def _progress(self, code: int, percent: int) -> None:
        paras = {"result_code": code, "progress": percent, "version": self.version}
        self._say("upgrade_progress_report", paras)

    def _say(self, event_type: str, paras: dict[str, Any]) -> None:
        service = {"service_id": "$ota", "event_type": event_type, "paras": paras}
        body = json.dumps({"object_device_id": self.device_id, "services": [service]})
        for _ in range(2 if self.does == "twice" else 1):
            self.client.publish(f"$oc/devices/{self.device_id}/sys/events/up", body, qos=1)


@asynccontextmanager
async def pumps_of(broker: Broker, *does: str | int) -> AsyncIterator[list[Pump]]:
    made = [Pump(broker, device_id, does[n]) for n, device_id in enumerate(pumps(len(does)))]
    try:
        async with asyncio.timeout(20):
            for pump in made:
                while not pump.client.is_connected():
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # until their subscriptions are there
        yield made
    finally:
        for pump in made:
            pump.client.loop_stop()
