"""Who may call the device timers' API: a JSON Web Token, at both mounts, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from include.kit.clock import system_clock
from include.settings import get_settings
from include.tokens.jwt_tokens import jwt_secret
from tests.builders import make_token, serve
from tests.timer_rows import jwt_of

PATHS = ["http://test/v3/schedule/tasks/", "http://test/v3_1/schedule/tasks/"]
FORM = "jwt <JSON Web Token>"
SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture
async def anyone(database_url: str, parse_requests: list[str], lamp: str):
    async with serve("timers") as client:
        client.params = {"device_id": lamp}
        yield client


def token(**claims) -> str:
    body = {"sub": "alice", "exp": system_clock() + timedelta(minutes=1), **claims}
    return jwt.encode(body, jwt_secret(get_settings()), algorithm="HS256")


def refused(code: int, message: str) -> dict:
    return {"meta": {"code": code, "message": message}, "data": {}}


class TestCredential:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("scheme", ["jwt", "JWT", "Bearer", "bearer"])
    async def test_200(self, anyone, path: str, scheme: str):
        answer = await anyone.get(path, headers={"Authorization": f"{scheme} {jwt_of()}"})
        assert answer.status_code == 200

    @pytest.mark.parametrize("path", PATHS)
    async def test_401_none(self, anyone, path: str):
        answer = await anyone.get(path)
        message = f"one Authorization header is needed: {FORM}"
        assert (answer.status_code, answer.json()) == (401, refused(10101, message))

    async def test_401_two(self, anyone):
        headers = [("Authorization", f"jwt {jwt_of()}")] * 2
        answer = await anyone.get(PATHS[0], headers=headers)
        assert (answer.status_code, answer.json()["meta"]["code"]) == (401, 10101)

    @pytest.mark.parametrize("header", ["", "jwt", "jwt ", "Basic YTpi", "jwt x", "token x", "jwt a.b.c"])
    async def test_401_not_one(self, anyone, header: str):
        answer = await anyone.get(PATHS[0], headers={"Authorization": header})
        assert (answer.status_code, answer.json()["meta"]["code"]) == (401, 10101)
        assert "WWW-Authenticate" in answer.headers

    async def test_401_expired(self, anyone):
        old = token(exp=system_clock() - timedelta(seconds=2))
        answer = await anyone.get(PATHS[0], headers={"Authorization": f"jwt {old}"})
        assert (answer.status_code, answer.json()) == (401, refused(10100, "the token has expired"))

    async def test_401_not_yet(self, anyone):
        early = token(nbf=system_clock() + timedelta(seconds=30))
        answer = await anyone.get(PATHS[0], headers={"Authorization": f"jwt {early}"})
        assert (answer.status_code, answer.json()) == (401, refused(10101, "the token is not valid yet"))

    async def test_401_a_token_of_the_other_apis(self, anyone, database):
        for scheme in ("token", "Bearer", "jwt"):
            credential = await make_token(database, apis=["timers"])
            answer = await anyone.get(PATHS[0], headers={"Authorization": f"{scheme} {credential}"})
            assert (answer.status_code, answer.json()["meta"]["code"]) == (401, 10101)

    async def test_401_also_from_a_network_that_is_opened(self, anyone, monkeypatch):
        monkeypatch.setenv("CARILLON_OPEN_APIS", "timers=127.0.0.0/8")
        get_settings.cache_clear()
        assert (await anyone.get(PATHS[0])).status_code == 401

    async def test_401_before_the_body_or_the_path_is_looked_at(self, anyone):
        answer = await anyone.post("/nowhere/", content=b"{")
        assert answer.status_code == 401

    async def test_a_jwt_opens_no_other_api(self, database_url, parse_requests):
        for name in ("crontab", "billing"):
            async with serve(name) as client:
                client.headers["Authorization"] = f"Bearer {jwt_of()}"
                answer = (
                    await client.post("/query_task_status") if name == "crontab" else await client.get("/")
                )
                assert answer.status_code == 401, name


class TestSettings:
    async def test_a_secret_of_ones_own(self, anyone, monkeypatch):
        derived = jwt_of()
        monkeypatch.setenv("CARILLON_JWT_SECRET", SECRET)
        get_settings.cache_clear()
        assert (await anyone.get(PATHS[0], headers={"Authorization": f"jwt {derived}"})).status_code == 401
        assert (await anyone.get(PATHS[0], headers={"Authorization": f"jwt {jwt_of()}"})).status_code == 200

    async def test_keys_of_an_identity_provider(self, anyone, monkeypatch, tmp_path):
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        file = tmp_path / "keys.json"
        file.write_text(json.dumps({"keys": [{**key, "kid": "k"}]}))
        derived = jwt_of()
        monkeypatch.setenv("CARILLON_JWT_JWKS", str(file))
        get_settings.cache_clear()
        claims = {"sub": "alice", "exp": system_clock() + timedelta(minutes=1)}
        good = jwt.encode(claims, private, algorithm="RS256", headers={"kid": "k"})
        assert (await anyone.get(PATHS[0], headers={"Authorization": f"jwt {good}"})).status_code == 200
        assert (await anyone.get(PATHS[0], headers={"Authorization": f"jwt {derived}"})).status_code == 401

    async def test_502_keys_that_cannot_be_read_are_our_fault(self, anyone, monkeypatch, tmp_path, caplog):
        monkeypatch.setenv("CARILLON_JWT_JWKS", str(tmp_path / "none.json"))
        get_settings.cache_clear()
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        claims = {"sub": "alice", "exp": system_clock() + timedelta(minutes=1)}
        good = jwt.encode(claims, private, algorithm="RS256", headers={"kid": "k"})
        answer = await anyone.get(PATHS[0], headers={"Authorization": f"jwt {good}"})
        assert (answer.status_code, answer.json()["meta"]["code"]) == (502, 10500)
        assert "none.json" not in answer.text
