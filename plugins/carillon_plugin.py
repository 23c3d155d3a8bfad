"""What Carillon adds to Airflow: timetables and REST apps."""

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.schedules.timetables import CrontabTimetable, OnceTimetable


class LazyApps:
    """Made when it is read: all processes of Airflow load plugins, only its API server has apps.

    To import them costs seconds, which a scheduler, a triggerer and each parse of DAG files would pay.
    """

    def __get__(self, plugin: AirflowPlugin | None, owner: type[AirflowPlugin]) -> list[dict[str, Any]]:
        return _make_apps()


@cache
def _make_apps() -> list[dict[str, Any]]:
    from api_plugin.app import APPS

    return [{"name": f"carillon {name}", "url_prefix": prefix, "app": make()} for name, prefix, make in APPS]


class CarillonPlugin(AirflowPlugin):
    """Registration only."""

    name = "carillon"
    timetables = [CrontabTimetable, OnceTimetable]  # noqa: RUF012  Airflow reads a plain class attribute
    fastapi_apps = LazyApps()
