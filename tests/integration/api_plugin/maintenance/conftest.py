"""Clients of the maintenance API."""

from __future__ import annotations

import pytest

from tests.builders import make_token


@pytest.fixture
async def client(client_of, database):
    """A client that sees everything, as the document's own do."""
    return await client_of("maintenance", await make_token(database))


@pytest.fixture
async def ours(client_of, database):
    """A client of the organisation `ours`."""
    return await client_of("maintenance", await make_token(database, projects=["ours"]))


@pytest.fixture
async def stranger(client_of, database):
    """A client of the organisation `theirs`."""
    return await client_of("maintenance", await make_token(database, projects=["theirs"]))
