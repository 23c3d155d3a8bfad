"""Who gets in: every route of every app, tokens, scopes, opened networks."""

from __future__ import annotations

import logging

import httpx
import psycopg
import pytest

from api_plugin.app import APIS, APPS, create_app
from include.settings import get_settings
from tests.builders import make_token, serve, task

OPEN = {
    ("management", "/health/live"),
    ("management", "/openapi.json"),
    ("management", "/docs"),
    ("management", "/docs/swagger-ui-bundle.js"),
    ("management", "/docs/swagger-ui.css"),
    ("management", "/maintenance/calendar.ics"),  # its token stands in the address
    ("billing", "/login/"),
    ("billing", "/login"),
}

#: What an open route answers that is given nothing.
OPEN_STATUS = {"management": 200, "billing": 400}
OPEN_STATUS_OF = {"/maintenance/calendar.ics": 422}


def routes() -> list[tuple[str, str, str]]:
    found = []
    for api in APIS:
        for part in (api.router, api.open_router):
            for route in part.routes:
                found += [(api.name, method, route.path) for method in sorted(route.methods or ())]
    return found


def challenge(name: str, detail: str, path: str, status: int = 401) -> dict[str, object]:
    if name == "crontab":
        return {"state": 2, "msg": detail, "data": {}}
    if name == "maintenance":
        resp = "" if path == "/api" else path.rpartition("/")[2]
        return {"resp": resp, "code": 10012, "msg": "请求-认证错误", "info": detail, "result": {}}
    if name in ("billing", "timers"):
        return {"meta": {"code": 10101, "message": detail}, "data": {}}
    if name == "iot":
        return {"error_code": "IOTDA.000002", "error_msg": detail}
    kind, title = {401: ("credential", "Unauthorized"), 403: ("permission", "Forbidden")}[status]
    return {
        "type": f"urn:carillon:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"/carillon/v1{path}",
    }


MISSING = "one Authorization header is needed: token <id>:<40 hex digits>"
MISSING_ELSEWHERE = {
    "timers": "one Authorization header is needed: jwt <JSON Web Token>",
    "iot": "the request carries neither X-Auth-Token nor a signature",
}
CHALLENGES = {"iot": 'SDK-HMAC-SHA256 realm="carillon"'}


async def test_every_route_of_every_app_wants_a_credential(client_of):
    assert {(name, path) for name, _, path in routes()} > OPEN
    clients = {api.name: await client_of(api.name) for api in APIS}
    for name, method, path in routes():
        answer = await clients[name].request(method, path.replace("{", "").replace("}", ""))
        if (name, path) in OPEN:
            assert answer.status_code == OPEN_STATUS_OF.get(path, OPEN_STATUS[name]), path
        else:
            assert answer.status_code == 401, (name, method, path)
            missing = MISSING_ELSEWHERE.get(name, MISSING)
            assert answer.json() == challenge(name, missing, path.replace("{", "").replace("}", ""))
            assert answer.headers["www-authenticate"] == CHALLENGES.get(name, 'Bearer realm="carillon"')


async def test_what_is_no_route_wants_a_credential_too(client_of):
    client = await client_of("management")
    for path in (
        "/nope",
        "/",
        "/docs/",
        "/docs/../whoami",
        "/DOCS",
        "/docs/x",
        "//docs",
        "/docs%2F..%2Fwhoami",
    ):
        url = httpx.URL("http://test").copy_with(raw_path=f"/carillon/v1{path}".encode())
        assert (await client.get(url)).status_code == 401, path
    assert (await (await client_of("crontab")).post("/nope")).status_code == 401


async def test_nobody_without_a_credential_has_a_body_read(client_of):
    client = await client_of("crontab")

    async def never():
        raise AssertionError("the body was read")
        yield b""

    assert (await client.post("/add_task", content=never())).status_code == 401


