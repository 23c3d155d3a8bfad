"""The maintenance demo: what it keeps; create projects, read how they stand, handle and ignore tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from include.demo.api import Api, for_each
from include.demo.plant import (
    STATISTIC,
    Machine,
    Plan,
    first_samples,
    handle_body,
    object_row,
    project_body,
)
from include.demo.timers import OWN
from include.errors import CarillonError
from include.kit.clock import Clock

#: Rows of a page of document 002.
PAGE = 200

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Client:
    """Document 002 and the own API, the clock of maintenance there, and its time zone.

    :ivar block: the first part of document 002's path
    """

    api: Api
    block: str
    clock: Clock
    zone: ZoneInfo

    async def call(self, action: str, **fields: Any) -> Any:
        """Do an action; return its result.

        :raises CarillonError: it was refused
        """
        answer = await self.api.send("POST", f"/{self.block}/api", {"action": action, **fields})
        if answer["code"] != 200:
            raise CarillonError(f"{action} was refused: {answer['msg']}: {answer['info']}")
        return answer["result"]

    async def list(self, action: str, **filters: Any) -> Rows:
        """Return all pages of a list."""
        found: Rows = []
        pages = index = 1
        while index <= pages:
            page = await self.call(action, page_index=index, page_size=PAGE, **filters)
            found += page["data"]
            pages, index = page["total_pages"], index + 1
        return found


@dataclass
class Project:
    """A project as the demo sees it.

    :ivar started_at: by the clock of maintenance
    :ivar outlook: what the preview says of each machine, by its id
    :ivar history: its tasks, by the id of the machine, the oldest first
    :ivar acted: what was asked for, by uid of the task: `handled`, `ignored`
    """

    plan: Plan
    started_at: datetime
    outlook: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    history: dict[str, Rows] = field(default_factory=dict)
    acted: dict[str, str] = field(default_factory=dict)

    def tasks(self, machine: Machine) -> Rows:
        return self.history.get(machine.object_id, [])

    def open_tasks(self, machine: Machine) -> Rows:
        return [task for task in self.tasks(machine) if task["closed_at"] is None]

    @property
    def all_open(self) -> bool:
        """Whether each machine that is to have a task has, or had, one."""
        return all(self.tasks(machine) for machine in self.plan.opening())


@dataclass(frozen=True)
class Listing:
    """A list that was asked for by filters.

    :ivar expected: uids that it is to have, by the history
    :ivar found: uids that it has
    """

    action: str
    filters: Mapping[str, Any]
    expected: frozenset[str]
    found: tuple[str, ...]


@dataclass
class Story:
    """All that the demo has to tell.

    :ivar began_at: by the clock of maintenance, as are all moments
    :ivar until: to when all is watched; None as long as there is something to do
    :ivar said: what was done, in words
    :ivar crossed: what the API said how many came to their threshold
    :ivar evaluated_seconds: of the machine's clock, from the samples until the last of their tasks
    :ivar preview: of one machine, 12 months
    """

    projects: Sequence[Project]
    zone: ZoneInfo
    began_at: datetime
    now: datetime
    until: datetime | None = None
    said: list[str] = field(default_factory=list)
    crossed: int = 0
    evaluated_seconds: float | None = None
    listings: list[Listing] = field(default_factory=list)
    preview: Mapping[str, Any] = field(default_factory=dict)

    def project(self, uid: str) -> Project:
        return next(one for one in self.projects if one.plan.uid == uid)


@asynccontextmanager
async def ordered(client: Client, plans: Sequence[Plan], *, keep: bool) -> AsyncIterator[Story]:
    """Name the machines, create the projects, start them; take the projects away at the end.

    :param keep: leave them there
    """
    machines = {machine.object_id: machine for plan in plans for machine in plan.machines}
    rows = [object_row(machine) for machine in machines.values()]
    await client.api.send("POST", f"{OWN}/maintenance/objects/bulk", {"items": rows})
    statistic = {"name": "Running hours", "unit": "小时", "kind": "cumulative"}
    await client.api.send("PUT", f"{OWN}/statistics/{STATISTIC}", statistic)
    created: list[Plan] = []
    try:
        for plan in plans:
            await client.call("create_v2_project", **project_body(plan))
            created.append(plan)
            if plan.counted:
                await send_samples(client, first_samples(plan, client.clock()))
        began_at = client.clock()
        projects = [await _start(client, plan) for plan in plans]
        yield Story(projects, client.zone, began_at, began_at)
    finally:
        if not keep:
            for plan in created:
                await client.call("stop_v2_project", uid=plan.uid)
                await client.call("delete_v2_project", uid=plan.uid)
            await client.api.send("DELETE", f"{OWN}/statistics/{STATISTIC}")


async def _start(client: Client, plan: Plan) -> Project:
    await client.call("start_v2_project", uid=plan.uid)
    shown = await client.call("get_v2_project", uid=plan.uid)
    started_at = datetime.fromisoformat(shown["last_modified"]).replace(tzinfo=client.zone)
    return Project(plan, started_at)


async def send_samples(client: Client, rows: Rows) -> int:
    """Feed samples of the statistic; return how many machines they brought to their threshold."""
    report = await client.api.send("POST", f"{OWN}/statistics/{STATISTIC}/samples", {"rows": rows})
    return int(report["crossed"])


async def refresh(client: Client, story: Story) -> None:
    """Read the previews and the tasks anew; the tasks later, so that they are at least as far."""
    story.now = client.clock()
    for project in story.projects:
        path = f"{OWN}/maintenance/projects/{project.plan.uid}/preview"
        pages = client.api.pages(path, {"months": "1"})
        project.outlook = {one["object_id"]: one async for one in pages}
    await read_history(client, story)


async def read_history(client: Client, story: Story) -> None:
    """Read the tasks of all projects anew."""
    found: dict[str, dict[str, Rows]] = {project.plan.uid: {} for project in story.projects}
    # The newest come first.
    async for task in client.api.pages(f"{OWN}/maintenance/history", {}):
        if task["project_id"] in found:
            found[task["project_id"]].setdefault(task["object_id"], []).insert(0, task)
    for project in story.projects:
        project.history = found[project.plan.uid]


async def act(client: Client, project: Project) -> None:
    """Handle and ignore the open tasks of the machines that this is the fate of."""

    async def close(machine: Machine) -> None:
        fate = project.plan.fate(machine)
        for task in project.open_tasks(machine):
            if fate == "handled":
                await client.call("v2_handle", **handle_body(task["uid"]))
            else:
                await client.call("v2_handle_ignore", task_id=task["uid"])
            project.acted[task["uid"]] = fate

    await for_each(project.plan.of("handled", "ignored"), close)
