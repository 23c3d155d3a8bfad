"""What may stand in the document of a task, by type: each limit, and one past it."""

from __future__ import annotations

from typing import Any

import pytest

from include.batch.documents import DOCUMENTS, check_document
from include.batch.model import TASK_TYPES
from include.errors import InvalidInputError

UPGRADE = {"package_ids": ["32822e5744a45ede319d2c50"]}
COMMAND = {"service_id": "water", "command_name": "ON_OFF", "paras": {"value": "ON"}}
ASYNC = {**COMMAND, "expire_time": 0, "send_strategy": "immediately"}
MESSAGE = {
    "message_id": "99b32da9-cd17-4cdf-a286-f6e849cbc364",
    "name": "messageName",
    "message": "HelloWorld",
    "encoding": "none",
    "payload_format": "standard",
    "topic": "messageDown",
}
SHADOW = {"shadow": [{"service_id": "WaterMeter", "desired": {"temperature": "60"}}]}


def paras(size: int) -> dict[str, str]:
    """Parameters that take so many bytes as JSON."""
    return {"value": "x" * (size - len('{"value":""}'))}


def desired(size: int) -> dict[str, Any]:
    """A document of a shadow that takes so many bytes as JSON."""
    empty = '{"shadow":[{"service_id":"s","desired":{"k":""}}]}'
    return {"shadow": [{"service_id": "s", "desired": {"k": "x" * (size - len(empty))}}]}


def services(count: int) -> dict[str, Any]:
    return {"shadow": [{"service_id": f"s{n}", "desired": {"a": n}} for n in range(count)]}


def users(count: int) -> dict[str, Any]:
    return {"user_properties": [{"prop_key": "k", "prop_value": "v"}] * count}


GOOD: list[tuple[str, dict[str, Any] | None]] = [
    ("softwareUpgrade", UPGRADE),
    ("firmwareUpgrade", {"package_id": "32822e5744a45ede319d2c50"}),
    ("moduleUpgrade", UPGRADE),
    ("createCommands", COMMAND),
    ("createCommands", {"paras": {}}),
    ("createCommands", {**COMMAND, "paras": {"deep": [{"水": None}, 1.5, True]}}),
    ("createCommands", {**COMMAND, "service_id": "s" * 64, "command_name": "c" * 128}),
    ("createCommands", {"paras": paras(1_048_576)}),
    ("createAsyncCommands", ASYNC),
    ("createAsyncCommands", {"paras": paras(32_768), "send_strategy": "delay", "expire_time": 172_800}),
    ("createMessages", MESSAGE),
    ("createMessages", {"message": {"any": ["JSON"]}}),
    ("createMessages", {"message": ""}),
    ("createMessages", {"message": "aGFsbG8=", "encoding": "base64"}),
    ("createMessages", {"message": "x" * 1_048_574, "topic": "t" * 128}),
    ("createMessages", {"message": "x", "message_id": "m" * 100, "name": "名" * 128, "ttl": 1440}),
    ("createMessages", {"message": "x", "topic_full_name": "a/b/c", "ttl": 0, "payload_format": "raw"}),
    ("createMessages", {"message": "x", "properties": {**users(20), "correlation_data": "c" * 128}}),
    ("updateDeviceShadows", SHADOW),
    ("updateDeviceShadows", services(5)),
    ("updateDeviceShadows", desired(10_240)),
    ("updateDeviceShadows", {"shadow": [{"service_id": "s", "desired": {}}]}),
    ("updateDeviceShadows", {"shadow": [{"service_id": "s", "desired": {"gone": None}}]}),
    ("deleteDevices", None),
    ("createDevices", {}),
]

