"""POST /crontab/add_task: what is good goes in, what is not says which field, and nothing else is lost."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.builders import make_token, task


@pytest.fixture
async def client(client_of, database):
    return await client_of("crontab", await make_token(database))


async def add(client, *items: object) -> list[dict[str, str]]:
    answer = await client.post("/add_task", json={"task_list": list(items)})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["state"], body["msg"], list(body["data"])) == (0, "", ["task_result"])
    return body["data"]["task_result"]


GOOD = {"task_id": "1", "name": "good", "err": ""}

BAD_ITEMS = [
    ({"enable": 3}, "enable: must be less than or equal to 2"),
    ({"enable": True}, "enable: must be a valid integer"),
    ({"enable": "1"}, "enable: must be a valid integer"),
    ({"enable": 0}, "enable: is required"),
    ({"enable": None}, "enable: is required"),
    ({"module": "2"}, "module: must be a valid integer"),
    ({"module": 2.5}, "module: must be a valid integer"),
    ({"module": 2**31}, "module: must be less than or equal to 2147483647"),
    ({"module": None}, "module: is required"),
    ({"type": 8}, "type: must be less than or equal to 7"),
    ({"type": -1}, "type: must be greater than or equal to 1"),
    ({"type": "4"}, "type: must be a valid integer"),
    ({"type": 0}, "type: is required"),
    ({"name": "x" * 300}, "name: must have at most 255 characters"),
    ({"name": ""}, "name: is required"),
    ({"name": " \t"}, "name: must not be blank"),
    ({"name": 5}, "name: must be a valid string"),
    ({"name": "a\0b"}, "name: must not contain NUL characters"),
    ({"start_time": "0 0 0 30 2 *"}, "start_time: '0 0 0 30 2 *' never"),
    ({"start_time": "nonsense"}, "start_time: "),
    ({"start_time": True}, "start_time: must be a valid string"),
    ({"start_time": [1]}, "start_time: must be a valid string"),
    ({"start_time": ""}, "start_time: is required"),
    ({"start_time": 5}, "start_time: '5' is a number: a task of type 4 needs a crontab"),
    ({"type": 1, "start_time": 1000}, "start_time: 1970-01-01T00:16:40+00:00 lies in the past"),
    ({"type": 1, "start_time": 4070908800000}, "start_time: 4070908800000 is not a Unix time in seconds"),
    ({"type": 1, "start_time": 1e300}, "start_time: 1000"),
    ({"type": 2, "start_time": 0.5}, "start_time: '0.5' is not a whole number of seconds, 1 or more"),
    ({"url": "http://"}, "url: has no host"),
    ({"url": "http:///path"}, "url: has no host"),
    ({"url": "file:///etc/passwd"}, "url: must start with http:// or https://"),
    ({"url": "http://10.0.0.1/"}, "url: 10.0.0.1 is a private address and may not be called"),
    ({"url": "http://127.0.0.1:8080/"}, "url: 127.0.0.1 is a loopback address and may not be called"),
    ({"url": "http://169.254.169.254/"}, "url: 169.254.169.254 is a cloud metadata address"),
    ({"url": "http://user:pw@example.com/"}, "url: must not carry a user name or password"),
    ({"url": 5}, "url: must be a valid string"),
    ({"method": "trace"}, "method: must be one of get, post, rpc, put, patch, delete, head"),
    ({"method": 1}, "method: must be a valid string"),
    ({"method": "rpc", "url": "example.com:80/nodot"}, "url: "),
    ({"method": "rpc", "url": "example.com/a.b"}, "url: "),
    ({"resp_regexp": "(["}, "resp_regexp: not a valid regular expression"),
    ({"resp_regexp": 1}, "resp_regexp: must be a valid string"),
    ({"body": {"a": 1}}, "body: must be a valid string"),
    ({"body": "a\0"}, "body: must not contain NUL characters"),
    ({"body_type": 3}, "body_type: must be less than or equal to 2"),
    ({"redo_param": "-1"}, "redo_param: '-1' is not a number of seconds, 0 or more"),
    ({"redo_param": -5}, "redo_param: '-5' is not a number of seconds, 0 or more"),
    ({"redo_param": "soon"}, "redo_param: 'soon' is not a number of seconds, 0 or more"),
    ({"redo_param": "2 4.5"}, "redo_param: '4.5' is not a number of seconds, 0 or more"),
    ({"redo_param": "86401"}, "redo_param: 86401 is over 86400 seconds"),
    ({"redo_param": " ".join("1" * 21)}, "redo_param: lists 21 retries, 20 at the most"),
    ({"redo_param": [1]}, "redo_param: must be a valid string"),
    ({"timezone": "Mars/Olympus"}, "timezone: the time zone 'Mars/Olympus' is not known"),
    ({"timeout": 0}, "timeout: must be greater than 0"),
    ({"timeout": 3601}, "timeout: must be less than or equal to 3600"),
    ({"timeout": "10"}, "timeout: must be a valid number"),
    ({"timeout": True}, "timeout: must be a valid number"),
    ({"misfire": "run"}, "misfire: must be 'fire_once', 'skip' or 'fire_all'"),
    ({"overlap": "never"}, "overlap: must be 'allow', 'skip' or 'queue'"),
    ({"headers": {"a": 1}}, "headers.a: must be a valid string"),
    ({"headers": {"a": "b\0"}}, "headers.a: must not contain NUL characters"),
    ({"headers": {"bad header": "x"}}, "headers: "),
    ({"headers": {"x\0": "x"}}, "headers.x\0.[key]: must not contain NUL characters"),
    ({"headers": {f"x-{n}": "" for n in range(51)}}, "headers: must have at most 50 items"),
    ({"headers": []}, "headers: must be a valid dictionary"),
    ({"secret": "short"}, "secret: a secret of 5 bytes"),
    ({"description": "x" * 2001}, "description: must have at most 2000 characters"),
    ({"expires_at": "2099-01-01T00:00:00"}, "expires_at: must be ISO 8601 with an offset, or Unix seconds"),
    ({"expires_at": 10**12}, "expires_at: must be ISO 8601 with an offset, or Unix seconds"),
    ({"expires_at": [1]}, "expires_at: must be ISO 8601 with an offset, or Unix seconds"),
    ({"expires_at": True}, "expires_at: must be ISO 8601 with an offset, or Unix seconds"),
    ({"expires_at": 1000}, "expires_at: 1970-01-01T00:16:40+00:00 lies in the past"),
    ({"starttime": "x"}, "starttime: is not a field of this request"),
]


UNREADABLE = [
    (b"", "the body is not JSON: "),
    (b"{", "the body is not JSON: "),
    (b"\xff\xfe", "the body is not JSON: "),
    (b'{"task_list": [NaN]}', "the body is not JSON: "),
    (b'{"task_list": ["\\ud800", NaN]}', "the body is not JSON: "),
    (b"[]", "the body must be a JSON object"),
    (b"null", "the body must be a JSON object"),
    (b'"x"', "the body must be a JSON object"),
    (b"{}", "task_list: must be a list of tasks"),
    (b'{"task_list": null}', "task_list: must be a list of tasks"),
    (b'{"task_list": {}}', "task_list: must be a list of tasks"),
    (b'{"task_list": []}', "task_list: has 0 items, 1 to 1000 are taken"),
    (b'{"task_list": [' + b",".join([b"{}"] * 1001) + b"]}", "task_list: has 1001 items, 1 to 1000"),
    (b'{"tasklist": []}', "tasklist: is not a field of this request"),
    (b'{"task_list": ' + b"[" * 40 + b"]" * 40 + b"}", "the body is nested deeper than 32 levels"),
    (b"[" * 100_000 + b"]" * 100_000, "the body is not JSON: "),
    (b'"\\ud800' + b"[" * 100_000, "the body is not JSON: "),
    (b'["\\ud800",' + b"[" * 100_000 + b"]" * 100_001, "the body is not JSON: "),
]


class TestItems:
    async def test_every_bad_field_is_named_and_the_good_items_between_go_in(self, client, connection):
        items = []
        for number, (changes, _) in enumerate(BAD_ITEMS):
            items += [task(**{"name": f"bad {number}", **changes}), task(f"good {number}")]
        results = await add(client, *items)
        for (changes, message), result in zip(BAD_ITEMS, results[::2], strict=True):
            assert result["err"].startswith(message), (changes, result)
            assert result["task_id"] == ""
        assert [(result["name"], result["err"]) for result in results[1::2]] == [
            (f"good {number}", "") for number in range(len(BAD_ITEMS))
        ]
        stored = connection.execute("SELECT name FROM definition ORDER BY id").fetchall()
        assert {row["name"] for row in stored} == {f"good {number}" for number in range(len(BAD_ITEMS))}

    async def test_a_missing_field_is_named(self, client):
        for field in ("name", "enable", "module", "type", "start_time", "url", "method"):
            item = {key: value for key, value in task("x").items() if key != field}
            [result] = await add(client, item)
            assert result["err"] == f"{field}: is required"

    async def test_every_bad_field_of_an_item_is_named(self, client):
        [result] = await add(client, task("two", enable=9, body=5))
        assert result["err"] == "enable: must be less than or equal to 2; body: must be a valid string"

    @pytest.mark.parametrize("item", [5, "text", None, [], True])
    async def test_an_item_that_is_no_object(self, client, item):
        results = await add(client, item, task("good"))
        assert results == [{"task_id": "", "name": "", "err": "task_list: an item must be an object"}, GOOD]

    async def test_a_lone_surrogate_is_the_fault_of_its_field_only(self, client):
        body = json.dumps({"task_list": [task("bad", body="\ud800"), task("good")]})
        answer = await client.post("/add_task", content=body)
        first, second = answer.json()["data"]["task_result"]
        assert first["err"] == "body: must not contain half of a surrogate pair"
        assert second == GOOD

    async def test_a_lone_surrogate_in_a_name_or_a_field_name_can_still_be_answered(self, client):
        body = json.dumps({"task_list": [task("\udfff"), {**task("x"), "\ud800": 1}]})
        first, second = (await client.post("/add_task", content=body)).json()["data"]["task_result"]
        assert first["name"] == "?"
        assert first["err"].startswith("name: ")
        assert second["err"] == "the name of a field has half of a surrogate pair"


class TestNames:
    async def test_a_name_twice_in_one_request(self, client):
        results = await add(client, task("same"), task("same"), task("other"))
        assert results == [
            {"task_id": "1", "name": "same", "err": ""},
            {"task_id": "", "name": "same", "err": "name: stands twice in this request"},
            {"task_id": "2", "name": "other", "err": ""},
        ]

    async def test_a_name_that_is_taken(self, client):
        await add(client, task("same"))
        results = await add(client, task("same"), task("new"))
        assert results[0] == {"task_id": "", "name": "same", "err": "name: is taken by another task"}
        assert results[1]["err"] == ""

    async def test_255_characters_and_blanks_at_the_ends_are_kept(self, client, connection):
        name = " " + "名" * 253 + " "
        [result] = await add(client, task(name))
        assert (result["name"], result["err"]) == (name, "")
        assert connection.execute("SELECT name FROM definition").fetchone() == {"name": name}


class TestOptionalFields:
    async def test_all_of_them_reach_the_store(self, client, connection: psycopg.Connection):
        [result] = await add(
            client,
            task(
                "full",
                method="PUT",
                resp_regexp="ok",
                body="a=1",
                body_type=2,
                redo_param=5,
                timezone="Europe/London",
                timeout=2.5,
                misfire="skip",
                overlap="queue",
                headers={"X-One": "1"},
                secret="x" * 32,
                description="words",
                expires_at="2099-01-01T08:00:00+08:00",
            ),
        )
        assert result["err"] == ""
        row = connection.execute(
            """
            SELECT method, resp_regexp, body, body_type, redo_delays, s.timezone, timeout, misfire, overlap,
                   headers, secret IS NOT NULL AND secret NOT LIKE '%xxx%' AS sealed, d.description,
                   d.expires_at::text AS expires_at
            FROM definition d JOIN callback_task t ON t.definition_id = d.id
            JOIN schedule s ON s.id = d.schedule_id
            """
        ).fetchone()
        assert row == {
            "method": "put",
            "resp_regexp": "ok",
            "body": "a=1",
            "body_type": 2,
            "redo_delays": [5],
            "timezone": "Europe/London",
            "timeout": 2.5,
            "misfire": "skip",
            "overlap": "queue",
            "headers": {"X-One": "1"},
            "sealed": True,
            "description": "words",
            "expires_at": "2099-01-01 00:00:00+00",
        }

    async def test_zero_values_of_a_go_client_mean_not_given(self, client, connection: psycopg.Connection):
        [result] = await add(
            client,
            task(
                "go", task_id=0, resp_regexp="", body="", body_type=0, redo_param="", timezone="", misfire="",
                overlap="", secret="", description="", expires_at="", headers=None,
            ),
        )  # fmt: skip
        assert result["err"] == ""
        row = connection.execute(
            "SELECT resp_regexp, body, body_type, redo_delays, secret, misfire, overlap, expires_at"
            " FROM callback_task JOIN definition ON id = definition_id"
        ).fetchone()
        assert row == {
            "resp_regexp": None,
            "body": None,
            "body_type": 1,
            "redo_delays": [],
            "secret": None,
            "misfire": "fire_once",
            "overlap": "allow",
            "expires_at": None,
        }

    async def test_expiry_in_unix_seconds(self, client, connection: psycopg.Connection):
        await add(client, task("x", expires_at=4070908800))
        row = connection.execute("SELECT expires_at::text AS e FROM definition").fetchone()
        assert row == {"e": "2099-01-01 00:00:00+00"}

    async def test_a_start_time_written_as_a_float_is_read_as_the_number_it_is(self, client, connection):
        await add(client, task("x", type=1, start_time=4070908800.0))
        assert connection.execute("SELECT start_time FROM callback_task").fetchone() == {
            "start_time": "4070908800"
        }


class TestRequest:
    """What is wrong with the request as a whole: state 1, nothing is stored."""

    async def test_200_state_1(self, client, connection):
        for body, message in UNREADABLE:
            answer = await client.post("/add_task", content=body)
            assert answer.status_code == 200
            found = answer.json()
            assert found.pop("msg").startswith(message), body[:60]
            assert found == {"state": 1, "data": {}}
        assert connection.execute("SELECT count(*) AS n FROM definition").fetchone() == {"n": 0}

    async def test_200_state_1_for_10_megabytes(self, client):
        body = json.dumps({"task_list": [task("x", body="y" * 10_000_000)]})
        answer = await client.post("/add_task", content=body)
        assert (answer.status_code, answer.json()) == (
            200,
            {"state": 1, "msg": "the body is larger than 8388608 bytes", "data": {}},
        )

    async def test_200_state_1_for_10_megabytes_that_do_not_say_so(self, client):
        async def chunks():
            for _ in range(100):
                yield b" " * 100_000

        answer = await client.post("/add_task", content=chunks())
        assert answer.json() == {"state": 1, "msg": "the body is larger than 8388608 bytes", "data": {}}

    async def test_1000_items_go_in_at_once(self, client):
        results = await add(client, *(task(f"t{n}") for n in range(1000)))
        assert [(result["name"], result["err"]) for result in results] == [(f"t{n}", "") for n in range(1000)]

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "x", None])
    async def test_any_content_type_is_read_as_json(self, client, content_type):
        headers = {"Content-Type": content_type} if content_type else {}
        body = b"\xef\xbb\xbf" + json.dumps({"task_list": [task("good")]}).encode()
        answer = await client.post("/add_task", content=body, headers=headers)
        assert answer.json()["data"]["task_result"] == [GOOD]

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/add_task"), ("POST", "/nope"), ("POST", "/add_task/")]
    )
    async def test_200_state_1_for_a_path_or_method_that_is_not_there(self, client, method, path):
        answer = await client.request(method, path)
        message = "Method Not Allowed" if method == "GET" else "Not Found"
        assert (answer.status_code, answer.json()) == (200, {"state": 1, "msg": message, "data": {}})
