"""What holds for every expression and every instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from include.cron import CronSchedule, parse_seconds_first
from include.errors import CronExpressionError

ZONES = [
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
    "America/Santiago",
    "UTC",
]


def items(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    bounds = st.tuples(number, number).map(sorted)
    step = st.integers(1, high + 5)
    return st.one_of(
        st.sampled_from(["*", "?"]),
        number.map(str),
        bounds.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        step.map(lambda n: f"*/{n}"),
        st.builds("{}/{}".format, number, step),
    )


def lists(low: int, high: int, *specials: str) -> st.SearchStrategy[str]:
    item = items(low, high) | st.sampled_from(specials) if specials else items(low, high)
    return st.lists(item, min_size=1, max_size=3).map(",".join)


def fields() -> st.SearchStrategy[str]:
    return st.tuples(
        lists(0, 59), lists(0, 59), lists(0, 23), lists(1, 31, "L", "LW"),
        lists(1, 12), lists(0, 7, "fri", "MON#1", "7L", "2#5"),
    ).map(" ".join)  # fmt: skip


zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


def schedule_of(text: str, zone: str) -> CronSchedule:
    try:
        return parse_seconds_first(text, zone=zone)
    except CronExpressionError:
        assume(False)
        raise


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=fields(), zone=zones)
def test_canonical_text_reads_as_itself(text, zone):
    schedule = schedule_of(text, zone)
    assert CronSchedule.from_canonical(schedule.expression, zone) == schedule


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=fields(), zone=zones, moment=moments)
def test_canonical_text_keeps_the_instants(text, zone, moment):
    # `n/step` ends at Saturday, as in robfig/cron; cronsim would go on to 7, a second Sunday.
    assume("/" not in text.split()[5].replace("*/", "").replace("?/", ""))
    canonical = schedule_of(text, zone)
    raw = CronSchedule(" ".join(text.replace("?", "*").upper().split()), zone)
    assert list(islice(canonical.iter_after(moment), 20)) == list(islice(raw.iter_after(moment), 20))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=fields() | st.sampled_from(["@every 7s", "@every 36h"]), zone=zones, moment=moments)
def test_instants_are_in_order_whole_and_later(text, zone, moment):
    found = list(islice(schedule_of(text, zone).iter_after(moment), 50))
    assert all(one < other for one, other in pairwise([moment, *found]))
    assert all(instant.microsecond == 0 and instant.tzinfo is UTC for instant in found)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=fields(), zone=zones, moment=moments)
def test_looking_back_finds_what_looking_forward_found(text, zone, moment):
    schedule = schedule_of(text, zone)
    first, second = islice(schedule.iter_after(moment), 2)
    assert schedule.last_at_or_before(second - timedelta(microseconds=1), moment) == first
    assert schedule.next_after(first - timedelta(microseconds=1)) == first


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=fields(), zone=zones)
def test_every_expression_has_words(text, zone):
    words = schedule_of(text, zone).describe()
    assert words[0].isupper()
    assert "  " not in words


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text(alphabet="0159*/-,?#LWmonTZ=@every .hs", max_size=24))
def test_any_text_is_read_or_refused(text):
    try:
        schedule = parse_seconds_first(text, zone="UTC")
    except CronExpressionError:
        return
    assert CronSchedule.from_canonical(schedule.expression, schedule.zone) == schedule


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seconds=st.integers(1, 366 * 86_400))
def test_an_interval_reads_as_itself(seconds):
    schedule = parse_seconds_first(f"@every {seconds}s", zone="UTC")
    assert CronSchedule.from_canonical(schedule.expression, "UTC") == schedule
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert schedule.next_after(epoch) == epoch + timedelta(seconds=seconds)
