"""docker-compose.yaml: valid, without default secrets, and running what the local start runs."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from include.cli.airflow_env import shared_settings
from include.cli.home import ROOT
from include.cli.processes import AIRFLOW_COMMANDS

TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]

#: What the production shape has beside the processes of the local start.
ONLY_IN_COMPOSE = {"postgres", "redis", "mosquitto", "migrate", "worker"}


def test_valid_by_the_compose_specification() -> None:
    schema = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    jsonschema.validate(COMPOSE, json.loads(schema))


def test_runs_every_process_of_the_local_start_by_the_same_command() -> None:
    commands = {name: service["command"] for name, service in SERVICES.items() if name not in ONLY_IN_COMPOSE}
    assert commands == {name: ["python", "-m", "airflow", *words] for name, words in AIRFLOW_COMMANDS.items()}


def test_worker_is_celerys() -> None:
    assert SERVICES["worker"]["command"] == ["python", "-m", "airflow", "celery", "worker"]


def test_two_schedulers_and_two_triggerers() -> None:
    replicas = {name: service.get("deploy", {}).get("replicas", 1) for name, service in SERVICES.items()}
    assert {name for name, count in replicas.items() if count == 2} == {"scheduler", "triggerer"}


@pytest.mark.parametrize("name", [*AIRFLOW_COMMANDS, "worker", "migrate"])
def test_airflow_settings_come_from_the_shared_file(name: str) -> None:
    shared, own = SERVICES[name]["env_file"]
    assert shared == {"path": "include/airflow.env"}
    assert own == {"path": "carillon.env", "required": False}


def test_compose_overrides_no_shared_setting() -> None:
    shared = set(shared_settings())
    for name, service in SERVICES.items():
        assert shared.isdisjoint(service.get("environment", {})), name


def test_migrates_as_the_local_start_does() -> None:
    script = SERVICES["migrate"]["command"][-1]
    assert "python -m airflow db migrate" in script
    assert "python -m include.migrations" in script
    for name in [*AIRFLOW_COMMANDS, "worker"]:
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_every_secret_must_be_set() -> None:
    """Each variable that names a secret is `${NAME:?…}`: no default, and not forgotten in silence."""
    variables = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", TEXT.split("name: carillon", 1)[1])
    secret = {name: rest for name, rest in variables if re.search("PASSWORD|SECRET|KEY", name)}
    assert set(secret) == {
        "AIRFLOW_API_SECRET_KEY",
        "AIRFLOW_FERNET_KEY",
        "AIRFLOW_JWT_SECRET",
        "CARILLON_ADMIN_PASSWORD",
        "CARILLON_SECRET_KEY",
        "MQTT_PASSWORD",
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
    }
    assert all(rest.startswith(":?") for rest in secret.values())


def test_only_the_api_is_reachable_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {"api-server"}


def test_copies_the_folders_that_the_code_needs() -> None:
    dockerfile = COMPOSE["x-airflow"]["build"]["dockerfile_inline"]
    copied = set(re.findall(r"^COPY (\S+) \1$", dockerfile, re.MULTILINE))
    assert copied == {"dags", "plugins", "include", "api_plugin"}
    assert all((ROOT / folder).is_dir() for folder in copied)
