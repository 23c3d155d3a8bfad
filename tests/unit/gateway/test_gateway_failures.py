"""What each failure of the outbound client means for a command, without a network."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from include.errors import (
    CarillonError,
    EgressDeniedError,
    OutboundError,
    OutboundProtocolError,
    OutboundTimeoutError,
)
from include.gateway import http
from include.gateway.http import HttpCommand
from include.gateway.wire import judge_command
from include.kit.http import OutboundClient, OutboundRequest
from include.kit.pools import ConnectTimeoutError

REQUEST = OutboundRequest("POST", "http://gw/", (), b"{}", 0.01)


class FailingClient:
    """Fails at `prepare` or at `send`; None hangs."""

    def __init__(self, *, prepare: bool, error: CarillonError | None) -> None:
        self.fails_at_prepare = prepare
        self.error = error

    async def prepare(self, request: OutboundRequest) -> object:
        return await self._fail() if self.fails_at_prepare else object()

    async def send(self, call: object) -> Any:
        return await self._fail()

    async def _fail(self) -> object:
        if self.error is None:
            await asyncio.sleep(60)
            return None
        raise self.error


async def outcome(client: FailingClient) -> str:
    reply = await HttpCommand(cast(OutboundClient, client), REQUEST, judge_command).send()
    assert reply.error
    return reply.outcome


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutboundTimeoutError(), "timeout"),
        (ConnectTimeoutError(), "unreachable"),
        (OutboundProtocolError(), "garbage"),
        (OutboundError(), "unreachable"),
    ],
    ids=repr,
)
async def test_at_sending(error: CarillonError, expected: str) -> None:
    assert await outcome(FailingClient(prepare=False, error=error)) == expected


@pytest.mark.parametrize("error", [OutboundTimeoutError(), OutboundError(), EgressDeniedError()], ids=repr)
async def test_before_it_the_device_cannot_have_heard(error: CarillonError) -> None:
    assert await outcome(FailingClient(prepare=True, error=error)) == "unreachable"


async def test_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TURN_SECONDS", 0.02)
    assert await outcome(FailingClient(prepare=False, error=None)) == "unreachable"


async def test_cancellation_is_no_outcome() -> None:
    task = asyncio.create_task(outcome(FailingClient(prepare=False, error=None)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
