"""How other commands find the running instance: by `instance.json` in its home.

It is written when the instance is ready and removed when it stops.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from include.cli.home import Home
from include.cli.postgres import write_private
from include.errors import StartupError
from include.kit.db import database_url
from include.settings import get_settings


@dataclass(frozen=True, slots=True)
class Instance:
    """A running instance. The file holds the same names."""

    pid: int
    home: str
    url: str
    airflow_url: str
    health_url: str
    admin_user: str
    admin_password: str
    database_url: str
    airflow_database_url: str
    control_socket: str
    processes: dict[str, int]
    gateway_url: str | None = None

    def write(self, file: Path) -> None:
        """Store it, readable by its owner only: it holds passwords."""
        write_private(file, self.as_json() + "\n")

    def with_processes(self, pids: dict[str, int]) -> Instance:
        """Return the same instance with other process ids."""
        return replace(self, processes=pids)

    def as_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def database_in_use() -> str:
    """Return the URL of the database that is set, else of the instance on `CARILLON_HOME`.

    Of an instance secrets are encrypted with its own key from here on.

    Raises:
        StartupError: none is set, and no instance runs there.
    """
    if get_settings().database_url:
        return database_url()
    instance = read_instance()
    os.environ["CARILLON_SECRET_KEY"] = Home(Path(instance.home)).secrets().secret_key
    get_settings.cache_clear()
    return instance.database_url


def read_instance(home: Path | None = None) -> Instance:
    """Return the instance that runs on `home` (by default `CARILLON_HOME`).

    Raises:
        StartupError: none runs there, or it is not ready yet.
    """
    if home is None:
        home = get_settings().home
    file = home.expanduser().absolute() / "instance.json"
    try:
        instance = Instance(**json.loads(file.read_text()))
    except FileNotFoundError:
        raise StartupError(f"no instance runs on {file.parent}: start one with ./carillon up") from None
    except (OSError, ValueError, TypeError) as error:
        raise StartupError(
            f"{file} cannot be read ({error}): stop that instance and start it again"
        ) from error
    if not psutil.pid_exists(instance.pid):
        raise StartupError(
            f"the instance on {file.parent} has ended unexpectedly: start it again with ./carillon up"
        )
    return instance


def simulator_of(instance: Instance) -> str:
    """Return the URL of an instance's device simulator.

    :raises StartupError: its devices are not simulated
    """
    gateway = instance.gateway_url
    if gateway is None or "simulator" not in instance.processes:
        raise StartupError(
            f"this instance has a device gateway of its own ({gateway}), and the demo tells simulated devices"
            " alone what to do: start one without AIRFLOW_CONN_DEVICE_GATEWAY and"
            " CARILLON_GATEWAY_CONNECTION"
        )
    return gateway
