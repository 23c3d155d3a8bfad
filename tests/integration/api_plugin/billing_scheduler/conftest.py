"""Clients of the billing API."""

from __future__ import annotations

import pytest

from tests.builders import make_token


@pytest.fixture
async def client(client_of, database):
    """A client that sees the projects 28, 42 and 49."""
    return await client_of("billing", await make_token(database, projects=["28", "42", "49"]))


@pytest.fixture
async def stranger(client_of, database):
    """A client of another project."""
    return await client_of("billing", await make_token(database, projects=["7"]))
