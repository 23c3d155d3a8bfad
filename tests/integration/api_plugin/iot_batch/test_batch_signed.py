"""Who may call document 004: access keys and tokens, through the vendor's SDK and past it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

from include.settings import get_settings
from include.tokens.access_keys import AccessKey, AccessKeyService
from include.tokens.service import TokenService
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import COMMAND, PROJECT

BODY = {"task_name": "水表", "task_type": "createCommands", "targets": ["d1"], "document": COMMAND}
PATH = f"/v5/iot/{PROJECT}/batchtasks"
LIST = {"task_type": "createCommands"}


def signed(
    url: str,
    key: AccessKey,
    method: str = "GET",
    path: str = PATH,
    *,
    query: dict[str, Any] | None = None,
    body: bytes = b"",
    ago: timedelta = timedelta(0),
    **headers: str,
) -> dict[str, Any]:
    """Return the parts of a request that the vendor's signer has signed."""
    request = SdkRequest(
        method=method,
        schema="http",
        host=urlsplit(url).netloc,
        resource_path=path,
        query_params=list((query or {}).items()),
        header_params={"X-Sdk-Date": f"{datetime.now(UTC) - ago:%Y%m%dT%H%M%SZ}", **headers},
        body=body,
    )
    Signer(BasicCredentials(key.access, key.secret)).sign(request)
    return {
        "method": method,
        "url": url + request.uri,
        "headers": dict(request.header_params),
        "content": body,
    }


async def send(request: dict[str, Any]) -> tuple[int, Any]:
    async with httpx.AsyncClient() as client:
        answer = await client.request(**request)
    return answer.status_code, answer.json()


def bad(message: str) -> tuple[int, dict[str, str]]:
    return 403, {"error_code": "IOTDA.000004", "error_msg": message}


UNFIT = bad("the signature does not fit the request")
EMPTY = (200, {"batchtasks": [], "page": {"count": 0}})


class TestTheSdk:
    async def test_an_access_key_opens_the_api(self, sdk):
        made = await sdk.create(**BODY)
        found = await sdk.call("list_batch_tasks", task_type="createCommands", limit=50, offset=0)
        assert [task["task_id"] for task in found["batchtasks"]] == [made["task_id"]]
        assert found["batchtasks"][0]["task_name"] == "水表"

    async def test_a_token_opens_it_too(self, sdk_of, database):
        sdk = sdk_of(token=await make_token(database, apis=["iot"], projects=[PROJECT]))
        assert (await sdk.create(**BODY))["task_name"] == "水表"

    async def test_an_instance_id_is_accepted(self, sdk):
        answer = await sdk.call("list_batch_tasks", instance_id="i" * 36, task_type="createCommands")
        assert answer["batchtasks"] == []
        refused = await sdk.refused("list_batch_tasks", instance_id="i" * 37, task_type="createCommands")
        assert refused[:2] == (400, "IOTDA.000006")

    async def test_a_wrong_secret_key_does_not(self, sdk_of, key):
        assert await sdk_of(key.access, "x" * 40).refused("list_batch_tasks", **LIST) == (
            403,
            "IOTDA.000004",
            "the signature does not fit the request",
        )

    async def test_nor_does_one_that_nobody_has(self, sdk_of):
        assert await sdk_of("NOBODY", "x" * 40).refused("list_batch_tasks", **LIST) == (
            403,
            "IOTDA.000004",
            "the access key is not known",
        )

    async def test_a_foreign_project_is_closed(self, sdk_of, key):
        other = sdk_of(key.access, key.secret, project="f" * 32)
        assert await other.refused("list_batch_tasks", **LIST) == (
            403,
            "IOTDA.000022",
            f"the token does not open the project {'f' * 32}",
        )

    async def test_a_key_may_be_for_other_apis(self, sdk_of, database):
        async with database.transaction() as connection:
            token, _ = await TokenService(connection).create("other", apis=["crontab"])
            key = await AccessKeyService(connection).issue(token)
        assert await sdk_of(key.access, key.secret).refused("list_batch_tasks", **LIST) == (
            403,
            "IOTDA.000022",
            "the token does not open the API 'iot'",
        )

    async def test_a_revoked_or_expired_key_is_refused(self, sdk_of, database, key, connection):
        sdk = sdk_of(key.access, key.secret)
        connection.execute("UPDATE token SET expires_at = now() - interval '1 s'")
        assert (await sdk.refused("list_batch_tasks", **LIST))[1:] == (
            "IOTDA.000004",
            "the token has expired",
        )
        connection.execute("UPDATE token SET revoked_at = now()")
        assert (await sdk.refused("list_batch_tasks", **LIST))[1:] == (
            "IOTDA.000004",
            "the token was revoked",
        )

    async def test_a_secret_under_another_key_is_our_fault(self, sdk_of, key, monkeypatch):
        monkeypatch.setenv("CARILLON_SECRET_KEY", "another")
        get_settings.cache_clear()
        async with httpx.AsyncClient() as client:
            request = signed(sdk_of().client._endpoints[0], key, query=LIST)
            answer = await client.request(**request)
        assert answer.status_code == 500
        assert answer.json()["error_code"] == "CARILLON.0500"


