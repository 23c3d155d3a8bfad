"""The same commands to the same simulator, by nothing but aiohttp, or nothing but asyncio.

    python -m benchmarks.peers.gateway aiohttp|sockets COUNT PORT [SENDERS]

`aiohttp`: 32 tasks, or so many, that share a session, warm, each takes the next command.
`sockets`: as many open connections, the bytes of each command prebuilt, each sender takes the next one.
At the end it prints one JSON object: `due`, `first` (the first send), `last` (the last answer), seconds since
the epoch; `cpu` seconds and `rss_kb` of this process at its peak.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiohttp

from benchmarks.memory import peak_rss_kb
from benchmarks.peers.bare import HOST, SENDERS, sleep_until

#: What `CARILLON_TIMER_SERVICE_ID` and `CARILLON_TIMER_COMMAND_NAME` are by default.
SERVICE_ID, COMMAND_NAME = "timer", "set"


#: The instant, the moment of the first send, and of the last answer: seconds since the epoch.
Sent = tuple[float, float, float]


def device_id(number: int) -> str:
    return f"bench-{number:05}"


def paras(number: int) -> dict[str, int]:
    return {"switch": 1, "brightness": number % 100 + 1}


def path(number: int) -> str:
    return f"/v5/iot/default/devices/{device_id(number)}/commands"


def body(number: int) -> bytes:
    command = {"service_id": SERVICE_ID, "command_name": COMMAND_NAME, "paras": paras(number)}
    return json.dumps(command, separators=(",", ":")).encode()


def choose_due() -> float:
    """Return the instant, now that all is ready: the next full second but one."""
    return float(int(time.time()) + 2)


async def run_aiohttp(count: int, port: int, senders: int) -> Sent:
    """Send with a session."""
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(limit=senders)
    async with aiohttp.ClientSession(f"http://{HOST}:{port}", connector=connector) as session:
        await asyncio.gather(*(_warm(session) for _ in range(senders)))

        async def work() -> None:
            for number in numbers:
                headers = {"X-Request-Id": f"bare-{number}", "Content-Type": "application/json"}
                async with session.post(path(number), data=body(number), headers=headers) as answer:
                    _check(await answer.json())

        await sleep_until(due := choose_due())
        first = time.time()
        await asyncio.gather(*(work() for _ in range(senders)))
        last = time.time()
    return due, first, last


async def _warm(session: aiohttp.ClientSession) -> None:
    async with session.get("/_admin/health") as answer:
        await answer.read()


async def run_sockets(count: int, port: int, senders: int) -> Sent:
    """Send over connections that were opened before."""
    calls = iter([_request(number, port) for number in range(count)])
    links = [await asyncio.open_connection(HOST, port) for _ in range(min(senders, count))]
    for _, writer in links:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for call in calls:
            writer.write(call)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            _check(json.loads(await reader.readexactly(length)))

    await sleep_until(due := choose_due())
    first = time.time()
    await asyncio.gather(*(work(*link) for link in links))
    last = time.time()
    for _, writer in links:
        writer.close()
    return due, first, last


def _request(number: int, port: int) -> bytes:
    content = body(number)
    return (
        f"POST {path(number)} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: bare-{number}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def _check(answer: dict[str, Any]) -> None:
    """A client that does not look whether the device did it would be no peer."""
    if answer["response"]["result_code"] != 0:
        raise RuntimeError(f"refused: {answer}")


def main(words: Iterator[str]) -> None:
    way, count, port = next(words), int(next(words)), int(next(words))
    senders = int(next(words, SENDERS))
    run = {"aiohttp": run_aiohttp, "sockets": run_sockets}[way]
    due, first, last = asyncio.run(run(count, port, senders))
    told = {"due": due, "first": first, "last": last, "cpu": time.process_time()}
    print(json.dumps({**told, "rss_kb": peak_rss_kb()}))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
