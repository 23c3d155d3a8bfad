"""The floor: nothing but asyncio, everything known beforehand.

    python -m benchmarks.peers.bare sockets|senders|tasks COUNT PORT

`sockets`: 32 open connections, the bytes of each call prebuilt, each sender takes the next one.
`senders`: 32 tasks that share an aiohttp session, warm, each takes the next call.
`tasks`: what one would write first: an aiohttp session, and a task for each call that sleeps until then.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import aiohttp

HOST = "127.0.0.1"
SENDERS = 32
BODY = b'{"hello":"world"}'


def announce() -> float:
    """Choose the instant, now that all is ready, and tell the benchmark: the next full second but one."""
    due = float(int(time.time()) + 2)
    print(due, flush=True)
    return due


async def sleep_until(due: float) -> None:
    """Return at the instant or just after it."""
    while (left := due - time.time()) > 0:
        await asyncio.sleep(left)


def request(number: int, port: int) -> bytes:
    """Return the bytes of a call."""
    return (
        f"POST /bare HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"webhook-id: bare-{number}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY


async def run_sockets(count: int, port: int) -> None:
    """Send over connections that were opened before."""
    calls = iter([request(number, port) for number in range(count)])
    links = [await asyncio.open_connection(HOST, port) for _ in range(min(SENDERS, count))]
    for _, writer in links:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for call in calls:
            writer.write(call)
            await reader.readuntil(b"}")

    await sleep_until(announce())
    await asyncio.gather(*(work(*link) for link in links))
    for _, writer in links:
        writer.close()


async def post(session: aiohttp.ClientSession, number: int, port: int, path: str = "bare") -> None:
    """Make one call with aiohttp."""
    headers = {"webhook-id": f"bare-{number}", "Content-Type": "application/json"}
    async with session.post(f"http://{HOST}:{port}/{path}", data=BODY, headers=headers) as answer:
        await answer.read()


async def run_senders(count: int, port: int) -> None:
    """Send from 32 tasks over connections that were opened before."""
    numbers = iter(range(count))
    async with aiohttp.ClientSession() as session:
        warm = (post(session, -number, port, "warm") for number in range(1, min(SENDERS, count) + 1))
        await asyncio.gather(*warm)

        async def work() -> None:
            for number in numbers:
                await post(session, number, port)

        await sleep_until(announce())
        await asyncio.gather(*(work() for _ in range(SENDERS)))


async def run_tasks(count: int, port: int) -> None:
    """Send with one task a call."""
    async with aiohttp.ClientSession() as session:
        due = announce()

        async def work(number: int) -> None:
            await sleep_until(due)
            await post(session, number, port)

        await asyncio.gather(*(work(number) for number in range(count)))


def main(way: str, count: int, port: int) -> None:
    ways = {"sockets": run_sockets, "senders": run_senders, "tasks": run_tasks}
    asyncio.run(ways[way](count, port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
