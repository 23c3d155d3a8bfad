"""JSON Web Tokens (RFC 7519): who a user is, signed by us (HS256) or by an identity provider (RS256)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from include.errors import AuthenticationError, InvalidInputError, StartupError, TokenExpiredError
from include.kit.clock import Clock, system_clock
from include.settings import Settings
from include.tokens.jwt_keys import KeySet

#: Nothing that is longer is read.
LONGEST = 8192
USER_LONGEST = 200

_PURPOSE = b"carillon json web tokens"


@dataclass(frozen=True)
class JwtUser:
    """Whom a token stands for.

    :ivar claims: all that the token says
    """

    name: str
    claims: Mapping[str, Any]


class JwtVerifier:
    """Checks tokens by the settings. Each algorithm has a key of its own: none passes for another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secret = jwt_secret(settings)
        self.keys = KeySet(settings.jwt_jwks) if settings.jwt_jwks else None

    async def verify(self, text: str) -> JwtUser:
        """Return the user of a token.

        :raises TokenExpiredError: it was good once
        :raises AuthenticationError: it is not good
        :raises OutboundError: the keys of RS256 cannot be read at the moment
        """
        if len(text) > LONGEST:
            raise AuthenticationError("the token is too long")
        try:
            header = jwt.get_unverified_header(text)
            key = await self._key(header)
            claims = self._claims(text, header["alg"], key)
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError("the token has expired") from None
        except jwt.ImmatureSignatureError:
            raise AuthenticationError("the token is not valid yet") from None
        except jwt.InvalidSignatureError:
            raise AuthenticationError("the token's signature is wrong") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise AuthenticationError(f"the token cannot be used: {error}") from None
        return JwtUser(_user(claims, self.settings.jwt_user_claim), claims)

    async def _key(self, header: Mapping[str, Any]) -> bytes | RSAPublicKey:
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header:
            raise AuthenticationError("the token has extensions that are not known")
        if algorithm == "HS256" and self.secret is not None:
            return self.secret
        if algorithm == "RS256" and self.keys is not None:
            if kid is not None and not isinstance(kid, str):
                raise AuthenticationError("the token's key id is not a text")
            return await self.keys.find(kid)
        raise AuthenticationError("the token's algorithm is not one that is accepted here")

    def _claims(self, text: str, algorithm: str, key: bytes | RSAPublicKey) -> Mapping[str, Any]:
        settings = self.settings
        return jwt.decode(
            text,
            key,
            algorithms=[algorithm],
            leeway=settings.jwt_leeway_seconds,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            options={
                "require": ["exp"],
                "verify_aud": settings.jwt_audience is not None,
                "verify_iss": settings.jwt_issuer is not None,
                # Which claim names the user is a setting, and what it holds is checked there.
                "verify_sub": False,
            },
        )


def issue_jwt(user: str, expires_at: datetime, settings: Settings, *, clock: Clock = system_clock) -> str:
    """Return a token of a user, signed with HS256.

    :raises InvalidInputError: names `user` or `expires`
    :raises StartupError: there is no secret to sign with
    """
    now = clock()
    if not _is_name(user):
        raise InvalidInputError(f"must have 1 to {USER_LONGEST} printable characters", field="user")
    if expires_at <= now:
        raise InvalidInputError(f"{expires_at.isoformat()} lies in the past", field="expires")
    secret = jwt_secret(settings)
    if secret is None:
        raise StartupError("no token can be signed: set CARILLON_JWT_SECRET, or ask the identity provider")
    claims: dict[str, Any] = {
        settings.jwt_user_claim: user,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    return jwt.encode(claims, secret, algorithm="HS256")


def jwt_secret(settings: Settings) -> bytes | None:
    """Return the secret of HS256, None where that is not accepted.

    The local profile has one without a setting, made from `CARILLON_SECRET_KEY`, unless a JWKS is set.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value().encode()
    if settings.profile == "local" and settings.jwt_jwks is None:
        key = settings.secret_key.get_secret_value().encode()
        return hmac.new(key, _PURPOSE, hashlib.sha256).hexdigest().encode()
    return None


def _user(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(name, str) or not _is_name(name):
        raise AuthenticationError(f"the token does not name a user: claim {claim!r}")
    return name


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= USER_LONGEST and text.isprintable() and not text.isspace()
