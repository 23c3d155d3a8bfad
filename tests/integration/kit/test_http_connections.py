"""How the client treats time, connections and other people's failures."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from include.errors import (
    OutboundError,
    OutboundProtocolError,
    OutboundTimeoutError,
)
from include.kit import connections
from include.kit.http import OutboundClient, OutboundRequest, PreparedCall
from tests.integration.kit.peers import OK, Reader, Writer, always, client, local_guard, peer, reset


async def prepare(
    outbound: OutboundClient, url: str, timeout: float = 5.0, body: bytes = b"{}"
) -> PreparedCall:
    return await outbound.prepare(OutboundRequest("POST", url, (), body, timeout))


async def hang(request: bytes, reader: Reader, writer: Writer) -> None:
    await asyncio.sleep(60)


async def dribble(request: bytes, reader: Reader, writer: Writer) -> None:
    """One byte of a long answer every 50 ms."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


class TestTimeout:
    async def test_no_answer(self) -> None:
        async with peer(hang) as server, client() as outbound:
            prepared = await prepare(outbound, server.url, 0.2)
            started = asyncio.get_running_loop().time()
            with pytest.raises(OutboundTimeoutError, match=r"within 0\.2 s: connected, nothing received"):
                await outbound.send(prepared)
            assert 0.19 < asyncio.get_running_loop().time() - started < 0.6
            await asyncio.sleep(0.02)
            assert not prepared.pool.connections

    async def test_an_answer_in_drops_is_cut_off_at_the_total(self) -> None:
        async with peer(dribble) as server, client() as outbound:
            started = asyncio.get_running_loop().time()
            with pytest.raises(OutboundTimeoutError, match=r"connected, only \d+ bytes received"):
                await outbound.send(await prepare(outbound, server.url, 0.3))
            assert asyncio.get_running_loop().time() - started < 0.8

    async def test_a_body_that_is_not_read(self) -> None:
        async def no_read(reader: Reader) -> bytes:
            await asyncio.sleep(60)
            return b""

        async with peer(always(OK), read=no_read) as server, client() as outbound:
            with pytest.raises(OutboundTimeoutError, match="nothing received"):
                await outbound.send(await prepare(outbound, server.url, 0.2, b"x" * 20_000_000))

    async def test_no_connection(self) -> None:
        with full_backlog() as port:
            async with client() as outbound:
                with pytest.raises(
                    OutboundTimeoutError, match=rf"no connection to 127\.0\.0\.1:{port} within 0\.2 s"
                ):
                    await outbound.send(await prepare(outbound, f"http://127.0.0.1:{port}", 0.2))

    async def test_a_tls_handshake_that_hangs(self) -> None:
        async with peer(always(OK)) as server, client() as outbound:
            with pytest.raises(OutboundTimeoutError, match="no connection"):
                await outbound.send(await prepare(outbound, f"https://127.0.0.1:{server.port}", 0.2))

    async def test_a_shorter_timeout_after_a_longer_one_on_the_same_connection(self) -> None:
        answers = iter([OK])

        async def once(request: bytes, reader: Reader, writer: Writer) -> bytes:
            return next(answers, b"")

        async with peer(once) as server, client() as outbound:
            await outbound.send(await prepare(outbound, server.url, 30))
            with pytest.raises(OutboundTimeoutError, match=r"within 0\.2 s"):
                await outbound.send(await prepare(outbound, server.url, 0.2))
            assert server.opened == 1

    async def test_the_wait_for_a_turn_does_not_count(self) -> None:
        async def slow(request: bytes, reader: Reader, writer: Writer) -> bytes:
            await asyncio.sleep(0.12)
            return OK

        async with peer(slow) as server, client(per_host_limit=1) as outbound:
            prepared = await prepare(outbound, server.url, 0.25)
            answers = await asyncio.gather(*(outbound.send(prepared) for _ in range(4)))
            assert [answer.status for answer in answers] == [200] * 4


class full_backlog:
    """A port on which the kernel accepts no further connection."""

    def __enter__(self) -> int:
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen(0)
        port: int = self.server.getsockname()[1]
        self.waiting = [socket.socket() for _ in range(4)]
        for waiting in self.waiting:
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        return port

    def __exit__(self, *exc: object) -> None:
        for sock in (*self.waiting, self.server):
            sock.close()


