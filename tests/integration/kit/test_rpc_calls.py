"""JSON-RPC over TCP: against Go's own server, and against a transcript of it byte by byte."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.errors import EgressDeniedError, InvalidInputError, OutboundProtocolError, OutboundTimeoutError
from include.kit import rpc
from include.kit.egress import EgressGuard
from include.kit.http import AnswerTooLargeError, OutboundClient, OutboundResponse
from include.kit.rpc import RpcRequest
from tests.integration.kit.peers import Behaviour, Reader, Writer, client, peer, read_line


async def call(
    outbound: OutboundClient, port: int, method: str, body: str | None, timeout: float = 5.0
) -> OutboundResponse:
    request = RpcRequest(f"127.0.0.1:{port}/{method}", body, timeout)
    return await outbound.send(await outbound.prepare(request))


def answering(template: str) -> Behaviour:
    """Answer with the template, `ID` replaced by the id of the request."""

    async def behave(request: bytes, reader: Reader, writer: Writer) -> bytes:
        return template.replace("ID", str(json.loads(request)["id"])).encode()

    return behave


class TestTranscript:
    """What Go's client and server write (`src/net/rpc/jsonrpc`); answers recorded from Go 1.19."""

    @pytest.mark.parametrize(
        ("body", "parameter"),
        [
            ('{"A":7,"B":8}', b'{"A":7,"B":8}'),
            (" [1, 2.50, 12345678901234567890.123456789]\n", b"[1, 2.50, 12345678901234567890.123456789]"),
            ("plain text", b'"plain text"'),
            ("NaN", b'"NaN"'),
            ('say "hi"\n', b'"say \\"hi\\"\\n"'),
            ("[" * 100_000, b'"' + b"[" * 100_000 + b'"'),
            ("温度", b'"\\u6e29\\u5ea6"'),
            ('{"温度":1}', '{"温度":1}'.encode()),
            ("", b"null"),
            (None, b"null"),
        ],
    )
    async def test_the_request(
        self, body: str | None, parameter: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rpc, "_ids", iter([0]))
        async with (
            peer(answering('{"id":ID,"result":56,"error":null}\n'), read=read_long_line) as server,
            client() as outbound,
        ):
            await call(outbound, server.port, "Arith.Multiply", body)
            assert server.requests == [b'{"method":"Arith.Multiply","params":[' + parameter + b'],"id":0}\n']

    @pytest.mark.parametrize(
        ("answer", "ok", "body", "error"),
        [
            ('{"id":ID,"result":56,"error":null}\n', True, b"56", None),
            ('{"id":ID,"result":"温","error":null}\n', True, '"温"'.encode(), None),
            ('{"id":ID,"result":null,"error":"always fails: x"}\n', False, b"null", "always fails: x"),
            (
                '{"id":ID,"result":null,"error":"rpc: can\'t find service No.Such"}\n',
                *(False, b"null", "rpc: can't find service No.Such"),
            ),
        ],
    )
    async def test_the_answers(self, answer: str, ok: bool, body: bytes, error: str | None) -> None:
        async with peer(answering(answer), read=read_line) as server, client() as outbound:
            for _ in range(2):
                response = await call(outbound, server.port, "Echo.Say", "x")
                assert response._replace(elapsed=0.0) == (None, (), body, False, 0.0, ok, error)
            assert server.opened == 1


async def read_long_line(reader: Reader) -> bytes:
    reader._limit = 1_000_000  # type: ignore[attr-defined]
    return await read_line(reader)


