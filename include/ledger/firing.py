"""Firing: arm a run, sleep, fire each instant, record, retry (DESIGN section 4, "Firing").

One `WindowRun` serves one shard of one run. It lives in the event loop of a triggerer beside many others, so
nothing here blocks, and long work yields.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from include.kit.clock import system_clock
from include.ledger.batches import until_available
from include.ledger.engine import Engine, sleep_until
from include.ledger.model import Call, Caller, CallResult, Due, Record, Summary
from include.ledger.repository import LedgerRepository, Verdict
from include.ledger.scopes import Scope
from include.schedules.model import Kind
from include.settings import get_settings

#: Connections are opened this long ahead: later than the arming, since servers close idle ones after seconds.
WARM_AHEAD = timedelta(seconds=2)

#: What changed is read again and claimed this long ahead; an instant with many executions takes longer.
CLAIM_AHEAD = timedelta(seconds=0.4)
CLAIM_AHEAD_EACH = timedelta(microseconds=200)
CLAIM_AHEAD_MOST = timedelta(seconds=1.6)

#: After its last instant a run looks once more for definitions that were being committed just before it.
SWEEP_AFTER = timedelta(seconds=2)

#: How soon to look again for an execution that had to wait, or whose claim got lost with a connection.
LOOK_AGAIN = timedelta(seconds=0.5)

#: How often to see whether what another process has was ended by it, or left by it.
LOOK_AGAIN_FOR_OTHERS = timedelta(seconds=2)

#: Notifications that arrive this close together are answered by one look.
DEBOUNCE_SECONDS = 0.05

#: Calls built, or log lines written, before other windows get a turn.
CHUNK = 40


class WindowRun:
    """One shard of one run, from arming to its summary.

    :param write_line: takes a line for the run's log
    """

    def __init__(
        self, engine: Engine, scope: Scope, kind: Kind, caller: Caller, write_line: Callable[[str], None]
    ) -> None:
        self.engine = engine
        self.scope = scope
        self.kind = kind
        self.caller = caller
        self.write_line = write_line
        self.summary = Summary()
        self.waiting: dict[int, Due] = {}
        self.queue: list[tuple[datetime, int]] = []
        self.flying: dict[int, Due] = {}
        self.calls: dict[int, tuple[int, Call]] = {}
        self.lines: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()
        self.changed = False
        self.look_at: datetime | None = None
        self.ends_at: datetime | None = scope.ends + SWEEP_AFTER if scope.ends else None
        self.stopped = False

    async def run(self) -> Summary:
        """Do the run; returns when each of its executions has ended or was handed over."""
        with self.engine.presence.listening(self.scope.shard.schedule_id, self._on_change):
            try:
                await until_available(partial(self.arm, first=True))
                while await self._goes_on():
                    await self._wait()
                    self._launch()
            finally:
                self._stop()
        await self._write_lines()
        return self.summary

    async def arm(self, *, first: bool = False) -> None:
        """Write what the run answers for and load what is still to do; may be repeated at any time."""
        now = system_clock()
        shard, held = self.scope.shard, self.engine.held
        dues: list[Due] = []
        try:
            async with self.engine.database.transaction() as connection:
                ledger = LedgerRepository(connection)
                if first and shard.run_try > 1:
                    await ledger.reopen(shard, now)
                await ledger.release_dead_claims(
                    shard, claimer=self.engine.presence.claimer, held=list(held), now=now
                )
                await self.scope.arm(ledger, now)
                loaded = await self.scope.load(ledger, now, list(held))
                # Another window of this process may have taken some since the list was made.
                dues = [due for due in loaded if held.setdefault(due.id, self) is self]
                await self.caller.load(connection, sorted({due.definition_id for due in dues}))
            await self._prepare(dues)
        except BaseException:
            # Also when only the commit failed: what stays held here would never be loaded again.
            self._drop(dues)
            raise
        for due in dues:
            self._enqueue(due)

    async def _goes_on(self) -> bool:
        """Whether there is, or may be, something left to do."""
        if self.waiting or self.flying or self.tasks or self.look_at or self.ends_at:
            return True
        if await until_available(self._count_open):
            # Somebody else has it: another process, or one that died and whose claims are not free yet.
            self.look_at = system_clock() + LOOK_AGAIN_FOR_OTHERS
        return self.look_at is not None

    async def _count_open(self) -> int:
        async with self.engine.database.transaction() as connection:
            return await self.scope.count_open(LedgerRepository(connection))

    async def _prepare(self, dues: Sequence[Due]) -> None:
        """Build the calls; their targets are looked up beside, since a name server may hang."""
        for index, due in enumerate(dues):
            number = due.attempts + 1
            self.calls[due.id] = number, self.caller.prepare(due, number)
            if index % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        if dues:
            self._beside(self.caller.resolve([self.calls[due.id][1] for due in dues]))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _enqueue(self, due: Due) -> None:
        self.waiting[due.id] = due
        heapq.heappush(self.queue, (due.next_attempt_at, due.id))

    async def _wait(self) -> None:
        """Sleep until something is to be done, or until something changed."""
        if not self.flying:
            await self._write_lines()
        moments = [self.queue[0][0] - WARM_AHEAD] if self.queue else []
        moments += [moment for moment in (self.look_at, self.ends_at) if moment]
        left = (min(moments) - system_clock()).total_seconds() if moments else 60.0
        if left > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 60.0)):
                    await self.wake.wait()
        self.wake.clear()
        if self.changed:
            # Changes come in bursts; one look serves them all.
            await asyncio.sleep(DEBOUNCE_SECONDS)
        now = system_clock()
        if self.changed or any(moment <= now for moment in (self.look_at, self.ends_at) if moment):
            await self._look_again(now)

    def _on_change(self) -> None:
        self.changed = True
        self.wake.set()

    async def _look_again(self, now: datetime) -> None:
        self.changed = False
        self.look_at = None
        if self.ends_at and self.ends_at <= now:
            self.ends_at = None
        await until_available(self.arm)

    def _look_soon(self) -> None:
        self.look_at = min(self.look_at or _NEVER, system_clock() + LOOK_AGAIN)
        self.wake.set()

    def _launch(self) -> None:
        """Send off, instant by instant, what is due within `WARM_AHEAD`."""
        horizon = system_clock() + WARM_AHEAD
        groups: dict[datetime, list[Due]] = defaultdict(list)
        while self.queue and self.queue[0][0] <= horizon:
            moment, execution_id = heapq.heappop(self.queue)
            due = self.waiting.get(execution_id)
            if due is not None and due.next_attempt_at == moment:
                groups[moment].append(self.waiting.pop(execution_id))
        for moment, dues in groups.items():
            for due in dues:
                self.flying[due.id] = due
            self._beside(self._fire(moment, dues))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.lines.append(f"an instant could not be fired: {error!r}")
            self._look_soon()
        if not self.tasks:
            self.wake.set()

    async def _fire(self, moment: datetime, dues: list[Due]) -> None:
        """Warm connections, claim, wait for the instant, put the calls to the senders."""
        self.engine.coming[moment] += len(dues)
        try:
            # Not waited for: a target that does not answer must not make the others late.
            self._beside(self.caller.warm([call for due in dues if (call := self._call(due))]))
            await asyncio.sleep(0)
            ahead = CLAIM_AHEAD + CLAIM_AHEAD_EACH * self.engine.coming[moment]
            await sleep_until(moment - min(ahead, CLAIM_AHEAD_MOST))
            verdicts = {v.execution_id: v for v in await self.engine.claims.add(dues)}
            await self._reload(dues, verdicts)
            await sleep_until(moment)
        except BaseException:
            self._drop(dues)
            raise
        finally:
            self.engine.coming.pop(moment, None)
        ready = [(due, v) for due in dues if (v := verdicts.get(due.id)) and v.verdict == "go"]
        self.engine.senders.put([partial(self._send, due, verdict.attempt or 1) for due, verdict in ready])
        self._put_aside(dues, verdicts)

    def _call(self, due: Due) -> Call | None:
        number, call = self.calls.get(due.id, (0, None))
        return call if number == due.attempts + 1 else None

    async def _reload(self, dues: Sequence[Due], verdicts: dict[int, Verdict]) -> None:
        """Build calls anew where the definition was edited since, and for retries."""
        going = [due for due in dues if due.id in verdicts and verdicts[due.id].verdict == "go"]
        edited = [due for due in going if due.revision != verdicts[due.id].revision]
        if edited:
            await until_available(partial(self._read, [due.definition_id for due in edited]))
        for due in edited:
            due.revision = verdicts[due.id].revision
        edited_ids = {due.id for due in edited}
        await self._prepare([due for due in going if due.id in edited_ids or self._call(due) is None])

    async def _read(self, definition_ids: Iterable[int]) -> None:
        async with self.engine.database.transaction() as connection:
            await self.caller.load(connection, sorted(set(definition_ids)))

    def _put_aside(self, dues: Sequence[Due], verdicts: dict[int, Verdict]) -> None:
        """Take out what was not claimed: refused, made to wait, or taken by somebody else."""
        for due in dues:
            verdict = verdicts.get(due.id)
            if verdict is not None and verdict.verdict == "go":
                continue
            self._drop([due])
            if verdict is None or verdict.verdict == "wait":
                # It is loaded again if it is still open, also when only the answer to our claim got lost.
                self._look_soon()
            else:
                self.summary.refused += 1
                self.lines.append(
                    f"{due.webhook_id} definition {due.definition_id} not fired: {verdict.verdict}"
                )

    def _drop(self, dues: Iterable[Due]) -> None:
        """Forget executions: they have ended, or somebody else may have them."""
        for due in dues:
            self.flying.pop(due.id, None)
            self.calls.pop(due.id, None)
            if self.engine.held.get(due.id) is self:
                del self.engine.held[due.id]

    async def _send(self, due: Due, number: int) -> None:
        call = self._call(due)
        if self.stopped or call is None:
            self._drop([due])
            self._look_soon()
            return
        try:
            result = await call.send()
        except Exception as error:  # a defect in one call must not leave the run waiting for it for ever
            self.lines.append(f"{due.webhook_id} definition {due.definition_id}: {error!r}")
            self._drop([due])
            self._look_soon()
            return
        record = self._judge(due, number, result)
        self.engine.records.add((self.kind, record)).add_done_callback(partial(self._landed, record))

    def _judge(self, due: Due, number: int, result: CallResult) -> Record:
        if result.ok:
            return Record(due, number, result, "succeeded", reason=result.error)
        delays = self.caller.retry_delays(due.definition_id)
        if result.final or due.retries_used >= len(delays):
            return Record(due, number, result, "failed", reason=result.error)
        delay = delays[due.retries_used]
        again = result.end_at + timedelta(seconds=delay)
        handed_over = result.leaves_run or delay > get_settings().retry_in_run_seconds
        return Record(due, number, result, "retrying", again, result.error, handed_over)

    def _landed(self, record: Record, written: asyncio.Future[None]) -> None:
        """Take note of an attempt once its end is committed."""
        due = record.due
        self.lines.append(_line(record))
        if written.cancelled() or written.exception():
            self._drop([due])
            self._look_soon()
            return
        self._count(record)
        again = record.next_attempt_at if not record.handed_over else None
        if again is None or self.stopped:
            self._drop([due])
        else:
            self.flying.pop(due.id, None)
            due.attempts, due.retries_used, due.next_attempt_at = record.number, due.retries_used + 1, again
            self._enqueue(due)
            self.wake.set()
        if not self.flying:
            self.wake.set()

    def _count(self, record: Record) -> None:
        summary, due = self.summary, record.due
        summary.attempts += 1
        if record.number == 1:
            lateness = (record.result.begin_at - due.due_at).total_seconds() * 1000
            summary.max_lateness_ms = max(summary.max_lateness_ms, lateness)
        summary.succeeded += record.state == "succeeded"
        summary.handed_over += record.handed_over
        if record.state == "failed":
            summary.failed += 1
            summary.failures.append(f"definition {due.definition_id}: {record.reason}")

    async def _write_lines(self) -> None:
        while self.lines:
            chunk, self.lines = self.lines[:CHUNK], self.lines[CHUNK:]
            for line in chunk:
                self.write_line(line)
            await asyncio.sleep(0)

    def _stop(self) -> None:
        """Leave nothing behind: what was not sent yet is free for whoever comes next, in any process."""
        self.stopped = True
        if self.flying:
            self.engine.release_later(self.scope.shard)
        for task in self.tasks:
            task.cancel()
        self._drop(list(self.waiting.values()))
        self.waiting.clear()


def _line(record: Record) -> str:
    due, result = record.due, record.result
    late = (result.begin_at - due.due_at).total_seconds() * 1000
    took = (result.end_at - result.begin_at).total_seconds() * 1000
    text = (
        f"{due.webhook_id} definition {due.definition_id} due {due.due_at.isoformat()} "
        f"attempt {record.number}: {record.state}, {late:.1f} ms after its instant, took {took:.1f} ms"
    )
    return f"{text}, {result.error}" if result.error else text


_NEVER = datetime.max.replace(tzinfo=UTC)
