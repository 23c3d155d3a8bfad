"""The Airflow DAGs of batch tasks: one for each task type, a run for each batch task.

They are always the same, so no database is asked; `include/schedules/batch_factory.py` builds them.
"""

from include.schedules.batch_factory import build_batch_dags

globals().update(build_batch_dags())
