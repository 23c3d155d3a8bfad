"""What a DAG run billed, over all its tasks. Pure: the plan and the tasks' reports come in as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from include.billing_plan.model import SEVERITY

#: Tasks that are named in the summary; the others are in their own logs.
NAMED_MOST = 20

STOPPED = "its worker stopped"


def summarise(plan: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the totals; a task that left no report has failed."""
    by_id = {report["definition_id"]: report for report in reports}
    found = [by_id.get(item["definition_id"]) or _stopped(item) for item in plan]
    states = Counter(report["state"] for report in found)
    instants = [instant for report in found for instant in report["instants"]]
    return {
        "tasks": len(found),
        **{state: states[state] for state in reversed(SEVERITY)},
        **{name: sum(one[name] for one in instants) for name in ("billed", "adjusted", "parked")},
        "total": str(sum((Decimal(one["total"]) for one in instants), Decimal(0))),
        "failures": list(_reasons(found, "failed")),
        "parkings": list(_reasons(found, "partial")),
    }


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the summary for people."""
    if summary["tasks"] == 0:
        yield "no billing task was due"
        return
    states = ", ".join(f"{summary[state]} {state}" for state in reversed(SEVERITY) if summary[state])
    yield f"{summary['tasks']} billing tasks: {states}"
    yield (
        f"{summary['billed']} bills, {summary['adjusted']} corrections, {summary['total']} in all;"
        f" {summary['parked']} service points parked"
    )
    yield from (f"failed: {text}" for text in summary["failures"])
    yield from (f"partial: {text}" for text in summary["parkings"])


def _stopped(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**item, "state": "failed", "reason": STOPPED, "instants": []}


def _reasons(found: Sequence[Mapping[str, Any]], state: str) -> Iterator[str]:
    for report in [report for report in found if report["state"] == state][:NAMED_MOST]:
        reasons = [one["reason"] for one in report["instants"] if one["state"] == state]
        yield f"{report['name']} ({report['definition_id']}): {'; '.join(reasons) or report['reason']}"
