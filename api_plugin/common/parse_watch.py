"""Whether Airflow has really looked at the factory since schedules changed. Pure: moments come in.

A parse request can be lost. Airflow's DAG processor drops one that arrives while the file is being processed,
and one that coincides with callbacks of the same file runs the callbacks and no parse (Airflow 3.3.2,
`dag_processing/manager.py`, `_start_new_processes`, and `processor.py`, `_parse_file`). With callbacks after
every task that ends in the triggerer both are common. So one asks again until a parse is known to have begun
after the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

ASK_AGAIN = timedelta(seconds=2)
#: Where no DAG is left Airflow records no parse, so that the end cannot be seen: then one stops asking.
ASKED_MOST = 15


@dataclass(frozen=True)
class LastParse:
    """The latest full parse that Airflow recorded.

    :ivar began: aware; Airflow stamps a parse when it stores it, so this is late by the time of storing
    :ivar took: of the parse alone
    """

    began: datetime
    took: timedelta

    @property
    def margin(self) -> timedelta:
        """How late `began` may be: storing took about twice as long as parsing when it was measured."""
        return timedelta(seconds=2) + 2 * self.took


class ParseWatch:
    """Remembers the latest change until a parse has begun after it."""

    def __init__(self) -> None:
        self.changed_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._asks = 0

    def changed(self, now: datetime) -> None:
        """Schedules changed, and a parse was asked for."""
        self.changed_at = self._asked_at = now
        self._asks = 1

    def wants(self, now: datetime, last: LastParse | None) -> bool:
        """Return whether to ask once more; forgets the change when that is no longer needed."""
        if self.changed_at is None or self._asked_at is None:
            return False
        due = self._asked_at + ASK_AGAIN
        if last is not None and last.began >= self.changed_at:
            if last.began >= self.changed_at + last.margin:
                self.changed_at = None
                return False
            # Most likely it saw the change. One more makes sure, late enough to be told from it.
            due = max(due, self.changed_at + last.margin)
        if now < due:
            return False
        if self._asks >= ASKED_MOST:
            self.changed_at = None
            return False
        self._asked_at = now
        self._asks += 1
        return True
