"""The device gateway of a local instance: the user's own, or the simulator that `up` starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from include.cli.postgres import find_free_port, write_private
from include.errors import AuthenticationError, InvalidInputError, StartupError
from include.kit.db import Database
from include.settings import Settings
from include.tokens.service import TokenService

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class LocalGateway:
    """Where devices are reached; `url` holds no credentials, `simulator_port` is None without a simulator."""

    url: str
    simulator_port: int | None = None


def choose_gateway(settings: Settings) -> LocalGateway:
    """Take the gateway that the user named, else a free port for the simulator.

    :raises StartupError: the user's connection cannot be used
    """
    own = settings.gateway_connection
    if own is None:
        port = find_free_port()
        return LocalGateway(f"http://{HOST}:{port}", port)
    from include.gateway.connect import parse_connection

    try:
        return LocalGateway(parse_connection(own.get_secret_value()).url)
    except InvalidInputError as error:
        raise StartupError(f"AIRFLOW_CONN_DEVICE_GATEWAY cannot be used: {error.message}") from None


def ensure_token(file: Path, database_url: str) -> None:
    """Have a good token of the own API in a file: the one that is there, or a new one."""
    kept = file.read_text().strip() if file.exists() else ""
    good = asyncio.run(_good_token(kept, database_url))
    if good != kept:
        write_private(file, f"{good}\n")


async def _good_token(kept: str, database_url: str) -> str:
    database = await Database(database_url, max_size=1).open()
    try:
        async with database.transaction() as connection:
            tokens = TokenService(connection)
            try:
                await tokens.verify(kept)
            except AuthenticationError:
                _, credential = await tokens.create("device simulator", apis=["management"])
                return str(credential)
            return kept
    finally:
        await database.close()