class TestSignatures:
    async def test_one_signature_may_be_sent_again_in_its_quarter_of_an_hour(self, url, key):
        request = signed(url, key, query=LIST, ago=timedelta(minutes=14))
        assert await send(request) == EMPTY
        assert await send(request) == EMPTY

    @pytest.mark.parametrize("ago", [timedelta(minutes=16), -timedelta(minutes=16)])
    async def test_after_and_before_that_it_is_refused(self, url, key, ago):
        request = signed(url, key, query=LIST, ago=ago)
        assert await send(request) == bad("x-sdk-date is more than 15 minutes away from now")

    @pytest.mark.parametrize(
        "altered",
        [
            lambda request: {**request, "content": request["content"].replace(b"ON_OFF", b"OFF_ON")},
            lambda request: {**request, "content": b""},
            lambda request: {**request, "url": request["url"] + "?task_type=createCommands"},
            lambda request: {**request, "method": "PUT"},
            lambda request: {**request, "headers": {**request["headers"], "X-Project-Id": "other"}},
        ],
        ids=["body", "no body", "query", "method", "header"],
    )
    async def test_what_was_altered_on_the_way_is_refused(self, url, key, altered):
        body = json.dumps(BODY).encode()
        request = signed(url, key, "POST", body=body, **{"X-Project-Id": PROJECT})
        assert await send(altered(request)) == UNFIT
        assert (await send(request))[0] == 201

    async def test_one_project_of_a_token_does_not_open_another_by_the_path(self, url, database):
        async with database.transaction() as connection:
            token, _ = await TokenService(connection).create("two", projects=["p1", "p2"])
            key = await AccessKeyService(connection).issue(token)
        request = signed(url, key, path="/v5/iot/p1/batchtasks", query=LIST)
        assert await send(request) == EMPTY
        assert await send({**request, "url": request["url"].replace("/p1/", "/p2/")}) == UNFIT

    async def test_the_hash_of_a_body_may_be_told(self, url, key):
        """The signer signs what the header says; the body must have that hash all the same."""
        body = json.dumps(BODY).encode()
        told = {"X-Sdk-Content-Sha256": "0" * 64}
        request = signed(url, key, "POST", body=body, **told)
        assert await send(request) == bad("the body is not the one that was signed")

    async def test_a_body_that_is_not_signed_is_read_only_by_the_call(self, url, key):
        """Files are sent so: a stream that nobody could hash before it is sent."""
        body = json.dumps(BODY).encode()
        request = signed(url, key, "POST", body=body, **{"X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"})

        async def parts():
            yield body[:20]
            yield body[20:]

        assert (await send({**request, "content": parts()}))[0] == 201
        emptied = await send({**request, "content": b""})
        assert emptied == (400, {"error_code": "IOTDA.000008", "error_msg": emptied[1]["error_msg"]})

    async def test_a_request_without_a_body_may_say_so_too(self, url, key):
        """The SDK signs the hash of nothing here; a gateway would sign the word."""
        request = signed(url, key, query=LIST, **{"X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"})
        assert await send(request) == EMPTY

    async def test_a_stream_whose_parts_are_signed(self, url, key):
        body = json.dumps({**BODY, "targets": [f"d{n}" for n in range(20_000)]}).encode()

        async def parts():
            for start in range(0, len(body), 10_000):
                yield body[start : start + 10_000]

        request = signed(url, key, "POST", body=body)
        status, made = await send({**request, "content": parts()})
        assert (status, len(made["targets"])) == (201, 20_000)

    async def test_a_query_is_signed_as_it_is_meant(self, url, key):
        request = signed(url, key, query={"app_id": "a-1", **LIST, "limit": 5})
        assert await send(request) == EMPTY
        shuffled = {**request, "url": f"{url}{PATH}?limit=5&task%5Ftype=createCommands&app_id=a%2D1"}
        assert await send(shuffled) == EMPTY

    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Bearer 1:abc",
            "SDK-HMAC-SHA256 Access=A",
            "SDK-HMAC-SM3 Access=A, SignedHeaders=b, Signature=c",
        ],
    )
    async def test_another_form_is_refused(self, url, authorization):
        status, answer = await send(
            {"method": "GET", "url": url + PATH, "headers": {"Authorization": authorization}}
        )
        assert (status, answer["error_code"]) == (403, "IOTDA.000004")
        assert answer["error_msg"].startswith("the Authorization header must be: SDK-HMAC-SHA256")

    async def test_a_large_body_of_a_stranger_is_not_read(self, url, key, monkeypatch):
        monkeypatch.setenv("CARILLON_REQUEST_LIMIT_BYTES", "1024")
        get_settings.cache_clear()
        body = json.dumps({**BODY, "targets": ["d" * 128] * 100}).encode()
        stranger = AccessKey("NOBODY", "x" * 40)
        assert await send(signed(url, stranger, "POST", body=body)) == bad("the access key is not known")
        assert await send(signed(url, key, "POST", body=body)) == (
            413,
            {"error_code": "IOTDA.000006", "error_msg": "the body is larger than 1024 bytes"},
        )


