"""The summary of a DAG run: totals, and who failed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from include.billing_plan.model import InstantReport, Item, ItemReport
from include.billing_plan.performing import describe
from include.billing_plan.summary import lines, summarise

DUE = datetime(2026, 11, 1, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)


def item(number: int) -> Item:
    return Item(number, f"task {number}", [DUE], "scheduled")


def good(parked: int = 0, due_at: datetime = DUE) -> InstantReport:
    state, reason = ("partial", f"{parked} service points parked") if parked else ("succeeded", None)
    return InstantReport(due_at, state, reason, 7, 10, 1, parked, Decimal("12.30"), due_at)  # type: ignore[arg-type]


def report(number: int, *instants: InstantReport) -> dict[str, Any]:
    return ItemReport(item(number), instants).as_json()


def test_an_item_passes_as_json() -> None:
    one = Item(5, "商场 1", [DUE, LATER], "manual")
    assert one.as_json() == {
        "definition_id": 5,
        "name": "商场 1",
        "due_at": ["2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"],
        "origin": "manual",
    }
    assert Item.from_json(one.as_json()) == one


def test_a_report_passes_as_json() -> None:
    assert report(1, good()) == {
        "definition_id": 1,
        "name": "task 1",
        "state": "succeeded",
        "instants": [
            {
                "due_at": "2026-11-01T00:00:00+00:00",
                "state": "succeeded",
                "reason": None,
                "run_id": 7,
                "billed": 10,
                "adjusted": 1,
                "parked": 0,
                "total": "12.30",
                "period_to": "2026-11-01T00:00:00+00:00",
                "repeated": False,
            }
        ],
    }


def test_totals_over_tasks_and_instants() -> None:
    plan = [item(n).as_json() for n in (1, 2, 3)]
    reports = [
        report(1, good(), good(due_at=LATER)),
        report(2, good(parked=2)),
        report(3, InstantReport(DUE, "skipped", "disabled")),
    ]
    summary = summarise(plan, reports)
    assert summary == {
        "tasks": 3,
        "failed": 0,
        "partial": 1,
        "succeeded": 1,
        "skipped": 1,
        "billed": 30,
        "adjusted": 3,
        "parked": 2,
        "total": "36.90",
        "failures": [],
        "parkings": ["task 2 (2): 2 service points parked"],
    }
    assert list(lines(summary)) == [
        "3 billing tasks: 1 partial, 1 succeeded, 1 skipped",
        "30 bills, 3 corrections, 36.90 in all; 2 service points parked",
        "partial: task 2 (2): 2 service points parked",
    ]


def test_the_worst_instant_is_the_task_and_one_without_a_report_failed() -> None:
    plan = [item(n).as_json() for n in (1, 2)]
    failed = InstantReport(DUE, "failed", "ValueError: no")
    summary = summarise(plan, [report(1, good(), failed, good(parked=1))])
    assert (summary["failed"], summary["billed"]) == (2, 20)
    assert summary["failures"] == ["task 1 (1): ValueError: no", "task 2 (2): its worker stopped"]


def test_nothing_was_due() -> None:
    assert list(lines(summarise([], []))) == ["no billing task was due"]


def test_reports_in_words() -> None:
    assert describe(good(parked=2)) == (
        "10 billed, 1 corrected, 2 parked, 12.30 in all, up to 2026-11-01 00:00:00 UTC (billing run 7)"
    )
    assert describe(InstantReport(DUE, "skipped", "disabled")) == "skipped: disabled"
