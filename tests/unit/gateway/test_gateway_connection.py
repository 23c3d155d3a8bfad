"""The Airflow connection `device_gateway` in every form in which Airflow writes one."""

from __future__ import annotations

import json

import pytest

from include.errors import InvalidInputError
from include.gateway.connect import create_gateway, parse_connection, read_gateway_settings
from include.gateway.http import HttpGateway
from include.gateway.model import GatewaySettings
from include.gateway.mqtt import MqttGateway


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:9000", GatewaySettings("http", "http://127.0.0.1:9000")),
        ("http://gw.example.com/https", GatewaySettings("http", "https://gw.example.com")),
        ("https://gw.example.com", GatewaySettings("http", "https://gw.example.com")),
        ("http://https%3A%2F%2Fgw.example.com:8443", GatewaySettings("http", "https://gw.example.com:8443")),
        ("http://[::1]:9000", GatewaySettings("http", "http://[::1]:9000")),
        (
            "http://me:p%2Fw@gw:80/?project_id=p1&headers=%7B%22X-App%22%3A+%221%22%7D",
            GatewaySettings("http", "http://gw:80", "p1", "me", "p/w", {"X-App": "1"}),
        ),
        ("http://:tok@gw", GatewaySettings("http", "http://gw", password="tok")),
        (
            'http://gw/?__extra__={"project_id":"p2","headers":{"X-Auth-Token":"t"}}',
            GatewaySettings("http", "http://gw", "p2", headers={"X-Auth-Token": "t"}),
        ),
        ("mqtt://broker", GatewaySettings("mqtt", "mqtt://broker:1883")),
        (
            "mqtts://u:p@broker",
            GatewaySettings("mqtt", "mqtts://broker:8883", username="u", password="p"),
        ),
        ("mqtt://[fd00::1]:1884?tls=true", GatewaySettings("mqtt", "mqtts://[fd00::1]:1884")),
        (
            "mqtt://broker?presence_topic=presence/{device_id}&mqtt_version=3.1.1",
            GatewaySettings(
                "mqtt",
                "mqtt://broker:1883",
                presence_topic="presence/{device_id}",
                mqtt_version="3.1.1",
            ),
        ),
        (
            "mqtt://broker?shared_events=true",
            GatewaySettings("mqtt", "mqtt://broker:1883", shared_events=True),
        ),
    ],
)
def test_uris(text: str, expected: GatewaySettings) -> None:
    assert parse_connection(text) == expected


def test_json() -> None:
    document = {
        "conn_type": "http",
        "host": "https://gw.example.com/base",
        "port": 8443,
        "login": "",
        "password": "token",
        "extra": json.dumps({"project_id": "p1"}),
    }
    expected = GatewaySettings("http", "https://gw.example.com:8443/base", "p1", password="token")
    assert parse_connection(json.dumps(document)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "nothing", "amqp://secret@host", "http://", "mqtt://", "http://gw:99999", "mqtt://a b"),
        *("http://gw/?headers=[]", "http://gw/?headers={", 'http://gw/?headers={"Host":"x"}'),
        *("http://gw/?__extra__=[]", "{", '{"conn_type": "http", "host": "gw", "port": "x"}'),
        *(
            '{"conn_type": "http", "host": "gw", "extra": [1]}',
            "mqtt://b?mqtt_version=4",
            "mqtt://b?mqtt_version=3.1.1&shared_events=true",
        ),
        *("mqtt://b?presence_topic=presence", "mqtt://b?presence_topic=%2B/{device_id}"),
        "mqtt://b?presence_topic=p-{device_id}",
    ],
)
def test_what_cannot_be_used_names_the_connection(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_connection(text)
    assert caught.value.field == "device_gateway"
    assert "secret" not in str(caught.value)


class TestEnvironment:
    def test_none(self) -> None:
        assert read_gateway_settings() is None

    def test_airflows_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", "mqtt://broker")
        assert read_gateway_settings() == GatewaySettings("mqtt", "mqtt://broker:1883")

    def test_carillons_own_goes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", "mqtt://broker")
        monkeypatch.setenv("CARILLON_GATEWAY_CONNECTION", "http://gw")
        assert read_gateway_settings() == GatewaySettings("http", "http://gw")


async def test_each_kind_has_its_gateway() -> None:
    for text, kind in (("http://gw", HttpGateway), ("mqtt://broker", MqttGateway)):
        gateway = create_gateway(parse_connection(text))
        assert isinstance(gateway, kind)
        await gateway.close()


def test_settings_show_no_secret() -> None:
    shown = repr(parse_connection("http://me:hidden@gw/?headers=%7B%22X-Auth-Token%22%3A%22hidden%22%7D"))
    assert "hidden" not in shown


@pytest.mark.parametrize(
    ("options", "topic"),
    [
        ("", "$oc/devices/+/sys/events/up"),
        ("?mqtt_version=3.1.1", "$oc/devices/+/sys/events/up"),
        ("?shared_events=true", "$share/carillon/$oc/devices/+/sys/events/up"),
    ],
)
def test_how_events_are_subscribed_to(options: str, topic: str) -> None:
    gateway = create_gateway(parse_connection(f"mqtt://broker{options}"))
    assert isinstance(gateway, MqttGateway)
    before = list(gateway.link.subscriptions)
    gateway.listen(Nobody())
    assert gateway.link.subscriptions == [*before, topic]


class Nobody:
    def heard_event(self, device_id: str, payload: bytes) -> None: ...

    def heard_status(self, device_id: str, online: bool) -> None: ...
