"""What goes to a gateway, and what its answers mean."""

from __future__ import annotations

import math

import orjson
import pytest

from include.errors import InvalidInputError
from include.gateway.model import Command, GatewaySettings, Message, Reply
from include.gateway.mqtt import MqttGateway, check_topic
from include.gateway.topics import Presence, Question, answered, command_topic, message_topic
from include.gateway.wire import (
    check_ids,
    encode,
    judge_accepted,
    judge_answer,
    judge_command,
    judge_payload,
    message_body,
)
from include.kit.clock import system_clock

GOOD = {"command_id": "1", "response": {"result_code": 0, "paras": {}}, "error_code": None, "error_msg": None}


def judged(document: object, status: int = 200, content_type: str | None = "application/json") -> str:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return judge_answer(status, content_type, body, judge_command).outcome


class TestSynchronousCommand:
    @pytest.mark.parametrize("content_type", ["application/json;charset=UTF-8", None, "application/x+json"])
    def test_acknowledged(self, content_type: str | None) -> None:
        assert judged(GOOD, content_type=content_type) == "acknowledged"

    def test_a_result_code_is_optional(self) -> None:
        assert judged({"response": {"paras": {}}}) == "acknowledged"

    def test_refused_by_the_device(self) -> None:
        verdict = judge_answer(200, None, b'{"response": {"result_code": 3}}', judge_command)
        assert verdict[:3] == ("refused", '{"result_code":3}', "the device answered with result code 3")
        assert verdict.error_code is None

    @pytest.mark.parametrize(
        ("status", "code", "outcome"),
        [
            (200, "IOTDA.014111", "timeout"),
            (403, "IOTDA.014016", "offline"),
            (400, "IOTDA.014028", "offline"),
            (404, "IOTDA.014000", "refused"),
            (400, "IOTDA.000006", "refused"),
            (200, "IOTDA.014112", "refused"),
            (403, "IOTDA.021101", "unreachable"),
            (401, "IOTDA.000002", "unreachable"),
            (403, "IOTDA.000004", "unreachable"),
            (500, "IOTDA.014016", "unreachable"),
        ],
    )
    def test_error_codes(self, status: int, code: str, outcome: str) -> None:
        assert judged({"error_code": code, "error_msg": "words"}, status) == outcome

    @pytest.mark.parametrize("status", [401, 408, 425, 429, 500, 502, 503, 504])
    def test_a_gateway_that_cannot_serve(self, status: int) -> None:
        assert judged(b"<html>", status, "text/html") == "unreachable"

    @pytest.mark.parametrize(
        "document",
        [
            *(b"", b"{", b"[1]", b"null", b"\xff\xfe", b"12", b'{"a": NaN}', b"[" * 100_000),
            *({}, {"response": None}, {"response": "ok"}, {"response": {"result_code": "0"}}),
            *({"response": {"result_code": True}}, {"response": {"result_code": 0.0}}),
        ],
        ids=repr,
    )
    def test_garbage(self, document: object) -> None:
        assert judged(document) == "garbage"

    @pytest.mark.parametrize(
        ("status", "content_type"),
        [(200, "text/html"), (200, "text/plain"), (302, None), (404, "text/html"), (404, None), (100, None)],
    )
    def test_a_good_body_in_the_wrong_place(self, status: int, content_type: str | None) -> None:
        assert judged(GOOD, status, content_type) == "garbage"

    def test_the_start_of_garbage_is_kept(self) -> None:
        verdict = judge_answer(200, "text/html", b"<html>\x00" + b"x" * 5000, judge_command)
        assert verdict.response is not None
        assert verdict.response.startswith("<html>\ufffdx")
        assert len(verdict.response) == 2000

    def test_an_error_is_one_short_line(self) -> None:
        body = orjson.dumps({"error_code": "X", "error_msg": "\x00" + "x" * 5000})
        verdict = judge_answer(400, None, body, judge_command)
        assert verdict.error is not None
        assert len(verdict.error) == 500
        assert "\x00" not in verdict.error


def test_what_the_gateway_only_accepts() -> None:
    judge = judge_accepted("message_id")
    assert judge_answer(201, None, b'{"message_id": "1"}', judge).outcome == "acknowledged"
    assert judge_answer(201, None, b"{}", judge).outcome == "garbage"


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        (b'{"result_code": 0, "response_name": "R", "paras": {}}', "acknowledged"),
        (b"{}", "acknowledged"),
        (b'{"result_code": 1}', "refused"),
        (b'{"result_code": "1"}', "garbage"),
        (b"ok", "garbage"),
        (b"", "garbage"),
        (b"\xff", "garbage"),
    ],
)
def test_a_devices_answer_over_mqtt(payload: bytes, outcome: str) -> None:
    assert judge_payload(payload).outcome == outcome


@pytest.mark.parametrize(
    "device_id", ["", "a/b", "../x", "a b", "+", "#", "温", "a\n", "x" * 129, "a?b", "a%2f"]
)
def test_a_device_id_cannot_lead_elsewhere(device_id: str) -> None:
    with pytest.raises(InvalidInputError):
        check_ids(device_id, "r1")


