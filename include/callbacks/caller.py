"""How an execution of a callback task becomes a call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from include.callbacks.model import CONTENT_TYPES, METHODS_WITH_BODY, CallbackTask
from include.callbacks.repository import CallbackRepository
from include.errors import CarillonError
from include.kit.calls import AnswerTooLargeError, CallRequest, OutboundResponse, PreparedCall
from include.kit.clock import system_clock
from include.kit.db import Connection
from include.kit.http import OutboundClient, OutboundRequest
from include.kit.matching import compile_pattern
from include.kit.rpc import RpcRequest
from include.kit.secrets import decrypt
from include.kit.signing import WebhookSigner
from include.kit.texts import storable
from include.ledger.model import Call, CallResult, Due
from include.settings import get_settings

#: Targets looked up together, so that one name server that hangs holds up few others.
CHUNK = 50

#: Longest wait for a turn at a busy host, on top of the task's own timeout once more.
TURN_SECONDS = 30.0


class CallbackCaller:
    """Builds the calls of one run's callback tasks."""

    def __init__(self, client: OutboundClient) -> None:
        self.client = client
        self.tasks: dict[int, CallbackTask] = {}
        self.signers: dict[int, WebhookSigner] = {}
        self.unusable: dict[int, str] = {}

    async def load(self, connection: Connection, definition_ids: Sequence[int]) -> None:
        for task in await CallbackRepository(connection).load_tasks(definition_ids):
            self.tasks[task.definition_id] = task
            self.unusable.pop(task.definition_id, None)
            try:
                self.signers[task.definition_id] = WebhookSigner(
                    decrypt(task.secret) if task.secret else None
                )
            except CarillonError as error:
                self.unusable[task.definition_id] = error.message

    def prepare(self, due: Due, attempt: int) -> Call:
        task = self.tasks[due.definition_id]
        if task.definition_id in self.unusable:
            return UnusableCall(task, self.unusable[task.definition_id])
        return CallbackCall(self.client, task, self._request(task, due, attempt))

    async def resolve(self, calls: Sequence[Call]) -> None:
        mine = [call for call in calls if isinstance(call, CallbackCall)]
        for start in range(0, len(mine), CHUNK):
            await asyncio.gather(*[call.prepare() for call in mine[start : start + CHUNK]])

    async def warm(self, calls: Sequence[Call]) -> None:
        prepared = (call.prepared for call in calls if isinstance(call, CallbackCall))
        await self.client.warm([call for call in prepared if call is not None])

    def retry_delays(self, definition_id: int) -> Sequence[int]:
        return self.tasks[definition_id].redo_delays

    def _request(self, task: CallbackTask, due: Due, attempt: int) -> CallRequest:
        if task.method == "rpc":
            return RpcRequest(task.url, task.body, task.timeout)
        body = (task.body or "").encode() if task.method in METHODS_WITH_BODY else None
        signed = self.signers[task.definition_id].headers(
            message_id=due.webhook_id,
            send_at=_send_at(due),
            due_at=due.due_at,
            attempt=attempt,
            body=body,
        )
        headers = {name.lower(): (name, value) for name, value in task.headers.items()}
        if body is not None:
            headers.setdefault("content-type", ("Content-Type", CONTENT_TYPES[task.body_type]))
        headers.update((name, (name, value)) for name, value in signed)
        return OutboundRequest(task.method, task.url, tuple(headers.values()), body, task.timeout)


class CallbackCall:
    """One attempt of one execution, ready to be sent."""

    def __init__(self, client: OutboundClient, task: CallbackTask, request: CallRequest) -> None:
        self.client = client
        self.task = task
        self.request = request
        self.prepared: PreparedCall | None = None
        self.pattern = compile_pattern(task.resp_regexp or "*")

    async def prepare(self) -> None:
        """Resolve and vet the target. What fails now is tried again when the call is made."""
        try:
            self.prepared = await self.client.prepare(self.request)
        except CarillonError:
            self.prepared = None

    async def send(self) -> CallResult:
        begin_at = system_clock()
        try:
            # The client's own timeout does not count the wait for a turn at a busy host. That has a bound,
            # too, or calls to a host that hangs would pile up for ever.
            async with asyncio.timeout(2 * self.task.timeout + TURN_SECONDS):
                prepared = self.prepared or await self.client.prepare(self.request)
                response = await self.client.send(prepared)
        except TimeoutError:
            return self._result(begin_at, None, "no turn at the target in time: too many calls wait for it")
        except AnswerTooLargeError as error:
            return self._result(begin_at, error.response, error.message)
        except CarillonError as error:
            return self._result(
                begin_at, None, f"{error.field}: {error.message}" if error.field else error.message
            )
        # Without the wait for a turn at a busy host: an attempt begins when its bytes begin to leave.
        begin_at = max(begin_at, system_clock() - timedelta(seconds=response.elapsed))
        return self._result(begin_at, response, self._complaint(response))

    def _complaint(self, response: OutboundResponse) -> str | None:
        """Say why an answer does not count as success (DESIGN section 9), or nothing."""
        if not response.ok:
            if response.status is None:
                return f"the RPC answered with an error: {response.error}"
            return f"the target answered with status {response.status}"
        if not self.pattern.matches(response.text()):
            return f"the answer does not match resp_regexp {self.task.resp_regexp!r}"
        return None

    def _result(self, begin_at: datetime, response: OutboundResponse | None, error: str | None) -> CallResult:
        text = (
            None if response is None else storable(response.text(), get_settings().response_kept_characters)
        )
        return CallResult(
            ok=error is None,
            begin_at=begin_at,
            end_at=system_clock(),
            url=self.task.url,
            body=self.task.body,
            status=None if response is None else response.status,
            response=text,
            error=None if error is None else storable(error, 2000),
        )


class UnusableCall:
    """A call that cannot be built; it fails alone, at its instant, and says why."""

    def __init__(self, task: CallbackTask, reason: str) -> None:
        self.task = task
        self.reason = reason

    async def send(self) -> CallResult:
        now = system_clock()
        return CallResult(False, now, now, self.task.url, self.task.body, error=self.reason)


def _send_at(due: Due) -> datetime:
    return max(due.next_attempt_at, system_clock())
