"""JSON Web Tokens: what is good, and every way in which one can be bad."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from include.errors import (
    AuthenticationError,
    InvalidInputError,
    OutboundError,
    StartupError,
    TokenExpiredError,
)
from include.kit.clock import system_clock
from include.settings import Settings
from include.tokens.jwt_keys import KeySet, read_keys
from include.tokens.jwt_tokens import JwtVerifier, issue_jwt, jwt_secret

SECRET = "a secret of at least thirty-two bytes"
OTHER_SECRET = "another secret, of thirty-two bytes too"
KEYS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


def settings(**changes: Any) -> Settings:
    return Settings(**{"jwt_secret": SECRET, **changes})


def signed(secret: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: Any) -> str:
    now = int(system_clock().timestamp())
    body = {"sub": "alice", "iat": now, "exp": now + 60, **claims}
    header = {"kid": kid} if kid else None
    return jwt.encode(
        {k: v for k, v in body.items() if v is not None}, secret, algorithm=algorithm, headers=header
    )


def jwk(number: int, kid: str | None, **changes: Any) -> dict[str, Any]:
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[number].public_key()))
    return {key: value for key, value in {**key, "kid": kid, "use": "sig", **changes}.items() if value}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def refuse(token: str, *, error: type[Exception] = AuthenticationError, **changes: Any) -> str:
    with pytest.raises(error) as caught:
        await JwtVerifier(settings(**changes)).verify(token)
    assert type(caught.value) is error
    return str(caught.value)


class TestSecret:
    async def test_a_good_one(self) -> None:
        user = await JwtVerifier(settings()).verify(signed(role="owner"))
        assert (user.name, user.claims["role"]) == ("alice", "owner")

    async def test_what_we_issue_is_good(self) -> None:
        given = settings(jwt_audience="carillon", jwt_issuer="us", jwt_user_claim="user")
        token = issue_jwt("alice", system_clock() + timedelta(hours=1), given)
        assert (await JwtVerifier(given).verify(token)).name == "alice"

    async def test_expired(self) -> None:
        now = int(system_clock().timestamp())
        assert await refuse(signed(exp=now - 1), error=TokenExpiredError) == "the token has expired"

    async def test_expired_within_the_leeway(self) -> None:
        now = int(system_clock().timestamp())
        given = settings(jwt_leeway_seconds=30)
        assert (await JwtVerifier(given).verify(signed(exp=now - 10))).name == "alice"

    async def test_not_yet_valid(self) -> None:
        now = int(system_clock().timestamp())
        assert await refuse(signed(nbf=now + 30)) == "the token is not valid yet"
        assert (
            await JwtVerifier(settings(jwt_leeway_seconds=60)).verify(signed(nbf=now + 30))
        ).name == "alice"

    async def test_wrongly_signed(self) -> None:
        assert await refuse(signed(OTHER_SECRET)) == "the token's signature is wrong"

    async def test_wrongly_signed_and_expired_is_wrong_not_expired(self) -> None:
        now = int(system_clock().timestamp())
        await refuse(signed(OTHER_SECRET, exp=now - 100))

    async def test_changed_after_it_was_signed(self) -> None:
        header, _, signature = signed().split(".")
        body = part({"sub": "root", "exp": int(system_clock().timestamp()) + 60})
        assert await refuse(f"{header}.{body}.{signature}") == "the token's signature is wrong"

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
    async def test_unsigned(self, name: str) -> None:
        body = part({"sub": "alice", "exp": int(system_clock().timestamp()) + 60})
        message = "the token's algorithm is not one that is accepted here"
        assert await refuse(f"{part({'alg': name, 'typ': 'JWT'})}.{body}.") == message

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    async def test_an_algorithm_that_is_not_on_the_list(self, algorithm: str) -> None:
        token = signed(SECRET * 4, algorithm)
        assert "algorithm" in await refuse(token, jwt_secret=SECRET * 4)

    @pytest.mark.parametrize("header", [{"typ": "JWT"}, {"alg": 1}, {"alg": ["HS256"]}, {"alg": {}}])
    async def test_a_header_without_a_usable_algorithm(self, header: dict[str, Any]) -> None:
        await refuse(f"{part(header)}.{part({})}.AAAA")

    async def test_extensions_that_are_not_known(self) -> None:
        now = int(system_clock().timestamp())
        token = jwt.encode(
            {"sub": "a", "exp": now + 60}, SECRET, headers={"crit": ["b64"], "b64": True}, algorithm="HS256"
        )
        await refuse(token)

    async def test_without_an_end(self) -> None:
        assert "exp" in await refuse(signed(exp=None))

    @pytest.mark.parametrize("exp", ["soon", {}, [], 1e400, "99999999999x"])
    async def test_an_end_that_is_no_moment(self, exp: Any) -> None:
        header = part({"alg": "HS256", "typ": "JWT"})
        body = part({"sub": "alice", "exp": exp})
        key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = key.sign(f"{header}.{body}".encode(), SECRET.encode())
        token = f"{header}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
        await refuse(token)

    @pytest.mark.parametrize(
        "text", ["", "x", "a.b", "a.b.c", "...", "é.é.é", "\x00", "1:" + "0" * 40, "x" * 9000]
    )
    async def test_what_is_no_token_at_all(self, text: str) -> None:
        await refuse(text)

    @pytest.mark.parametrize("sub", [None, "", "  ", "a\nb", "x" * 201, True, 1.5, ["alice"], {}])
    async def test_a_user_that_is_none(self, sub: Any) -> None:
        assert await refuse(signed(sub=sub)) == "the token does not name a user: claim 'sub'"

    async def test_another_claim_names_the_user(self) -> None:
        user = await JwtVerifier(settings(jwt_user_claim="user_id")).verify(signed(user_id=42))
        assert user.name == "42"

    async def test_audience_and_issuer_where_they_are_set(self) -> None:
        good = signed(aud=["carillon", "x"], iss="us")
        wanted = {"jwt_audience": "carillon", "jwt_issuer": "us"}
        assert (await JwtVerifier(settings(**wanted)).verify(good)).name == "alice"
        assert (await JwtVerifier(settings()).verify(good)).name == "alice"
        for bad in (signed(), signed(aud="other", iss="us"), signed(aud="carillon", iss="them")):
            await refuse(bad, **wanted)


class TestDefaults:
    def test_the_local_profile_derives_one(self) -> None:
        one, other = jwt_secret(Settings()), jwt_secret(Settings(secret_key="another"))
        assert one is not None
        assert len(one) == 64
        assert one != other

    async def test_production_has_none(self) -> None:
        given = Settings(profile="production", secret_key="x" * 40)
        assert jwt_secret(given) is None
        with pytest.raises(AuthenticationError):
            await JwtVerifier(given).verify(signed())
        with pytest.raises(StartupError):
            issue_jwt("alice", system_clock() + timedelta(hours=1), given)

    def test_a_jwks_alone_leaves_no_secret(self) -> None:
        assert jwt_secret(Settings(jwt_jwks="keys.json")) is None

    def test_a_short_secret_is_refused(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            Settings(jwt_secret="short")

    @pytest.mark.parametrize(
        ("user", "hours", "field"), [("", 1, "user"), ("a\n", 1, "user"), ("a", -1, "expires")]
    )
    def test_what_cannot_be_issued(self, user: str, hours: int, field: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            issue_jwt(user, system_clock() + timedelta(hours=hours), settings())
        assert caught.value.field == field


class TestKeys:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        file = tmp_path / "keys.json"
        file.write_bytes(jwks(jwk(0, "one")))
        return file

    def rs(self, number: int = 0, kid: str | None = "one", **claims: Any) -> str:
        return signed(KEYS[number], "RS256", kid, **claims)

    async def test_a_good_one(self, source: Path) -> None:
        verifier = JwtVerifier(Settings(jwt_jwks=str(source)))
        assert (await verifier.verify(self.rs())).name == "alice"

    async def test_without_an_id_the_only_key_is_meant(self, source: Path) -> None:
        verifier = JwtVerifier(Settings(jwt_jwks=str(source)))
        assert (await verifier.verify(self.rs(kid=None))).name == "alice"
        source.write_bytes(jwks(jwk(0, "one"), jwk(1, "two")))
        with pytest.raises(AuthenticationError, match="not known"):
            await JwtVerifier(Settings(jwt_jwks=str(source))).verify(self.rs(kid=None))

    async def test_expired(self, source: Path) -> None:
        now = int(system_clock().timestamp())
        with pytest.raises(TokenExpiredError):
            await JwtVerifier(Settings(jwt_jwks=str(source))).verify(self.rs(exp=now - 5))

    async def test_signed_by_another_key(self, source: Path) -> None:
        with pytest.raises(AuthenticationError, match="signature"):
            await JwtVerifier(Settings(jwt_jwks=str(source))).verify(self.rs(number=1))

    @pytest.mark.parametrize("with_secret", [True, False])
    async def test_the_public_key_is_no_secret(self, source: Path, with_secret: bool) -> None:
        """The confusion of algorithms: HS256 over the public key, which everybody has."""
        pem = KEYS[0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        header = part({"alg": "HS256", "typ": "JWT", "kid": "one"})
        body = part({"sub": "alice", "exp": int(system_clock().timestamp()) + 60})
        key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(key.sign(f"{header}.{body}".encode(), pem)).decode().rstrip("=")
        secret = {"jwt_secret": SECRET} if with_secret else {}
        with pytest.raises(AuthenticationError):
            await JwtVerifier(Settings(jwt_jwks=str(source), **secret)).verify(f"{header}.{body}.{signature}")

    async def test_a_signature_of_rs256_needs_keys(self) -> None:
        assert "algorithm" in await refuse(self.rs())

    async def test_rotation_an_unknown_id_has_the_keys_read_again_once_a_minute(self, source: Path) -> None:
        now = [1000.0]
        keys = KeySet(str(source), lambda: now[0])
        await keys.find("one")
        source.write_bytes(jwks(jwk(1, "two")))
        with pytest.raises(AuthenticationError):
            await keys.find("two")
        await keys.find("one")
        now[0] += 61
        assert (await keys.find("two")).public_numbers() == KEYS[1].public_key().public_numbers()
        with pytest.raises(AuthenticationError):
            await keys.find("one")

    async def test_keys_are_read_again_after_an_hour(self, source: Path) -> None:
        now = [1000.0]
        keys = KeySet(str(source), lambda: now[0])
        await keys.find("one")
        source.write_bytes(jwks(jwk(1, "two")))
        now[0] += 3601
        with pytest.raises(AuthenticationError):
            await keys.find("one")

    async def test_a_source_that_went_away_leaves_the_keys_that_were_read(self, source: Path, caplog) -> None:
        now = [1000.0]
        keys = KeySet(str(source), lambda: now[0])
        await keys.find("one")
        source.unlink()
        now[0] += 3601
        await keys.find("one")
        assert "cannot be read" in caplog.text

    async def test_a_source_that_was_never_there(self, tmp_path: Path) -> None:
        now = [1000.0]
        file = tmp_path / "keys.json"
        keys = KeySet(str(file), lambda: now[0])
        with pytest.raises(OutboundError):
            await keys.find("one")
        file.write_bytes(jwks(jwk(0, "one")))
        now[0] += 6
        await keys.find("one")

    async def test_from_a_url(self, httpserver_of: Callable[[int, bytes], Any]) -> None:
        async with httpserver_of(200, jwks(jwk(0, "one"))) as url:
            assert (await JwtVerifier(Settings(jwt_jwks=url)).verify(self.rs())).name == "alice"

    @pytest.mark.parametrize(("status", "document"), [(500, b"{}"), (302, b""), (200, b"x" * 1_048_577)])
    async def test_a_url_that_answers_something_else(
        self, httpserver_of, status: int, document: bytes
    ) -> None:
        async with httpserver_of(status, document) as url:
            with pytest.raises(OutboundError):
                await KeySet(url).find("one")

    @pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff"])
    def test_what_is_no_jwks(self, document: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  the messages are those of the parser
            read_keys(document)

    def test_keys_that_rs256_cannot_use_are_left_out(self) -> None:
        short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
        found = read_keys(
            jwks(
                jwk(0, "good"),
                jwk(0, "encrypts", use="enc"),
                jwk(0, "other", alg="RS512"),
                jwk(0, "broken", n="!"),
                {**jwk(0, "private"), "d": "AQAB"},
                {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(short)), "kid": "short"},
                {"kty": "oct", "k": "AAAA", "kid": "secret"},
                {"kty": "RSA", "kid": 7},
            )
        )
        assert list(found) == ["good"]


@pytest.fixture
def httpserver_of() -> Any:
    """A server that gives every request one answer."""
    from contextlib import asynccontextmanager

    from aiohttp import web

    @asynccontextmanager
    async def serve(status: int, document: bytes):
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, body=document, headers={"Location": "/elsewhere"})

        app = web.Application()
        app.router.add_get("/jwks", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/jwks"
        await runner.cleanup()

    return serve
