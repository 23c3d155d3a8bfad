"""The egress guard on the way of a call: what is connected to is what was vetted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from include.errors import EgressDeniedError
from include.kit import pools
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient, OutboundRequest, PreparedCall
from tests.integration.kit.peers import OK, Reader, Writer, always, local_guard, peer


async def prepare(outbound: OutboundClient, url: str) -> PreparedCall:
    return await outbound.prepare(OutboundRequest("POST", url, (), b"{}", 5.0))


class TestGuard:
    async def test_this_machine_is_denied_unless_allowed(self) -> None:
        async with peer(always(OK)) as server:
            outbound = OutboundClient(EgressGuard())
            for host in ("127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"):
                with pytest.raises(EgressDeniedError):
                    await prepare(outbound, f"http://{host}:{server.port}/")
            assert server.opened == 0

    async def test_a_public_looking_name_for_this_machine_is_denied(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def inner(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", inner)
        with pytest.raises(EgressDeniedError, match=r"'public\.example' resolves to a loopback address"):
            await prepare(OutboundClient(EgressGuard()), "http://public.example/")

    async def test_a_name_that_changes_its_answer_is_called_at_the_vetted_address_only(self) -> None:
        answers = [["127.0.0.1"], ["127.0.0.2"]]

        async def rebinding(host: str, port: int) -> Sequence[str]:
            return answers.pop(0)

        async with peer(always(OK)) as server:
            guard = EgressGuard(local_guard()._allow, resolver=rebinding, cache_seconds=0)
            outbound = OutboundClient(guard)
            prepared = await prepare(outbound, f"http://rebind.example:{server.port}/")
            assert prepared.addresses == ("127.0.0.1",)
            assert (await outbound.send(prepared)).status == 200
            assert f"Host: rebind.example:{server.port}\r\n".encode() in server.requests[0]
            assert len(answers) == 1
            await outbound.aclose()

    async def test_an_ipv6_address(self) -> None:
        async def serve(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            writer.close()

        if not socket.has_ipv6:
            pytest.skip("this Python has no IPv6")
        async with await asyncio.start_server(serve, "::1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            outbound = OutboundClient(EgressGuard((ip_network("::1/128"),)))
            assert (await outbound.send(await prepare(outbound, f"http://[::1]:{port}/"))).status == 200
            await outbound.aclose()

    async def test_the_second_address_is_tried_when_the_first_refuses(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pools, "_NEXT_ADDRESS_SECONDS", 0.05)

        async def two(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.2", "127.0.0.1"]

        async with peer(always(OK)) as server:
            outbound = OutboundClient(EgressGuard(local_guard()._allow, resolver=two))
            prepared = await prepare(outbound, f"http://two.example:{server.port}/")
            assert (await outbound.send(prepared)).status == 200
            await outbound.aclose()
