"""The connection to an MQTT broker: kept, made again when it is lost, and what comes over it handed on."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from include.errors import OutboundError
from include.gateway.model import GatewaySettings
from include.kit.handover import handed_over

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.2
MOST_DELAY_SECONDS = 15.0
#: How long a command waits for a connection that is being made again.
CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 30

#: Called with topic and payload of each message.
Listener = Callable[[str, bytes], None]


class BrokerLink:
    """One connection to the broker.

    :param subscriptions: topic filters, subscribed to with QoS 1 on each new connection
    :param lost: called when a connection is lost
    :param turns: publications at a time that the broker has not confirmed
    """

    def __init__(
        self,
        settings: GatewaySettings,
        subscriptions: Sequence[str],
        *,
        heard: Listener,
        lost: Callable[[], None],
        turns: int,
    ) -> None:
        self.settings = settings
        self.subscriptions = subscriptions
        self.heard = heard
        self.lost = lost
        self.problem = "not connected yet"
        self._limit = turns
        self._turns = asyncio.Semaphore(turns)
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closing = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name="carillon-broker")

    async def close(self) -> None:
        self._closing.set()
        self._wanted.set()
        if self._keeper is not None:
            # A connect that is under way runs in a thread, so it is waited for and not cancelled.
            await asyncio.wait([self._keeper], timeout=2 * HANDSHAKE_SECONDS)
            self._keeper.cancel()

    async def ready(self, seconds: float) -> None:
        """Return when there is a connection, asking for one at once. Raises OutboundError after `seconds`."""
        if self._client is not None:
            return
        if self._closing.is_set():
            raise OutboundError("the gateway is closed")
        self._wanted.set()
        try:
            async with asyncio.timeout(min(seconds, CONNECT_SECONDS)):
                await self._connected.wait()
        except TimeoutError:
            raise OutboundError(f"the broker cannot be reached: {self.problem}") from None

    async def publish(self, topic: str, payload: bytes, expiry: int) -> None:
        """Publish with QoS 1 and wait for the broker's confirmation, which may never come.

        :param expiry: seconds after which the broker drops it
        :raises OutboundError: there is no connection any more
        """
        async with self._turns:
            client = self._client
            if client is None:
                raise OutboundError(f"the broker cannot be reached: {self.problem}")
            properties = _expiring(expiry) if self.settings.mqtt_version == "5" else None
            handed_over()
            try:
                await client.publish(topic, payload, qos=1, properties=properties, timeout=math.inf)
            except (aiomqtt.MqttError, ValueError) as error:  # ValueError: a payload beyond MQTT's limit
                raise OutboundError(f"the broker did not take it: {error}") from error

    # --- keeping it

    async def _keep(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._closing.is_set():
            try:
                async with self._make_client() as client:
                    await client.subscribe([(topic, 1) for topic in self.subscriptions])
                    self._up(client)
                    delay = FIRST_DELAY_SECONDS
                    await self._until_over(client)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self.problem = str(error) or type(error).__name__
            except Exception as error:
                log.exception("the connection to the broker broke")
                self.problem = repr(error)
            finally:
                self._down()
            if not self._closing.is_set():
                await self._pause(delay)
                delay = min(2 * delay, MOST_DELAY_SECONDS)

    def _up(self, client: aiomqtt.Client) -> None:
        log.info("connected to the broker %s", self.settings.url)
        self._client = client
        self._connected.set()
        self._wanted.clear()

    def _down(self) -> None:
        if self._client is None:
            return
        level = logging.INFO if self._closing.is_set() else logging.WARNING
        log.log(level, "the connection to the broker %s is over: %s", self.settings.url, self.problem)
        self._client = None
        self._connected.clear()
        self.lost()

    async def _until_over(self, client: aiomqtt.Client) -> None:
        """Return when we close; raise MqttError when the connection is lost."""
        self.problem = "closed"
        over = asyncio.create_task(_await_end(client))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait([over, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            over.cancel()
        if over.done():
            over.result()

    async def _pause(self, delay: float) -> None:
        """Wait before the next attempt; less when a command waits for it, but never in a tight loop."""
        await asyncio.sleep(FIRST_DELAY_SECONDS)
        try:
            async with asyncio.timeout(delay * random.uniform(0.5, 1.0)):
                await self._wanted.wait()
        except TimeoutError:
            return
        if not self._closing.is_set():
            self._wanted.clear()

    def _make_client(self) -> aiomqtt.Client:
        parts = urlsplit(self.settings.url)
        client = aiomqtt.Client(
            parts.hostname or "",
            parts.port or 1883,
            username=self.settings.username,
            password=self.settings.password,
            identifier=f"carillon-{uuid.uuid4().hex[:16]}",
            protocol=aiomqtt.ProtocolVersion.V5
            if self.settings.mqtt_version == "5"
            else aiomqtt.ProtocolVersion.V311,
            queue_type=partial(Inbox, self.heard),  # type: ignore[arg-type]
            timeout=HANDSHAKE_SECONDS,
            keepalive=KEEP_ALIVE_SECONDS,
            max_inflight_messages=self._limit,
            tls_context=ssl.create_default_context() if parts.scheme == "mqtts" else None,
        )
        client.pending_calls_threshold = self._limit
        return client


class Inbox(asyncio.Queue[aiomqtt.Message]):
    """Hands each message on when it is put: aiomqtt's iterator makes a task for each, four times the cost."""

    def __init__(self, heard: Listener, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._heard = heard

    def put_nowait(self, item: aiomqtt.Message) -> None:
        payload = item.payload
        try:
            self._heard(item.topic.value, payload if isinstance(payload, bytes) else str(payload).encode())
        except Exception:
            log.exception("a message on %s could not be read", item.topic.value)


@lru_cache(maxsize=64)
def _expiring(seconds: int) -> Properties:
    """Return the properties of a publication; making them costs as much as all the rest of it."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = seconds
    return properties


async def _await_end(client: aiomqtt.Client) -> None:
    """Raise MqttError when the connection is lost."""
    async for _ in client.messages:  # none comes: see Inbox
        pass