class TestKeepAlive:
    async def test_one_connection_serves_many_calls(self) -> None:
        async with peer(always(OK)) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            for _ in range(20):
                await outbound.send(prepared)
            assert (server.opened, len(server.requests)) == (1, 20)

    async def test_a_server_that_closes_after_each_answer(self) -> None:
        async def close_after(request: bytes, reader: Reader, writer: Writer) -> None:
            writer.write(OK)
            writer.close()

        async with peer(close_after) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            for pause in (0, 0, 0.02, 0.02):
                assert (await outbound.send(prepared)).status == 200
                await asyncio.sleep(pause)
            assert len(server.requests) == 4

    @pytest.mark.parametrize("by_reset", [False, True])
    async def test_a_reused_connection_lost_before_the_answer_is_retried_once(self, by_reset: bool) -> None:
        answers = iter([OK, None, OK])

        async def second_one_dropped(request: bytes, reader: Reader, writer: Writer) -> bytes | None:
            answer = next(answers)
            if answer is None:
                reset(writer) if by_reset else writer.close()
            return answer

        async with peer(second_one_dropped) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            for _ in range(2):
                assert (await outbound.send(prepared)).status == 200
            assert (server.opened, len(server.requests)) == (2, 3)

    async def test_the_retry_stays_within_the_limit(self) -> None:
        answers = iter([OK, OK, None, OK])

        async def third_one_dropped(request: bytes, reader: Reader, writer: Writer) -> bytes | None:
            answer = next(answers)
            await asyncio.sleep(0.02)
            if answer is None:
                writer.close()
            return answer

        async with peer(third_one_dropped) as server, client(per_host_limit=2) as outbound:
            prepared = await prepare(outbound, server.url)
            await asyncio.gather(outbound.send(prepared), outbound.send(prepared))
            await outbound.send(prepared)
            assert prepared.pool.open_count <= 2
            assert server.opened == 3

    async def test_a_connection_that_was_closed_unseen_is_replaced(self) -> None:
        async with peer(always(OK)) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.warm([prepared])
            prepared.pool.idle[0].abort()
            assert (await outbound.send(prepared)).status == 200
            assert len(server.requests) == 1

    async def test_it_is_not_retried_twice(self) -> None:
        answers = iter([OK])

        async def first_only(request: bytes, reader: Reader, writer: Writer) -> bytes | None:
            if (answer := next(answers, None)) is None:
                reset(writer)
            return answer

        async with peer(first_only) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.send(prepared)
            with pytest.raises(OutboundError, match="closed before an answer came"):
                await outbound.send(prepared)
            assert len(server.requests) == 3

    async def test_a_new_connection_lost_before_the_answer_is_not_retried(self) -> None:
        async def drop(request: bytes, reader: Reader, writer: Writer) -> None:
            writer.close()

        async with peer(drop) as server, client() as outbound:
            with pytest.raises(OutboundError, match="closed before an answer came"):
                await outbound.send(await prepare(outbound, server.url))
            assert len(server.requests) == 1

    async def test_a_target_that_worked_on_the_request_is_not_called_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "STALE_SECONDS", 0.05)
        answers = iter([OK])

        async def dies_at_work(request: bytes, reader: Reader, writer: Writer) -> bytes | None:
            if (answer := next(answers, None)) is None:
                await asyncio.sleep(0.1)
                writer.close()
            return answer

        async with peer(dies_at_work) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.send(prepared)
            with pytest.raises(OutboundError, match="closed before an answer came"):
                await outbound.send(prepared)
            assert len(server.requests) == 2

    async def test_words_on_an_idle_connection_close_it(self) -> None:
        async def too_idle(request: bytes, reader: Reader, writer: Writer) -> None:
            writer.write(OK)
            await asyncio.sleep(0.03)
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")

        async with peer(too_idle) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.send(prepared)
            await asyncio.sleep(0.08)
            assert not prepared.pool.idle
            assert (await outbound.send(prepared)).status == 200

    async def test_an_idle_connection_is_closed_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "IDLE_SECONDS", 0.5)
        async with peer(always(OK)) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.warm([prepared])
            assert (len(prepared.pool.idle), server.open_now) == (1, 1)
            await asyncio.sleep(1)
            assert (prepared.pool.idle, server.open_now) == ([], 0)


class TestLimits:
    async def test_calls_at_a_time_per_host(self) -> None:
        busy = most = 0

        async def count(request: bytes, reader: Reader, writer: Writer) -> bytes:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.01)
            busy -= 1
            return OK

        async with peer(count) as server, client(per_host_limit=3) as outbound:
            prepared = await prepare(outbound, server.url)
            await asyncio.gather(*(outbound.send(prepared) for _ in range(30)))
            assert (most, server.opened) == (3, 3)

    async def test_another_host_does_not_wait(self) -> None:
        async with peer(hang) as stuck, peer(always(OK)) as healthy, client(per_host_limit=1) as outbound:
            waiting = asyncio.create_task(outbound.send(await prepare(outbound, stuck.url, 0.5)))
            await asyncio.sleep(0.02)
            assert (await outbound.send(await prepare(outbound, healthy.url))).elapsed < 0.3
            assert not waiting.done()
            with pytest.raises(OutboundTimeoutError):
                await waiting

    @pytest.mark.parametrize(("calls", "limit", "opened"), [(3, 8, 3), (20, 8, 8)])
    async def test_warming_opens_what_is_needed_and_no_more(
        self, calls: int, limit: int, opened: int
    ) -> None:
        async with peer(always(OK)) as server, client(per_host_limit=limit) as outbound:
            prepared = [await prepare(outbound, server.url) for _ in range(calls)]
            await outbound.warm(prepared)
            await outbound.warm(prepared)
            await asyncio.sleep(0.02)
            assert (server.opened, server.requests) == (opened, [])
            await asyncio.gather(*map(outbound.send, prepared))
            assert (server.opened, len(server.requests)) == (opened, calls)

    async def test_what_cannot_be_warmed_is_no_failure(self) -> None:
        async with peer(always(OK)) as server:
            gone = server.url
        async with peer(always(OK)) as server, client() as outbound:
            await outbound.warm([await prepare(outbound, gone), await prepare(outbound, server.url)])
            assert server.opened == 1

    async def test_pools_are_let_go_with_their_last_call(self) -> None:
        async with peer(always(OK)) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.send(prepared)
            prepared.pool.idle[0].abort()
            del prepared
            await asyncio.sleep(0.02)
            gc.collect()
            assert not list(outbound._pools.values())


