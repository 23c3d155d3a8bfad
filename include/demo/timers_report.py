"""What the timers demo shows: a table while it runs, its verdict, a summary, one JSON document. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table

from include.demo.lamps import ACKNOWLEDGED, LEFT_IN_SHADOW, POLICIES, Lamp
from include.demo.timers import Story
from include.kit.quantiles import quantile
from include.timers.model import Offline

COLUMNS = (
    *("due", "if away", "timers", "sent", "acknowledged"),
    *("late p50 ms", "p99", "max", "away", "what came of those"),
)
_WORDS = ("due", "if away", "what came of those")

#: Problems that are listed at the end; there may be one a lamp.
TOLD = 10


@dataclass(frozen=True)
class Figures:
    """What became of some timers.

    :ivar acknowledged: by lamps that were there
    :ivar late_ms: of the first try of each, in ascending order
    :ivar fates: what came of the timers of lamps that were away; empty: nothing yet
    :ivar later_s: how long after their instant those were acknowledged, in ascending order
    """

    timers: int
    acknowledged: int
    late_ms: Sequence[float]
    away: int
    fates: Counter[str]
    later_s: Sequence[float]

    @property
    def sent(self) -> int:
        return len(self.late_ms)

    @property
    def lateness(self) -> tuple[float, float, float]:
        """p50, p99 and the largest, in milliseconds; NaN of nothing."""
        late = self.late_ms
        return quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1.0)

    @property
    def fate(self) -> str:
        """What came of the lamps that were away, in words."""
        words = [f"{count} {outcome or 'waiting'}" for outcome, count in sorted(self.fates.items())]
        later = f" {_span(self.later_s)} s later" if self.later_s else ""
        return ", ".join(word + later if word.endswith(ACKNOWLEDGED) else word for word in words)

    def as_json(self) -> dict[str, Any]:
        names = ("p50", "p99", "max")
        return {
            "timers": self.timers,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "lateness_ms": {
                name: round(value, 2) if self.sent else None
                for name, value in zip(names, self.lateness, strict=True)
            },
            "away": self.away,
            "fates": dict(self.fates),
            "delivered_later_s": [round(value, 2) for value in self.later_s],
        }


def figures(story: Story, lamps: Sequence[Lamp]) -> Figures:
    """Return what became of these lamps' timers."""
    tried = [one for lamp in lamps if (one := lamp.execution) and one["lateness_ms"] is not None]
    away = [lamp for lamp in lamps if lamp.away]
    later = [
        (datetime.fromisoformat(one["finished_at"]) - story.due(lamp)).total_seconds()
        for lamp in away
        if lamp.outcome == ACKNOWLEDGED and (one := lamp.execution)
    ]
    return Figures(
        timers=len(lamps),
        acknowledged=sum(lamp.outcome == ACKNOWLEDGED for lamp in lamps if not lamp.away),
        late_ms=sorted(one["lateness_ms"] for one in tried),
        away=len(away),
        fates=Counter(lamp.outcome for lamp in away),
        later_s=sorted(later),
    )


def groups(story: Story) -> Iterator[tuple[int, Offline, list[Lamp]]]:
    """Yield the lamps of each minute and policy."""
    for minute in range(len(story.dues)):
        for policy in POLICIES:
            yield (
                minute,
                policy,
                [lamp for lamp in story.lamps if (lamp.minute, lamp.policy) == (minute, policy)],
            )


def table(story: Story, now: datetime) -> Table:
    """Return a row for each minute and policy, and one of all.

    :param now: aware; shown by the clocks of the timers
    """
    clock = now.astimezone(story.dues[0].tzinfo)
    grid = Table(title=f"Device timers at {clock:%H:%M:%S}", title_justify="left")
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column in _WORDS else "right")
    for minute, policy, lamps in groups(story):
        last = policy == POLICIES[-1]
        grid.add_row(f"{story.dues[minute]:%H:%M}", policy, *row(figures(story, lamps)), end_section=last)
    everything = figures(story, story.lamps)
    grid.add_row("all", "", *row(everything)[:-1], "")
    return grid


def row(found: Figures) -> list[str]:
    """Return the cells of a row behind its name."""
    late = [f"{value:.1f}" if found.sent else "" for value in found.lateness]
    return [
        str(found.timers),
        str(found.sent),
        str(found.acknowledged),
        *late,
        str(found.away),
        found.fate,
    ]


