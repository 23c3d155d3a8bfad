"""Where the trigger of timers gets its gateway: one an engine, opened by the first, closed with it."""

from __future__ import annotations

import pytest

from include.callbacks.caller import CallbackCaller
from include.gateway import connect
from include.ledger.engine import Engine
from include.ledger.triggers import FireTrigger
from include.settings import get_settings
from include.timers.caller import TimerCaller
from tests.integration.timers.conftest import MakeEngine
from tests.timer_rows import FakeGateway


class CountingGateway(FakeGateway):
    opened = closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1


def trigger(kind: str) -> FireTrigger:
    return FireTrigger(
        schedule_id=1,
        kind=kind,
        expression="0 30 7 * * *",
        zone="Asia/Shanghai",
        dense=False,
        shards=1,
        interval_start="2026-03-01T01:30:00+00:00",
        interval_end="2026-03-02T01:30:00+00:00",
        run_id="r",
        run_type="scheduled",
        conf="{}",
    )


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> CountingGateway:
    made = CountingGateway()
    monkeypatch.setattr(connect, "create_gateway", lambda settings: made)
    return made


def connect_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", url)
    get_settings.cache_clear()


async def test_one_an_engine(make_engine: MakeEngine, gateway: CountingGateway, monkeypatch) -> None:
    connect_to(monkeypatch, "http://127.0.0.1:1/")
    engine: Engine = await make_engine()
    assert gateway.opened == 0
    callers = [await trigger("timer").caller(engine) for _ in range(2)]
    assert [caller.gateway for caller in callers if isinstance(caller, TimerCaller)] == [gateway] * 2
    assert (gateway.opened, gateway.closed) == (1, 0)
    await engine.close()
    assert gateway.closed == 1


async def test_callbacks_need_none(make_engine: MakeEngine, gateway: CountingGateway) -> None:
    assert isinstance(await trigger("callback").caller(await make_engine()), CallbackCaller)
    assert gateway.opened == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "not sent: device_gateway: there is no such connection"),
        ("ftp://x", "not sent: device_gateway: its type must be http or mqtt, not 'ftp'"),
    ],
)
async def test_without_one_the_timers_say_why(make_engine: MakeEngine, monkeypatch, url, reason) -> None:
    if url:
        connect_to(monkeypatch, url)
    caller = await trigger("timer").caller(await make_engine())
    assert isinstance(caller, TimerCaller)
    assert (caller.gateway, caller.reason) == (None, reason)