class TestFailuresStayAlone:
    async def test_a_hundred_healthy_calls_pass_beside_every_kind_of_failure(self) -> None:
        async def cut(request: bytes, reader: Reader, writer: Writer) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            await writer.drain()
            reset(writer)

        kinds = {
            b"/hang": hang,
            b"/dribble": dribble,
            b"/cut": cut,
            b"/garbage": always(b"nonsense\r\n\r\n"),
            b"/large": always(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000),
            b"/fine": always(OK),
        }

        async def by_path(request: bytes, reader: Reader, writer: Writer) -> bytes | None:
            return await kinds[request.split(b" ")[1]](request, reader, writer)

        paths = ["/fine"] * 100
        for i, kind in enumerate(["/hang", "/dribble", "/cut", "/garbage", "/large"] * 3):
            paths.insert(i * 6, kind)
        async with peer(by_path) as server, client() as outbound:
            calls = [await prepare(outbound, server.url + path, 0.5) for path in paths]
            answers = await asyncio.gather(*map(outbound.send, calls), return_exceptions=True)
        outcomes: dict[str, set[object]] = {path: set() for path in paths}
        for path, answer in zip(paths, answers, strict=True):
            outcomes[path].add(type(answer).__name__ if isinstance(answer, Exception) else answer[0])
        assert outcomes == {
            "/fine": {200},
            "/hang": {"OutboundTimeoutError"},
            "/dribble": {"OutboundTimeoutError"},
            "/cut": {"OutboundProtocolError"},
            "/garbage": {"OutboundProtocolError"},
            "/large": {"AnswerTooLargeError"},
        }

    async def test_a_cancelled_call_closes_its_connection_and_gives_up_its_turn(self) -> None:
        async with peer(hang) as server, client(per_host_limit=1) as outbound:
            prepared = await prepare(outbound, server.url, 0.2)
            first = asyncio.create_task(outbound.send(prepared))
            await asyncio.sleep(0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            with pytest.raises(OutboundTimeoutError):
                await outbound.send(prepared)
            assert server.opened == 2

    async def test_a_call_cancelled_as_its_answer_comes_leaves_the_connection_to_others(self) -> None:
        async with peer(always(OK)) as server, client() as outbound:
            prepared = await prepare(outbound, server.url)
            await outbound.warm([prepared])
            connection = prepared.pool.idle[0]
            task = asyncio.create_task(outbound.send(prepared))
            finish = connection._finish

            def cancel_too(response: object) -> None:
                finish(response)  # type: ignore[arg-type]
                task.cancel()

            connection._finish = cancel_too  # type: ignore[method-assign]
            with pytest.raises(asyncio.CancelledError):
                await task
            assert prepared.pool.idle == [connection]
            connection._finish = finish  # type: ignore[method-assign]
            assert (await outbound.send(prepared)).status == 200
            assert server.opened == 1


class TestClose:
    async def test_closing_fails_calls_under_way_and_later_ones(self) -> None:
        async with peer(hang) as server:
            outbound = OutboundClient(local_guard())
            prepared = await prepare(outbound, server.url)
            under_way = asyncio.create_task(outbound.send(prepared))
            await asyncio.sleep(0.05)
            await outbound.aclose()
            with pytest.raises(OutboundError, match="closed"):
                await under_way
            with pytest.raises(OutboundError, match="the client is closed"):
                await outbound.send(prepared)
            assert not prepared.pool.connections

    async def test_a_connection_that_was_being_opened_is_not_kept(self) -> None:
        async with peer(always(OK)) as server:
            outbound = OutboundClient(local_guard())
            prepared = await prepare(outbound, server.url)
            warming = asyncio.create_task(outbound.warm([prepared]))
            await asyncio.sleep(0)
            await outbound.aclose()
            await warming
            await asyncio.sleep(0.02)
            assert (prepared.pool.connections, server.open_now) == (set(), 0)


async def test_a_closing_target_right_after_connecting() -> None:
    async def slam(reader: Reader) -> bytes:
        raise ConnectionError

    async with peer(always(OK), read=slam) as server, client() as outbound:
        prepared = await prepare(outbound, server.url, 2)
        for _ in range(5):
            with pytest.raises(OutboundError) as caught:
                await outbound.send(prepared)
            assert not isinstance(caught.value, (OutboundTimeoutError, OutboundProtocolError))
