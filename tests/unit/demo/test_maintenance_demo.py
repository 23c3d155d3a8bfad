"""The maintenance demo: its plant, what it expects, its verdict, its words."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from include.cli.demo_maintenance import fast_environment
from include.cli.live import showing
from include.demo.maintenance import Listing, Project, Story
from include.demo.maintenance_report import document, figures, lines, news, table
from include.demo.maintenance_verdict import behind, wrong, year_ahead
from include.demo.plant import (
    Machine,
    Plan,
    first_samples,
    following,
    grown,
    growth_due,
    handle_body,
    later_samples,
    object_row,
    plan_plant,
    plan_projects,
    project_body,
    stage,
)
from include.maintenance.objects import ObjectRow
from include.maintenance.requests import CreateRequest, HandleRequest
from include.settings import Settings

ZONE = ZoneInfo("Asia/Shanghai")
#: A Monday; all is handled and ignored on Tuesday, and watched until Thursday.
STARTED = datetime(2026, 11, 23, 9, 0, tzinfo=ZONE)
ACTED, UNTIL, NOW = (
    STARTED + timedelta(days=1),
    datetime(2026, 11, 26, tzinfo=ZONE),
    STARTED + timedelta(days=3),
)


def day(number: int) -> str:
    """A midnight of November, local."""
    return datetime(2026, 11, number, tzinfo=ZONE).astimezone(UTC).isoformat()


def occurrence(plan: Plan, machine: Machine, state: str, due_at: str | None, **more: Any) -> dict[str, Any]:
    return {
        "uid": f"{plan.uid} {machine.object_id} {due_at}",
        "project_id": plan.uid,
        "object_id": machine.object_id,
        "object_name": machine.name,
        "state": state,
        "noticed_at": ACTED.isoformat() if state in ("handled", "ignored") else NOW.isoformat(),
        "due_at": due_at,
        "due_since": None,
        "overdue_since": None,
        "closed_at": ACTED.isoformat() if state in ("handled", "ignored") else None,
        "handle_id": None,
        **more,
    }


def of_filters(plan: Plan, machine: Machine) -> list[dict[str, Any]]:
    """Every 2 days, a day ahead: first due on the 25th."""
    fate = plan.fate(machine)
    if fate == "left":
        moments = {"due_since": day(25), "overdue_since": day(26)}
        return [occurrence(plan, machine, "overdue", day(25), **moments)]
    first = occurrence(plan, machine, fate, day(25), handle_id=f"of {machine.object_id}")
    # Handled on the 24th: again on the 26th. Ignored: by the plan on the 27th.
    if fate == "handled":
        return [first, occurrence(plan, machine, "due", day(26), due_since=day(26))]
    return [first, occurrence(plan, machine, "noticed", day(27))]


def of_belts(plan: Plan, machine: Machine) -> list[dict[str, Any]]:
    """Every 3 days, fixed: first due on the 26th, noticed on the 25th, then on the 29th."""
    fate, noticed = plan.fate(machine), {"noticed_at": day(25)}
    if fate == "left":
        return [occurrence(plan, machine, "due", day(26), due_since=day(26), **noticed)]
    closed = {"closed_at": (STARTED + timedelta(days=2)).isoformat(), "handle_id": "x"}
    return [occurrence(plan, machine, fate, day(26), **noticed, **closed)]


def of_oil(plan: Plan, machine: Machine) -> list[dict[str, Any]]:
    fate = plan.fate(machine)
    if fate not in ("handled", "ignored", "left"):
        return []
    state, seen = ("overdue" if fate == "left" else fate), day(24)
    return [occurrence(plan, machine, state, seen, due_since=seen, noticed_at=seen)]


def outlook(plan: Plan, machine: Machine) -> dict[str, Any]:
    fate = plan.fate(machine)
    if plan.counted:
        if fate == "silent":
            return {"state": "no_data", "due_at": None, "grown": None, "due_growth": None}
        state = "overdue" if fate == "left" else "waiting"
        return {
            "state": state,
            "due_at": None,
            "grown": f"{grown(fate)}",
            "due_growth": f"{growth_due(fate)}",
        }
    return {"state": "waiting", "due_at": day(29) if plan.uid == "belts" else "2026-12-22T16:00:00Z"}


@pytest.fixture
def story() -> Story:
    """Sixty machines, all as it should be."""
    makers = {"filters": of_filters, "belts": of_belts, "oil": of_oil}
    projects = []
    for plan in plan_projects(plan_plant(60)):
        project = Project(plan, STARTED)
        for machine in plan.machines:
            project.outlook = {**project.outlook, machine.object_id: outlook(plan, machine)}
            if tasks := makers[plan.uid](plan, machine) if plan.uid in makers else []:
                project.history[machine.object_id] = tasks
                project.acted |= {task["uid"]: task["state"] for task in tasks if task["closed_at"]}
        projects.append(project)
    told = Story(projects, ZONE, STARTED, NOW, UNTIL, crossed=12, evaluated_seconds=4.2)
    told.said.append("waiting for what follows")
    told.listings.append(Listing("get_v2_task_list", {"where_and": "[]"}, frozenset("ab"), ("a", "b")))
    first, *others = [moment.isoformat() for moment in year_ahead(told)]
    told.preview = {"name": "Fan 1, Boiler House", "due_at": first, "following": others}
    return told


def some(story: Story, uid: str, fate: Any) -> tuple[Project, Machine]:
    project = story.project(uid)
    return project, project.plan.of(fate)[0]


class TestPlan:
    def test_each_machine_is_in_two_projects(self) -> None:
        machines = plan_plant(300)
        assert len({machine.object_id for machine in machines}) == 300
        projects = plan_projects(machines)
        assert [len(plan.machines) for plan in projects] == [100, 100, 100, 300]
        assert Counter(machine for plan in projects for machine in plan.machines) == dict.fromkeys(
            machines, 2
        )

    def test_what_is_sent_is_what_the_apis_take(self) -> None:
        for plan in plan_projects(plan_plant(60)):
            CreateRequest.model_validate(project_body(plan)).fields()
            for machine in plan.machines:
                ObjectRow.model_validate(object_row(machine))
        HandleRequest.model_validate(handle_body("MTT1")).fields()

    def test_silent_machines_say_nothing_and_others_cross_or_stay_below(self) -> None:
        oil = plan_projects(plan_plant(60))[2]
        before = {row["object_id"]: row["value"] for row in first_samples(oil, STARTED)}
        after = {row["object_id"]: row["value"] for row in later_samples(oil, STARTED)}
        assert len(before) == 16
        assert Counter(after[name] - before[name] for name in before) == {26: 12, 20: 4}

    def test_each_full_minute_of_the_fast_clock_is_a_midnight(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in fast_environment(1, datetime(2026, 11, 22, 5, 6, 7, tzinfo=UTC)).items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        assert settings.maintenance_epoch is not None
        epoch, shown = settings.maintenance_epoch, []
        for minute in (6, 7, 8):
            moment = datetime(2026, 11, 22, 5, minute, tzinfo=UTC)
            shown.append(epoch + (moment - epoch) * settings.maintenance_speed)
        expected = [datetime(2026, 11, number, tzinfo=ZONE) for number in (22, 23, 24)]
        assert all(
            abs(found - wanted) < timedelta(seconds=1) for found, wanted in zip(shown, expected, strict=True)
        )


class TestExpected:
    @pytest.mark.parametrize(
        ("uid", "state", "closed", "expected"),
        [
            ("filters", "handled", 24, 26),
            ("filters", "ignored", 24, 27),
            ("filters", "ignored", 28, 29),
            ("filters", "handled", 28, 30),
            ("belts", "handled", 25, 29),
            ("belts", "ignored", 25, 29),
            ("belts", "handled", 29, 30 + 2),
        ],
    )
    def test_when_it_is_due_again(self, uid: str, state: str, closed: int, expected: int) -> None:
        plan = next(plan for plan in plan_projects(plan_plant(60)) if plan.uid == uid)
        closed_at = datetime(2026, 11, closed, 12, 35, tzinfo=ZONE).isoformat()
        found = list(following(plan, STARTED, [{"state": state, "closed_at": closed_at}], ZONE))
        assert [task is None for _, task in found] == [False, True]
        assert found[1][0] == datetime(2026, 11, 1, tzinfo=ZONE) + timedelta(days=expected - 1)

    def test_how_far_it_is(self) -> None:
        filters = plan_projects(plan_plant(60))[0]
        due_at = datetime(2026, 11, 25, tzinfo=ZONE)
        hours = (-25, -24, -1, 0, 23, 24)
        assert [stage(filters, due_at, due_at + timedelta(hours=one), ZONE) for one in hours] == [
            0,
            1,
            1,
            2,
            2,
            3,
        ]


class TestVerdict:
    def test_all_is_well(self, story: Story) -> None:
        assert wrong(story) == []
        assert behind(story) == []

    def test_two_open_tasks(self, story: Story) -> None:
        project, machine = some(story, "filters", "left")
        project.tasks(machine).append(occurrence(project.plan, machine, "due", day(27)))
        assert [sentence.split(":")[1].strip() for sentence in wrong(story)] == [
            "has 2 open tasks",
            "has 1 tasks while one is open",
        ]

    def test_one_that_was_handled_and_is_due_by_the_old_plan(self, story: Story) -> None:
        project, machine = some(story, "filters", "handled")
        project.tasks(machine)[1]["due_at"] = day(27)
        assert wrong(story) == [
            "filters: due on 27 Nov 00:00 after having been handled, not 26 Nov 00:00:"
            f" 1 machine, such as {machine.object_id}"
        ]

    def test_one_that_was_ignored_and_counts_anew(self, story: Story) -> None:
        project, machine = some(story, "oil", "ignored")
        shown = project.outlook[machine.object_id]
        project.outlook = {**project.outlook, machine.object_id: {**shown, "grown": "0", "due_growth": "25"}}
        assert [sentence.split(":")[1].strip() for sentence in wrong(story)] == [
            "has grown 0, not 26 (ignored)",
            "has due_growth 25, not 50 (ignored)",
        ]

    def test_a_fixed_one_that_floated(self, story: Story) -> None:
        project, machine = some(story, "belts", "handled")
        shown = {**project.outlook[machine.object_id], "due_at": day(28)}
        project.outlook = {**project.outlook, machine.object_id: shown}
        [sentence] = wrong(story)
        assert sentence.startswith("belts: due on 28 Nov 00:00 after having been handled, not 29 Nov 00:00")

    def test_one_that_nobody_noticed(self, story: Story) -> None:
        project, machine = some(story, "filters", "handled")
        project.history[machine.object_id].pop()
        shown = {**project.outlook[machine.object_id], "due_at": day(26)}
        project.outlook = {**project.outlook, machine.object_id: shown}
        assert behind(story) == [machine.object_id]
        [sentence] = wrong(story)
        assert sentence.startswith("filters: is waiting, not due, by 26 Nov 00:00: 1 machine")

    def test_one_that_was_noticed_too_soon(self, story: Story) -> None:
        project, machine = some(story, "belts", "left")
        project.tasks(machine)[0]["noticed_at"] = day(24)
        [sentence] = wrong(story)
        assert sentence.startswith("belts: has a task that was noticed before its time")

    def test_what_nobody_did(self, story: Story) -> None:
        project, machine = some(story, "oil", "handled")
        project.acted.clear()
        assert any("has a task that is handled and was left alone" in sentence for sentence in wrong(story))
        project.history.pop(machine.object_id)
        assert any("has no task that was handled: 1 machine" in sentence for sentence in wrong(story))

    def test_tasks_of_machines_that_have_not_run_enough(self, story: Story) -> None:
        project, machine = some(story, "oil", "silent")
        project.history[machine.object_id] = [occurrence(project.plan, machine, "due", day(25))]
        project.outlook = {**project.outlook, machine.object_id: {"state": "due"}}
        assert [sentence.split(":")[1].strip() for sentence in wrong(story)] == [
            "has had 1 tasks, not 0 (silent)",
            "is due without a sample, not no_data",
        ]

    def test_a_list_that_has_others(self, story: Story) -> None:
        story.listings = [Listing("get_v2_task_list", {}, frozenset("abc"), ("a", "b", "b")), *story.listings]
        assert wrong(story) == ["get_v2_task_list by {} has 3 rows, not 3: 1 are missing, 1 are there twice"]
        story.listings = [Listing("get_v2_task_list", {}, frozenset(), ())]
        assert wrong(story) == ["get_v2_task_list by {} finds nothing"]

    def test_samples_and_the_preview(self, story: Story) -> None:
        story.crossed = 11
        story.preview = {**story.preview, "following": story.preview["following"][1:]}
        found = wrong(story)
        assert found[0] == "the samples brought 11 machines to 25 hours, not 12"
        assert found[1].startswith("the preview has ")

    def test_what_was_not_watched_to_the_end(self, story: Story) -> None:
        story.until, story.preview = None, {}
        assert len(behind(story)) == 120
        assert wrong(story)[0].startswith("filters: was not watched to the end: 20 machines")
        assert wrong(story)[-1] == "no preview was asked for"


class TestReport:
    def test_figures(self, story: Story) -> None:
        found = {project.plan.uid: figures(project) for project in story.projects}
        told = {uid: {state: number for state, number in of.items() if number} for uid, of in found.items()}
        assert told == {
            "filters": {"noticed": 7, "due": 7, "overdue": 6, "handled": 7, "ignored": 7},
            "belts": {"waiting": 14, "due": 6, "handled": 7, "ignored": 7},
            "oil": {"no_data": 4, "waiting": 12, "overdue": 4, "handled": 4, "ignored": 4},
            "inspection": {"waiting": 60},
        }

    def test_a_row_for_each_project(self, story: Story) -> None:
        console = Console(width=140)
        with console.capture() as captured:
            console.print(table(story))
        text = captured.get()
        assert "Maintenance on Thu 26 Nov 09:00" in text
        assert "waiting for what follows" in text
        rows = [line for line in text.splitlines() if "Tighten belts" in line or "Change oil" in line]
        assert "3 days, fixed" in rows[0]
        assert "25 running hours" in rows[1]

    def test_lines_are_told_once(self, story: Story, capsys: pytest.CaptureFixture[str]) -> None:
        with showing(table, news, as_json=False) as show:
            show(story)
            show(story)
        said = capsys.readouterr().out.splitlines()
        assert said[:2] == [
            "Thu 26 Nov 09:00  waiting for what follows",
            "Thu 26 Nov 09:00  Change filters: 7 noticed, 7 due, 6 overdue, 7 handled, 7 ignored",
        ]
        assert len(said) == 5

    def test_the_end(self, story: Story) -> None:
        text = "\n".join(lines(story, "http://h"))
        assert text.startswith("3.0 days: 66 tasks, 18 handled, 18 ignored, 10 overdue; at most 1 open")
        assert "12 pumps came to their hours; 4.2 s after the samples each had its task." in text
        assert 'get_v2_task_list {"where_and": "[]"}: 2 rows' in text
        assert "every month: 23.12. 23.01." in text
        assert "Every machine was and will be due as expected." in text

    def test_the_end_of_one_that_went_wrong(self, story: Story) -> None:
        story.listings = [Listing(f"list_{number}", {}, frozenset("a"), ()) for number in range(11)]
        text = "\n".join(lines(story, "http://h"))
        assert text.count("Not as expected: list_") == 10
        assert "Not as expected: 12 more, see --json." in text

    def test_the_document(self, story: Story) -> None:
        found = document(story, "http://h", 99.96)
        assert (found["seconds"], found["days"], found["most_open"]) == (100.0, 3.0, 1)
        assert (found["crossed"], found["evaluated_seconds"], found["not_as_expected"]) == (12, 4.2, [])
        assert found["lists"] == [{"action": "get_v2_task_list", "where_and": "[]", "rows": 2, "expected": 2}]
        json.dumps(found)
