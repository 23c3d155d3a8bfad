"""What tests of maintenance share."""

from __future__ import annotations

import psycopg
import pytest

from include.kit.db import Database
from tests.maintenance_rows import Bench


@pytest.fixture
def bench(database: Database, connection: psycopg.Connection) -> Bench:
    return Bench(database, connection)
