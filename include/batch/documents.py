"""The documents of batch tasks: what is sent to each device, by task type.

Only checked here: a task keeps and shows its document as it was sent. Source: research `iot.md` A4 and A12.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from include.batch.model import TaskType
from include.devices.model import COMMAND_LIFE_MOST
from include.devices.rows import Desired, ServiceId, check_json, weight
from include.errors import InvalidInputError
from include.kit.validation import refusal
from include.metering.rows import Row

ASYNC_PARAS_MOST = 32 * 1024
#: One MQTT message (A9); nothing says less for what is in it.
PAYLOAD_MOST = 1_048_576
SHADOW_MOST, SHADOW_SERVICES_MOST = 10 * 1024, 5
USER_PROPERTIES_MOST = 20
TTL_MOST, TTL_STEP = 1440, 5


def _lighter_than(most: int) -> AfterValidator:
    def check(value: Any) -> Any:
        check_json(value)
        if weight(value) > most:
            raise ValueError(f"must have at most {most} bytes as JSON")
        return value

    return AfterValidator(check)


def _topic(text: str) -> str:
    if not text.isprintable() or any(sign in text for sign in "+#") or text.startswith("/"):
        raise ValueError("must be the name of a topic: no wildcards")
    return text


def _ttl(minutes: int) -> int:
    if minutes % TTL_STEP:
        raise ValueError(f"must be a multiple of {TTL_STEP}")
    return minutes


Topic = Annotated[StrictStr, Field(min_length=1, max_length=128), AfterValidator(_topic)]
ServiceText = Annotated[StrictStr, Field(min_length=1, max_length=64), AfterValidator(check_json)]
CommandName = Annotated[StrictStr, Field(min_length=1, max_length=128), AfterValidator(check_json)]
PackageId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MessageId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,100}$")]
MessageName = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[\u3400-\u4dbf\u4e00-\u9fffA-Za-z0-9_?'#().,&%@!-]{1,128}$"),
]
Short = Annotated[StrictStr, Field(max_length=128), AfterValidator(check_json)]


class UpgradeDocument(Row):
    """Which package: `package_ids`, or `package_id` as older clients have it."""

    package_ids: Annotated[list[PackageId], Field(min_length=1, max_length=1)] | None = None
    package_id: PackageId | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.package_ids is None) == (self.package_id is None):
            raise ValueError("needs package_ids or package_id")
        return self


class CommandDocument(Row):
    """A command that the device answers at once."""

    service_id: ServiceText | None = None
    command_name: CommandName | None = None
    paras: Annotated[dict[str, JsonValue], _lighter_than(PAYLOAD_MOST)]


class AsyncCommandDocument(CommandDocument):
    """A command that may wait for the device.

    :ivar expire_time: seconds that it waits under `delay`; 0 is the default of 24 h
    """

    paras: Annotated[dict[str, JsonValue], _lighter_than(ASYNC_PARAS_MOST)]
    expire_time: Annotated[StrictInt, Field(ge=0, le=int(COMMAND_LIFE_MOST.total_seconds()))] | None = None
    send_strategy: Literal["immediately", "delay"]


class UserProperty(Row):
    """One of MQTT 5."""

    prop_key: Short | None = None
    prop_value: Short | None = None


class MessageProperties(Row):
    """Properties of MQTT 5."""

    correlation_data: Short | None = None
    response_topic: Short | None = None
    user_properties: Annotated[list[UserProperty], Field(max_length=USER_PROPERTIES_MOST)] | None = None


class MessageDocument(Row):
    """A message: text, or JSON.

    :ivar ttl: minutes that it waits for a device that is away, 0: not at all
    """

    message_id: MessageId | None = None
    name: MessageName | None = None
    message: Annotated[StrictStr | dict[str, JsonValue], _lighter_than(PAYLOAD_MOST)]
    properties: MessageProperties | None = None
    encoding: Literal["none", "base64"] | None = None
    payload_format: Literal["standard", "raw"] | None = None
    topic: Topic | None = None
    topic_full_name: Topic | None = None
    ttl: Annotated[StrictInt, Field(ge=0, le=TTL_MOST), AfterValidator(_ttl)] | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.topic is not None and self.topic_full_name is not None:
            raise ValueError("topic and topic_full_name exclude each other")
        if self.encoding == "base64" and not _is_base64(self.message):
            raise ValueError("message must be base64, as encoding says")
        return self


class ShadowChange(Row):
    """What a service should be."""

    service_id: ServiceId
    desired: Desired


class ShadowDocument(Row):
    """What services of the device should be."""

    shadow: Annotated[list[ShadowChange], Field(min_length=1)]

    @model_validator(mode="after")
    def _limits(self) -> Self:
        services = [one.service_id for one in self.shadow]
        if len(set(services)) > SHADOW_SERVICES_MOST:
            raise ValueError(f"shadow has more than {SHADOW_SERVICES_MOST} services")
        if len(set(services)) < len(services):
            raise ValueError("shadow has a service twice")
        return self


DOCUMENTS: Mapping[TaskType, type[Row]] = {
    "firmwareUpgrade": UpgradeDocument,
    "softwareUpgrade": UpgradeDocument,
    "moduleUpgrade": UpgradeDocument,
    "createCommands": CommandDocument,
    "createAsyncCommands": AsyncCommandDocument,
    "createMessages": MessageDocument,
    "updateDeviceShadows": ShadowDocument,
}


def check_document(task_type: TaskType, document: Mapping[str, Any] | None) -> None:
    """Refuse a document that does not fit the type of its task. Raises InvalidInputError."""
    model = DOCUMENTS.get(task_type)
    if model is None:
        if document:
            raise InvalidInputError(f"is nothing that {task_type} has", field="document")
        return
    if document is None:
        raise InvalidInputError(f"is required for {task_type}", field="document")
    try:
        model.model_validate(document)
    except ValidationError as error:
        raise refusal(error, "document") from None
    if model is ShadowDocument and weight(document) > SHADOW_MOST:
        raise InvalidInputError(f"must have at most {SHADOW_MOST} bytes as JSON", field="document")


def _is_base64(message: object) -> bool:
    try:
        base64.b64decode(message if isinstance(message, str) else "*", validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
