"""How an execution of a device timer becomes a command (research `iot.md` C3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import orjson

from include.gateway.model import Command, DeviceGateway, PreparedCommand, Reply
from include.kit.clock import system_clock
from include.kit.db import Connection
from include.kit.texts import storable
from include.ledger.model import Call, CallResult, Due
from include.settings import get_settings
from include.timers.model import FAULT_DELAYS, LoadedTimer, command_of, offline_delays
from include.timers.repository import TimerRepository

#: A device that is away for longer is no reason to keep a run open: its next tries are left to the one-shot
#: schedule (ADR 0006).
RUN_WAITS = timedelta(seconds=60)

FROZEN = "device frozen: not sent"
DELETED = "device deleted: not sent"
SKIPPED = "device offline: skipped by policy"
SHADOWED = "device offline: left in its shadow"


class TimerCaller:
    """Builds the commands of one run's timers.

    :param gateway: None where there is none; `reason` then says why
    """

    def __init__(self, gateway: DeviceGateway | None, reason: str = "") -> None:
        settings = get_settings()
        self.gateway = gateway
        self.reason = reason
        self.service_id = settings.timer_service_id
        self.command_name = settings.timer_command_name
        self.timeout = settings.timer_timeout_seconds
        self.timers: dict[int, LoadedTimer] = {}

    async def load(self, connection: Connection, definition_ids: Sequence[int]) -> None:
        for timer in await TimerRepository(connection).load_timers(definition_ids):
            self.timers[timer.definition_id] = timer

    def prepare(self, due: Due, attempt: int) -> Call:
        timer = self.timers[due.definition_id]
        if timer.device_id is None:
            return RefusedCall(timer, DELETED)
        if timer.device_status == "FROZEN":
            return RefusedCall(timer, FROZEN)
        if self.gateway is None:
            return RefusedCall(timer, self.reason)
        command = command_of(
            timer,
            due.webhook_id,
            service_id=self.service_id,
            command_name=self.command_name,
            timeout=self.timeout,
        )
        return TimerCall(self.gateway, timer, due, command)

    async def resolve(self, calls: Sequence[Call]) -> None:
        if self.gateway:
            await self.gateway.resolve(_prepared(calls))

    async def warm(self, calls: Sequence[Call]) -> None:
        if self.gateway:
            await self.gateway.warm(_prepared(calls))

    def retry_delays(self, definition_id: int) -> Sequence[int]:
        timer = self.timers[definition_id]
        if timer.offline == "deliver_when_online":
            return offline_delays(timer.offline_ttl)
        return FAULT_DELAYS


class TimerCall:
    """One attempt of one execution, ready to be sent."""

    def __init__(self, gateway: DeviceGateway, timer: LoadedTimer, due: Due, command: Command) -> None:
        self.gateway = gateway
        self.timer = timer
        self.command = command
        self.prepared: PreparedCommand = gateway.prepare(command)
        #: No try may begin after this. What a person asked for now counts from then, too.
        span = timer.offline_ttl if timer.offline == "deliver_when_online" else timer.grace
        self.gives_up_at = due.due_at + span
        self.leaves_run_at = due.due_at + RUN_WAITS
        delays = offline_delays(timer.offline_ttl) if self.waits else FAULT_DELAYS
        following = delays[due.retries_used] if due.retries_used < len(delays) else 0
        self.next_delay = timedelta(seconds=following)

    @property
    def waits(self) -> bool:
        return self.timer.offline == "deliver_when_online"

    async def send(self) -> CallResult:
        reply = await self.prepared.send()
        if reply.outcome != "offline" or self.waits:
            return self._result(reply, reply.error or _WORDS.get(reply.outcome))
        if self.timer.offline == "skip":
            return self._result(reply, SKIPPED, final=True)
        return await self._set_desired(reply)

    async def _set_desired(self, offline: Reply) -> CallResult:
        """Leave it in the device's shadow, from where the device takes it once it is back."""
        command = self.command
        reply = await self.gateway.set_desired(command.device_id, command.service_id, command.paras)
        if not reply.ok:
            return self._result(
                reply, f"device offline, and its shadow was not written: {reply.error or reply.outcome}"
            )
        return CallResult(
            ok=True,
            begin_at=offline.begin_at,
            end_at=reply.end_at,
            url=self._url("shadow"),
            body=self._body(),
            status=reply.status,
            response=_kept(reply.response),
            error=SHADOWED,
        )

    def _result(self, reply: Reply, error: str | None, *, final: bool = False) -> CallResult:
        again = reply.end_at + self.next_delay
        return CallResult(
            ok=reply.ok,
            begin_at=reply.begin_at,
            end_at=reply.end_at,
            url=self._url("command"),
            body=self._body(),
            status=reply.status,
            response=_kept(reply.response),
            error=None if reply.ok else _kept(error),
            final=final or reply.outcome == "refused" or again > self.gives_up_at,
            leaves_run=again > self.leaves_run_at,
        )

    def _url(self, what: str) -> str:
        return f"device://{self.command.device_id}/{what}/{self.command.service_id}"

    def _body(self) -> str:
        command = self.command
        named = {
            "request_id": command.request_id,
            "service_id": command.service_id,
            "command_name": command.command_name,
            "paras": command.paras,
        }
        return orjson.dumps(named).decode()


class RefusedCall:
    """A command that must not be sent; it fails at its instant and says why."""

    def __init__(self, timer: LoadedTimer, reason: str) -> None:
        self.timer = timer
        self.reason = reason

    async def send(self) -> CallResult:
        now = system_clock()
        url = f"device://{self.timer.device_id or ''}"
        return CallResult(False, now, now, url, self.timer.commands, error=self.reason, final=True)


def _prepared(calls: Sequence[Call]) -> list[PreparedCommand]:
    return [call.prepared for call in calls if isinstance(call, TimerCall)]


def _kept(text: str | None) -> str | None:
    """Cut a text to what is kept of it, without what Postgres cannot store."""
    return None if text is None else storable(text, get_settings().response_kept_characters)


#: Where the gateway said nothing itself.
_WORDS = {
    "refused": "the device refused the command",
    "offline": "device offline",
    "timeout": "the device did not answer in time",
    "unreachable": "the gateway cannot be reached",
    "garbage": "the gateway's answer cannot be read",
}