async def test_websockets_are_closed():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/add_task", "headers": [], "query_string": b"", "root_path": ""}
    await create_app("crontab")(scope, receive, send)
    assert sent == ["websocket.close"]


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("Bearer x", "the token does not have the form <id>:<40 hex digits>"),
        ("token", "the token does not have the form <id>:<40 hex digits>"),
        ("token 1:" + "0" * 40, "the token is not known"),
        ("Basic dXNlcjpwdw==", "the Authorization header must be: token <id>:<40 hex digits>"),
        ("", "the Authorization header must be: token <id>:<40 hex digits>"),
    ],
)
async def test_401_for_a_credential_that_is_none(client_of, database, header, detail):
    await make_token(database)
    for name, path in (("crontab", "/add_task"), ("management", "/whoami")):
        client = await client_of(name)
        answer = await client.get(path, headers={"Authorization": header})
        assert (answer.status_code, answer.json()) == (401, challenge(name, detail, path))


async def test_401_for_two_credentials(client_of, database):
    token = await make_token(database)
    client = await client_of("management")
    answer = await client.get("/whoami", headers=[("Authorization", f"token {token}")] * 2)
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["token", "Token", "Bearer", "bearer", "bearer "])
async def test_200_for_either_spelling(client_of, database, scheme):
    token = await make_token(database, name="mine", apis=["management"], projects=["42"])
    client = await client_of("management")
    answer = await client.get("/whoami", headers={"Authorization": f"{scheme} {token}"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"token_id": 1, "name": "mine", "apis": ["management"], "projects": ["42"], "expires_at": None},
    )


async def test_a_token_without_the_scope_is_refused(client_of, database):
    token = await make_token(database, apis=["crontab"])
    client = await client_of("management", token)
    answer = await client.get("/whoami")
    detail = "the token does not open the API 'management'"
    assert (answer.status_code, answer.json()) == (403, challenge("management", detail, "/whoami", 403))
    assert "www-authenticate" not in answer.headers
    crontab = await client_of("crontab", await make_token(database, apis=["management"]))
    answer = await crontab.post("/add_task", json={})
    detail = "the token does not open the API 'crontab'"
    assert (answer.status_code, answer.json()) == (401, {"state": 2, "msg": detail, "data": {}})


async def test_a_revoked_or_expired_token_is_refused(client_of, database, connection: psycopg.Connection):
    for column, detail in (("revoked_at", "the token was revoked"), ("expires_at", "the token has expired")):
        token = await make_token(database)
        connection.execute(f"UPDATE token SET {column} = now() - interval '1 second'")
        client = await client_of("management", token)
        answer = await client.get("/whoami")
        assert (answer.status_code, answer.json()) == (401, challenge("management", detail, "/whoami"))


async def test_a_busy_client_is_verified_once_and_a_revocation_takes_three_seconds_at_most(
    client_of, database, connection: psycopg.Connection, monkeypatch
):
    client = await client_of("management", await make_token(database))
    assert [(await client.get("/whoami")).status_code for _ in range(5)] == [200] * 5
    connection.execute("UPDATE token SET revoked_at = now()")
    assert (await client.get("/whoami")).status_code == 200
    import time

    later = time.monotonic() + 3.0
    monkeypatch.setattr("include.tokens.cache.time.monotonic", lambda: later)
    fresh = await client_of("management", None)
    fresh.headers["Authorization"] = client.headers["Authorization"]
    assert (await fresh.get("/whoami")).status_code == 401


