"""The one place where the REST side touches Airflow: asking for a parse, asking how its parts are.

Both need Airflow's metadata session, which the API server has. They block, so callers use a thread.
"""

from __future__ import annotations

from typing import Any

#: Where the factory lies: the default bundle (`[dag_processor] dag_bundle_config_list`) and the file in it.
BUNDLE_NAME = "dags-folder"
FACTORY_FILE = "schedule_dags.py"

COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def request_parse() -> None:
    """Ask the DAG processor to parse the factory before anything else; one request at a time is enough."""
    from airflow.models.dagbag import DagPriorityParsingRequest
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    try:
        with create_session(scoped=False) as session:
            session.add(DagPriorityParsingRequest(BUNDLE_NAME, FACTORY_FILE))
    except IntegrityError:
        return  # asked already, and not looked at yet: that parse will see what we wrote


def airflow_health() -> dict[str, str]:
    """Return `healthy`, `unhealthy` or `absent` for each of `COMPONENTS`."""
    from airflow.api.common.airflow_health import get_airflow_health

    found: dict[str, Any] = get_airflow_health()
    return {name: found.get(name, {}).get("status") or "absent" for name in COMPONENTS}
