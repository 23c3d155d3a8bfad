"""The ids of DAGs: readable, stable, distinct."""

from __future__ import annotations

import re

import pytest

from include.cron import parse_seconds_first
from include.schedules.model import dag_id_for

HOME = "Asia/Shanghai"


@pytest.mark.parametrize(
    ("expression", "zone", "dag_id"),
    [
        ("0 30 9 * * *", HOME, "callback.0_30_9_x_x_x"),
        ("0 30 9 * * *", "America/New_York", "callback.0_30_9_x_x_x.America-New_York"),
        ("0 */15 * * * *", HOME, "callback.0_x-of-15_x_x_x_x"),
        ("0 0 8,20 * * 1-5", HOME, "callback.0_0_8.20_x_x_1-5"),
        ("0 0 9 * * 1#2", HOME, "callback.0_0_9_x_x_1-nth-2"),
        ("0 0 1 30 1,3-12 *|0 0 1 L 2 *", HOME, "callback.0_0_1_30_1.3-12_x-or-0_0_1_L_2_x"),
        ("@every 1m30s", HOME, "callback.every_1m30s"),
        ("@once", HOME, "callback.once"),
        ("0 0 0 * * *", "Etc/GMT+5", "callback.0_0_0_x_x_x.Etc-GMTplus5"),
    ],
)
def test_dag_id(expression: str, zone: str, dag_id: str) -> None:
    assert dag_id_for("callback", expression, zone) == dag_id
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,250}", dag_id)


def test_different_expressions_have_different_ids() -> None:
    texts = [
        *("0 1,2 3 * * *", "0 1 2 3 * *", "0 1-2 3 * * *", "0 */2 3 * * *", "0 * 2 3 * *", "0 0 0 L * *"),
        *("0 0 0 LW * *", "0 0 0 * * 1L", "0 0 0 * * 1#1", "0 0 0 1 * 1", "0 0 0 1,1 * *", "@every 1h"),
    ]
    expressions = {parse_seconds_first(text, zone=HOME).expression for text in texts}
    assert len({dag_id_for("callback", text, HOME) for text in expressions}) == len(expressions)


def test_an_id_that_would_be_too_long_is_cut_and_stays_distinct() -> None:
    minutes = ",".join(str(minute) for minute in range(0, 59, 3))
    hours = ",".join(str(hour) for hour in range(0, 23, 3))
    days = ",".join(str(day) for day in range(1, 31, 4))
    long = f"{minutes} {minutes} {hours} {days} * 1,3,5"
    other = f"{minutes} {minutes} {hours} {days} * 1,3"
    ids = {dag_id_for("callback", text, HOME) for text in (long, other)}
    assert len(ids) == 2
    assert all(len(dag_id) <= 200 for dag_id in ids)
