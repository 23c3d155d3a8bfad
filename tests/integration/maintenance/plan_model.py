"""One object of a natural project by brute force, in whole days: what the engine must equal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta


def point(anchor: date, k: int, num: int, unit: str) -> date:
    """Return point `k` of the plan from a day; a day that a month has not is its last."""
    if unit in ("日", "周"):
        return anchor + timedelta(days=k * num * (7 if unit == "周" else 1))
    return move_months(anchor, k * num * (12 if unit == "年" else 1))


def move_months(day: date, months: int) -> date:
    year, month = day.year, day.month
    for _ in range(abs(months)):
        month += 1 if months > 0 else -1
        if month == 13:
            year, month = year + 1, 1
        if month == 0:
            year, month = year - 1, 12
    for number in range(day.day, 27, -1):
        try:
            return date(year, month, number)
        except ValueError:
            continue
    return date(year, month, day.day)


@dataclass
class Model:
    """What is known of the object, and its open task.

    :ivar state: of the open task, None: there is none
    """

    num: int
    unit: str
    notice_num: int
    notice_unit: str
    fixed: bool
    grace: int
    active: bool = False
    anchor: date | None = None
    occurrence: int = 1
    state: str | None = None
    due: date | None = None
    missed: int = 0

    def tick(self, today: date) -> None:
        if not self.active or self.anchor is None:
            return
        due = point(self.anchor, self.occurrence, self.num, self.unit)
        if self.state is None:
            back = self.notice_num
            notice = due - timedelta(days=back) if self.notice_unit == "日" else move_months(due, -back)
            if today < notice:
                return
            self.due, self.missed = due, 0
        self.state = "noticed"
        if today >= due:
            self.state = "due"
        if today > due + timedelta(days=self.grace):
            self.state = "overdue"
        self.missed = max(self.missed, self.passed(today) - self.occurrence)

    def passed(self, today: date) -> int:
        """Return the last point that is not after a day."""
        assert self.anchor is not None
        k = 0
        while point(self.anchor, k + 1, self.num, self.unit) <= today:
            k += 1
        return k

    def start(self, today: date) -> None:
        if not self.active:
            self.active = True
            self.anchor = self.anchor or today
            self.tick(today)

    def stop(self) -> None:
        if self.active:
            self.active = False
            self.state = self.state and "stopped"

    def restart(self, today: date) -> None:
        self.active, self.anchor, self.occurrence, self.state = True, today, 1, None
        self.tick(today)

    def handle(self, today: date) -> None:
        self.state = None
        if self.fixed:
            self.occurrence = max(self.occurrence, self.passed(today)) + 1
        else:
            self.anchor, self.occurrence = today, 1

    def ignore(self, today: date) -> None:
        self.state = None
        self.occurrence = max(self.occurrence, self.passed(today)) + 1

    @property
    def shown(self) -> tuple[str, date | None, int] | None:
        return (self.state, self.due, self.missed) if self.state else None
