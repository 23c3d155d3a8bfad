"""Reading a JSON body whatever its Content-Type says: the documents' clients send many."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

import orjson

from include.errors import InvalidInputError

#: No documented body needs more than five.
DEPTH_MOST = 32


class UnreadableBodyError(InvalidInputError):
    """The body is not JSON."""


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text in UTF-8, a byte order mark allowed.

    :raises UnreadableBodyError: not JSON, or nested deeper than `DEPTH_MOST`
    """
    text = body.removeprefix(b"\xef\xbb\xbf")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        value = _read_leniently(text, error)
    _check_depth(value)
    return value


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body is.

    :raises UnreadableBodyError: not JSON, nested too deep, or not an object
    """
    value = read_json(body)
    if not isinstance(value, dict):
        raise UnreadableBodyError("the body must be a JSON object")
    return value


def _read_leniently(text: bytes, error: Exception) -> Any:
    """Read what orjson refuses for a lone surrogate: that is one field's fault, not the whole body's."""
    if b"\\ud" not in text.lower():
        raise UnreadableBodyError(f"the body is not JSON: {error}") from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnreadableBodyError(f"the body is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MOST + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise UnreadableBodyError(f"the body is nested deeper than {DEPTH_MOST} levels")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
