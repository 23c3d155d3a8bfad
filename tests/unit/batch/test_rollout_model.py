"""`x_rollout`: what is read, what is refused, and in which words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.rollout import Abort, Every, Rate, Rollout, Wave, Window, as_json, parse
from include.errors import InvalidInputError

LAST = "waves: the last one has none after it that could wait"
WHOLE = {
    "rate": {"base_per_minute": 50, "factor": 2, "every": {"succeeded": 100}, "per_minute": 1000},
    "max_in_flight": 200,
    "abort": {"failed_percent": 5.0, "min_executed": 50, "action": "stop"},
    "waves": [{"percent": 10}, {"count": 500, "success_percent": 95, "approval": True}, {"rest": True}],
    "window": {"start": "22:00", "end": "04:00", "days": ["mon", "fri"], "timezone": "Europe/Berlin"},
    "spread_seconds": 600,
}


def test_all_of_it_is_read() -> None:
    assert parse(WHOLE) == Rollout(
        rate=Rate(base_per_minute=50, factor=Decimal(2), every=Every(succeeded=100), per_minute=1000),
        max_in_flight=200,
        abort=Abort(failed_percent=Decimal(5), min_executed=50, action="stop"),
        waves=(
            Wave(percent=Decimal(10)),
            Wave(count=500, success_percent=Decimal(95), approval=True),
            Wave(rest=True),
        ),
        window=Window(start="22:00", end="04:00", days=("mon", "fri"), timezone="Europe/Berlin"),
        spread_seconds=600,
    )


def test_what_is_left_out_limits_nothing_or_has_its_default() -> None:
    assert parse({}) == Rollout()
    window = parse({"window": {"start": "00:00", "end": "24:00"}}).window
    assert window == Window("00:00", "24:00", ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "device")
    abort = parse({"abort": {"failed_percent": 0.01, "min_executed": 1}}).abort
    assert abort == Abort(Decimal("0.01"), 1, "pause")


def change(path: str, value: Any) -> dict[str, Any]:
    """Return the whole document with one thing in it changed; `...` takes it out."""
    document: dict[str, Any] = {**WHOLE}
    inner, *rest = path.split(".")
    if not rest:
        return {**document, inner: value}
    part = dict(document[inner]) if isinstance(document[inner], dict) else list(document[inner])
    key = rest[0] if isinstance(part, dict) else int(rest[0])
    if len(rest) > 1:
        value = {**part[key], rest[1]: value}
    if value is ...:
        del part[key]
    else:
        part[key] = value
    return {**document, inner: part}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("speed", 1, "speed", "is not a field of this request"),
        ("rate.per_second", 1, "rate.per_second", "is not a field of this request"),
        ("waves.1.size", 1, "waves.1.size", "is not a field of this request"),
        ("rate", {}, "rate", "needs per_minute, or base_per_minute, factor and every"),
        ("rate.factor", ..., "rate", "needs per_minute, or base_per_minute, factor and every"),
        ("rate", {"per_minute": 0}, "rate.per_minute", "must be greater than or equal to 1"),
        ("rate", {"per_minute": 1_000_001}, "rate.per_minute", "must be less than or equal to 1000000"),
        ("rate", {"per_minute": "10"}, "rate.per_minute", "must be a valid integer"),
        ("rate", {"per_minute": True}, "rate.per_minute", "must be a valid integer"),
        ("rate", {"per_minute": 1.5}, "rate.per_minute", "must be a valid integer"),
        ("rate.base_per_minute", 1001, "rate.base_per_minute", "must be less than or equal to 1000"),
        ("rate.base_per_minute", 0, "rate.base_per_minute", "must be greater than or equal to 1"),
        ("rate.per_minute", 49, "rate", "base_per_minute must not be above per_minute"),
        ("rate.factor", 1.0, "rate.factor", "must be 1.1 to 5"),
        ("rate.factor", 5.1, "rate.factor", "must be 1.1 to 5"),
        ("rate.factor", 1.25, "rate.factor", "no more than 1 decimal place"),
        ("rate.factor", "2", "rate.factor", "must be a number"),
        ("rate.factor", True, "rate.factor", "must be a number"),
        ("rate.factor", float("nan"), "rate.factor", "must be a finite number"),
        ("rate.every", {}, "rate.every", "needs one of succeeded, begun"),
        ("rate.every", {"succeeded": 1, "begun": 1}, "rate.every", "needs one of succeeded, begun"),
        ("rate.every", {"begun": 0}, "rate.every.begun", "must be greater than or equal to 1"),
        ("max_in_flight", 0, "max_in_flight", "must be greater than or equal to 1"),
        ("max_in_flight", 1_000_001, "max_in_flight", "must be less than or equal to 1000000"),
        ("abort.failed_percent", 0, "abort.failed_percent", "must be greater than 0"),
        ("abort.failed_percent", 100.01, "abort.failed_percent", "must be less than or equal to 100"),
        ("abort.failed_percent", 5.001, "abort.failed_percent", "no more than 2 decimal places"),
        ("abort.min_executed", 0, "abort.min_executed", "must be greater than or equal to 1"),
        ("abort.min_executed", ..., "abort.min_executed", "is required"),
        ("abort.action", "cancel", "abort.action", "must be 'pause' or 'stop'"),
        ("waves", [], "waves", "at least 1 item"),
        ("waves", [{"count": 1}] * 101, "waves", "at most 100 items"),
        ("waves", {"percent": 1}, "waves", "must be a valid tuple"),
        ("waves.0", {}, "waves.0", "needs one of percent, count, rest"),
        ("waves.0", {"percent": 1, "count": 1}, "waves.0", "needs one of percent, count, rest"),
        ("waves.0", {"rest": False}, "waves.0.rest", "must be True"),
        ("waves.0.percent", 0, "waves.0.percent", "must be greater than 0"),
        ("waves.1.count", 0, "waves.1.count", "must be greater than or equal to 1"),
        ("waves.1.success_percent", 100.5, "waves.1.success_percent", "must be less than or equal to 100"),
        ("waves.1.approval", "yes", "waves.1.approval", "must be a valid boolean"),
        ("waves", [{"rest": True}, {"count": 1}], "", "waves: only the last can be the rest"),
        ("waves", [{"percent": 60}, {"percent": 41}], "", "waves: more than 100 percent"),
        ("waves", [{"rest": True, "approval": True}], "", LAST),
        ("waves", [{"count": 1, "success_percent": 9}], "", LAST),
        ("window.start", "24:00", "window", "start must be before 24:00"),
        ("window.start", "2:00", "window.start", "must be a time as HH:MM, from 00:00 to 24:00"),
        ("window.end", "24:01", "window.end", "must be a time as HH:MM, from 00:00 to 24:00"),
        ("window.end", ..., "window.end", "is required"),
        ("window.days", [], "window.days", "at least 1 item"),
        ("window.days", ["mon", "mon"], "window.days", "names a day twice"),
        ("window.days", ["monday"], "window.days.0", "must be 'mon', 'tue'"),
        ("window.days", "1111100", "window.days", "must be a valid tuple"),
        ("window.timezone", "Mars/Base", "window.timezone", "is not known"),
        ("spread_seconds", 0, "spread_seconds", "must be greater than or equal to 1"),
        ("spread_seconds", 86_401, "spread_seconds", "must be less than or equal to 86400"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(path: str, value: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(change(path, value))
    assert caught.value.field == (f"x_rollout.{field}" if field else "x_rollout")
    assert message in caught.value.message


counts = st.integers(1, 10**6)
percents = st.decimals(Decimal("0.01"), Decimal(100), places=2)
rates = st.builds(Rate, per_minute=counts) | st.builds(
    Rate,
    base_per_minute=st.integers(1, 1000),
    factor=st.decimals(Decimal("1.1"), Decimal(5), places=1),
    every=st.builds(Every, succeeded=counts) | st.builds(Every, begun=counts),
    per_minute=st.none() | st.integers(1000, 10**6),
)
waves = st.lists(
    st.builds(Wave, count=counts, success_percent=st.none() | percents, approval=st.booleans()), max_size=9
).map(lambda first: (*first, Wave(rest=True)))
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
rollouts = st.builds(
    Rollout,
    rate=st.none() | rates,
    max_in_flight=st.none() | counts,
    abort=st.none() | st.builds(Abort, percents, counts, st.sampled_from(["pause", "stop"])),
    waves=st.none() | waves,
    window=st.none() | st.builds(Window, clocks, clocks),
    spread_seconds=st.none() | st.integers(1, 86_400),
)


@given(rollouts)
def test_what_is_stored_reads_back(rollout: Rollout) -> None:
    assert parse(as_json(rollout)) == rollout
