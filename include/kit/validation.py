"""What pydantic found wrong, in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from include.errors import InvalidInputError

M = TypeVar("M", bound=BaseModel)

#: How pydantic begins its sentences; ours begin with the field.
_SUBJECT = re.compile(r"^(Input|String|Dictionary|Value) should ")


def message_of(item: Mapping[str, Any]) -> str:
    """Return what one entry of pydantic's `errors()` says, without its field."""
    match item["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a field of this request"
        case "value_error":
            return str(item["ctx"]["error"])
        case _:
            return _SUBJECT.sub("must ", item["msg"])


def refusal(error: ValidationError, field: str) -> InvalidInputError:
    """Return the first of what was found in a field as an error that names where, `field.part`."""
    first = error.errors(include_url=False, include_input=False)[0]
    return InvalidInputError(message_of(first), field=".".join([field, *map(str, first["loc"])]))


def checked(model: type[M], values: Mapping[str, Any]) -> M:
    """Return what values make. Raises InvalidInputError: the first of what is wrong with them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInputError(message_of(first), field=".".join(map(str, first["loc"])) or None) from None