class TestOpenNetworks:
    @pytest.fixture(autouse=True)
    def _open(self, monkeypatch, database_url):
        monkeypatch.setenv("CARILLON_OPEN_APIS", "crontab=10.1.0.0/16,2001:db8::/32")
        get_settings.cache_clear()

    @pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"])
    async def test_a_legacy_client_needs_no_credential(self, client_of, address):
        client = await client_of("crontab", address=address)
        answer = await client.post("/add_task", json={"task_list": [task("good")]})
        assert answer.json()["data"]["task_result"] == [{"task_id": "1", "name": "good", "err": ""}]

    @pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "testclient", ""])
    async def test_any_other_does(self, client_of, address):
        client = await client_of("crontab", address=address)
        assert (await client.post("/add_task", json={})).status_code == 401

    async def test_a_wrong_credential_is_wrong_there_too(self, client_of):
        client = await client_of("crontab", "1:" + "0" * 40, address="10.1.2.3")
        assert (await client.post("/add_task", json={})).status_code == 401

    async def test_the_other_apis_stay_closed(self, client_of):
        client = await client_of("management", address="10.1.2.3")
        assert (await client.get("/whoami")).status_code == 401

    async def test_an_opened_api_of_maintenance_shows_everything_as_nobody(self, client_of, monkeypatch):
        monkeypatch.setenv("CARILLON_OPEN_APIS", "maintenance=10.1.0.0/16")
        get_settings.cache_clear()
        client = await client_of("maintenance", address="10.1.2.3")
        answer = await client.post(
            "/api",
            json={"action": "create_v2_project", "uid": "open", "name": "n", "cycle_type": "自然时间周期",
                  "period_num": 1, "period_unit": "日", "object_id_list": ["a"]},
        )  # fmt: skip
        assert answer.json()["result"] == {"name": "n", "uid": "open"}
        made = (await client.post("/v2/project/get_v2_project", json={"uid": "open"})).json()["result"]
        assert (made["created_by"], made["organization_id"]) == (0, "")

    async def test_whoami_of_an_opened_api_shows_no_token(self, client_of, monkeypatch):
        monkeypatch.setenv("CARILLON_OPEN_APIS", "management=10.1.0.0/16")
        get_settings.cache_clear()
        client = await client_of("management", address="10.1.2.3")
        nobody = dict.fromkeys(("token_id", "name", "apis", "projects", "expires_at"))
        assert (await client.get("/whoami")).json() == nobody


class TestWithoutDatabase:
    async def test_each_api_says_so_in_its_form_and_the_log_has_the_rest(self, monkeypatch, caplog):
        monkeypatch.setenv("CARILLON_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
        get_settings.cache_clear()
        monkeypatch.setattr("include.kit.db.AsyncConnectionPool.connection", _unreachable)
        with caplog.at_level(logging.WARNING, "api_plugin"):
            async with serve("crontab", token="1:" + "0" * 40) as client:
                answer = await client.post("/add_task", json={})
        body = answer.json()
        error_id = body["msg"].removeprefix("the database cannot be reached at the moment (id ").rstrip(")")
        assert (answer.status_code, body["state"], body["data"]) == (200, -1, {})
        assert f"error {error_id}: the database cannot be reached: no route" in caplog.text

    async def test_an_app_without_the_setting_starts_and_says_503(self, caplog):
        async with serve("management", token="1:" + "0" * 40) as client:
            answer = await client.get("/whoami")
            alive = await client.get("/health/live")
        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
        body = answer.json()
        assert len(body.pop("id")) == 12
        assert (answer.status_code, body) == (
            503,
            {
                "type": "urn:carillon:problem:unavailable",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "the database cannot be reached at the moment",
                "instance": "/carillon/v1/whoami",
            },
        )
        assert "the REST APIs cannot work" in caplog.text


def _unreachable(*words, **more):
    import psycopg_pool

    raise psycopg_pool.PoolTimeout("no route")


def test_the_plugin_is_given_each_app_with_its_prefix():
    assert [(name, prefix) for name, prefix, _ in APPS] == [
        ("crontab", "/crontab"),
        ("billing", "/api/v1/scheduler"),
        ("timers", "/v3/schedule"),
        ("timers /v3_1/schedule", "/v3_1/schedule"),
        ("maintenance", "/mixtimer"),
        ("iot", "/v5/iot"),
        ("management", "/carillon/v1"),
    ]
    assert [factory().title for _, _, factory in APPS] == [api.title for api in APIS for _ in api.prefixes]
