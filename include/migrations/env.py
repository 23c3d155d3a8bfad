"""How Alembic runs a migration here: always online, in one transaction, never waiting long for a lock."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from include.migrations import LOCK_TIMEOUT_SECONDS, VERSION_TABLE

# Any number that nobody else takes: it stands for "Carillon is migrating".
MIGRATION_LOCK = 7_306_086_412


def run() -> None:
    """Migrate under an advisory lock, so that two starts at once do the work once."""
    engine = create_engine(context.config.attributes["database_url"], poolclass=NullPool)
    with engine.begin() as connection:
        # A migration waiting behind a long transaction holds up all who queue behind it: better to fail.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=False)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
