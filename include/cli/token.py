"""`./carillon token`: make, list and revoke API tokens, print JSON Web Tokens."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from include.cli.home import Home
from include.cli.instance import database_in_use
from include.errors import InvalidInputError
from include.kit.clock import system_clock
from include.kit.db import Connection, Database
from include.settings import Settings, get_settings
from include.tokens.access_keys import AccessKeyService
from include.tokens.jwt_tokens import issue_jwt
from include.tokens.model import Token
from include.tokens.service import TokenService

app = typer.Typer(help="Make, list and revoke API tokens.", no_args_is_help=True)

T = TypeVar("T")

_SPAN = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    projects: Annotated[
        str, typer.Option(help="Project ids it sees, by commas; new definitions go to the first.")
    ] = "all",
    apis: Annotated[str, typer.Option(help="APIs it opens, by commas.")] = "all",
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, or ISO 8601 with an offset.")
    ] = None,
    ak_sk: Annotated[
        bool, typer.Option("--ak-sk", help="Make an access key, too, for clients that sign requests.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. It cannot be shown again: only a hash of it is kept."""
    expires_at = parse_expiry(expires, system_clock()) if expires else None

    async def make(connection: Connection) -> tuple[Token, dict[str, str]]:
        token, credential = await TokenService(connection).create(
            name, apis=split_names(apis), projects=split_names(projects), expires_at=expires_at
        )
        secrets = {"token": str(credential)}
        if ak_sk:
            key = await AccessKeyService(connection).issue(token)
            secrets.update(ak=key.access, sk=key.secret)
        return token, secrets

    token, secrets = in_one_transaction(make)
    if as_json:
        typer.echo(json.dumps({**secrets, **_document(token)}, ensure_ascii=False))
        return
    typer.echo(secrets.pop("token"))
    for label, secret in secrets.items():
        typer.echo(f"{label} {secret}")
    typer.echo("Keep it, it is not shown again. It goes into a header: Authorization: token …", err=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all tokens, the revoked ones too."""
    tokens = _run(lambda service: service.list())
    if as_json:
        typer.echo(json.dumps([_document(token) for token in tokens], ensure_ascii=False))
    else:
        Console().print(_table(tokens))


@app.command("revoke")
def revoke(
    token_id: Annotated[int, typer.Argument(metavar="ID", help="The number before the colon.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a token. Processes that have just seen it refuse it within three seconds."""
    token = _run(lambda service: service.revoke(token_id))
    if as_json:
        typer.echo(json.dumps(_document(token), ensure_ascii=False))
    else:
        typer.echo(f"Token {token.id} ({token.name}) is revoked.")


@app.command("jwt")
def jwt(
    user: Annotated[str, typer.Option(help="Whom it stands for.")],
    expires: Annotated[str, typer.Option(help="When it ends: 24h, 90d, or ISO 8601 with an offset.")] = "24h",
    as_json: AsJson = False,
) -> None:
    """Print a JSON Web Token of a user, for the device timers' API. Nothing of it is kept."""
    expires_at = parse_expiry(expires, system_clock())
    token = issue_jwt(user, expires_at, _settings_of_instance())
    if as_json:
        document = {"jwt": token, "user": user, "expires_at": iso(expires_at)}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    typer.echo(token)
    typer.echo("It goes into a header: Authorization: jwt …", err=True)


def parse_expiry(text: str, now: datetime) -> datetime:
    """Return the moment (aware) that `90d` or an ISO text means.

    :raises InvalidInputError: names `expires`
    """
    span = _SPAN.fullmatch(text)
    try:
        if span:
            return now + timedelta(**{_UNITS[span["unit"]]: int(span["count"])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidInputError(f"{text!r} is neither like 90d nor ISO 8601", field="expires") from None
    if moment.tzinfo is None:
        raise InvalidInputError(f"{text!r} needs an offset, such as +08:00 or Z", field="expires")
    return moment


def in_one_transaction(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something in one transaction, on the database of the setting or of the instance."""
    url = database_in_use()

    async def in_transaction() -> T:
        database = await Database(url, max_size=1).open()
        try:
            async with database.transaction() as connection:
                return await work(connection)
        finally:
            await database.close()

    return asyncio.run(in_transaction())


def _settings_of_instance() -> Settings:
    """Return our settings, with the secret key of the instance that lies in our home, if one does."""
    settings = get_settings()
    home = Home(settings.home.expanduser().absolute())
    if settings.jwt_secret is not None or not (home.path / "secrets.json").is_file():
        return settings
    return settings.model_copy(update={"secret_key": SecretStr(home.secrets().secret_key)})


def _run(work: Callable[[TokenService], Awaitable[T]]) -> T:
    def with_service(connection: Connection) -> Awaitable[T]:
        return work(TokenService(connection))

    return in_one_transaction(with_service)


def split_names(text: str) -> list[str] | None:
    """Return the names that a text lists by commas, None for `all`."""
    return None if text.strip() == "all" else [part.strip() for part in text.split(",") if part.strip()]


def _document(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "apis": token.apis,
        "projects": token.projects,
        "created_at": iso(token.created_at),
        "expires_at": iso(token.expires_at),
        "revoked_at": iso(token.revoked_at),
    }


def _table(tokens: list[Token]) -> Table:
    table = Table("id", "name", "APIs", "projects", "made", "ends", "state")
    now = system_clock()
    for token in tokens:
        state = "revoked" if token.revoked_at else "good" if token.is_valid(now) else "expired"
        table.add_row(
            str(token.id),
            token.name,
            ", ".join(token.apis or ["all"]),
            ", ".join(token.projects or ["all"]),
            iso(token.created_at),
            iso(token.expires_at) or "never",
            state,
        )
    return table


def iso(moment: datetime | None) -> str | None:
    """Return a moment in UTC to the second, None for none."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None
