"""The environment of every process that the local start runs.

Airflow's settings come from `include/airflow.env`, which docker-compose.yaml uses too. Here is only what
depends on the instance: paths, ports, URLs and secrets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from include.cli.home import ROOT, Home, Secrets
from include.cli.instance import Instance
from include.cli.postgres import LocalPostgres, write_private
from include.settings import Settings, get_settings

SETTINGS_FILE = ROOT / "include" / "airflow.env"
LOCAL_NETWORK = "127.0.0.0/8"
ADMIN = "admin"
AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


def shared_settings(file: Path = SETTINGS_FILE) -> dict[str, str]:
    """Read `KEY=VALUE` lines as Docker's env_file does."""
    lines = (line.strip() for line in file.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def build_environment(
    home: Home,
    settings: Settings,
    postgres: LocalPostgres,
    inherited: Mapping[str, str] | None = None,
    *,
    gateway_url: str | None = None,
) -> dict[str, str]:
    """Return the whole environment: the inherited one, the shared settings, this instance's own.

    :param gateway_url: the device gateway, unless the user set a connection
    What the user set wins over the shared file, never over what ties the instance together.
    """
    # The one place that reads the environment as a whole: it is handed on, not interpreted.
    outer = dict(os.environ if inherited is None else inherited)
    return {
        **shared_settings(),
        "CARILLON_EGRESS_ALLOW": LOCAL_NETWORK,
        **outer,
        **_carillon(home, settings, postgres),
        **_gateway(settings, gateway_url),
        **_airflow(home, settings, postgres),
    }


def instance_environment(instance: Instance) -> dict[str, str]:
    """Return the environment of a running instance's processes, for a command that is one more of them."""
    home = Home.open(Path(instance.home))
    postgres = LocalPostgres(home.postgres)
    postgres.port = urlsplit(instance.airflow_database_url).port or 0
    settings = get_settings().model_copy(update={"port": urlsplit(instance.url).port})
    return build_environment(home, settings, postgres, gateway_url=instance.gateway_url)


def inherited_environment() -> dict[str, str]:
    """Return our own environment, where whoever started us has set Airflow up (docker-compose.yaml)."""
    return dict(os.environ)


def _carillon(home: Home, settings: Settings, postgres: LocalPostgres) -> dict[str, str]:
    database_url = postgres.url("carillon")
    return {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "CARILLON_HOME": str(home.path),
        "CARILLON_PORT": str(settings.port),
        "CARILLON_PROFILE": settings.profile,
        "CARILLON_DATABASE_URL": database_url,
        "CARILLON_SECRET_KEY": home.secrets().secret_key,
        "AIRFLOW_CONN_CARILLON_DB": database_url,
    }


def _gateway(settings: Settings, url: str | None) -> dict[str, str]:
    own = settings.gateway_connection
    connection = own.get_secret_value() if own is not None else url
    return {} if connection is None else {"AIRFLOW_CONN_DEVICE_GATEWAY": connection}


def _airflow(home: Home, settings: Settings, postgres: LocalPostgres) -> dict[str, str]:
    secrets = home.secrets()
    base_url = f"http://127.0.0.1:{settings.port}"
    return {
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # That many worker processes are forked at once and stay: more than twice the cores only takes memory.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__AUTH_MANAGER": AUTH_MANAGER,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:{ADMIN}",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_password_file(home, secrets)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet_key,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url("airflow", driver="psycopg2"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": postgres.url("airflow", driver="asyncpg"),
        # `up` migrates before it starts them; each asking again costs a second of start-up apiece.
        "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",
        "AIRFLOW__API__HOST": settings.host,
        "AIRFLOW__API__PORT": str(settings.port),
        "AIRFLOW__API__BASE_URL": base_url,
        "AIRFLOW__API__SECRET_KEY": secrets.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt_secret,
        "AIRFLOW__LOGGING__JSON_LOGS": str(settings.log_format == "json"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": settings.log_level.upper(),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.airflow / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            home.airflow / "logs" / "dag_processor"
        ),
    }


def _password_file(home: Home, secrets: Secrets) -> Path:
    file = home.airflow / "simple_auth_manager_passwords.json"
    wanted = json.dumps({ADMIN: secrets.admin_password}) + "\n"
    if not file.exists() or file.read_text() != wanted:
        write_private(file, wanted)
    return file
