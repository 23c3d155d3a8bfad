"""The senders: in order, bounded while targets are quick, growing while they are slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from include.ledger.senders import Senders


@pytest.fixture
async def senders() -> AsyncIterator[Senders]:
    pool = Senders(4).open()
    yield pool
    await pool.close()


async def test_all_jobs_run_and_quick_ones_need_no_more_senders(senders: Senders) -> None:
    done: list[int] = []

    def job(number: int):  # type: ignore[no-untyped-def]
        async def run() -> None:
            done.append(number)

        return run

    senders.put([job(n) for n in range(500)])
    async with asyncio.timeout(5):
        while len(done) < 500:
            await asyncio.sleep(0.001)
    assert done == list(range(500))
    assert len(senders.tasks) == 4


async def test_hanging_targets_do_not_hold_up_the_others(senders: Senders) -> None:
    release, quick = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        await release.wait()

    async def pass_by() -> None:
        quick.set()

    senders.put([hang] * 300)
    senders.put([pass_by])
    async with asyncio.timeout(2):
        await quick.wait()
    assert len(senders.tasks) > 300
    release.set()
    async with asyncio.timeout(2):
        while len(senders.tasks) > 4:
            await asyncio.sleep(0.01)


async def test_a_failing_job_costs_itself_only(senders: Senders, caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("broken")

    async def succeed() -> None:
        done.set()

    senders.put([fail] * 10 + [succeed])
    async with asyncio.timeout(2):
        await done.wait()
    assert sum("job failed" in record.message for record in caplog.records) == 10
