"""What Carillon adds to Airflow: timetables and REST apps."""

from airflow.plugins_manager import AirflowPlugin

from api_plugin.lazy import LazyApps
from include.schedules.timetables import CrontabTimetable, OnceTimetable


class CarillonPlugin(AirflowPlugin):
    """Registration only."""

    name = "carillon"
    timetables = [CrontabTimetable, OnceTimetable]  # noqa: RUF012  Airflow reads a plain class attribute
    fastapi_apps = LazyApps()
