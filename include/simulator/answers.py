"""What the simulator puts on the wire."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal, NamedTuple

import orjson

#: `ok` one answer, `twice` the same one two times, `raw` bytes that are no HTTP, `reset` and `hang` none.
Wire = Literal["ok", "twice", "raw", "reset", "hang"]


class Request(NamedTuple):
    """One request; header names in lower case, only those that are looked at."""

    method: str
    path: str
    headers: dict[bytes, str]
    body: bytes


class Answer(NamedTuple):
    """An answer, and what becomes of it on its way; `delay` is seconds."""

    status: int
    body: bytes
    delay: float = 0.0
    wire: Wire = "ok"
    content_type: str = "application/json"

    def encode(self) -> bytes:
        if self.wire == "raw":
            return self.body
        head = (
            f"HTTP/1.1 {_line(self.status)}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        whole = head.encode() + self.body
        return whole * 2 if self.wire == "twice" else whole


class RefusedError(Exception):
    """Answered with an error code of IoTDA (research `iot.md` A8)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = answer({"error_code": code, "error_msg": message}, status)


def answer(document: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(document))


_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def _line(status: int) -> str:
    return _LINES.get(status, f"{status} Status")
