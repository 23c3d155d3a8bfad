"""Every active schedule becomes an Airflow DAG: one for each crontab and time zone in use, one for one-shots.

The schedules are rows of the database `carillon`; `include/schedules/factory.py` turns them into DAGs.
"""

from include.schedules.factory import build_dags

globals().update(build_dags())
