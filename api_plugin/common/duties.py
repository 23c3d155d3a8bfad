"""What is done again and again beside the REST APIs, each thing when it is due.

Duties work from the rows of the database and not from requests, so nothing is lost when the process ends
between a request and what follows from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from include.errors import CarillonError

log = logging.getLogger(__name__)

#: After a failure a duty is tried again this much later.
RETRY_SECONDS = 2.0


class Bell:
    """Calls for the urgent duty of a loop, in the event loops where one runs."""

    def __init__(self) -> None:
        self.events: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = WeakKeyDictionary()

    def hang(self) -> asyncio.Event:
        """Return what rings in this event loop."""
        event = self.events[asyncio.get_running_loop()] = asyncio.Event()
        return event

    def ring(self) -> None:
        event = self.events.get(asyncio.get_running_loop())
        if event is not None:
            event.set()


@dataclass
class Duty:
    """Something done every `seconds`; `due` is on the event loop's clock."""

    work: Callable[[], Awaitable[None]]
    seconds: float
    due: float = 0.0
    failing: bool = False


class Duties:
    """A loop over duties.

    :param urgent: which of them is done at once when the bell rings
    """

    def __init__(self, duties: Sequence[Duty], urgent: Duty, bell: Bell) -> None:
        self.duties = duties
        self.urgent = urgent
        self.bell = bell

    async def run(self) -> None:
        """Do each duty when it is due, until cancelled; no failure ends the loop."""
        loop = asyncio.get_running_loop()
        rung = self.bell.hang()
        while True:
            for duty in self.duties:
                if duty.due <= loop.time():
                    await self._do(duty)
            pause = min(duty.due for duty in self.duties) - loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause)):
                    await rung.wait()
                self.urgent.due = 0.0
            rung.clear()

    async def _do(self, duty: Duty) -> None:
        pause = duty.seconds
        try:
            await duty.work()
        except Exception as error:
            pause = RETRY_SECONDS
            _complain(duty, error)
            duty.failing = True
        else:
            duty.failing = False
        duty.due = asyncio.get_running_loop().time() + pause


@asynccontextmanager
async def on_duty(duties: Duties, name: str) -> AsyncIterator[None]:
    """Run duties beside an app."""
    task = asyncio.create_task(duties.run(), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _complain(duty: Duty, error: Exception) -> None:
    if duty.failing:
        return  # said once; it is tried again every two seconds
    passing = isinstance(error, CarillonError) and error.retryable
    log.log(
        logging.WARNING if passing else logging.ERROR,
        "%s failed, will go on trying: %s",
        getattr(duty.work, "__name__", duty.work),
        error,
        exc_info=None if passing else error,
    )