@pytest.mark.parametrize("request_id", ["", "a/b", "+", "#", "a\r\nX: 1", "x" * 65, "a b"])
def test_a_request_id_cannot_lead_elsewhere(request_id: str) -> None:
    with pytest.raises(InvalidInputError):
        check_ids("d1", request_id)


def test_parameters_that_json_cannot_hold() -> None:
    with pytest.raises(InvalidInputError, match="JSON"):
        encode({"paras": {"x": object()}})
    assert encode({"x": math.nan}) == b'{"x":null}'


def test_a_message_sends_what_is_set() -> None:
    assert message_body(Message("d", "m1", {"a": 1}, ttl=0)) == {
        "message_id": "m1",
        "message": {"a": 1},
        "ttl": 0,
    }


@pytest.mark.parametrize(
    ("outcome", "retryable"),
    [
        *(("acknowledged", False), ("refused", False), ("offline", True)),
        *(("timeout", True), ("unreachable", True), ("garbage", True)),
    ],
)
def test_retryable(outcome: str, retryable: bool) -> None:
    now = system_clock()
    reply = Reply(outcome, now, now)  # type: ignore[arg-type]
    assert reply.retryable is retryable


class TestTopics:
    def test_answers(self) -> None:
        assert answered("$oc/devices/d1/sys/commands/response/request_id=r1") == Question(
            "commands", "d1", "r1"
        )
        topic = "$oc/devices/d1/sys/properties/set/response/request_id=r1"
        assert answered(topic) == Question("properties/set", "d1", "r1")

    @pytest.mark.parametrize(
        "topic",
        [
            command_topic("d1", "r1"),
            "$oc/devices/d1/sys/commands/response/r1",
            "$oc/devices/d1/sys/commands/response/request_id=",
            "$oc/devices/d1/sys/commands/response/request_id=r1/x",
            "x/$oc/devices/d1/sys/commands/response/request_id=r1",
            "$oc/devices/a/b/sys/commands/response/request_id=r1",
            "",
        ],
    )
    def test_others(self, topic: str) -> None:
        assert answered(topic) is None

    def test_messages(self) -> None:
        assert message_topic("d1", None) == "$oc/devices/d1/sys/messages/down"
        assert message_topic("d1", "a/b") == "$oc/devices/d1/user/a/b"

    @pytest.mark.parametrize("topic", ["", "a/+", "#", "a\x00", "x" * 65_536])
    def test_not_a_topic(self, topic: str) -> None:
        with pytest.raises(InvalidInputError):
            check_topic(topic)

    def test_presence(self) -> None:
        presence = Presence("site.1/{device_id}/state")
        assert presence.filter == "site.1/+/state"
        assert presence.heard("site.1/d1/state", b" Offline ")
        assert presence.away == {"d1"}
        assert not presence.heard("siteX1/d2/state", b"offline")
        assert presence.heard("site.1/d1/state", b"")
        assert presence.away == set()
        presence.heard("site.1/d1/state", b"offline")
        presence.forget()
        assert presence.away == set()


class TestMatching:
    """Answers and questions, without a broker."""

    @pytest.fixture
    async def gateway(self) -> MqttGateway:
        return MqttGateway(GatewaySettings("mqtt", "mqtt://nowhere:1"))

    def hear(self, gateway: MqttGateway, device_id: str, request_id: str) -> None:
        topic = f"$oc/devices/{device_id}/sys/commands/response/request_id={request_id}"
        gateway.link.heard(topic, b'{"result_code": 0}')

    async def test_the_first_answer_counts(self, gateway: MqttGateway) -> None:
        future = gateway.ask(Question("commands", "d1", "r1"))
        self.hear(gateway, "d1", "r1")
        self.hear(gateway, "d1", "r1")
        assert (await future).outcome == "acknowledged"
        assert gateway.ignored == 1

    async def test_foreign_and_late_answers_are_ignored(self, gateway: MqttGateway) -> None:
        question = Question("commands", "d1", "r1")
        future = gateway.ask(question)
        self.hear(gateway, "d2", "r1")
        self.hear(gateway, "d1", "r2")
        gateway.link.heard("something/else", b"x")
        assert not future.done()
        gateway.forget(question, future)
        self.hear(gateway, "d1", "r1")
        assert not future.done()
        assert gateway.ignored == 3
        assert gateway.waiting == {}

    async def test_the_same_question_twice_at_a_time(self, gateway: MqttGateway) -> None:
        question = Question("commands", "d1", "r1")
        one, two = gateway.ask(question), gateway.ask(question)
        gateway.forget(question, one)
        self.hear(gateway, "d1", "r1")
        assert not one.done()
        assert two.done()

    async def test_a_lost_broker_fails_all(self, gateway: MqttGateway) -> None:
        futures = [gateway.ask(Question("commands", "d1", f"r{n}")) for n in range(3)]
        gateway.link.lost()
        assert {(await future).outcome for future in futures} == {"unreachable"}

    async def test_a_command_that_cannot_be_sent(self, gateway: MqttGateway) -> None:
        command = Command("a/#", "r1", "s", "c", {})
        reply = await gateway.prepare(command).send()
        assert (reply.outcome, reply.error) == ("refused", "device_id: 'a/#' is not a device id")
