"""What a target may answer, and how each answer is read."""

from __future__ import annotations

import asyncio

import pytest

from include.errors import InvalidInputError, OutboundError, OutboundProtocolError
from include.kit.http import AnswerTooLargeError, OutboundRequest
from tests.integration.kit.peers import OK, Reader, Writer, always, client, peer, reset

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
)


def call(
    url: str, method: str = "POST", *, timeout: float = 5.0, body: bytes | None = b"{}"
) -> OutboundRequest:
    return OutboundRequest(method, url, (("Content-Type", "application/json"),), body, timeout)


async def test_the_request_arrives_byte_for_byte() -> None:
    async with peer(always(OK)) as server, client() as outbound:
        request = OutboundRequest(
            "post", f"{server.url}/回调?a=b c#x", (("X-One", "1"), ("User-Agent", "mine")), b'{"n":1}'
        )
        response = await outbound.send(await outbound.prepare(request))
        assert server.requests == [
            b"POST /%E5%9B%9E%E8%B0%83?a=b%20c HTTP/1.1\r\n"
            b"Host: 127.0.0.1:" + str(server.port).encode() + b"\r\nUser-Agent: mine\r\nAccept: */*\r\n"
            b'X-One: 1\r\nContent-Length: 7\r\n\r\n{"n":1}'
        ]
    assert response._replace(elapsed=0.0) == (
        *(200, (("content-type", "application/json"),), b'{"ok":true}', False, 0.0, True, None),
    )
    assert response.text() == '{"ok":true}'
    assert 0 < response.elapsed < 5


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (CHUNKED, 200, b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 C\r\nContent-Length: 2\r\n\r\nok", 201, b"ok"),
        (b"HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, b""),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad", 500, b"bad"),
        (b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2\r\nContent-Length: 1\r\n\r\nk", 200, b"k"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ],
)
async def test_an_answer_is_read_and_the_connection_kept(answer: bytes, status: int, body: bytes) -> None:
    async with peer(always(answer)) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url))
        for _ in range(3):
            response = await outbound.send(prepared)
            assert (response.status, response.body, response.ok) == (status, body, 200 <= status < 300)
        assert server.opened == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 Injected\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\x00\x01garbage", b"ok"),
    ],
)
async def test_a_connection_that_may_not_be_kept_is_not(answer: bytes, body: bytes) -> None:
    async with peer(always(answer)) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url))
        for _ in range(2):
            assert (await outbound.send(prepared)).body == body
        assert server.opened == 2


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async def until_close(request: bytes, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the ")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"end")
        writer.close()

    async with peer(until_close) as server, client() as outbound:
        assert (await outbound.send(await outbound.prepare(call(server.url)))).body == b"to the end"


@pytest.mark.parametrize("tail", [b"Content-Length: 500\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_head_answer_has_no_body_and_keeps_the_connection(tail: bytes) -> None:
    async with peer(always(b"HTTP/1.1 200 OK\r\n" + tail)) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url, "head", body=None))
        for _ in range(3):
            assert (await outbound.send(prepared)).body == b""
        assert server.opened == 1
        assert b"Content-Length" not in server.requests[0]


async def test_a_head_answer_with_a_body_costs_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with peer(always(answer)) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url, "HEAD", body=None))
        for _ in range(2):
            assert (await outbound.send(prepared)).body == b""
        assert server.opened == 2


