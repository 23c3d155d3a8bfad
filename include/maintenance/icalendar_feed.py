"""What will be due as a calendar that calendar programs subscribe to (RFC 5545). No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from include.maintenance.outlook import NAMES_MOST, CalendarEntry

if TYPE_CHECKING:
    from icalendar import Event

#: How often a program should look again (RFC 7986; `X-PUBLISHED-TTL` for older ones).
REFRESH = timedelta(hours=1)


def feed(entries: Iterable[CalendarEntry], *, now: datetime, name: str) -> bytes:
    """Return a calendar: an event for each project and day, whatever state its objects are in.

    What is due in an hour is an event of that hour, the rest lasts all day by the clocks of its project.
    """
    # An import that only this call pays for.
    from icalendar import Calendar

    calendar = Calendar()
    calendar.add("prodid", "-//Carillon//Maintenance//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("name", name)
    calendar.add("x-wr-calname", name)
    calendar.add("refresh-interval", REFRESH, parameters={"value": "DURATION"})
    calendar.add("x-published-ttl", REFRESH)
    days: dict[tuple[str, str, datetime], list[CalendarEntry]] = {}
    for entry in entries:
        days.setdefault((entry.organization_id, entry.uid, _start(entry)), []).append(entry)
    for (organization, uid, start), alike in days.items():
        calendar.add_component(_event(f"{uid}-{start:%Y%m%dT%H}-{organization}", start, alike, now))
    data: bytes = calendar.to_ical()
    return data


def _event(key: str, start: datetime, entries: Sequence[CalendarEntry], now: datetime) -> Event:
    from icalendar import Event

    first = entries[0]
    event = Event()
    event.add("uid", f"{key}@carillon")
    event.add("dtstamp", now)
    hourly = first.unit == "小时"
    begins, lasts = (start, timedelta(hours=1)) if hourly else (start.date(), timedelta(days=1))
    event.add("dtstart", begins)
    event.add("dtend", begins + lasts)
    event.add("summary", f"{first.name} ({_counted(sum(entry.objects for entry in entries))})")
    event.add("description", "\n".join(_description(entries)))
    event.add("transp", "TRANSPARENT")
    event.add("categories", [first.uid])
    return event


def _description(entries: Sequence[CalendarEntry]) -> list[str]:
    lines = []
    for entry in entries:
        more = entry.objects - len(entry.names)
        names = ", ".join(entry.names[:NAMES_MOST]) + (f" and {more} more" if more else "")
        lines.append(f"{entry.state or 'planned'}: {names}")
    return [*lines, *([entries[0].guide] if entries[0].guide else [])]


def _counted(objects: int) -> str:
    return "1 object" if objects == 1 else f"{objects} objects"


def _start(entry: CalendarEntry) -> datetime:
    local = entry.due_at.astimezone(ZoneInfo(entry.timezone))
    if entry.unit == "小时":
        return entry.due_at.replace(minute=0, second=0, microsecond=0)
    return local.replace(hour=0, minute=0, second=0, microsecond=0)
