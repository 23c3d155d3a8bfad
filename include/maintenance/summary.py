"""What an evaluation did, in numbers and words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from include.maintenance.evaluation_repository import Moved, NoData

STATES = ("noticed", "due", "overdue")


def summarise(moved: Iterable[Moved], *, most: int) -> dict[str, Any]:
    """Return how many tasks came to each state: in all, and of the first projects by their uids.

    :param most: projects that are named
    """
    projects = _by_project(moved)
    total: Counter[str] = sum(projects.values(), Counter())
    named = sorted(projects.items())[:most]
    return {
        **{state: total[state] for state in STATES},
        "projects": [
            {"organization_id": organization, "uid": uid, **{state: counts[state] for state in STATES}}
            for (organization, uid), counts in named
        ],
        "projects_more": len(projects) - len(named),
    }


def lines(moved: Iterable[Moved]) -> Iterator[str]:
    """Yield a line for each project, and one for all."""
    projects = _by_project(moved)
    for (organization, uid), counts in sorted(projects.items()):
        yield f"{_name(organization, uid)}: {_words(counts)}"
    yield f"{len(projects)} projects: {_words(sum(projects.values(), Counter()))}"


def alarms(lacking: Iterable[NoData]) -> Iterator[str]:
    """Yield a line for each project of which objects have no sample."""
    for one in lacking:
        name = _name(one.organization, one.project)
        yield f"{name}: {one.count} objects have no sample, nobody knows when they are due"


def _name(organization: str, uid: str) -> str:
    return f"{organization} {uid}" if organization else uid


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in STATES)


def _by_project(moved: Iterable[Moved]) -> dict[tuple[str, str], Counter[str]]:
    projects: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in moved:
        projects[one.organization, one.project][one.state] += one.count
    return projects