BAD: list[tuple[str, dict[str, Any] | None, str]] = [
    ("softwareUpgrade", None, "document: is required for softwareUpgrade"),
    ("softwareUpgrade", {}, "document: needs package_ids or package_id"),
    ("softwareUpgrade", {**UPGRADE, "package_id": "a"}, "document: needs package_ids or package_id"),
    ("firmwareUpgrade", {"package_ids": []}, "document.package_ids: "),
    ("firmwareUpgrade", {"package_ids": ["a", "b"]}, "document.package_ids: "),
    ("firmwareUpgrade", {"package_ids": "a"}, "document.package_ids: "),
    ("firmwareUpgrade", {"package_id": "a b"}, "document.package_id: "),
    ("firmwareUpgrade", {"package_id": 7}, "document.package_id: "),
    ("createCommands", {}, "document.paras: is required"),
    ("createCommands", {**COMMAND, "paras": "on"}, "document.paras: "),
    ("createCommands", {**COMMAND, "paras": None}, "document.paras: "),
    ("createCommands", {**COMMAND, "service_id": "s" * 65}, "document.service_id: "),
    ("createCommands", {**COMMAND, "service_id": ""}, "document.service_id: "),
    ("createCommands", {**COMMAND, "command_name": "c" * 129}, "document.command_name: "),
    ("createCommands", {**COMMAND, "command_name": "a\0"}, "document.command_name: "),
    ("createCommands", {**COMMAND, "other": 1}, "document.other: is not a field of this request"),
    ("createCommands", ASYNC, "document.expire_time: is not a field of this request"),
    ("createCommands", {"paras": paras(1_048_577)}, "document.paras: must have at most 1048576 bytes"),
    ("createCommands", {"paras": {"a": "\0"}}, "document.paras: must contain neither NUL"),
    ("createCommands", {"paras": {"a": 2**63}}, "document.paras: must have integers of at most 64 bits"),
    ("createAsyncCommands", COMMAND, "document.send_strategy: is required"),
    ("createAsyncCommands", {**ASYNC, "send_strategy": "later"}, "document.send_strategy: "),
    ("createAsyncCommands", {**ASYNC, "expire_time": -1}, "document.expire_time: "),
    ("createAsyncCommands", {**ASYNC, "expire_time": 172_801}, "document.expire_time: "),
    ("createAsyncCommands", {**ASYNC, "expire_time": "60"}, "document.expire_time: "),
    (
        "createAsyncCommands",
        {**ASYNC, "paras": paras(32_769)},
        "document.paras: must have at most 32768 bytes",
    ),
    ("createMessages", {"name": "n"}, "document.message: is required"),
    ("createMessages", {"message": 5}, "document.message"),
    ("createMessages", {**MESSAGE, "message_id": "m" * 101}, "document.message_id: "),
    ("createMessages", {**MESSAGE, "message_id": "a b"}, "document.message_id: "),
    ("createMessages", {**MESSAGE, "name": "n" * 129}, "document.name: "),
    ("createMessages", {**MESSAGE, "name": "a b"}, "document.name: "),
    ("createMessages", {**MESSAGE, "encoding": "hex"}, "document.encoding: "),
    ("createMessages", {**MESSAGE, "encoding": "base64", "message": "*"}, "document: message must be base64"),
    ("createMessages", {**MESSAGE, "payload_format": "xml"}, "document.payload_format: "),
    ("createMessages", {**MESSAGE, "topic": "a/#"}, "document.topic: must be the name of a topic"),
    ("createMessages", {**MESSAGE, "topic": "/a"}, "document.topic: must be the name of a topic"),
    ("createMessages", {**MESSAGE, "topic_full_name": "a/b"}, "document: topic and topic_full_name exclude"),
    ("createMessages", {"message": "x", "ttl": 4}, "document.ttl: must be a multiple of 5"),
    ("createMessages", {"message": "x", "ttl": 1445}, "document.ttl: "),
    ("createMessages", {"message": "x", "ttl": -5}, "document.ttl: "),
    ("createMessages", {"message": "x", "properties": users(21)}, "document.properties.user_properties: "),
    (
        "createMessages",
        {"message": "x", "properties": {"response_topic": "r" * 129}},
        "document.properties.response_topic: ",
    ),
    (
        "createMessages",
        {"message": "x", "properties": {"correlation_data": "c" * 129}},
        "document.properties.correlation_data: ",
    ),
    (
        "createMessages",
        {"message": "x", "properties": {"user_properties": [{"prop_key": "k" * 129}]}},
        "document.properties.user_properties.0.prop_key: ",
    ),
    ("createMessages", {"message": "x", "properties": {"qos": 1}}, "document.properties.qos: is not a field"),
    ("createMessages", {**MESSAGE, "topic": "t" * 129}, "document.topic: "),
    ("createMessages", {"message": "x", "topic_full_name": "t" * 129}, "document.topic_full_name: "),
    ("createMessages", {"message": "x" * 1_048_575}, "document.message: must have at most 1048576 bytes"),
    ("updateDeviceShadows", {"shadow": []}, "document.shadow: "),
    ("updateDeviceShadows", {"shadow": [{"service_id": "s"}]}, "document.shadow.0.desired: is required"),
    ("updateDeviceShadows", {"shadow": [{"desired": {}}]}, "document.shadow.0.service_id: is required"),
    ("updateDeviceShadows", services(6), "document: shadow has more than 5 services"),
    ("updateDeviceShadows", {"shadow": SHADOW["shadow"] * 2}, "document: shadow has a service twice"),
    ("updateDeviceShadows", desired(10_241), "document: must have at most 10240 bytes as JSON"),
    (
        "updateDeviceShadows",
        {"shadow": [{"service_id": "s" * 65, "desired": {}}]},
        "document.shadow.0.service_id: ",
    ),
    *(
        ("updateDeviceShadows", {"shadow": [{"service_id": "s", "desired": {key: 1}}]}, "document.shadow.0")
        for key in ("a.b", "$a", "a\0b", "")
    ),
    ("deleteDevices", COMMAND, "document: is nothing that deleteDevices has"),
]


@pytest.mark.parametrize(("task_type", "document"), GOOD)
def test_what_is_good(task_type: Any, document: Any) -> None:
    check_document(task_type, document)


@pytest.mark.parametrize(("task_type", "document", "words"), BAD)
def test_what_is_refused(task_type: Any, document: Any, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_document(task_type, document)
    assert str(caught.value).startswith(words)


def test_every_type_that_speaks_with_devices_has_a_document() -> None:
    assert set(TASK_TYPES) - set(DOCUMENTS) == {
        "createDevices",
        "updateDevices",
        "deleteDevices",
        "freezeDevices",
        "unfreezeDevices",
    }
