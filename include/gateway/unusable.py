"""A command that cannot be sent; it fails alone, at its instant, and says why."""

from __future__ import annotations

from include.errors import CarillonError
from include.gateway.model import Reply
from include.gateway.wire import Verdict
from include.kit.clock import system_clock


class UnusableCommand:
    """What `prepare` returns for a command with a bad id, or parameters that JSON cannot hold."""

    def __init__(self, error: CarillonError) -> None:
        self.error = f"{error.field}: {error.message}" if error.field else error.message

    async def send(self) -> Reply:
        return Verdict("refused", error=self.error).reply(system_clock())
