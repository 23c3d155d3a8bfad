"""POST /login/ and /logout/."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from include.accounts import service
from include.accounts.service import AccountService
from include.accounts.throttle import LoginThrottle
from include.settings import get_settings
from tests.billing_rows import LOCAL
from tests.builders import make_token

ANNA = {"username": "anna", "password": "correct horse"}
WRONG = {"meta": {"code": 10101, "message": "the username or the password is wrong"}, "data": {}}
DONE = {"meta": {"code": 0, "message": "logout ok."}, "data": {}}


@pytest.fixture(autouse=True)
def throttle(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of a count of tries of this test's own."""
    moment = [1000.0]
    monkeypatch.setattr(service, "throttle", LoginThrottle(lambda: moment[0]))
    return moment


@pytest.fixture
async def anna(database):
    async with database.transaction() as connection:
        return await AccountService(connection).create(
            "anna", "correct horse", apis=["billing"], projects=["42", "49"]
        )


@pytest.fixture
async def nobody(client_of):
    return await client_of("billing")


class TestLogin:
    @pytest.mark.parametrize("path", ["/login/", "/login"])
    async def test_200_a_token_of_the_account(self, nobody, anna, path, connection: psycopg.Connection):
        answer = await nobody.post(path, json=ANNA)
        body = answer.json()
        token = body["data"].pop("token")
        ends = datetime.fromisoformat(body["data"].pop("expires_at")).replace(tzinfo=LOCAL)
        assert (answer.status_code, body) == (200, {"meta": {"code": 0, "message": "login ok."}, "data": {}})
        assert abs(datetime.now(LOCAL) + timedelta(hours=24) - ends) < timedelta(minutes=2)
        row = connection.execute("SELECT name, apis, projects, account_id FROM token").fetchone()
        assert row == {"name": "anna", "apis": ["billing"], "projects": ["42", "49"], "account_id": anna.id}
        header = {"Authorization": f"token {token}"}
        for project, status in ((42, 200), (49, 200), (7, 403)):
            answer = await nobody.get(f"/tasks/?project_id={project}&device_type=0", headers=header)
            assert answer.status_code == status

    async def test_200_as_long_as_the_setting_says(self, nobody, anna, monkeypatch):
        monkeypatch.setenv("CARILLON_LOGIN_HOURS", "0.5")
        get_settings.cache_clear()
        ends = (await nobody.post("/login/", json=ANNA)).json()["data"]["expires_at"]
        left = datetime.fromisoformat(ends).replace(tzinfo=LOCAL) - datetime.now(LOCAL)
        assert timedelta(minutes=28) < left <= timedelta(minutes=30)

    async def test_401_the_same_words_for_a_wrong_name_and_a_wrong_password(self, nobody, anna):
        for changes in (
            {"password": "wrong"},
            {"username": "berta"},
            {"username": "Anna"},
        ):
            answer = await nobody.post("/login/", json={**ANNA, **changes})
            assert (answer.status_code, answer.json()) == (401, WRONG), changes

    async def test_400_half_of_a_surrogate_pair(self, nobody, anna):
        answer = await nobody.post("/login/", content=b'{"username": "anna", "password": "\\ud800"}')
        assert (answer.status_code, answer.json()["meta"]["code"]) == (400, 10000)
        assert answer.json()["meta"]["message"].startswith("password: must be a valid string")

    async def test_401_a_disabled_account_and_its_tokens(self, nobody, anna, database, connection):
        token = (await nobody.post("/login/", json=ANNA)).json()["data"]["token"]
        async with database.transaction() as session:
            await AccountService(session).disable("anna")
        assert (await nobody.post("/login/", json=ANNA)).json() == WRONG
        header = {"Authorization": f"token {token}"}
        answer = await nobody.get("/tasks/?project_id=42&device_type=0", headers=header)
        assert answer.json()["meta"] == {"code": 10101, "message": "the token was revoked"}

    async def test_401_ten_failed_tries_a_minute(self, nobody, anna, throttle):
        async def status(**changes):
            answer = await nobody.post("/login/", json={**ANNA, **changes})
            return answer.status_code, answer.json()["meta"]["message"]

        for _ in range(10):
            assert await status(password="wrong") == (401, "the username or the password is wrong")
        waits = (401, "too many failed tries to log in: wait a minute")
        assert await status() == waits
        assert await status(username="berta") == (401, "the username or the password is wrong")
        throttle[0] += 60
        assert await status() == (200, "login ok.")

    BAD = (
        ({}, "username: is required; password: is required"),
        ({"username": 1, "password": "x"}, "username: must be a valid string"),
        ({"username": "", "password": "x"}, "username: must have at least 1 character"),
        ({"username": "a\0", "password": "x"}, "username: must not contain NUL characters"),
        ({"username": "a", "password": None}, "password: must be a valid string"),
        ({"username": "a", "password": ""}, "password: must have at least 1 character"),
        ({"username": "a", "password": "x" * 1001}, "password: must have at most 1000 characters"),
        ({**ANNA, "remember": True}, "remember: is not a field of this request"),
    )

    async def test_400_names_the_field(self, nobody):
        for body, message in self.BAD:
            answer = await nobody.post("/login/", json=body)
            expected = {"meta": {"code": 10000, "message": message}, "data": {}}
            assert (answer.status_code, answer.json()) == (400, expected), body

    async def test_405_another_verb(self, nobody):
        answer = await nobody.get("/login/")
        assert (answer.status_code, answer.json()) == (
            405,
            {"meta": {"code": 10000, "message": "Method Not Allowed"}, "data": {}},
        )


class TestLogout:
    @pytest.mark.parametrize("path", ["/logout/", "/logout"])
    async def test_200_the_token_is_of_no_more_use_at_once(self, client_of, nobody, anna, path):
        token = (await nobody.post("/login/", json=ANNA)).json()["data"]["token"]
        client = await client_of("billing", token)
        other = await client_of("crontab", token)
        assert (await client.get("/tasks/?project_id=42&device_type=0")).status_code == 200
        answer = await client.post(path)
        assert (answer.status_code, answer.json()) == (200, DONE)
        answer = await client.get("/tasks/?project_id=42&device_type=0")
        assert (answer.status_code, answer.json()) == (
            401,
            {"meta": {"code": 10101, "message": "the token was revoked"}, "data": {}},
        )
        assert (await other.post("/add_task", json={})).json()["msg"] == "the token was revoked"

    async def test_200_a_token_of_the_command_line_and_no_other(self, client_of, database, connection):
        client = await client_of("billing", await make_token(database))
        await make_token(database)
        assert (await client.post("/logout/", json={})).json() == DONE
        rows = connection.execute("SELECT revoked_at IS NULL AS good FROM token ORDER BY id").fetchall()
        assert [row["good"] for row in rows] == [False, True]

    async def test_401_without_a_token(self, client_of, nobody, database_url, monkeypatch):
        answer = await nobody.post("/logout/")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (401, 10101)
        monkeypatch.setenv("CARILLON_OPEN_APIS", "billing=10.0.0.0/8")
        get_settings.cache_clear()
        answer = await (await client_of("billing", address="10.1.2.3")).post("/logout/")
        assert (answer.status_code, answer.json()["meta"]) == (
            401,
            {"code": 10101, "message": "there is no token to log out: this network needs none"},
        )
