"""The timetables as Airflow sees them."""

from __future__ import annotations

from datetime import UTC, datetime

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.utils.types import DagRunType

from include.schedules import timetables
from include.schedules.timetables import CrontabTimetable, OnceTimetable, WindowTimetable

ANY = TimeRestriction(earliest=None, latest=None, catchup=False)


def crontab(expression: str = "0 30 9 * * *", zone: str = "Asia/Shanghai") -> CrontabTimetable:
    return CrontabTimetable(expression=expression, zone=zone, lead=15, since="2026-03-01T00:00:00+00:00")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The present moment, to be set by the test."""
    moment = [datetime(2026, 3, 1, 0, 0, 5, tzinfo=UTC)]
    monkeypatch.setattr(timetables, "system_clock", lambda: moment[0])
    return moment


class TestNextRun:
    def test_first_run_starts_when_the_schedule_became_active(self, now: list[datetime]) -> None:
        info = crontab().next_dagrun_info(last_automated_data_interval=None, restriction=ANY)
        assert info is not None
        assert info.data_interval == DataInterval(
            pendulum.datetime(2026, 3, 1), pendulum.datetime(2026, 3, 1, 1, 30)
        )
        assert info.run_after == pendulum.datetime(2026, 3, 1, 1, 29, 45)

    def test_pendulum_moments_of_airflow_are_taken(self, now: list[datetime]) -> None:
        last = DataInterval(pendulum.datetime(2026, 3, 1), pendulum.datetime(2026, 3, 1, 1, 30))
        info = crontab().next_dagrun_info(last_automated_data_interval=last, restriction=ANY)
        assert info is not None
        assert info.data_interval is not None
        assert info.data_interval.start == last.end
        assert info.data_interval.end == pendulum.datetime(2026, 3, 2, 1, 30)

    def test_dense_windows_touch_though_their_intervals_are_moved(self, now: list[datetime]) -> None:
        table, last, ends = crontab("*/10 * * * * *"), None, []
        for _ in range(3):
            info = table.next_dagrun_info(last_automated_data_interval=last, restriction=ANY)
            assert info is not None
            assert info.data_interval is not None
            assert info.data_interval.start <= max(info.run_after, pendulum.instance(now[0]))
            assert last is None or info.data_interval.start == last.end
            last = info.data_interval
            ends.append(last.end.to_iso8601_string())
        assert ends == ["2026-02-28T23:59:50Z", "2026-03-01T00:00:50Z", "2026-03-01T00:01:50Z"]

    def test_a_schedule_that_was_away_begins_anew(self, now: list[datetime]) -> None:
        old = DataInterval(pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 1, 2, 1, 30))
        info = crontab().next_dagrun_info(last_automated_data_interval=old, restriction=ANY)
        assert info is not None
        assert info.data_interval is not None
        assert info.data_interval.start == pendulum.datetime(2026, 3, 1)

    def test_downtime_is_one_run_at_once(self, now: list[datetime]) -> None:
        now[0] = datetime(2026, 3, 9, 12, tzinfo=UTC)
        last = DataInterval(pendulum.datetime(2026, 3, 1), pendulum.datetime(2026, 3, 1, 1, 30))
        info = crontab().next_dagrun_info(last_automated_data_interval=last, restriction=ANY)
        assert info is not None
        assert info.data_interval == DataInterval(last.end, pendulum.datetime(2026, 3, 9, 1, 30))
        assert info.run_after <= now[0]


class TestSerialization:
    @pytest.mark.parametrize(
        "table",
        [
            crontab(),
            crontab("*/10 * * * * *", "America/New_York"),
            crontab("0 0 1 30 1,3-12 *|0 0 1 L 2 *"),
            crontab("@every 1m30s"),
            OnceTimetable(lead=20, since="2026-03-01T08:00:00+08:00", zone="Asia/Shanghai"),
        ],
        ids=lambda table: table.summary,
    )
    def test_round_trip(self, table: WindowTimetable) -> None:
        again = type(table).deserialize(table.serialize())
        assert isinstance(again, type(table))
        assert again.serialize() == table.serialize()
        assert again.dense == table.dense


class TestRunId:
    def test_scheduled_run_is_named_after_its_last_instant_in_its_own_zone(self) -> None:
        interval = DataInterval(pendulum.datetime(2026, 3, 1), pendulum.datetime(2026, 3, 1, 1, 30))
        run_id = crontab().generate_run_id(
            run_type=DagRunType.SCHEDULED, run_after=interval.end, data_interval=interval
        )
        assert run_id == "scheduled__2026-03-01T09:30:00+08:00"

    def test_dense_run_too(self) -> None:
        interval = DataInterval(pendulum.datetime(2026, 3, 1), pendulum.datetime(2026, 3, 1, 0, 0, 50))
        run_id = crontab("*/10 * * * * *").generate_run_id(
            run_type=DagRunType.SCHEDULED, run_after=interval.start, data_interval=interval
        )
        assert run_id == "scheduled__2026-03-01T08:01:50+08:00"

    def test_manual_run(self) -> None:
        moment = pendulum.datetime(2026, 3, 1)
        run_id = crontab().generate_run_id(
            run_type=DagRunType.MANUAL, run_after=moment, data_interval=DataInterval.exact(moment)
        )
        assert run_id.startswith("manual__2026-03-01T00:00:00")
        assert crontab().infer_manual_data_interval(run_after=moment) == DataInterval.exact(moment)
