"""Who performs which type of task."""

from __future__ import annotations

from include.batch.commands import (
    AsyncCommandPerformer,
    CommandPerformer,
    MessagePerformer,
    NoGateway,
    ShadowPerformer,
)
from include.batch.model import TaskType
from include.batch.performing import Performer
from include.errors import InvalidInputError
from include.gateway.model import DeviceGateway
from include.kit.db import Database


def make_performer(task_type: TaskType, database: Database, gateway: DeviceGateway | str) -> Performer:
    """Return what performs sub-tasks of this type over the gateway.

    :param gateway: or why there is none
    :raises InvalidInputError: it is not performed over the gateway
    """
    if isinstance(gateway, str):
        return NoGateway(gateway)
    match task_type:
        case "createCommands":
            return CommandPerformer(gateway)
        case "createAsyncCommands":
            return AsyncCommandPerformer(database, gateway)
        case "createMessages":
            return MessagePerformer(database, gateway)
        case "updateDeviceShadows":
            return ShadowPerformer(database, gateway)
        case _:
            raise InvalidInputError(f"{task_type} is not performed over the gateway", field="task_type")