def news(story: Story) -> Iterator[tuple[str, str]]:
    """Yield what is printed where no table can be drawn: what it is about, and a line, once it is settled."""
    for minute, policy, lamps in groups(story):
        name = f"{story.dues[minute]:%H:%M} {policy}"
        found = figures(story, lamps)
        if lamps and all(lamp.outcome for lamp in lamps if not lamp.away):
            p50, p99, most = found.lateness
            late = f"late p50 {p50:.1f}, p99 {p99:.1f}, max {most:.1f} ms; " if found.sent else ""
            yield (
                f"{name} there",
                f"{name}: {found.acknowledged} of {found.timers - found.away} acknowledged; {late}"
                f"{found.away} away",
            )
        if found.away and "" not in found.fates:
            yield f"{name} away", f"{name}: of those away {found.fate}"


def wrong(story: Story) -> list[str]:
    """Return what is not as it should be, a sentence each, with how many lamps it is true of."""
    lamps_of: dict[str, list[str]] = defaultdict(list)
    for lamp in story.lamps:
        for problem in _problems(story, lamp):
            lamps_of[problem].append(lamp.device_id)
    return [
        f"{problem}: {len(ids)} lamp{'s' if len(ids) > 1 else ''}, such as {ids[0]}"
        for problem, ids in lamps_of.items()
    ]


def _problems(story: Story, lamp: Lamp) -> Iterator[str]:
    if len(lamp.executions) != 1:
        yield f"the timer has {len(lamp.executions)} executions, not one"
        return
    [one] = lamp.executions
    if lamp.outcome != lamp.expects:
        whose = f"{lamp.policy}, away" if lamp.away else "there"
        came = lamp.outcome or f"still {one['state']}"
        yield f"{came} instead of {lamp.expects} ({whose})"
    if one["lateness_ms"] is not None and one["lateness_ms"] < 0:
        yield "sent before its instant"
    yield from _received(story, lamp, f"exec_{one['id']}")


def _received(story: Story, lamp: Lamp, request_id: str) -> Iterator[str]:
    """Compare what the ledger says with what the simulator counted."""
    counts = story.received.get(lamp.device_id, {})
    wanted = {request_id: 1} if lamp.outcome == ACKNOWLEDGED else {}
    if counts != wanted:
        yield f"got {sum(counts.values())} commands by the simulator's count, {len(wanted)} by the ledger"
    for arrival in story.arrivals_of(lamp):
        if arrival["at"] < story.due(lamp).timestamp():
            yield "got its command before its instant"
        if arrival["paras"] != lamp.paras:
            yield "got another command than its timer's"
    if lamp.expects == LEFT_IN_SHADOW and lamp.paras not in story.reported.get(lamp.device_id, {}).values():
        yield "came back and did not take what was left in its shadow"


def lines(story: Story, url: str) -> Iterator[str]:
    """Yield the summary and where to look next, for people."""
    found = figures(story, story.lamps)
    p50, p99, most = found.lateness
    counts = [count for of in story.received.values() for count in of.values()]
    yield (
        f"{found.timers} timers, {sum(lamp.once for lamp in story.lamps)} of them one-shots:"
        f" {found.acknowledged} acknowledged by lamps that were there;"
        f" of {found.away} that were away {found.fate or 'none'}."
    )
    if found.sent:
        yield (
            f"Lateness of the first byte: p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {most:.1f} ms."
            " The first run of a new time of day may be late: Airflow has to learn of it."
        )
    yield (
        f"The simulator counted {sum(counts)} commands on {len(story.received)} lamps,"
        f" {sum(count - 1 for count in counts)} of them repeats."
    )
    problems = wrong(story)
    yield from (f"Not as expected: {problem}." for problem in problems[:TOLD])
    if len(problems) > TOLD:
        yield f"Not as expected: {len(problems) - TOLD} more, see --json."
    yield "Look next at"
    for dag_id in story.dag_ids:
        yield f"  {url}/dags/{dag_id}  the runs in Airflow"
    yield f"  {url}/carillon/v1/docs  executions?kind=timer, lateness"


def document(story: Story, url: str, seconds: float) -> dict[str, Any]:
    """Return the whole story as JSON."""
    counts = [count for of in story.received.values() for count in of.values()]
    return {
        "instance": url,
        "seconds": round(seconds, 1),
        "dues": [due.isoformat() for due in story.dues],
        "dag_ids": story.dag_ids,
        "one_shots": sum(lamp.once for lamp in story.lamps),
        "groups": [
            {
                "due": story.dues[minute].isoformat(),
                "offline": policy,
                "back_at": story.back_at[minute].isoformat() if minute in story.back_at else None,
                **figures(story, lamps).as_json(),
            }
            for minute, policy, lamps in groups(story)
        ],
        "all": figures(story, story.lamps).as_json(),
        "simulator": {
            "devices": len(story.received),
            "commands": sum(counts),
            "repeats": sum(count - 1 for count in counts),
        },
        "not_as_expected": wrong(story),
    }


def _span(values: Sequence[float]) -> str:
    low, high = f"{values[0]:.1f}", f"{values[-1]:.1f}"
    return low if low == high else f"{low} to {high}"
