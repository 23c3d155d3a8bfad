"""What the batch demo shows: a bar for each state, its verdict, a summary, one JSON document. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from typing import Any

from rich.progress_bar import ProgressBar
from rich.table import Table

from include.demo.batch import Round, Story
from include.demo.pumps import VERSION, Pump

#: Counters of a task with what a bar calls them and its colour; the last ones only where there are any.
BARS = (
    ("waitting", "waiting", "bright_black"),
    ("processing", "upgrading", "cyan"),
    ("fail_wait_retry", "to be retried", "yellow"),
    ("success", "succeeded", "green"),
    ("fail", "failed", "red"),
    ("stopped", "stopped", "magenta"),
    ("removed", "removed", "magenta"),
)
ALWAYS = 5
BAR_WIDTH = 50

#: Problems that are listed at the end; there may be one a pump.
TOLD = 10


@dataclass(frozen=True)
class Figures:
    """What became of some pumps in a round.

    :ivar seconds: NaN where they have not ended
    """

    name: str
    size: int
    succeeded: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Devices a second."""
        return self.size / self.seconds if self.seconds else float("nan")

    @property
    def ended(self) -> bool:
        return not isnan(self.seconds)

    def cells(self) -> tuple[str, ...]:
        numbers = (f"{number:,}" for number in (self.size, self.succeeded, self.failed))
        times = (f"{self.seconds:.1f}", f"{self.rate:.1f}") if self.ended else ("", "")
        return (self.name, *numbers, *times)

    def as_json(self) -> dict[str, Any]:
        return {
            "devices": self.size,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "seconds": round(self.seconds, 2) if self.ended else None,
            "devices_per_second": round(self.rate, 1) if self.ended else None,
        }


def waves(story: Story) -> list[Figures]:
    """Return what became of each wave at the end of the upgrade."""
    first = story.rounds[0]
    by_wave: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for one in first.subtasks.values():
        by_wave[one["wave"]].append(one)
    return [
        _figures(f"wave {wave['wave']}", by_wave[wave["wave"]], _moment(wave["opened_at"]))
        for wave in first.task["waves"]
    ]


def retried(story: Story) -> Figures | None:
    """Return what became of those that were begun anew; None: nothing was."""
    if len(story.rounds) == 1:
        return None
    first, again = story.rounds
    failed = {target for target, one in first.subtasks.items() if one["status"] == "Fail"}
    return _figures("retry", [again.subtasks[target] for target in failed], again.began_at)


def everything(story: Story) -> Figures:
    """Return what became of all pumps in the end, from the first word to the last."""
    last = story.now
    return _figures("all", list(last.subtasks.values()), story.rounds[0].began_at)


def _figures(name: str, subtasks: Sequence[Mapping[str, Any]], since: datetime | None) -> Figures:
    ends = [_moment(one["finished_at"]) for one in subtasks]
    seconds = float("nan")
    if since is not None and ends and None not in ends:
        seconds = (max(end for end in ends if end) - since).total_seconds()
    statuses = Counter(one["status"] for one in subtasks)
    return Figures(name, len(subtasks), statuses["Success"], statuses["Fail"], seconds)


# --- while it runs


def table(story: Story, now: datetime) -> Table:
    """Return a bar for each state of the round that is under way."""
    round_ = story.now
    seconds = round_.seconds if round_.ended else (now - round_.began_at).total_seconds()
    title = f"{round_.name.capitalize()} of {round_.size:,} pumps, {seconds:.0f} s: {_where(round_)}"
    grid = Table.grid(padding=(0, 2))
    grid.title, grid.title_justify = title, "left"
    grid.add_column()
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(justify="right")
    grid.add_column(justify="right")
    counts = round_.counts
    for number, (name, words, colour) in enumerate(BARS):
        if (count := counts[name]) or number < ALWAYS:
            bar = ProgressBar(round_.size, count, BAR_WIDTH, complete_style=colour, finished_style=colour)
            grid.add_row(words, bar, f"{count:,}", f"{100 * count / round_.size:.1f} %")
    return grid


def _where(round_: Round) -> str:
    """Return how far a task is, in words."""
    task = round_.task
    if round_.ended or round_.name == "retry":
        return str(task["status"])
    if not task["waves"]:
        return "its run in Airflow begins"
    return task["status_desc"] or f"wave {task['open_wave']} of {len(task['waves'])}"


def news(story: Story) -> Iterator[tuple[str, str]]:
    """Yield what is printed where no bars can be drawn: what it is about, and a line, once it is settled."""
    round_ = story.now
    if round_.name == "upgrade":
        for wave in round_.task["waves"]:
            if wave["opened_at"] and not wave["open"]:
                yield f"wave {wave['wave']}", f"wave {wave['wave']}: {_ended(wave)}"
    elif round_.ended:
        counts = round_.counts
        yield (
            "retry",
            f"retry: {counts['success']:,} of {round_.size:,} succeeded, {counts['fail']:,} failed",
        )


def _ended(wave: Mapping[str, Any]) -> str:
    return f"{wave['succeeded']:,} of {wave['size']:,} succeeded, {wave['failed']:,} failed"


def failures(round_: Round) -> list[dict[str, Any]]:
    """Return why sub-tasks failed, with how many did, the most frequent first."""
    whys = Counter(
        (one["error_code"], one["error_msg"]) for one in round_.subtasks.values() if one["status"] == "Fail"
    )
    return [
        {"error_code": code, "error_msg": text, "devices": count}
        for (code, text), count in whys.most_common()
    ]


