"""The adapter against Airflow's own models: the rows are what the DAG processor reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import sessionmaker

from api_plugin.common import airflow_adapter
from api_plugin.common.parse_watch import LastParse


@pytest.fixture
def metadata_session(database_url: str, monkeypatch: pytest.MonkeyPatch):
    """Sessions as the API server has them, on a database with the one table that is needed."""
    from airflow import settings
    from airflow.models.dagbag import DagPriorityParsingRequest

    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    DagPriorityParsingRequest.__table__.create(engine)
    make = sessionmaker(engine)
    monkeypatch.setattr(settings, "NonScopedSession", make, raising=False)
    yield make
    engine.dispose()


def requests(make) -> list[tuple[str, str]]:
    from airflow.models.dagbag import DagPriorityParsingRequest

    with make() as session:
        rows = session.scalars(select(DagPriorityParsingRequest)).all()
        return [(row.bundle_name, row.relative_fileloc) for row in rows]


def test_a_parse_is_asked_for_once_however_often_one_asks(metadata_session):
    airflow_adapter.request_parse()
    airflow_adapter.request_parse()
    airflow_adapter.request_full_parse()
    assert sorted(requests(metadata_session)) == [
        ("dags-folder", "recent_schedule_dags.py"),
        ("dags-folder", "schedule_dags.py"),
    ]


def test_it_is_asked_for_again_when_the_request_was_taken(metadata_session):
    from airflow.models.dagbag import DagPriorityParsingRequest

    airflow_adapter.request_parse()
    with metadata_session() as session:
        session.query(DagPriorityParsingRequest).delete()
        session.commit()
    airflow_adapter.request_parse()
    assert len(requests(metadata_session)) == 1


def test_the_last_parse_began_before_it_was_stored(monkeypatch):
    from contextlib import contextmanager

    stored = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    rows = [(stored, 1.5), (stored, None), None]
    asked = []

    class Session:
        def execute(self, statement):
            asked.append(str(statement))
            return self

        def first(self):
            return rows.pop(0)

    @contextmanager
    def session(scoped):
        yield Session()

    monkeypatch.setattr("airflow.utils.session.create_session", session)
    took = timedelta(seconds=1.5)
    assert airflow_adapter.last_parse() == LastParse(stored - took, took)
    assert airflow_adapter.last_parse() == LastParse(stored, timedelta(0))
    assert airflow_adapter.last_parse() is None
    assert "dag.relative_fileloc" in asked[0]


def test_the_bundle_is_airflows_default_and_the_file_is_there():
    from airflow.configuration import conf

    [bundle] = conf.getjson("dag_processor", "dag_bundle_config_list")
    assert bundle["name"] == airflow_adapter.BUNDLE_NAME
    root = Path(airflow_adapter.__file__).parents[2]
    assert (root / "dags" / airflow_adapter.FACTORY_FILE).is_file()


def test_a_part_that_airflow_does_not_have_is_absent(monkeypatch):
    answer = {
        "metadatabase": {"status": "healthy"},
        "scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": None},
        "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
    }
    monkeypatch.setattr("airflow.api.common.airflow_health.get_airflow_health", lambda: answer)
    assert airflow_adapter.airflow_health() == {
        "metadatabase": "healthy",
        "scheduler": "unhealthy",
        "triggerer": "absent",
        "dag_processor": "absent",
    }


def test_an_asset_that_no_dag_is_scheduled_on_is_told_nothing(metadata_session):
    from airflow.models.asset import AssetModel

    AssetModel.__table__.create(metadata_session.kw["bind"])
    assert airflow_adapter.emit_asset_event("carillon_statistics", {"crossed": 1}) is False
