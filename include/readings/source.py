"""The HTTP protocol of a meter source (docs/metering-source.md), for `pull_missing(fetch=source.fetch)`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from include.errors import CarillonError, OutboundError, OutboundProtocolError
from include.kit.http import OutboundClient, OutboundRequest

PATH = "/readings/query"


class MeterSource:
    """A server that knows readings.

    :param base_url: what `/readings/query` is appended to
    :param login: with `password` for Basic authentication
    :param token: for Bearer authentication instead
    :param timeout: seconds for one answer
    """

    def __init__(
        self,
        client: OutboundClient,
        base_url: str,
        project_id: str,
        *,
        login: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.client = client
        self.url = base_url.rstrip("/") + PATH
        self.project_id = project_id
        self.timeout = timeout
        self.headers = (
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            *_authorization(login, password, token),
        )

    async def fetch(self, device_ids: Sequence[str], at: datetime) -> Sequence[Any]:
        """Return the readings that the source has of these meters around a moment. Raises OutboundError."""
        body = {"project_id": self.project_id, "at": at.isoformat(), "device_ids": list(device_ids)}
        request = OutboundRequest("POST", self.url, self.headers, orjson.dumps(body), self.timeout)
        try:
            response = await self.client.send(await self.client.prepare(request))
        except OutboundError:
            raise
        except CarillonError as error:
            raise OutboundError(str(error)) from error
        if response.status != 200:
            raise OutboundError(f"the source answered with status {response.status}")
        if response.truncated:
            raise OutboundProtocolError("the answer is larger than CARILLON_RESPONSE_LIMIT_BYTES")
        return _readings(response.body)


def _readings(body: bytes) -> Sequence[Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise OutboundProtocolError("the answer is not JSON") from None
    readings = answer.get("readings") if isinstance(answer, dict) else None
    if not isinstance(readings, list):
        raise OutboundProtocolError("the answer has no list `readings`")
    return readings


def _authorization(login: str | None, password: str | None, token: str | None) -> tuple[tuple[str, str], ...]:
    if token:
        return (("Authorization", f"Bearer {token}"),)
    if login:
        pair = base64.b64encode(f"{login}:{password or ''}".encode()).decode()
        return (("Authorization", f"Basic {pair}"),)
    return ()
