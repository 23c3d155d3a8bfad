"""Projects: what may be done to them in which state, and what becomes of their tasks (B7 to B13)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from include.definitions.service import DefinitionService
from include.errors import ConflictError, InvalidInputError, NotFoundError, PermissionDeniedError
from include.maintenance.model import STATISTICS
from include.maintenance.projects import RUNNING
from tests.maintenance_rows import NOON, Bench, local


async def noticed(bench: Bench, **changes: Any) -> str:
    """Make a project whose tasks are noticed and due tomorrow; return its uid."""
    project = await bench.create(**changes)
    bench.now = local(2026, 11, 23)
    await bench.tick()
    assert bench.open()
    return project.uid


class TestCreate:
    async def test_it_is_stored_as_sent_and_rests(self, bench: Bench):
        project = await bench.create(start=False, description="words", guide="how")
        assert project.uid.startswith("MTP")
        assert len(project.uid) == 16
        assert (project.alias, project.name, project.object_ids) == (project.uid, "na_test", ["a", "c"])
        assert (project.description, project.guide, project.is_active) == ("words", "how", False)
        assert (project.created_at, project.created_by, project.last_modified_by) == (NOON, 7, 7)
        assert bench.rows("SELECT active FROM schedule") == [{"active": False}]
        bench.go(days=9)
        assert await bench.tick() == []

    async def test_projects_of_a_cycle_share_a_schedule(self, bench: Bench):
        await bench.create()
        await bench.create(notice_num=0)
        await bench.create(period_num=Decimal(3))
        found = bench.rows("SELECT dag_id, expression, active FROM schedule ORDER BY dag_id")
        assert [tuple(row.values()) for row in found] == [
            ("maintenance.every_2_days", "0 0 0 * * *", True),
            ("maintenance.every_3_days", "0 0 0 * * *", True),
        ]

    async def test_a_uid_is_taken_once_in_an_organisation(self, bench: Bench):
        await bench.create("1", uid="mine")
        await bench.create("2", uid="mine")
        with pytest.raises(ConflictError) as caught:
            await bench.create("1", uid="mine")
        assert caught.value.field == "uid"

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("period_num", {"period_num": Decimal(0)}),
            ("period_num", {"period_num": Decimal(-1)}),
            ("period_num", {"period_num": Decimal("1.5")}),
            ("period_num", {"period_num": Decimal(101), "period_unit": "年"}),
            ("period_unit", {"period_unit": ""}),
            ("notice_num", {"notice_num": 2}),
            ("notice_num", {"notice_num": -1}),
            ("notice_num", {"notice_num": 1, "notice_unit": "月"}),
            ("notice_num", {"cycle_type": STATISTICS, "notice_num": 1201, "notice_unit": "月"}),
            ("object_id_list", {"object_ids": []}),
            ("object_id_list", {"object_ids": [str(n) for n in range(10_001)]}),
        ],
    )
    async def test_what_cannot_be_done(self, bench: Bench, field: str, changes: dict[str, Any]):
        with pytest.raises(InvalidInputError) as caught:
            await bench.create(**changes)
        assert caught.value.field == field


class TestOrganisation:
    async def test_others_do_not_see_it(self, bench: Bench):
        uid = await noticed(bench, organization_id="1")
        task = bench.open()["a"]
        bench.projects = ["2"]
        for method in ("find", "start", "stop", "restart", "delete"):
            with pytest.raises(NotFoundError):
                await bench.project(method, uid)
        with pytest.raises(NotFoundError):
            await bench.project("change", uid, {"name": "other"})
        for close in (bench.handle, bench.ignore):
            with pytest.raises(NotFoundError):
                await close(task)
        with pytest.raises(PermissionDeniedError):
            await bench.create("1")
        assert bench.tasks("state") == [("noticed",), ("noticed",)]

    async def test_a_uid_in_several_needs_to_be_told_apart(self, bench: Bench):
        await bench.create("1", uid="mine")
        await bench.create("2", uid="mine")
        with pytest.raises(InvalidInputError) as caught:
            await bench.project("find", "mine")
        assert caught.value.field == "organization_id"
        assert (await bench.project("find", "mine", "2")).organization_id == "2"
        bench.projects = ["1"]
        assert (await bench.project("find", "mine")).organization_id == "1"


class TestStopAndStart:
    async def test_tasks_rest_and_can_be_handled(self, bench: Bench):
        uid = await noticed(bench)
        await bench.project("stop", uid)
        await bench.project("stop", uid)
        assert bench.tasks("state") == [("stopped",), ("stopped",)]
        bench.go(days=9)
        assert await bench.tick() == []
        await bench.handle(bench.open()["a"])
        assert bench.tasks("object_id", "state") == [("a", "handled"), ("c", "stopped")]

    async def test_due_moments_are_as_if_it_had_not_been_stopped(self, bench: Bench):
        uid = await noticed(bench)
        before = bench.rows("SELECT due_at, anchor_at FROM maintenance_state ORDER BY position")
        await bench.project("stop", uid)
        bench.now = local(2026, 11, 24, 10)
        await bench.project("start", uid)
        assert bench.rows("SELECT due_at, anchor_at FROM maintenance_state ORDER BY position") == before
        assert bench.tasks("state", "due_at") == [("due", local(2026, 11, 24))] * 2

    async def test_what_passed_meanwhile_is_one_task_at_once(self, bench: Bench):
        project = await bench.create()
        await bench.project("stop", project.uid)
        bench.now = local(2026, 12, 1, 10)
        await bench.project("start", project.uid)
        assert bench.tasks("object_id", "state", "due_at", "missed") == [
            ("a", "overdue", local(2026, 11, 24), 3),
            ("c", "overdue", local(2026, 11, 24), 3),
        ]
        assert await bench.tick() == []


class TestRestart:
    async def test_all_objects_count_from_now(self, bench: Bench):
        uid = await noticed(bench)
        with pytest.raises(ConflictError, match=RUNNING):
            await bench.project("restart", uid)
        await bench.project("stop", uid)
        bench.now = local(2026, 12, 1, 10)
        await bench.project("restart", uid)
        assert bench.tasks("state") == [("cancelled",)] * 2
        states = bench.rows("SELECT DISTINCT anchor_at, due_at, open_task_id FROM maintenance_state")
        assert [tuple(row.values()) for row in states] == [(bench.now, local(2026, 12, 3), None)]
        bench.now = local(2026, 12, 2)
        [moved] = await bench.tick()
        assert (moved.state, moved.count) == ("noticed", 2)


class TestDelete:
    async def test_only_what_is_stopped(self, bench: Bench):
        uid = await noticed(bench, uid="mine")
        await bench.handle(bench.open()["a"])
        with pytest.raises(ConflictError, match=RUNNING):
            await bench.project("delete", uid)
        await bench.project("stop", uid)
        await bench.project("delete", uid)
        assert bench.tasks("object_id", "state") == [("a", "handled"), ("c", "cancelled")]
        with pytest.raises(NotFoundError):
            await bench.project("find", uid)
        assert bench.rows("SELECT count(*) FROM maintenance_handle") == [{"count": 1}]
        assert (await bench.create(uid="mine")).uid == "mine"

    async def test_not_by_what_does_it_to_other_kinds(self, bench: Bench):
        project = await bench.create()
        for method in ("enable", "disable", "delete"):
            with pytest.raises(ConflictError, match="by its own API"):
                async with bench.database.transaction() as connection:
                    await getattr(DefinitionService(connection), method)(project.id)


class TestChange:
    async def test_an_active_one_gets_other_words_only(self, bench: Bench):
        project = await bench.create()
        words = {"name": "new", "alias": "", "description": "d", "guide": "g", "object_ids": ["c", "a"]}
        bench.go(hours=1)
        found = await bench.project("change", project.uid, words, None, 8)
        assert (found.name, found.alias, found.description, found.guide) == ("new", "", "d", "g")
        assert (found.object_ids, found.updated_at, found.last_modified_by) == (["c", "a"], bench.now, 8)
        for changes in ({"period_num": Decimal(3)}, {"notice_num": 0}, {"object_ids": ["a"]}):
            with pytest.raises(ConflictError, match=RUNNING):
                await bench.project("change", project.uid, changes)

    async def test_objects_come_and_go(self, bench: Bench):
        uid = await noticed(bench)
        await bench.project("stop", uid)
        await bench.project("change", uid, {"object_ids": ["c", "b"]})
        assert bench.tasks("object_id", "state") == [("a", "cancelled"), ("c", "stopped")]
        bench.go(hours=6)
        await bench.project("start", uid)
        states = bench.rows("SELECT object_id, anchor_at FROM maintenance_state ORDER BY position")
        assert [tuple(row.values()) for row in states] == [("c", NOON), ("b", bench.now)]

    async def test_another_period_is_that_of_the_one_under_way(self, bench: Bench):
        project = await bench.create(object_ids=["a"])
        bench.now = local(2026, 11, 23)
        await bench.tick()
        await bench.ignore(bench.open()["a"])
        bench.now = local(2026, 11, 25)  # its second: from 24 to 26 November
        await bench.tick()
        await bench.project("stop", project.uid)
        await bench.project("change", project.uid, {"period_num": Decimal(1), "period_unit": "周"})
        [state] = bench.rows("SELECT due_at, notice_at FROM maintenance_state")
        assert tuple(state.values()) == (local(2026, 12, 1), local(2026, 11, 30))
        assert bench.tasks("state", "due_at", "period_unit")[1:] == [("stopped", local(2026, 12, 1), "周")]
        await bench.project("start", project.uid)
        assert bench.tasks("state")[1:] == [("noticed",)]
        found = bench.rows("SELECT dag_id, active FROM schedule ORDER BY dag_id")
        assert [tuple(row.values()) for row in found] == [
            ("maintenance.every_2_days", False),
            ("maintenance.every_week", True),
        ]
