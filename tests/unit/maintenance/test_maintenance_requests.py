"""Checks of what clients of document 002 send, field by field; how they go together the service knows."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInputError
from include.kit.validation import checked
from include.maintenance.model import ProjectFields
from include.maintenance.requests import CreateRequest, HandleRequest, ListRequest

GOOD = {
    "action": "create_v2_project",
    "uid": "",
    "name": "na_test",
    "cycle_type": "自然时间周期",
    "period_num": 2,
    "period_unit": "日",
    "notice_num": 1,
    "notice_unit": "日",
    "object_id_list": ["a", "c"],
}
STATISTICS = {"cycle_type": "统计周期", "period_num": 25, "period_unit": "", "statistics_id": "S1"}


def fields(**changes):
    return checked(CreateRequest, {**GOOD, **changes}).fields()


def handle(**values):
    return checked(HandleRequest, {"task_id": "MTT1", **values}).fields()


def refusal(work, **values) -> str:
    with pytest.raises(InvalidInputError) as caught:
        work(**values)
    return str(caught.value)


class TestProject:
    def test_as_it_is_sent(self):
        made = fields(uid="p_1", alias="A", description="D", guide="G", schedule_mode="fixed", grace_days=3)
        assert (made.uid, made.name, made.alias, made.description) == ("p_1", "na_test", "A", "D")
        assert (made.period_num, made.period_unit, made.notice_num, made.notice_unit) == (2, "日", 1, "日")
        assert (made.guide, made.schedule_mode, made.grace_days) == ("G", "fixed", 3)
        assert tuple(made.object_ids) == ("a", "c")

    def test_null_is_what_is_left_out(self):
        made = fields(uid=None, alias=None, description=None, guide=None, statistics_id=None, grace_days=None)
        assert made == fields()

    def test_a_notice_may_be_left_out(self):
        made = checked(
            CreateRequest, {name: GOOD[name] for name in GOOD if not name.startswith("notice")}
        ).fields()
        assert (made.notice_num, made.notice_unit) == (0, "日")

    @pytest.mark.parametrize("spelling", ["统计周期", "统计时间周期"])
    def test_both_spellings_of_statistics(self, spelling):
        assert fields(**STATISTICS | {"cycle_type": spelling}).cycle_type == "统计周期"

    def test_of_statistics_the_unit_is_stored_and_the_notice_may_be_longer(self):
        made = fields(**STATISTICS | {"period_unit": "日", "period_num": 0.5, "notice_num": 40})
        assert (made.period_unit, made.period_num, made.notice_num) == ("日", Decimal("0.5"), 40)

    def test_objects_that_come_twice_are_taken_once(self):
        assert tuple(fields(object_id_list=["b", "a", "b"]).object_ids) == ("b", "a")

    def test_as_many_objects_as_there_may_be(self):
        assert len(fields(object_id_list=[str(n) for n in range(10_000)]).object_ids) == 10_000

    @pytest.mark.parametrize("unit", ["年", "月", "周", "日", "小时"])
    def test_every_unit(self, unit):
        assert fields(period_unit=unit, notice_num=0).period_unit == unit

    def test_a_whole_number_may_be_written_with_a_point(self):
        assert fields(period_num=2.0, notice_num=1.0).notice_num == 1

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"name": ""}, "name: must not be empty"),
            ({"name": None}, "name: must be a valid string"),
            ({"name": "x" * 256}, "name: must have at most 255 characters"),
            ({"name": "a\0"}, "name: must not contain NUL characters or half of a surrogate pair"),
            ({"uid": "a b"}, "uid: must have 1 to 64 letters, digits, _ and -"),
            ({"uid": "x" * 65}, "uid: must have 1 to 64 letters, digits, _ and -"),
            ({"uid": "维保"}, "uid: must have 1 to 64 letters, digits, _ and -"),
            ({"uid": 1}, "uid: must be a valid string"),
            ({"cycle_type": "每天"}, "cycle_type: must be one of 自然时间周期, 统计周期"),
            ({"cycle_type": ""}, "cycle_type: must be one of 自然时间周期, 统计周期"),
            ({"period_num": "2"}, "period_num: must be a number"),
            ({"period_num": True}, "period_num: must be a number"),
            ({"period_num": None}, "period_num: is required"),
            (
                {"period_num": 1e12},
                "period_num: must be less than 1000000000 and have at most 6 decimal places",
            ),
            (
                STATISTICS | {"period_num": 0.0000001},
                "period_num: must be less than 1000000000 and have at most 6 decimal places",
            ),
            ({"period_unit": "季"}, "period_unit: must be one of 年, 月, 周, 日, 小时"),
            (STATISTICS | {"period_unit": "km"}, "period_unit: must be one of 年, 月, 周, 日, 小时"),
            ({"notice_num": -1}, "notice_num: must be greater than or equal to 0"),
            ({"notice_num": 1.5}, "notice_num: must be a valid integer"),
            ({"notice_unit": "周"}, "notice_unit: must be one of 月, 日"),
            ({"notice_unit": ""}, "notice_unit: must be one of 月, 日"),
            ({"object_id_list": []}, "object_id_list: List should have at least 1 item"),
            ({"object_id_list": "a"}, "object_id_list: must be a valid list"),
            ({"object_id_list": [""]}, "object_id_list.0: must have at least 1 character"),
            ({"object_id_list": ["a", 1]}, "object_id_list.1: must be a valid string"),
            ({"object_id_list": ["a\nb"]}, "object_id_list.0: must have printable characters only"),
            (
                {"object_id_list": ["a"] * 10_001},
                "object_id_list: List should have at most 10000 items",
            ),
            ({"schedule_mode": "sometimes"}, "schedule_mode: must be 'floating' or 'fixed'"),
            ({"is_active": 1}, "is_active: is not a field of this request"),
        ],
    )
    def test_what_is_refused(self, changes, problem):
        assert refusal(fields, **changes).startswith(problem)


class TestHandle:
    def test_nothing_but_the_task(self):
        made = handle()
        assert (made.handler_ids, made.handler_names, made.fee, made.images) == ((), (), 0, "")

    def test_the_document(self):
        made = handle(
            description="", handler_id_list=[1, 2], handler_name_list=["1", "2"], fee=0, result="", images=""
        )
        assert (made.handler_ids, made.handler_names) == ((1, 2), ("1", "2"))

    def test_ids_and_images_are_kept_as_sent(self):
        made = handle(handler_id_list=["01", 2], images=["a.png", "b.png"], fee=12.35)
        assert (made.handler_ids, made.images, made.fee) == (("01", 2), ["a.png", "b.png"], Decimal("12.35"))

    @pytest.mark.parametrize(
        ("values", "problem"),
        [
            ({"task_id": ""}, "task_id: must not be empty"),
            ({"fee": -1}, "fee: must be greater than or equal to 0"),
            ({"fee": "12"}, "fee: must be a number"),
            ({"fee": "free"}, "fee: must be a number"),
            ({"fee": True}, "fee: must be a number"),
            ({"fee": 0.0000001}, "fee: must be less than 1000000000 and have at most 6 decimal places"),
            (
                {"handler_id_list": [1], "handler_name_list": ["1", "2"]},
                "handler_name_list: must have as many",
            ),
            ({"handler_name_list": ["1"]}, "handler_name_list: must have as many"),
            ({"handler_id_list": ["a"]}, "handler_id_list.0: must be a whole number or its text"),
            ({"handler_id_list": [1.5]}, "handler_id_list.0: must be a whole number or its text"),
            ({"handler_id_list": [True]}, "handler_id_list.0: must be a whole number or its text"),
            ({"handler_id_list": 1}, "handler_id_list: must be a valid list"),
            ({"images": ["x"] * 21}, "images"),
            ({"images": {"a": 1}}, "images"),
        ],
    )
    def test_what_is_refused(self, values, problem):
        assert refusal(handle, **values).startswith(problem)


class TestPage:
    @pytest.mark.parametrize(
        ("values", "page"),
        [
            ({}, (1, 10)),
            ({"page_index": "", "page_size": None}, (1, 10)),
            ({"page_index": 3, "page_size": 200}, (3, 200)),
            ({"page_index": "2", "page_size": "20"}, (2, 20)),
        ],
    )
    def test_pages(self, values, page):
        assert checked(ListRequest, values).page == page

    @pytest.mark.parametrize(
        "values",
        [{"page_index": 0}, {"page_index": -1}, {"page_size": 0}, {"page_size": 201}, {"page_size": "x"},
         {"page_size": True}, {"page_index": 1.5}, {"page_index": 10**12}],
    )  # fmt: skip
    def test_what_is_no_page(self, values):
        assert refusal(lambda: checked(ListRequest, values)).startswith(next(iter(values)))


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3))
)


def outcome(changes) -> ProjectFields | str | None:
    try:
        return fields(**changes)
    except InvalidInputError as error:
        return error.field


@given(st.dictionaries(st.sampled_from([*GOOD, "statistics_id", "grace_days", "schedule_mode"]), ANYTHING))
def test_whatever_is_sent_is_read_or_refused(changes):
    found = outcome(changes)
    if isinstance(found, ProjectFields):
        assert found.period_unit in ("", "年", "月", "周", "日", "小时")
        assert found.notice_unit in ("月", "日")
        assert found.object_ids
    else:
        assert found
        assert found.split(".")[0] in {*changes, "cycle_type", "notice_unit"}
