"""Errors of the billing API that belong to no endpoint: credentials, paths, what goes wrong on our side."""

from __future__ import annotations

import logging

import psycopg

from include.bills.service import BillHistory
from include.settings import get_settings
from tests.billing_rows import insert_bill, insert_place
from tests.builders import make_token
from tests.integration.api_plugin.billing_scheduler.billing_wire import CREATE

LIST = "/tasks/?project_id=42&device_type=0"


def failed(code: int, message: str) -> dict[str, object]:
    return {"meta": {"code": code, "message": message}, "data": {}}


class TestCredential:
    async def test_401_expired_is_told_from_revoked(self, client_of, database, connection):
        for column, code, message in (
            ("expires_at", 10100, "the token has expired"),
            ("revoked_at", 10101, "the token was revoked"),
        ):
            token = await make_token(database)
            connection.execute(f"UPDATE token SET {column} = now() - interval '1 second'")
            answer = await (await client_of("billing", token)).get(LIST)
            assert (answer.status_code, answer.json()) == (401, failed(code, message))
            assert answer.headers["www-authenticate"] == 'Bearer realm="carillon"'

    async def test_401_wrong_or_missing(self, client_of):
        missing = "one Authorization header is needed: token <id>:<40 hex digits>"
        client = await client_of("billing")
        answer = await client.get(LIST)
        assert (answer.status_code, answer.json()) == (401, failed(10101, missing))
        for header, message in (
            ("token 1:" + "0" * 40, "the token is not known"),
            ("token abc", "the token does not have the form <id>:<40 hex digits>"),
            ("jwt abc", "the Authorization header must be: token <id>:<40 hex digits>"),
        ):
            answer = await client.get(LIST, headers={"Authorization": header})
            assert (answer.status_code, answer.json()) == (401, failed(10101, message))

    async def test_403_a_token_of_another_api(self, client_of, database):
        client = await client_of("billing", await make_token(database, apis=["crontab"]))
        answer = await client.get(LIST)
        assert (answer.status_code, answer.json()) == (
            403,
            failed(10350, "the token does not open the API 'billing'"),
        )


class TestPath:
    WRONG = (
        ("GET", "/", 404, 11600),
        ("GET", "/nope", 404, 11600),
        ("GET", "/tasks//", 404, 11600),
        ("GET", "/tasks/a/b/", 404, 11600),
        ("GET", "/history/time/x", 404, 11600),
        ("PATCH", "/tasks/", 405, 10000),
        ("DELETE", "/tasks/", 405, 10000),
        ("POST", f"/tasks/{'0' * 32}/", 405, 10000),
        ("GET", f"/tasks/{'0' * 32}/status/", 405, 10000),
        ("POST", "/history/", 405, 10000),
    )

    async def test_in_the_envelope(self, client):
        for verb, path, status, code in self.WRONG:
            answer = await client.request(verb, path)
            message = {404: "Not Found", 405: "Method Not Allowed"}[status]
            assert (answer.status_code, answer.json()) == (status, failed(code, message)), (verb, path)


async def test_400_a_body_that_is_too_large(client, monkeypatch):
    monkeypatch.setenv("CARILLON_REQUEST_LIMIT_BYTES", "1024")
    get_settings.cache_clear()
    answer = await client.post("/task/", json={**CREATE, "description": "x" * 1500})
    assert (answer.status_code, answer.json()) == (400, failed(10000, "the body is larger than 1024 bytes"))


class TestOurSide:
    async def test_503_without_a_database(self, client, monkeypatch, caplog):
        monkeypatch.setattr("include.kit.db.AsyncConnectionPool.connection", _unreachable)
        with caplog.at_level(logging.WARNING, "api_plugin"):
            answer = await client.get(LIST)
        said, _, error_id = answer.json()["meta"]["message"].partition(" (id ")
        assert (answer.status_code, answer.json()["meta"]["code"], answer.json()["data"]) == (503, 10500, {})
        assert said == "the database cannot be reached at the moment"
        assert f"error {error_id.rstrip(')')}: the database cannot be reached: no route" in caplog.text

    async def test_500_before_the_first_bill_of_a_span_is_in_the_envelope(
        self, client, connection: psycopg.Connection, monkeypatch, caplog
    ):
        insert_bill(connection, insert_place(connection))

        async def broken(*words, **more):
            raise RuntimeError("a fault")

        monkeypatch.setattr(BillHistory, "piece_of_span", broken)
        with caplog.at_level(logging.ERROR, "api_plugin"):
            answer = await client.get(
                "/history/time/?project_id=42&device_type=10&start_date=2019-9-1&end_date=2019-12-1"
            )
        said, _, error_id = answer.json()["meta"]["message"].partition(" (id ")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (500, 10500)
        assert said == "internal error"
        assert f"error {error_id.rstrip(')')}: a fault" in caplog.text


def _unreachable(*words, **more):
    import psycopg_pool

    raise psycopg_pool.PoolTimeout("no route")
