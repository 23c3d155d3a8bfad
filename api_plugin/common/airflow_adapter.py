"""The one place where the REST side touches Airflow: asking for a parse, starting a run, how its parts are.

All of it needs Airflow's metadata session, which the API server has. It blocks, so callers use a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from api_plugin.common.parse_watch import LastParse
from include.errors import CarillonError

#: Where the DAGs lie: the default bundle (`[dag_processor] dag_bundle_config_list`) and the files in it.
BUNDLE_NAME = "dags-folder"
RECENT_FILE = "recent_schedule_dags.py"
FACTORY_FILE = "schedule_dags.py"
BATCH_FILE = "batch_dags.py"

COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def request_parse(file: str = RECENT_FILE) -> None:
    """Ask the DAG processor to parse a file before anything else; one request at a time is enough."""
    from airflow.models.dagbag import DagPriorityParsingRequest
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    try:
        with create_session(scoped=False) as session:
            session.add(DagPriorityParsingRequest(BUNDLE_NAME, file))
    except IntegrityError:
        return  # asked already, and not looked at yet: that parse will see what we wrote


def last_parse(file: str = RECENT_FILE) -> LastParse | None:
    """Return the latest full parse of a file, None where it shows no DAG."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    statement = (
        select(DagModel.last_parsed_time, DagModel.last_parse_duration)
        .where(DagModel.bundle_name == BUNDLE_NAME, DagModel.relative_fileloc == file)
        .where(DagModel.last_parsed_time.is_not(None))
        .order_by(DagModel.last_parsed_time.desc())
        .limit(1)
    )
    with create_session(scoped=False) as session:
        row = session.execute(statement).first()
    if row is None:
        return None
    took = timedelta(seconds=row[1] or 0)
    return LastParse(row[0] - took, took)


def request_full_parse() -> None:
    """Ask for the file of all schedules, from which a DAG that left is missed."""
    request_parse(FACTORY_FILE)


class DagNotParsedError(CarillonError):
    """Airflow does not know the DAG yet."""

    retryable = True


def start_run(
    dag_id: str,
    run_id: str,
    *,
    conf: Mapping[str, Any],
    run_after: datetime | None = None,
    user: str | None = None,
) -> None:
    """Have Airflow run a DAG; a run of this id that is there already is as good.

    :param run_after: aware; None: at once
    :param user: on whose behalf, for Airflow's UI
    :raises DagNotParsedError: the DAG is not there yet; a parse has been asked for
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound, DagRunAlreadyExists
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType

    try:
        with create_session(scoped=False) as session:
            trigger_dag(
                dag_id,
                run_id=run_id,
                run_after=run_after,
                conf=dict(conf),
                triggered_by=DagRunTriggeredByType.REST_API,
                triggering_user_name=user,
                session=session,
            )
    except DagRunAlreadyExists:
        return
    except DagNotFound as error:
        request_parse(BATCH_FILE)
        raise DagNotParsedError(f"Airflow does not know the DAG {dag_id} yet") from error


def emit_asset_event(name: str, extra: Mapping[str, Any]) -> bool:
    """Tell the DAGs that are scheduled on an asset that it changed.

    :returns: whether Airflow knows the asset; no DAG is scheduled on one that it does not know
    """
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == name).limit(1))
        if asset is None:
            return False
        asset_manager.register_asset_change(asset=asset, extra=dict(extra), session=session)
        return True


def airflow_health() -> dict[str, str]:
    """Return `healthy`, `unhealthy` or `absent` for each of `COMPONENTS`."""
    from airflow.api.common.airflow_health import get_airflow_health

    found: dict[str, Any] = get_airflow_health()
    return {name: found.get(name, {}).get("status") or "absent" for name in COMPONENTS}
