"""Which device gateway a local start uses."""

from __future__ import annotations

import pytest

from include.cli.gateway import choose_gateway
from include.cli.instance import Instance
from include.cli.panel import rows
from include.errors import StartupError
from include.settings import Settings


def test_simulator_on_a_free_port() -> None:
    one, two = choose_gateway(Settings()), choose_gateway(Settings())
    assert one.url == f"http://127.0.0.1:{one.simulator_port}"
    assert one.simulator_port != two.simulator_port


def test_the_users_own_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", "mqtts://me:secret@broker.example.com")
    chosen = choose_gateway(Settings())
    assert chosen.url == "mqtts://broker.example.com:8883"
    assert chosen.simulator_port is None


@pytest.mark.parametrize(
    ("processes", "shown"),
    [({"simulator": 7}, "http://127.0.0.1:5  (simulator)"), ({}, "http://127.0.0.1:5")],
)
def test_panel_shows_it(processes: dict[str, int], shown: str) -> None:
    words = dict.fromkeys(
        (
            *("home", "url", "airflow_url", "health_url", "admin_user", "admin_password"),
            *("database_url", "airflow_database_url", "control_socket"),
        ),
        "x",
    )
    instance = Instance(pid=1, processes=processes, gateway_url="http://127.0.0.1:5", **words)
    assert ("device gateway", shown) in rows(instance, {})


def test_one_that_cannot_be_used_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", "amqp://me:secret@broker")
    with pytest.raises(StartupError, match="type must be http or mqtt") as caught:
        choose_gateway(Settings())
    assert "secret" not in str(caught.value)
