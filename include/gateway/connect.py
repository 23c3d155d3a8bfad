"""Which gateway: read from the Airflow connection `device_gateway`, without Airflow.

    http://gateway.example.com:8080/?project_id=p1          basic authentication by login and password;
    http://:TOKEN@gateway.example.com/https                 a password alone is the X-Auth-Token
    mqtts://carillon:PASSWORD@broker.example.com:8883

Airflow's JSON form (`{"conn_type": "http", "host": …, "extra": {…}}`) is read, too. In `extra`: `project_id`,
`headers` (an object), and for MQTT `presence_topic`, `mqtt_version`, `shared_events`, `tls`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from include.errors import InvalidInputError
from include.gateway.http import HttpGateway, gateway_client
from include.gateway.model import DeviceGateway, GatewaySettings
from include.gateway.mqtt import MqttGateway
from include.kit.http import OutboundClient, check_headers
from include.kit.targets import parse_host, parse_url
from include.settings import get_settings

FIELD = "device_gateway"
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


def read_gateway_settings() -> GatewaySettings | None:
    """Return what the environment says of the gateway; None if it names none.

    :raises InvalidInputError: the connection cannot be used
    """
    connection = get_settings().gateway_connection
    return parse_connection(connection.get_secret_value()) if connection is not None else None


def create_gateway(settings: GatewaySettings, client: OutboundClient | None = None) -> DeviceGateway:
    """Make a gateway; it is not open yet.

    :param client: for HTTP, closed with the gateway; by default one that can call this gateway and no other
    """
    product = get_settings()
    if settings.kind == "mqtt":
        return MqttGateway(settings, turns=product.per_host_limit)
    own = client or gateway_client(
        settings.url,
        per_host_limit=product.per_host_limit,
        response_limit_bytes=product.response_limit_bytes,
    )
    return HttpGateway(settings, own)


def parse_connection(text: str) -> GatewaySettings:
    """Read a connection as Airflow writes it into the environment: a URI or JSON.

    :raises InvalidInputError: naming `device_gateway`; without the text itself, which may hold a password
    """
    text = text.strip()
    return gateway_settings(**(_from_json(text) if text.startswith("{") else _from_uri(text)))


def gateway_settings(
    conn_type: str,
    host: str,
    *,
    port: int | None = None,
    schema: str | None = None,
    login: str | None = None,
    password: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> GatewaySettings:
    """Return settings from the parts of an Airflow connection, named as Airflow names them.

    :raises InvalidInputError: a part cannot be used
    """
    extra = extra or {}
    kind = _kind(conn_type)
    return GatewaySettings(
        kind=kind,
        url=_http_url(conn_type, host, port, schema)
        if kind == "http"
        else _mqtt_url(conn_type, host, port, extra),
        project_id=str(extra.get("project_id") or "default"),
        username=login or None,
        password=password or None,
        headers=_headers(extra.get("headers")),
        presence_topic=_presence(extra.get("presence_topic")),
        mqtt_version=_mqtt_version(extra.get("mqtt_version")),
        shared_events=_shared(extra),
    )


def _kind(conn_type: str) -> Literal["http", "mqtt"]:
    if conn_type in ("http", "https"):
        return "http"
    if conn_type in ("mqtt", "mqtts"):
        return "mqtt"
    raise InvalidInputError(f"its type must be http or mqtt, not {conn_type!r}", field=FIELD)


def _http_url(conn_type: str, host: str, port: int | None, schema: str | None) -> str:
    # Airflow's HTTP connection keeps the protocol in the host (`https://host`) or in the schema.
    protocol, separator, rest = host.partition("://")
    if not separator:
        protocol, rest = ("https" if "https" in (conn_type, schema) else "http"), host
    name, _, path = rest.partition("/")
    bare = f"{protocol}://{_bracketed(name)}{f':{port}' if port else ''}{f'/{path}' if path else ''}"
    parse_url(bare, FIELD)
    return bare.rstrip("/")


def _mqtt_url(conn_type: str, host: str, port: int | None, extra: Mapping[str, Any]) -> str:
    secure = conn_type == "mqtts" or _is_true(extra.get("tls"))
    scheme = "mqtts" if secure else "mqtt"
    name = parse_host(f"[{host}]" if ":" in host else host, FIELD)
    return f"{scheme}://{_bracketed(name)}:{port or DEFAULT_PORTS[scheme]}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    document = _object(value) if isinstance(value, str) else value
    if not isinstance(document, dict):
        raise InvalidInputError("headers must be a JSON object", field=FIELD)
    headers = {str(name): str(text) for name, text in document.items()}
    check_headers(headers, FIELD)
    return headers


def _presence(value: object) -> str | None:
    if not value:
        return None
    levels = str(value).split("/")
    if levels.count("{device_id}") != 1 or any(
        set("+#{}\x00") & set(x) for x in levels if x != "{device_id}"
    ):
        raise InvalidInputError("presence_topic needs {device_id} as one of its levels", field=FIELD)
    return str(value)


def _mqtt_version(value: object) -> Literal["5", "3.1.1"]:
    if value in (None, "", 5, "5"):
        return "5"
    if value == "3.1.1":
        return "3.1.1"
    raise InvalidInputError("mqtt_version must be 5 or 3.1.1", field=FIELD)


def _shared(extra: Mapping[str, Any]) -> bool:
    shared = _is_true(extra.get("shared_events"))
    if shared and _mqtt_version(extra.get("mqtt_version")) != "5":
        raise InvalidInputError("shared_events needs mqtt_version 5", field=FIELD)
    return shared


def _is_true(value: object) -> bool:
    return str(value or "").lower() in ("1", "true", "yes")


def _from_json(text: str) -> dict[str, Any]:
    document = _object(text)
    extra = document.get("extra") or {}
    if not isinstance(extra, dict | str):
        raise InvalidInputError("extra must be a JSON object", field=FIELD)
    try:
        port = int(document["port"]) if document.get("port") else None
    except (TypeError, ValueError):
        raise InvalidInputError("its port is no number", field=FIELD) from None
    return {
        "conn_type": str(document.get("conn_type") or ""),
        "host": str(document.get("host") or ""),
        "port": port,
        "schema": document.get("schema"),
        "login": document.get("login"),
        "password": document.get("password"),
        "extra": _object(extra) if isinstance(extra, str) else extra,
    }


def _from_uri(text: str) -> dict[str, Any]:
    """Take a URI apart as Airflow does: every part is percent-encoded, the path is the schema."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInputError("it is neither a URI nor JSON", field=FIELD) from None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    whole = query.pop("__extra__", None)
    return {
        "conn_type": parts.scheme,
        "host": unquote(parts.hostname or ""),
        "port": port,
        "schema": unquote(parts.path.strip("/")) or None,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "extra": {**query, **(_object(whole) if whole else {})},
    }


def _object(text: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidInputError("it holds something that is no JSON object", field=FIELD)
    return document
