"""The Airflow DAGs of schedules that came or changed just now, so that they need not wait for all the others.

`schedule_dags.py` holds every schedule, these as well; thousands take many seconds to parse, these few one.
"""

from include.schedules.factory import RECENT, build_dags

globals().update(build_dags(recent=RECENT))
