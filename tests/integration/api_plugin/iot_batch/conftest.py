"""The vendor's own SDK as the client: unmodified, only the endpoint is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkiotda import v5 as iotda

from include.kit.db import Database
from include.tokens.access_keys import AccessKey, AccessKeyService
from include.tokens.service import TokenService
from tests.builders import serve_http
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT, Sdk


@pytest.fixture
async def url(database_url: str, started_runs: list[str]) -> AsyncIterator[str]:
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
