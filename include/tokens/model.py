"""API tokens: what they are, how they are written, how their secret is drawn and hashed. No I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from include.errors import AuthenticationError, InvalidInputError, PermissionDeniedError, TokenExpiredError

ApiName = Literal["crontab", "management", "billing", "timers", "maintenance", "iot", "calendar"]
API_NAMES: tuple[str, ...] = get_args(ApiName)
#: No API of its own: what opens this alone may stand in the address of a calendar that programs subscribe to.
CALENDAR: ApiName = "calendar"

SECRET_BYTES = 20
NAME_LONGEST = 200

#: Eighteen digits always fit a bigint.
_WRITTEN = re.compile(r"(?P<id>[0-9]{1,18}):(?P<secret>[0-9a-f]{40})")


@dataclass(frozen=True)
class Token:
    """A row of `token`, without its secret.

    :ivar apis: the APIs it opens, None for all
    :ivar projects: the projects it sees, None for all
    :ivar expires_at: aware UTC; from then on it is refused
    """

    id: int
    name: str
    apis: tuple[str, ...] | None
    projects: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def opens(self, api: str) -> bool:
        return self.apis is None or api in self.apis


@dataclass(frozen=True)
class Credential:
    """A token as its holder writes it: `<id>:<40 hex>` (document 000, "Authorization")."""

    token_id: int
    secret: str

    @property
    def secret_hash(self) -> bytes:
        return hash_secret(self.secret)

    def __str__(self) -> str:
        return f"{self.token_id}:{self.secret}"

    def __repr__(self) -> str:
        return f"Credential(token_id={self.token_id})"


def parse_credential(text: str) -> Credential | None:
    """Return the credential that a text spells, None where it does not have the form."""
    match = _WRITTEN.fullmatch(text)
    return Credential(int(match["id"]), match["secret"]) if match else None


def draw_secret() -> str:
    """Return a new secret: 40 hexadecimal digits."""
    return secrets.token_hex(SECRET_BYTES)


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a secret.

    A plain SHA-256 is enough: 160 random bits cannot be guessed, so there is nothing a slow hash would slow.
    """
    return hashlib.sha256(secret.encode("ascii")).digest()


def check_name(name: str) -> str:
    """Return the name. Raises InvalidInputError naming `name`."""
    if not 1 <= len(name) <= NAME_LONGEST or not name.isprintable():
        raise InvalidInputError(f"must have 1 to {NAME_LONGEST} printable characters", field="name")
    return name


def check_apis(apis: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the APIs in the order of `API_NAMES`, each once. Raises InvalidInputError naming `apis`."""
    if apis is None:
        return None
    unknown = sorted(set(apis) - set(API_NAMES))
    if unknown or not apis:
        given = ", ".join(map(repr, unknown)) or "nothing"
        raise InvalidInputError(f"{given} is not one of {', '.join(API_NAMES)}", field="apis")
    return tuple(name for name in API_NAMES if name in apis)


def check_projects(projects: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the project ids, each once; the first is where new definitions go.

    Raises InvalidInputError naming `projects`: an empty list would be a token that sees nothing and yet could
    write.
    """
    if projects is None:
        return None
    if not projects or any(not 1 <= len(one) <= 64 or not one.isprintable() for one in projects):
        raise InvalidInputError("must be 'all' or a list of project ids", field="projects")
    return tuple(dict.fromkeys(projects))


def require_valid(token: Token, now: datetime) -> None:
    """Raise AuthenticationError where a token was revoked, TokenExpiredError where it has expired."""
    if token.revoked_at:
        raise AuthenticationError("the token was revoked")
    if not token.is_valid(now):
        raise TokenExpiredError("the token has expired")


def require_project(project_id: str, projects: Sequence[str] | None) -> None:
    """Raise PermissionDeniedError where a caller with these projects (None is all) may not see one."""
    if projects is not None and project_id not in projects:
        raise PermissionDeniedError(f"the token does not open the project {project_id}")