async def test_an_answer_in_single_bytes_is_read() -> None:
    async def slowly(request: bytes, reader: Reader, writer: Writer) -> None:
        for i in range(len(OK)):
            writer.write(OK[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async with peer(slowly) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url))
        for _ in range(2):
            assert (await outbound.send(prepared)).body == b'{"ok":true}'
        assert server.opened == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_the_answer_and_its_target_is_never_fetched(status: int) -> None:
    async with peer(always(OK)) as inner, client() as outbound:
        location = f"{inner.url}/latest/meta-data"
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        async with peer(always(head.encode())) as server:
            response = await outbound.send(await outbound.prepare(call(server.url)))
        assert (response.status, response.ok, response.headers) == (status, False, (("location", location),))
        assert inner.opened == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header: 1\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
    ],
)
async def test_an_unreadable_answer_is_a_protocol_error(answer: bytes) -> None:
    async with peer(always(answer)) as server, client() as outbound:
        with pytest.raises(OutboundProtocolError, match=r"not HTTP|another protocol|headers larger"):
            await outbound.send(await outbound.prepare(call(server.url)))


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_over_the_limit_is_cut_and_its_beginning_kept(chunked: bool) -> None:
    size, limit = 5_000_000, 100_000
    head = b"Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n" if chunked else b"Content-Length: 5000000\r\n\r\n"
    async with (
        peer(always(b"HTTP/1.1 200 OK\r\n" + head + b"x" * size)) as server,
        client(response_limit_bytes=limit) as outbound,
    ):
        with pytest.raises(AnswerTooLargeError, match="answer larger than 100000 bytes") as caught:
            await outbound.send(await outbound.prepare(call(server.url)))
        response = caught.value.response
        assert (response.status, response.truncated, response.body) == (200, True, b"x" * limit)
        await asyncio.sleep(0.05)
        assert server.open_now == 0


async def test_an_answer_of_exactly_the_limit_passes() -> None:
    async with (
        peer(always(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4096)) as server,
        client(response_limit_bytes=4096) as outbound,
    ):
        assert len((await outbound.send(await outbound.prepare(call(server.url)))).body) == 4096


async def test_framing_without_end_is_cut() -> None:
    trailers = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 50_000
    async with peer(always(trailers)) as server, client(response_limit_bytes=1024) as outbound:
        with pytest.raises(OutboundProtocolError, match="framing outweighs"):
            await outbound.send(await outbound.prepare(call(server.url)))


@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"]
)
@pytest.mark.parametrize("by_reset", [False, True])
async def test_a_connection_lost_within_the_answer_fails_and_is_not_retried(
    sent: bytes, by_reset: bool
) -> None:
    async def cut(request: bytes, reader: Reader, writer: Writer) -> None:
        writer.write(sent)
        await writer.drain()
        await asyncio.sleep(0.02)
        reset(writer) if by_reset else writer.close()

    async with peer(cut) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url))
        await outbound.warm([prepared])
        with pytest.raises(OutboundProtocolError, match=f"closed after {len(sent)} bytes of the answer"):
            await outbound.send(prepared)
        assert len(server.requests) == 1


async def test_an_answer_that_overtakes_a_large_request_is_read() -> None:
    async def early(reader: Reader) -> bytes:
        return await reader.readuntil(b"\r\n\r\n")

    async def refuse(request: bytes, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)

    async with peer(refuse, read=early) as server, client() as outbound:
        prepared = await outbound.prepare(call(server.url, body=b"x" * 20_000_000))
        assert (await outbound.send(prepared)).status == 413
        assert not prepared.pool.idle


async def test_a_refused_connection_is_named() -> None:
    async with peer(always(OK)) as server:
        port = server.port
    async with client() as outbound:
        with pytest.raises(OutboundError, match=f"no connection to 127.0.0.1:{port}: "):
            await outbound.send(await outbound.prepare(call(f"http://127.0.0.1:{port}")))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (OutboundRequest("GET /x HTTP/1.1\r\nX: y", "http://127.0.0.1"), "method"),
        (OutboundRequest("CONNECT", "http://127.0.0.1"), "method"),
        (OutboundRequest("GET", "http://127.0.0.1/\r\nX: y"), "url"),
        (OutboundRequest("GET", "http://127.0.0.1", (("X", "a\r\nInjected: 1"),)), "headers"),
        (OutboundRequest("GET", "http://127.0.0.1", (("X\r\nInjected", "a"),)), "headers"),
        (OutboundRequest("GET", "http://127.0.0.1", (("Host", "other"),)), "headers"),
        (OutboundRequest("GET", "http://127.0.0.1", (("Transfer-Encoding", "chunked"),)), "headers"),
    ],
)
async def test_a_request_that_would_say_something_else_is_not_prepared(
    request_: OutboundRequest, field: str
) -> None:
    async with client() as outbound:
        with pytest.raises(InvalidInputError) as caught:
            await outbound.prepare(request_)
        assert caught.value.field == field
