"""When maintenance is due: the arithmetic of natural cycles.

What is due is due on a day, or in an hour where that is the unit (ADR 0021); a day begins by the clocks of
the project's zone. Points of a plan are counted from its anchor, so that 31 January and a month are 28
February, and two months 31 March. Migration 0005 has the same rules as SQL functions; a test compares them.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from include.maintenance.model import NoticeUnit, PeriodUnit

#: The shortest and the longest that a unit can be, in hours, to compare a notice with a period (B4).
_SHORTEST = {"年": 365 * 24, "月": 28 * 24, "周": 7 * 24, "日": 24, "小时": 1}
_LONGEST = {"月": 31 * 24, "日": 24}


def start_of(moment: datetime, unit: str, zone: ZoneInfo) -> datetime:
    """Return the beginning of the hour, of the day for longer units, in UTC."""
    local = moment.astimezone(zone)
    if unit == "小时":
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return moment.astimezone(UTC) - past
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def shift(moment: datetime, num: int, unit: str, zone: ZoneInfo) -> datetime:
    """Return a moment moved by units, in UTC: hours as they pass, the others by the clocks of the zone.

    The beginning of a day stays one, where a day has no midnight, too.
    """
    if unit == "小时":
        return moment.astimezone(UTC) + timedelta(hours=num)
    local = moment.astimezone(zone).replace(tzinfo=None)
    if moment == start_of(moment, "日", zone):
        local = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit in ("日", "周"):
        local += timedelta(days=num * (7 if unit == "周" else 1))
    else:
        months = local.year * 12 + local.month - 1 + num * (12 if unit == "年" else 1)
        year, month = divmod(months, 12)
        local = local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))
    return local.replace(tzinfo=zone).astimezone(UTC)


def due(anchor: datetime, k: int, num: int, unit: PeriodUnit, zone: ZoneInfo) -> datetime:
    """Return point `k` of the plan that begins at an anchor, in UTC."""
    return shift(start_of(anchor, unit, zone), k * num, unit, zone)


def late(due_at: datetime, unit: str, grace_days: int, zone: ZoneInfo) -> datetime:
    """Return from when something due is overdue, in UTC: its hour, or its day, and the grace are over.

    :param unit: of the period; of statistics any but `小时`
    """
    end = shift(start_of(due_at, unit, zone), 1, "小时" if unit == "小时" else "日", zone)
    return shift(end, grace_days, "日", zone)


def fits(period_num: int, period_unit: PeriodUnit, notice_num: int, notice_unit: NoticeUnit) -> bool:
    """Whether a notice is always shorter than a natural period."""
    if period_unit == notice_unit:
        return notice_num < period_num
    if (period_unit, notice_unit) == ("年", "月"):
        return notice_num < 12 * period_num
    return notice_num * _LONGEST[notice_unit] < period_num * _SHORTEST[period_unit]
