"""`./carillon bind` and `unbind`: which users may set timers on which devices."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from include.cli.token import in_one_transaction
from include.devices import service
from include.devices.rows import DeviceId, UserName
from include.errors import InvalidInputError, NotFoundError
from include.kit.db import Connection

User = Annotated[
    str, typer.Option("--user", help="Who, as the JWT names it: `./carillon token jwt --user …`.")
]
Device = Annotated[str, typer.Option("--device", help="Its device_id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]


def bind(user: User, device: Device, as_json: AsJson = False) -> None:
    """Let a user set timers on a device. Doing it again changes nothing."""
    new = _run(service.bind, user, device)
    words = f"{user} may set timers on {device}." if new else f"{user} may set timers on {device} already."
    _say(words, user, device, bound=True, changed=new, as_json=as_json)


def unbind(user: User, device: Device, as_json: AsJson = False) -> None:
    """Let a user set timers on a device no more. Timers that are set stay."""
    gone = _run(service.unbind, user, device)
    words = (
        f"{user} may not set timers on {device} any more." if gone else f"{user} was not bound to {device}."
    )
    _say(words, user, device, bound=False, changed=gone, as_json=as_json)


def _run(work: Callable[[Connection, str, str], Awaitable[bool]], user: str, device: str) -> bool:
    for name, kind, value in (("--user", UserName, user), ("--device", DeviceId, device)):
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise InvalidInputError(str(error.errors()[0]["ctx"]["error"]), field=name) from None
    try:
        return in_one_transaction(lambda connection: work(connection, user, device))
    except NotFoundError as error:
        raise NotFoundError(
            f"{error.message}: make it with POST /carillon/v1/devices or ./carillon import devices"
        ) from None


def _say(words: str, user: str, device: str, *, bound: bool, changed: bool, as_json: bool) -> None:
    document = {"user": user, "device_id": device, "bound": bound, "changed": changed}
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else words)
