"""The vendor's own SDK as the client: unmodified, only the endpoint is ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkiotda import v5 as iotda

from include.kit.db import Database
from include.tokens.access_keys import AccessKey, AccessKeyService
from include.tokens.service import TokenService
from tests.builders import serve_http

PROJECT = "0123456789abcdef0123456789abcdef"


class Sdk:
    """Calls of the SDK, which blocks, from a thread; answers as plain dicts."""

    def __init__(self, client: iotda.IoTDAClient) -> None:
        self.client = client

    async def call(self, name: str, **fields: Any) -> dict[str, Any]:
        """`call("show_batch_task", task_id=…)`; `body` is the request's body."""
        kind = "".join(part.capitalize() for part in name.split("_")) + "Request"
        request = getattr(iotda, kind)(**fields)
        answer = await asyncio.to_thread(getattr(self.client, name), request)
        return without_nulls(answer.to_dict())

    async def refused(self, name: str, **fields: Any) -> tuple[int, str, str]:
        """Return HTTP status, `error_code` and `error_msg` of a call that must be refused."""
        with pytest.raises(ClientRequestException) as caught:
            await self.call(name, **fields)
        return caught.value.status_code, caught.value.error_code, caught.value.error_msg

    async def create(self, **fields: Any) -> dict[str, Any]:
        policy = fields.pop("task_policy", None)
        body = iotda.CreateBatchTask(**fields, task_policy=policy and iotda.TaskPolicy(**policy))
        return await self.call("create_batch_task", body=body)


def without_nulls(value: Any) -> Any:
    """Return what the SDK read, without the attributes that were not in the answer."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
async def url(database_url: str, parse_requests: list[str]) -> AsyncIterator[str]:
    """Where the API is served over real HTTP."""
    async with serve_http("iot") as url:
        yield url


@pytest.fixture
async def key(database: Database) -> AccessKey:
    """An access key of a token that sees the project."""
    async with database.transaction() as connection:
        token, _ = await TokenService(connection).create("sdk", apis=["iot"], projects=[PROJECT])
        return await AccessKeyService(connection).issue(token)


@pytest.fixture
def sdk_of(url: str) -> Iterator[Callable[..., Sdk]]:
    """`sdk_of(access, secret)`, or `sdk_of(token=…)`: a client of the API."""
    with ExitStack() as stack:

        def make(
            access: str = "unused",
            secret: str = "unused",
            *,
            token: str | None = None,
            project: str = PROJECT,
        ) -> Sdk:
            credentials = BasicCredentials(access, secret, project)
            builder = iotda.IoTDAClient.new_builder().with_credentials(credentials).with_endpoint(url)
            client = stack.enter_context(closing(builder.build()))
            if token is not None:
                client.preset_headers["X-Auth-Token"] = token
            return Sdk(client)

        yield make


@pytest.fixture
def sdk(sdk_of: Callable[..., Sdk], key: AccessKey) -> Sdk:
    """The SDK with an access key."""
    return sdk_of(key.access, key.secret)
