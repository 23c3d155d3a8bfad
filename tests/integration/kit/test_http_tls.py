"""TLS: only a certificate that is trusted and bears the host's name will do."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from include.errors import OutboundError, OutboundTimeoutError
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient, OutboundRequest
from tests.integration.kit.peers import OK, always, local_guard, peer

NAME = "callback.example"


def certificate(folder: Path, *, name: str = NAME, days: int = 1) -> Path:
    """A self-signed certificate with its key, in one PEM file; `days` < 0: expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return pem


def server_side(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def trusting(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pem))


async def this_machine(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def outbound_client(tls: ssl.SSLContext | None) -> OutboundClient:
    return OutboundClient(EgressGuard(local_guard()._allow, resolver=this_machine), tls=tls)


async def status_of(outbound: OutboundClient, port: int, host: str = NAME) -> int | None:
    try:
        prepared = await outbound.prepare(OutboundRequest("POST", f"https://{host}:{port}/", (), b"{}", 5.0))
        await outbound.warm([prepared])
        return (await outbound.send(prepared)).status
    finally:
        await outbound.aclose()


async def test_a_trusted_certificate_with_the_hosts_name(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    asked: list[str | None] = []
    context = server_side(pem)
    context.sni_callback = lambda sock, name, _: asked.append(name)
    async with peer(always(OK), tls=context) as server:
        assert await status_of(outbound_client(trusting(pem)), server.port) == 200
        assert asked == [NAME]
        assert f"Host: {NAME}:{server.port}\r\n".encode() in server.requests[0]


async def test_an_answer_of_many_records(tmp_path: Path) -> None:
    pem, body = certificate(tmp_path), bytes(range(256)) * 3000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with peer(always(head + body), tls=server_side(pem)) as server:
        outbound = outbound_client(trusting(pem))
        prepared = await outbound.prepare(OutboundRequest("POST", f"https://{NAME}:{server.port}/"))
        for _ in range(2):
            assert (await outbound.send(prepared)).body == body
        assert server.opened == 1
        await outbound.aclose()


async def test_a_self_signed_certificate_is_refused(tmp_path: Path) -> None:
    async with peer(always(OK), tls=server_side(certificate(tmp_path))) as server:
        with pytest.raises(OutboundError, match="TLS certificate was refused: self-signed certificate"):
            await status_of(outbound_client(None), server.port)
        assert server.requests == []


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    pem = certificate(tmp_path, name="other.example")
    async with peer(always(OK), tls=server_side(pem)) as server:
        for host in (NAME, "127.0.0.1"):
            with pytest.raises(OutboundError, match=r"TLS certificate was refused: .*mismatch"):
                await status_of(outbound_client(trusting(pem)), server.port, host)
        assert server.requests == []


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    pem = certificate(tmp_path, days=-1)
    async with peer(always(OK), tls=server_side(pem)) as server:
        with pytest.raises(OutboundError, match="TLS certificate was refused: certificate has expired"):
            await status_of(outbound_client(trusting(pem)), server.port)


async def test_a_server_that_speaks_no_tls_is_an_error() -> None:
    async def first_bytes(reader: asyncio.StreamReader) -> bytes:
        return await reader.readexactly(5)

    async with peer(always(b"220 welcome\r\n"), read=first_bytes) as server:
        with pytest.raises(OutboundError, match="no connection to") as caught:
            await status_of(outbound_client(None), server.port)
        assert not isinstance(caught.value, OutboundTimeoutError)
