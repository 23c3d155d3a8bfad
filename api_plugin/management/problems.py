"""The answers of the own API that are not a plain 200, as its OpenAPI document declares them."""

from __future__ import annotations

from typing import Any

from api_plugin.common.forms import Problem


def _declared(statuses: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": meaning, "content": {"application/problem+json": {"schema": schema}}}
        for status, meaning in statuses.items()
    }


#: Any call may end like this.
PROBLEMS = _declared(
    {
        401: "no credential, or one that is unknown, expired or revoked",
        403: "the token does not open this API",
        422: "a parameter cannot be used; `errors` names it",
        503: "the database is away",
    }
)

#: And calls for one thing like this, too.
MISSING = _declared(
    {404: "no such thing, or not one of the token's projects", 409: "what is stored contradicts it"}
)

#: Of a call that makes or replaces.
NEW: dict[int | str, dict[str, Any]] = {201: {"description": "it is new"}}
