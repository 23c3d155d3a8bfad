"""Equal schedules share one text, different ones do not."""

from __future__ import annotations

import pytest

from include.cron import CronSchedule, parse_minute_fields, parse_seconds_first

CANONICAL = [
    ("0 30 9 * * *", "0 30 9 * * *"),
    ("  0  30\t9 ? ?   ? ", "0 30 9 * * *"),
    ("00 030 09 * * *", "0 30 9 * * *"),
    ("0 30 9 * *", "0 30 9 * * *"),
    ("@hourly", "0 0 * * * *"),
    ("@Daily", "0 0 0 * * *"),
    ("@midnight", "0 0 0 * * *"),
    ("@weekly", "0 0 0 * * 0"),
    ("@monthly", "0 0 0 1 * *"),
    ("@yearly", "0 0 0 1 1 *"),
    ("@annually", "0 0 0 1 1 *"),
    ("@every 90s", "@every 1m30s"),
    ("@EVERY 1m30s", "@every 1m30s"),
    ("@every 1.5m", "@every 1m30s"),
    ("@every 1.h", "@every 1h"),
    ("@every .5h", "@every 30m"),
    ("@every 1h60m", "@every 2h"),
    ("@every 1500ms", "@every 1s"),
    ("@every 1s999ms999us999µs999μs999ns", "@every 2s"),
    ("@every 8784h", "@every 8784h"),
    ("0 5,1 * * * *", "0 1,5 * * * *"),
    ("0 1,1-3,2 * * * *", "0 1-3 * * * *"),
    ("0-59 0 0 * * *", "* 0 0 * * *"),
    ("0,15,30,45 0 0 * * *", "*/15 0 0 * * *"),
    ("0/30 0 0 * * *", "*/30 0 0 * * *"),
    ("0 */1 * * * *", "0 * * * * *"),
    ("0 0 0 1 jan-DEC *", "0 0 0 1 * *"),
    ("0 0 0 1 Jan,jul *", "0 0 0 1 */6 *"),
    ("0 0 0 ? * MON-fri", "0 0 0 * * 1-5"),
    ("0 0 0 * * 7", "0 0 0 * * 0"),
    ("0 0 0 * * sat-7", "0 0 0 * * 0,6"),
    ("0 0 0 * * Mon/2", "0 0 0 * * 1,3,5"),
    ("0 0 0 * * 7/2", "0 0 0 * * 0"),
    ("0 0 0 * * 0,2,4,6", "0 0 0 * * */2"),
    ("0 0 0 l,1 * *", "0 0 0 1,L * *"),
    ("0 0 0 * * sunL,7#1", "0 0 0 * * 0#1,0L"),
    ("0 0 0 *,L * *", "0 0 0 * * *"),
    # --- the star of minute and hour: kept, and put where it reads best
    ("0 0,30 * * * *", "0 */30 * * * *"),
    ("0 0-59 * * * *", "0 * * * * *"),
    ("0 0-59 0-23 * * *", "0 0-59 0-23 * * *"),
    ("0 0-59 9 * * *", "0 0-59 9 * * *"),
    ("0 */30 9 * * *", "0 */30 9 * * *"),
    ("0 0,30 9 * * *", "0 0,30 9 * * *"),
    ("0 */45 9 * * *", "0 */45 9 * * *"),
    ("0 */50,7 9 * * *", "0 */50,7 9 * * *"),
    ("0 7,*/50 9 * * *", "0 0,7,50 9 * * *"),
    ("0 5 */13 * * *", "0 5 */13 * * *"),
    ("0 */90 9 * * *", "0 */60 9 * * *"),
    ("0 */60 */2 * * *", "0 0 */2 * * *"),
    ("0 0 */17 * * *", "0 0 */17 * * *"),
    # --- the star of the two day fields
    ("0 0 0 1-31 * 1", "0 0 0 * * *"),
    ("0 0 0 13 * 0-6", "0 0 0 * * *"),
    ("0 0 0 1-31 * *", "0 0 0 * * *"),
    ("0 0 0 * * 1", "0 0 0 * * 1"),
    ("0 0 0 1-31/2 * *", "0 0 0 */2 * *"),
    ("0 0 0 1-31/2 * 1", "0 0 0 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * 1"),
    ("0 0 0 */2 * 1", "0 0 0 */2 * 1"),
    ("0 0 0 */20 * 1", "0 0 0 */20 * 1"),
    ("0 0 0 5 * */6", "0 0 0 5 * */6"),
    ("0 0 0 1,5 * */6", "0 0 0 1,5 * */6"),
    ("0 0 0 */20,L * 1", "0 0 0 */20,L * 1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_canonical_text(text, canonical):
    assert parse_seconds_first(text, zone="UTC").expression == canonical


@pytest.mark.parametrize("canonical", sorted({canonical for _, canonical in CANONICAL}))
def test_canonical_text_stands_for_itself(canonical):
    schedule = CronSchedule.from_canonical(canonical, "Asia/Shanghai")
    assert schedule == parse_seconds_first(canonical, zone="Asia/Shanghai")
    assert schedule is CronSchedule.from_canonical(canonical, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 0 * * * *", "0 0 0-23 * * *"),  # every hour, repeated ones too; each hour of the clock once
        ("0 */30 1 * * *", "0 0,30 1 * * *"),
        ("0 0 0 */2 * 1", "0 0 0 1-31/2 * 1"),  # both must match; either is enough
        ("0 0 0 * * 1", "0 0 0 1 * 1"),
        ("@every 24h", "@daily"),
        ("0 0 0 * * 1#1", "0 0 0 * * 1"),
        ("0 0 0 L * *", "0 0 0 LW * *"),
    ],
)
def test_different_schedules_have_different_texts(one, other):
    assert parse_seconds_first(one, zone="UTC") != parse_seconds_first(other, zone="UTC")


def test_the_zone_is_part_of_a_schedule():
    assert parse_seconds_first("@daily", zone="UTC") != parse_seconds_first("@daily", zone="Asia/Shanghai")


def test_all_dialects_meet_in_one_text():
    crontab = parse_minute_fields(minute="0", hour=1, day="1", month="*", zone="UTC")
    assert crontab == parse_seconds_first("0 0 1 1 * ?", zone="UTC")
    assert hash(crontab) == hash(parse_seconds_first("0 0 1 1 *", zone="UTC"))