class TestTokens:
    async def test_no_credential_at_all(self, url):
        async with httpx.AsyncClient() as client:
            answer = await client.get(url + PATH)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'SDK-HMAC-SHA256 realm="carillon"'
        assert answer.json() == {
            "error_code": "IOTDA.000002",
            "error_msg": "the request carries neither X-Auth-Token nor a signature",
        }

    @pytest.mark.parametrize(
        ("token", "message"),
        [
            ("", "the token does not have the form <id>:<40 hex digits>"),
            (f"7:{'0' * 40}", "the token is not known"),
        ],
    )
    async def test_a_bad_token(self, url, token, message):
        request = {"method": "GET", "url": url + PATH, "headers": {"X-Auth-Token": token}}
        assert await send(request) == bad(message)

    async def test_a_token_counts_before_a_signature(self, url, key, database):
        token = await make_token(database, projects=[PROJECT])
        request = signed(url, AccessKey("NOBODY", "x"), query=LIST)
        request["headers"]["X-Auth-Token"] = token
        assert await send(request) == EMPTY

    async def test_what_is_no_route(self, url, database):
        token = await make_token(database, projects=[PROJECT])
        for path in (f"/v5/iot/{PROJECT}/nothing", "/v5/iot/"):
            request = {"method": "GET", "url": url + path, "headers": {"X-Auth-Token": token}}
            assert await send(request) == (404, {"error_code": "CARILLON.0404", "error_msg": "Not Found"})