# --- the verdict


def wrong(story: Story) -> list[str]:
    """Return what is not as it should be, a sentence each, with how many pumps it is true of."""
    found = list(_wrong_rounds(story))
    pumps: dict[str, list[str]] = defaultdict(list)
    for pump in story.pumps:
        for problem in _problems(story, pump):
            pumps[problem].append(pump.device_id)
    return found + [
        f"{problem}: {len(ids)} pump{'s' if len(ids) > 1 else ''}, such as {ids[0]}"
        for problem, ids in pumps.items()
    ]


def _wrong_rounds(story: Story) -> Iterator[str]:
    for round_, expected in zip(story.rounds, ("PartialSuccess", "Success"), strict=False):
        if round_.task["status"] != expected:
            why = round_.task["status_desc"]
            yield (
                f"the task is {round_.task['status']} after the {round_.name}, not {expected}"
                + (f" ({why})" if why else "")
            )
    if len(story.rounds) == 1:
        yield "nothing was retried"
    ends: list[datetime] = []
    for wave in story.rounds[0].task["waves"]:
        opened = _moment(wave["opened_at"])
        if ends and opened and opened < max(ends):
            yield f"wave {wave['wave']} was opened before the one before it had ended"
        of_wave = [one for one in story.rounds[0].subtasks.values() if one["wave"] == wave["wave"]]
        ends += [end for one in of_wave if (end := _moment(one["finished_at"]))]


def _problems(story: Story, pump: Pump) -> Iterator[str]:
    first, last = (round_.subtasks.get(pump.device_id) for round_ in (story.rounds[0], story.now))
    if first is None or last is None:
        yield "is not in the task"
        return
    expected = ("Fail", f"OTA.{100 + pump.code}") if pump.code else ("Success", None)
    if (first["status"], first["error_code"]) != expected:
        yield f"{_outcome(first)} at first instead of {' '.join(filter(None, expected))}"
    if last["status"] != "Success":
        yield f"{_outcome(last)} in the end instead of Success"
    counted = story.counted.get(pump.device_id, {}).get("upgrades", 0)
    if counted != last["attempt"]:
        yield f"began {counted} upgrades by the simulator's count, {last['attempt']} by the task's"
    version = story.versions.get(pump.device_id)
    if version != VERSION:
        yield f"has the version {version} in the registry, not {VERSION}"


def _outcome(subtask: Mapping[str, Any]) -> str:
    return f"{subtask['status']} {subtask['error_code'] or ''}".strip()


# --- the end


def totals(story: Story) -> Table:
    """Return a row for each wave, one of the retry and one of all."""
    grid = Table(title="Final report", title_justify="left")
    for column in ("", "pumps", "succeeded", "failed", "seconds", "pumps/s"):
        grid.add_column(column, justify="right" if column else "left")
    rows = [*waves(story), retried(story)]
    for found in rows:
        if found:
            grid.add_row(*found.cells(), end_section=found is rows[-1])
    grid.add_row(*everything(story).cells())
    return grid


def lines(story: Story, url: str) -> Iterator[str]:
    """Yield the summary and where to look next, for people."""
    found = _simulator(story)
    for why in failures(story.rounds[0]):
        yield f"Failed at first: {why['devices']} {why['error_code']} {why['error_msg']}"
    yield (
        f"The simulator counted {found['upgrades']:,} upgrades on {found['devices']:,} pumps, the task"
        f" {_attempts(story):,} attempts; {found['repeated_notices']} notices came more than once."
    )
    problems = wrong(story)
    yield from (f"Not as expected: {problem}." for problem in problems[:TOLD])
    if len(problems) > TOLD:
        yield f"Not as expected: {len(problems) - TOLD} more, see --json."
    yield "Look next at"
    task = story.now.task
    for round_, run in zip(story.rounds, task["runs"], strict=False):
        yield f"  {url}/dags/{task['dag_id']}/runs/{run['run_id']}  the {round_.name} in Airflow, by shards"
    yield f"  {url}/carillon/v1/docs  batch-tasks/{story.task_id}, its waves, sub-tasks and export"


def document(story: Story, url: str, seconds: float) -> dict[str, Any]:
    """Return the whole story as JSON."""
    task, again = story.now.task, retried(story)
    return {
        "instance": url,
        "seconds": round(seconds, 1),
        "project_id": task["project_id"],
        "task_id": story.task_id,
        "status": task["status"],
        "dag_id": task["dag_id"],
        "runs": [run["run_id"] for run in task["runs"]],
        "waves": [found.as_json() for found in waves(story)],
        "failures": failures(story.rounds[0]),
        "retry": again.as_json() if again else None,
        "all": everything(story).as_json(),
        "attempts": _attempts(story),
        "simulator": _simulator(story),
        "not_as_expected": wrong(story),
    }


def _attempts(story: Story) -> int:
    return sum(one["attempt"] for one in story.now.subtasks.values())


def _simulator(story: Story) -> dict[str, int]:
    counted = story.counted.values()
    return {
        "devices": len(counted),
        "upgrades": sum(one["upgrades"] for one in counted),
        "repeated_notices": sum(times - 1 for one in counted for times in one["notices"].values()),
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
