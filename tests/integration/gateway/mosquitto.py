"""A real Mosquitto broker, and simulated devices that listen to it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto (apt-get install mosquitto)")

CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
"""


#: How long a device takes to answer, in seconds, by what it does.
DELAYS = {"late": 0.4, "slow": 2.0}

#: A device and a request.
Key = tuple[str, str]


class Broker:
    """One broker; it comes back on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(CONFIG.format(port=self.port))
        folder.chmod(0o755)
        self.config.chmod(0o644)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert MOSQUITTO is not None
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, "mosquitto does not start"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


class Devices:
    """Every device of the broker at once. What one does is the command's `paras.do`.

    `ok` · `refuse` · `garbage` · `silent` · `twice` · `late` (0.4 s) · `slow` (2 s) · `foreign` (another
    device answers)

    :ivar arrivals: Unix seconds at which each request id came to each device
    :ivar answered: Unix seconds at which the first answer had gone to the broker
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.arrivals: dict[Key, list[float]] = defaultdict(list)
        self.answered: dict[Key, float] = {}
        self.bodies: list[tuple[str, dict[str, object]]] = []
        self.ready = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def received(self) -> Counter[Key]:
        """How often each request id came to each device."""
        return Counter({key: len(arrivals) for key, arrivals in self.arrivals.items()})

    async def run(self) -> None:
        while True:
            with suppress(aiomqtt.MqttError):
                async with aiomqtt.Client("127.0.0.1", self.port) as client:
                    client.pending_calls_threshold = 100_000
                    for kind in ("commands/+", "properties/set/+", "properties/get/+", "messages/down"):
                        await client.subscribe(f"$oc/devices/+/sys/{kind}", qos=1)
                    self.ready.set()
                    async for message in client.messages:
                        self._take(client, message)
            self.ready.clear()
            await asyncio.sleep(0.1)

    def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        at = time.time()
        assert isinstance(message.payload, bytes)
        body = json.loads(message.payload)
        self.bodies.append((message.topic.value, body))
        base, separator, request_id = message.topic.value.rpartition("/request_id=")
        if not separator:
            return
        device_id = base.split("/")[2]
        key = device_id, request_id
        self.arrivals[key].append(at)
        do = body.get("paras", {}).get("do", "ok")
        replies = {"silent": 0, "twice": 2}.get(do, 1)
        if do == "foreign":
            base = base.replace(device_id, "other")
        payload = b"what?" if do == "garbage" else b'{"result_code": %d}' % (do == "refuse")
        for _ in range(replies):
            topic = f"{base}/response/request_id={request_id}"
            task = asyncio.create_task(self._reply(client, key, topic, payload, DELAYS.get(do, 0)))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _reply(
        self, client: aiomqtt.Client, key: Key, topic: str, payload: bytes, delay: float
    ) -> None:
        await asyncio.sleep(delay)
        with suppress(aiomqtt.MqttError):
            await client.publish(topic, payload, qos=0)
            self.answered.setdefault(key, time.time())


@asynccontextmanager
async def devices_of(broker: Broker) -> AsyncIterator[Devices]:
    devices = Devices(broker.port)
    task = asyncio.create_task(devices.run())
    try:
        async with asyncio.timeout(10):
            await devices.ready.wait()
        yield devices
    finally:
        for each in (task, *devices.tasks):
            each.cancel()
        await asyncio.gather(task, *devices.tasks, return_exceptions=True)
