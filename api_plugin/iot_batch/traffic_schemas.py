"""Commands, messages, properties and shadows on the wire: research `iot.md` A12."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api_plugin.iot_batch.paging import PageInfo, iot_time
from include.batch import codes
from include.batch.documents import AsyncCommandDocument
from include.devices.calling import answer_of
from include.devices.model import (
    SERVICES_MOST,
    CommandRecord,
    CommandStatus,
    MessageRecord,
    MessageStatus,
    ShadowService,
)
from include.devices.rows import ServiceId, check_json
from include.gateway.model import Reply


class AsyncCommandBody(AsyncCommandDocument):
    """A command that may wait for the device; by default it does."""

    send_strategy: Literal["immediately", "delay"] = "delay"


class ServiceProperties(BaseModel):
    """Properties of a service."""

    model_config = ConfigDict(extra="forbid")

    service_id: ServiceId
    properties: Annotated[dict[str, Any], AfterValidator(check_json)]


class PropertiesBody(BaseModel):
    """What a device is to set at once."""

    model_config = ConfigDict(extra="forbid")

    services: list[ServiceProperties] = Field(min_length=1, max_length=SERVICES_MOST)


class Answered(BaseModel):
    """What a device answered, or that it did not in time."""

    response: Any = None
    error_code: str | None = None
    error_msg: str | None = None


class CommandAnswer(Answered):
    """The answer to a command."""

    command_id: str


class PropertiesAnswer(Answered):
    """The answer of a device about its properties."""

    request_id: str


class CommandItem(BaseModel):
    """An asynchronous command in a list."""

    device_id: str
    command_id: str
    service_id: str | None
    command_name: str | None
    expire_time: int
    status: CommandStatus
    created_time: str
    sent_time: str | None
    delivered_time: str | None
    send_strategy: str
    response_time: str | None


class CommandResponse(CommandItem):
    """An asynchronous command."""

    paras: dict[str, Any]
    result: Any


class CommandList(BaseModel):
    """A page of commands, the newest first."""

    commands: list[CommandItem]
    page: PageInfo


class CommandCount(BaseModel):
    """How many commands there are."""

    count: int


class ErrorInfo(BaseModel):
    """Why a message was not delivered."""

    error_code: str
    error_msg: str


class MessageResult(BaseModel):
    """What became of a message."""

    status: MessageStatus
    created_time: str
    finished_time: str | None


class NewMessageResponse(BaseModel):
    """A message that was just sent."""

    message_id: str
    result: MessageResult


class MessageResponse(BaseModel):
    """A message."""

    message_id: str
    name: str | None
    message: Any
    encoding: str
    payload_format: str
    topic: str | None
    properties: dict[str, Any] | None
    status: MessageStatus
    error_info: ErrorInfo | None
    created_time: str
    finished_time: str | None


class MessageList(BaseModel):
    """The latest messages to a device."""

    device_id: str
    messages: list[MessageResponse]


class ShadowProperties(BaseModel):
    """What a service should be, or said it is."""

    properties: dict[str, Any]
    event_time: str | None


class ShadowItem(BaseModel):
    """A service of a shadow."""

    service_id: str
    desired: ShadowProperties
    reported: ShadowProperties
    version: int


class ShadowResponse(BaseModel):
    """The shadow of a device."""

    device_id: str
    shadow: list[ShadowItem]


def answered(reply: Reply) -> dict[str, Any]:
    """Return the fields of `Answered` for a reply that `check_reply` let pass."""
    if reply.outcome == "timeout":
        return {"error_code": codes.COMMAND_TIMEOUT, "error_msg": "the device did not answer in time"}
    return {"response": answer_of(reply)}


def command_item(command: CommandRecord) -> CommandItem:
    """Return a command as lists show it."""
    return CommandItem.model_validate(_command(command))


def command_response(command: CommandRecord) -> CommandResponse:
    """Return a command as it is shown alone."""
    return CommandResponse.model_validate(
        {**_command(command), "paras": command.paras, "result": command.result}
    )


def message_response(message: MessageRecord) -> MessageResponse:
    """Return a message as clients see it."""
    failed = message.status == "FAILED"
    error = ErrorInfo(error_code=codes.DEVICE_OFFLINE, error_msg=message.error or "") if failed else None
    return MessageResponse(
        message_id=message.message_id,
        name=message.name,
        message=message.message,
        encoding=message.encoding,
        payload_format=message.payload_format,
        topic=message.topic,
        properties=dict(message.properties) if message.properties else None,
        error_info=error,
        **_message_result(message).model_dump(),
    )


def new_message_response(message: MessageRecord) -> NewMessageResponse:
    """Return what is told of a message that was just sent."""
    return NewMessageResponse(message_id=message.message_id, result=_message_result(message))


def shadow_response(device_id: str, services: list[ShadowService]) -> ShadowResponse:
    """Return a shadow as clients see it."""
    return ShadowResponse(device_id=device_id, shadow=[_shadow_item(one) for one in services])


def _command(command: CommandRecord) -> dict[str, Any]:
    life = command.expires_at - command.created_at
    return {
        "device_id": command.device_id,
        "command_id": command.command_id,
        "service_id": command.service_id or None,
        "command_name": command.command_name or None,
        "expire_time": round(life.total_seconds()) if command.send_strategy == "delay" else 0,
        "status": command.status,
        "created_time": iot_time(command.created_at),
        "sent_time": iot_time(command.sent_at) if command.sent_at else None,
        "delivered_time": iot_time(command.delivered_at) if command.delivered_at else None,
        "send_strategy": command.send_strategy,
        "response_time": iot_time(command.responded_at) if command.responded_at else None,
    }


def _message_result(message: MessageRecord) -> MessageResult:
    return MessageResult(
        status=message.status,
        created_time=iot_time(message.created_at),
        finished_time=iot_time(message.finished_at) if message.finished_at else None,
    )


def _shadow_item(one: ShadowService) -> ShadowItem:
    return ShadowItem(
        service_id=one.service_id,
        desired=ShadowProperties(
            properties=dict(one.desired), event_time=iot_time(one.desired_at) if one.desired_at else None
        ),
        reported=ShadowProperties(
            properties=dict(one.reported), event_time=iot_time(one.reported_at) if one.reported_at else None
        ),
        version=one.version,
    )
