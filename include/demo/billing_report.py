"""What the billing demo shows at its end: totals, bills in words, exceptions, the second run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.table import Table

from include.demo.billing import Again, Billed, Story, bill_of

COLUMNS = ("project", "service points", "billed", "parked", "quantity", "charges", "largest bill", "seconds")

#: The flags that something unusual left on a bill.
SPECIAL_FLAGS = ("replaced", "rollover", "estimated")

#: By the scheduler, and after it was cleared.
RUNS = 2


def totals(story: Story) -> Table:
    """Return a row a project."""
    grid = Table(title="Bills of the last twelve months", title_justify="left")
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column == "project" else "right")
    for one in story.billed:
        grid.add_row(*row(one))
    return grid


def row(one: Billed) -> list[str]:
    """Return the cells of a project."""
    charges = [Decimal(bill["charge"]) for bill in one.bills.values()]
    quantity = sum((Decimal(bill["quantity"]) for bill in one.bills.values()), Decimal(0))
    unit = next((bill["unit"] for bill in one.bills.values()), "")
    run = one.run or {}
    return [
        f"{one.town.project_id} {one.town.commodity}",
        f"{len(one.town.points):,}",
        f"{run.get('billed', 0):,}",
        f"{run.get('parked', 0):,}",
        f"{quantity:,.0f} {unit}",
        f"{sum(charges, Decimal(0)):,.2f}",
        f"{max(charges, default=Decimal(0)):,.2f}",
        f"{run_seconds(one):.1f}",
    ]


def run_seconds(one: Billed) -> float:
    """Return how long the run of a project took, 0 while it has not ended."""
    if one.run is None or one.run["finished_at"] is None:
        return 0.0
    start, end = (datetime.fromisoformat(one.run[name]) for name in ("started_at", "finished_at"))
    return (end - start).total_seconds()


def lines(story: Story, url: str) -> Iterator[str]:
    """Yield what is said below the table, for people."""
    for word, bill, sentences in story.explained:
        yield ""
        yield f"The bill of {bill['service_point']} ({word}), {bill['charge']}:"
        yield from (f"  {sentence}" for sentence in sentences)
    yield ""
    yield from _unusual(story)
    yield ""
    yield "The exceptions queue:"
    for one in story.billed:
        yield from (f"  {_exception(found)}" for found in one.exceptions)
    yield ""
    yield "The run was cleared in Airflow and billed the same instant again:"
    for project_id, again in story.again.items():
        yield f"  project {project_id}: {_compared(again)}"
    yield ""
    yield "The billing tasks are deleted, their bills stay. Look next at"
    yield f"  {story.page}  the run in Airflow"
    yield f"  {url}/carillon/v1/docs  bills, runs, exceptions, readings"


def _unusual(story: Story) -> Iterator[str]:
    flags = Counter(flag for one in story.billed for bill in one.bills.values() for flag in bill["flags"])
    told = ", ".join(f"{flags[flag]} {flag}" for flag in SPECIAL_FLAGS)
    yield f"Of all bills {told}."
    turned = bill_of(story, "rollover")
    if turned is not None:
        yield (
            f"The meter of {turned['service_point']} turned over: from {turned['opening']} to"
            f" {turned['closing']} are {turned['quantity']} {turned['unit']}."
        )


def _exception(found: dict[str, Any]) -> str:
    kept = "no bill" if found["parked"] else "billed all the same"
    return f"{found['kind']}, {found['service_point'] or found['device_id']} ({kept}): {found['detail']}"


def _compared(again: Again) -> str:
    new = again.after - again.before
    same = "the very same ones" if again.same else "NOT the same ones"
    return f"{new} new bills: {again.before:,} before, {again.after:,} after, {same}"


def wrong(story: Story) -> list[str]:
    """Return what is not as it should be, a sentence each."""
    found = []
    for one in story.billed:
        project, points = one.town.project_id, len(one.town.points)
        run = one.run or {"billed": 0, "parked": 0}
        if (run["billed"], run["parked"]) != (points - one.town.parked, one.town.parked):
            found.append(f"project {project}: {run['billed']} billed, {run['parked']} parked of {points}")
        if not (again := story.again.get(project)) or not again.same:
            found.append(f"project {project}: the second run changed the bills: {again}")
    if story.tries < RUNS:
        found.append(f"Airflow ran the billing {story.tries} times, not {RUNS}")
    flags = {flag for one in story.billed for bill in one.bills.values() for flag in bill["flags"]}
    return found + [f"no bill is {flag}" for flag in SPECIAL_FLAGS if flag not in flags]


def document(story: Story, url: str, seconds: float) -> dict[str, Any]:
    """Return the whole story as JSON."""
    return {
        "instance": url,
        "seconds": round(seconds, 1),
        "due_at": story.due_at.isoformat(),
        "dag_id": story.dag_id,
        "airflow_run": story.page,
        "airflow_tries": story.tries,
        "projects": [_project(one, story.again.get(one.town.project_id)) for one in story.billed],
        "explained": [
            {
                "what": word,
                "service_point": bill["service_point"],
                "bill": bill["key"],
                "sentences": sentences,
            }
            for word, bill, sentences in story.explained
        ],
        "exceptions": [found for one in story.billed for found in one.exceptions],
        "not_as_expected": wrong(story),
    }


def _project(one: Billed, again: Again | None) -> dict[str, Any]:
    charges = sum((Decimal(bill["charge"]) for bill in one.bills.values()), Decimal(0))
    flags = Counter(flag for bill in one.bills.values() for flag in bill["flags"])
    return {
        "project_id": one.town.project_id,
        "commodity": one.town.commodity,
        "service_points": len(one.town.points),
        "readings": len(one.town.readings),
        "task": one.task["natrual_key"],
        "run": one.run,
        "bills": len(one.bills),
        "charges": f"{charges:.2f}",
        "flags": dict(sorted(flags.items())),
        "specials": {
            word: one.bills[key]["key"] if key in one.bills else None
            for word, key in one.town.specials.items()
        },
        "second_run": again and {"before": again.before, "after": again.after, "same": again.same},
    }
