"""What pydantic found wrong, in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from include.errors import InvalidInputError

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
