"""The environment of the local start: the shared file, then the user's, then what the instance fixes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from include.cli.airflow_env import build_environment, shared_settings
from include.cli.home import Home
from include.cli.postgres import LocalPostgres
from include.settings import Settings


@pytest.fixture
def postgres(tmp_path: Path) -> LocalPostgres:
    (tmp_path / "password").write_text("p/w d")
    server = LocalPostgres(tmp_path)
    server.port = 5433
    return server


def build(tmp_path: Path, postgres: LocalPostgres, **inherited: str) -> dict[str, str]:
    home = Home.open(tmp_path / "home")
    return build_environment(home, Settings(port=9000), postgres, inherited)


def test_shared_file_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.write_text("# words\n\nA=1\nB=x=y\n")
    assert shared_settings(file) == {"A": "1", "B": "x=y"}


def test_shared_file_names_only_options_that_airflow_has() -> None:
    # Read as a file: importing Airflow to ask it takes seconds and makes a folder.
    package = Path(str(find_spec("airflow").origin)).parent  # type: ignore[union-attr]
    described = yaml.safe_load((package / "config_templates" / "config.yml").read_text())
    known = {(section, option) for section, body in described.items() for option in body["options"]}
    used = {tuple(key.lower().split("__")[1:]) for key in shared_settings()}
    assert used <= known


def test_user_wins_over_the_shared_file_but_not_over_the_instance(
    tmp_path: Path, postgres: LocalPostgres
) -> None:
    env = build(
        tmp_path,
        postgres,
        AIRFLOW__TRIGGERER__CAPACITY="7",
        AIRFLOW__API__PORT="1",
        AIRFLOW_HOME="/elsewhere",
    )
    assert env["AIRFLOW__TRIGGERER__CAPACITY"] == "7"
    assert env["AIRFLOW__API__PORT"] == "9000"
    assert env["AIRFLOW_HOME"] == str(tmp_path / "home" / "airflow")


def test_local_egress_unless_the_user_set_it(tmp_path: Path, postgres: LocalPostgres) -> None:
    assert build(tmp_path, postgres)["CARILLON_EGRESS_ALLOW"] == "127.0.0.0/8"
    assert build(tmp_path, postgres, CARILLON_EGRESS_ALLOW="")["CARILLON_EGRESS_ALLOW"] == ""


def test_simulator_is_the_gateway_unless_the_user_set_one(
    tmp_path: Path, postgres: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connection() -> str:
        home = Home.open(tmp_path / "home")
        env = build_environment(home, Settings(port=9000), postgres, {}, gateway_url="http://127.0.0.1:1")
        return env["AIRFLOW_CONN_DEVICE_GATEWAY"]

    assert connection() == "http://127.0.0.1:1"
    monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", "mqtt://a:b@broker")
    assert connection() == "mqtt://a:b@broker"
    monkeypatch.setenv("CARILLON_GATEWAY_CONNECTION", "mqtt://own")
    assert connection() == "mqtt://own"


def test_password_is_quoted_in_every_url(tmp_path: Path, postgres: LocalPostgres) -> None:
    env = build(tmp_path, postgres)
    for name in ("CARILLON_DATABASE_URL", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_CARILLON_DB"):
        assert urlsplit(env[name]).port == 5433
        assert "p%2Fw%20d" in env[name]
