"""How often a password may be tried."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from include.errors import AuthenticationError

TRIES_MOST = 10
SECONDS = 60.0
NAMES_MOST = 10_000


class LoginThrottle:
    """Counts the failed tries of each name within a minute, whether there is such an account or not.

    A count belongs to a process; several API servers together let through as many times more.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Count a try as failed; `succeeded` takes that back.

        :raises AuthenticationError: there were too many
        """
        now = self._monotonic()
        recent = [moment for moment in self._tries.get(name, []) if moment > now - SECONDS]
        if len(recent) >= TRIES_MOST:
            raise AuthenticationError("too many failed tries to log in: wait a minute")
        self._tries[name] = [*recent, now]
        self._tries.move_to_end(name)
        while len(self._tries) > NAMES_MOST:
            self._tries.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget the tries of a name: its holder knows the password."""
        self._tries.pop(name, None)
