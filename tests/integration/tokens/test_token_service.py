"""Tokens in a real Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.errors import AuthenticationError, InvalidInputError, NotFoundError
from include.kit.db import Database
from include.tokens.repository import queries
from include.tokens.service import TokenService
from tests.builders import make_token

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_a_new_token_verifies_and_its_secret_is_not_stored(
    database: Database, connection: psycopg.Connection
):
    async with database.transaction() as session:
        token, credential = await TokenService(session, clock=lambda: NOW).create(
            "meter portal", apis=["crontab"], projects=["42", "49"], expires_at=NOW + timedelta(days=90)
        )
        assert await TokenService(session, clock=lambda: NOW).verify(str(credential)) == token
    [row] = connection.execute("SELECT * FROM token").fetchall()
    assert row == {
        "id": token.id,
        "name": "meter portal",
        "secret_hash": credential.secret_hash,
        "apis": ["crontab"],
        "projects": ["42", "49"],
        "created_at": NOW,
        "expires_at": NOW + timedelta(days=90),
        "revoked_at": None,
        "account_id": None,
        "access_key": None,
        "secret_key": None,
    }
    assert credential.secret not in str(row)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: "nonsense", "the token does not have the form <id>:<40 hex digits>"),
        (lambda text: "999:" + text.partition(":")[2], "the token is not known"),
        (lambda text: text.partition(":")[0] + ":" + "0" * 40, "the token is not known"),
    ],
)
async def test_a_wrong_credential_is_refused(database: Database, spoil, message: str):
    written = await make_token(database)
    async with database.transaction() as session:
        with pytest.raises(AuthenticationError) as caught:
            await TokenService(session).verify(spoil(written))
    assert str(caught.value) == message


async def test_a_token_ends_at_its_expiry(database: Database):
    async with database.transaction() as session:
        _, credential = await TokenService(session, clock=lambda: NOW).create(
            "short", expires_at=NOW + timedelta(seconds=1)
        )
        with pytest.raises(AuthenticationError) as caught:
            await TokenService(session, clock=lambda: NOW + timedelta(seconds=1)).verify(str(credential))
    assert str(caught.value) == "the token has expired"


async def test_a_revoked_token_is_refused_and_keeps_the_moment_of_its_end(database: Database):
    async with database.transaction() as session:
        token, credential = await TokenService(session, clock=lambda: NOW).create("t")
        first = await TokenService(session, clock=lambda: NOW).revoke(token.id)
        again = await TokenService(session, clock=lambda: NOW + timedelta(days=1)).revoke(token.id)
        with pytest.raises(AuthenticationError) as caught:
            await TokenService(session, clock=lambda: NOW).verify(str(credential))
    assert first.revoked_at == again.revoked_at == NOW
    assert str(caught.value) == "the token was revoked"


async def test_revoking_what_is_not_there_says_so(database: Database):
    async with database.transaction() as session:
        with pytest.raises(NotFoundError) as caught:
            await TokenService(session).revoke(7)
    assert str(caught.value) == "there is no token 7"


async def test_a_token_that_would_have_ended_already_is_refused(database: Database):
    async with database.transaction() as session:
        with pytest.raises(InvalidInputError) as caught:
            await TokenService(session, clock=lambda: NOW).create("t", expires_at=NOW)
    assert caught.value.field == "expires"


async def test_the_list_has_every_token_the_revoked_ones_too(database: Database):
    await make_token(database, name="one")
    await make_token(database, name="two")
    async with database.transaction() as session:
        await TokenService(session).revoke(1)
        found = await TokenService(session).list()
    assert [(token.id, token.name, token.revoked_at is None) for token in found] == [
        (1, "one", False),
        (2, "two", True),
    ]


async def test_verifying_costs_one_query_by_primary_key(database: Database, connection: psycopg.Connection):
    written = await make_token(database)
    connection.execute(
        "INSERT INTO token (name, secret_hash) SELECT 'x', sha256('') FROM generate_series(1, 5000)"
    )
    connection.execute("ANALYZE token")
    plan = connection.execute("EXPLAIN " + queries.find_token, {"id": 1}).fetchall()
    assert "Index Scan using token_pkey" in str(plan)

    async with database.transaction() as session:
        executed = []
        execute = session.execute
        session.execute = lambda *words, **more: executed.append(words) or execute(*words, **more)
        await TokenService(session).verify(written)
    assert len(executed) == 1
