"""The device gateway of a local instance: the user's own, or the simulator that `up` starts."""

from __future__ import annotations

from dataclasses import dataclass

from include.cli.postgres import find_free_port
from include.errors import InvalidInputError, StartupError
from include.settings import Settings

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
