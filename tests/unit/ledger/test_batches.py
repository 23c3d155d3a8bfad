"""Micro-batches: together, in order, through an outage, and one bad item alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from include.errors import DatabaseUnavailableError
from include.ledger import batches
from include.ledger.batches import Batches


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(batches, "LONGEST_PAUSE_SECONDS", 0.05)


class Writer:
    """Doubles numbers; remembers the batches; can be made to fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.outages = 0

    async def __call__(self, items: Sequence[int]) -> list[int]:
        if self.outages:
            self.outages -= 1
            raise DatabaseUnavailableError
        if 13 in items:
            raise ValueError("13")
        self.batches.append(list(items))
        return [2 * item for item in items]


async def test_items_go_together_and_answers_come_back_singly() -> None:
    writer = Writer()
    pool: Batches[int, int] = Batches(writer, delay=0.01, limit=100)
    answers = await asyncio.gather(*[pool.add(n) for n in range(10)])
    assert answers == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert writer.batches == [list(range(10))]
    await pool.close()


async def test_a_batch_has_a_limit() -> None:
    writer = Writer()
    pool: Batches[int, int] = Batches(writer, delay=0.001, limit=4)
    await asyncio.gather(*[pool.add(n) for n in range(10)])
    assert [len(batch) for batch in writer.batches] == [4, 4, 2]
    await pool.close()


async def test_an_outage_costs_time_only() -> None:
    writer = Writer()
    writer.outages = 3
    pool: Batches[int, int] = Batches(writer, delay=0.001, limit=100)
    assert await asyncio.gather(*[pool.add(n) for n in range(5)]) == [0, 2, 4, 6, 8]
    await pool.close()


async def test_one_bad_item_fails_alone() -> None:
    pool: Batches[int, int] = Batches(Writer(), delay=0.001, limit=100)
    answers = await asyncio.gather(*[pool.add(n) for n in range(10, 16)], return_exceptions=True)
    assert [a for a in answers if not isinstance(a, ValueError)] == [20, 22, 24, 28, 30]
    assert isinstance(answers[3], ValueError)
    await pool.close()


async def test_writing_waits_while_something_more_urgent_runs() -> None:
    writer, busy = Writer(), [True]
    pool: Batches[int, int] = Batches(writer, delay=0.001, limit=100, busy=lambda: busy[0])
    future = pool.add(1)
    await asyncio.sleep(0.02)
    assert not future.done()
    busy[0] = False
    assert await future == 2
    await pool.close()


async def test_closing_writes_what_waits() -> None:
    writer = Writer()
    pool: Batches[int, int] = Batches(writer, delay=0.01, limit=2)
    futures = [pool.add(n) for n in range(5)]
    await pool.close()
    assert all(future.done() for future in futures)
