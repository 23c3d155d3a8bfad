"""The schema of the database `carillon`: one linear history, one file per change in `versions/`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "carillon_alembic_version"
LOCK_TIMEOUT_SECONDS = 30


def upgrade(database_url: str) -> None:
    """Bring the database to the newest version. Two at the same time wait for each other.

    There is no way back by design: a change that proves wrong is mended by the next one.
    """
    from alembic import command

    command.upgrade(_config(database_url), "head")


def current(database_url: str) -> str | None:
    """Return the version the database is at; None before the first."""
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    engine = create_engine(_sqlalchemy_url(database_url))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            revision: str | None = context.get_current_revision()
            return revision
    finally:
        engine.dispose()


def _config(database_url: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option(
        "file_template", "%%(year)d%%(month).2d%%(day).2d_%%(hour).2d%%(minute).2d_%%(slug)s"
    )
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = _sqlalchemy_url(database_url)
    return config


def _sqlalchemy_url(database_url: str) -> str:
    scheme, separator, rest = database_url.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError("the database URL must begin with postgresql://")
    return f"postgresql+psycopg://{rest}"