class TestOtherServers:
    @pytest.mark.parametrize(
        ("answer", "ok", "body", "error"),
        [
            ('{"result": {"a": "}]\\"\\\\"}, "id": ID, "error": null}', True, b'{"a":"}]\\"\\\\"}', None),
            ('\r\n {\n "id": ID,\n "result": true }', True, b"true", None),
            ('{"id":ID,"error":{"code":-1}}', False, b"null", '{"code":-1}'),
            ('{"id":null,"error":"cannot read"}', False, b"null", "cannot read"),
        ],
    )
    async def test_another_spelling(self, answer: str, ok: bool, body: bytes, error: str | None) -> None:
        async with peer(answering(answer), read=read_line) as server, client() as outbound:
            response = await call(outbound, server.port, "A.B", None)
            assert (response.ok, response.body, response.error) == (ok, body, error)

    async def test_an_answer_in_single_bytes(self) -> None:
        async def slowly(request: bytes, reader: Reader, writer: Writer) -> None:
            number = json.loads(request)["id"]
            for byte in json.dumps({"id": number, "result": 'a\\"}{', "error": None}).encode():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

        async with peer(slowly, read=read_line) as server, client() as outbound:
            assert json.loads((await call(outbound, server.port, "A.B", None)).body) == 'a\\"}{'

    @pytest.mark.parametrize(
        "answer",
        [
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "[1]\n",
            "{]\n",
            "{}\n",
            '{"id":ID}\n',
            '{"id":ID,"result":NaN,"error":null}\n',
            '{"id":999999,"result":1,"error":null}\n',
            '{"id":"ID","result":1,"error":null}\n',
            '{"result":1,"error":null}\n',
            '{"id":true,"result":1,"error":null}\n',
            '{"id":ID,"result":' + "[" * 100_000 + "]" * 100_000 + "}",
        ],
    )
    async def test_a_malformed_answer(self, answer: str) -> None:
        async with peer(answering(answer), read=read_line) as server, client() as outbound:
            with pytest.raises(OutboundProtocolError, match=r"the answer is (not|to call)"):
                await call(outbound, server.port, "A.B", None)
            await asyncio.sleep(0.02)
            assert server.open_now == 0

    async def test_an_answer_over_the_limit(self) -> None:
        answer = '{"id":ID,"result":"' + "x" * 5_000_000
        async with (
            peer(answering(answer), read=read_line) as server,
            client(response_limit_bytes=2048) as outbound,
        ):
            with pytest.raises(AnswerTooLargeError, match="larger than 2048 bytes") as caught:
                await call(outbound, server.port, "A.B", None)
            assert len(caught.value.response.body) == 2048

    async def test_a_connection_with_more_than_the_answer_is_not_kept(self) -> None:
        answer = '{"id":ID,"result":1,"error":null}\n{"id":ID'
        async with peer(answering(answer), read=read_line) as server, client() as outbound:
            for _ in range(2):
                assert (await call(outbound, server.port, "A.B", None)).body == b"1"
            assert server.opened == 2

    async def test_a_hang_is_cut_off(self) -> None:
        async def hang(request: bytes, reader: Reader, writer: Writer) -> None:
            await asyncio.sleep(60)

        async with peer(hang, read=read_line) as server, client() as outbound:
            with pytest.raises(OutboundTimeoutError, match="nothing received"):
                await call(outbound, server.port, "A.B", None, 0.1)

    async def test_an_early_close(self) -> None:
        async def close(request: bytes, reader: Reader, writer: Writer) -> None:
            writer.write(b'{"id":1,"resu')
            writer.close()

        async with peer(close, read=read_line) as server, client() as outbound:
            with pytest.raises(OutboundProtocolError, match="closed after 13 bytes"):
                await call(outbound, server.port, "A.B", None)

    async def test_the_guard_holds_for_rpc_too(self) -> None:
        outbound = OutboundClient(EgressGuard())
        with pytest.raises(EgressDeniedError):
            await outbound.prepare(RpcRequest("127.1:80/A.B"))
        with pytest.raises(InvalidInputError):
            await outbound.prepare(RpcRequest("127.0.0.1/A.B"))


@pytest.fixture(scope="module")
def go_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A running server built from `rpc_server.go`."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not installed; TestTranscript covers the same exchange byte by byte")
    folder = tmp_path_factory.mktemp("rpc")
    binary = folder / "rpc_server"
    source = Path(__file__).with_name("rpc_server.go")
    environment = {
        "GOCACHE": str(folder / "cache"),
        "HOME": str(folder),
        "GO111MODULE": "off",
        "PATH": "/usr/bin:/bin",
    }
    subprocess.run([go, "build", "-o", binary, source], check=True, env=environment)
    with subprocess.Popen([binary], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


class TestGo:
    async def test_results_errors_and_reuse(self, go_port: int) -> None:
        async with client() as outbound:
            product = await call(outbound, go_port, "Arith.Multiply", '{"A":7,"B":8}')
            echo = await call(outbound, go_port, "Echo.Say", '温度 <&> "x" }')
            failed = await call(outbound, go_port, "Fail.Always", "x")
            missing = await call(outbound, go_port, "No.Such", None)
            wrong_type = await call(outbound, go_port, "Arith.Multiply", "text")
            again = await call(outbound, go_port, "Arith.Multiply", '{"A":2,"B":3}')
        assert (product.ok, product.body, again.body) == (True, b"56", b"6")
        assert json.loads(echo.body) == '温度 <&> "x" }'
        assert (failed.ok, failed.body, failed.error) == (False, b"null", "always fails: x")
        assert missing.error == "rpc: can't find service No.Such"
        assert wrong_type.error is not None
        assert "cannot unmarshal string" in wrong_type.error

    async def test_many_at_once_share_the_connections(self, go_port: int) -> None:
        async with client(per_host_limit=4) as outbound:
            answers = await asyncio.gather(
                *(call(outbound, go_port, "Arith.Multiply", f'{{"A":{i},"B":2}}') for i in range(100))
            )
        assert [int(answer.body) for answer in answers] == [2 * i for i in range(100)]

    async def test_a_slow_one_is_cut_off_and_the_next_one_served(self, go_port: int) -> None:
        async with client(per_host_limit=1) as outbound:
            with pytest.raises(OutboundTimeoutError):
                await call(outbound, go_port, "Slow.Sleep", "2000", 0.15)
            assert (await call(outbound, go_port, "Slow.Sleep", "1")).body == b'"slept"'

    async def test_what_go_writes_is_what_the_transcript_says(self, go_port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", go_port)
        for method, parameter, answer in (
            ("Arith.Multiply", '{"A":7,"B":8}', b'{"id":3,"result":56,"error":null}\n'),
            ("Fail.Always", '"x"', b'{"id":3,"result":null,"error":"always fails: x"}\n'),
            ("No.Such", "null", b'{"id":3,"result":null,"error":"rpc: can\'t find service No.Such"}\n'),
        ):
            writer.write(f'{{"method":"{method}","params":[{parameter}],"id":3}}\n'.encode())
            assert await reader.readline() == answer
        writer.close()
        await writer.wait_closed()
