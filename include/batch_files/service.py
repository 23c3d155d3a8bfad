"""Use cases on uploaded files: store, list, find, delete. One that has aged out is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO
from uuid import uuid4

from include.batch.model import TaskType
from include.batch_files.model import (
    FILE_LIFE,
    FILES_MOST,
    NAME_LONGEST,
    BatchFile,
    Contents,
    FileMissingError,
    FileNameTakenError,
)
from include.batch_files.repository import BatchFileRepository
from include.errors import ConflictError, InvalidInputError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection

#: Beside what tells a device.
COLUMNS_NEEDED: Mapping[TaskType, Sequence[str]] = {"createDevices": ("product_id", "node_id")}


def check_file_name(name: str) -> str:
    """Return the name of a file. Raises InvalidInputError."""
    if not 1 <= len(name) <= NAME_LONGEST or not name.isprintable():
        raise InvalidInputError(f"must have 1 to {NAME_LONGEST} printable characters", field="file_name")
    return name


class BatchFileService:
    """The files of an owner in a project, inside the caller's transaction.

    :param owner: whose files they are; a task of the project may use those of any owner
    """

    def __init__(
        self, connection: Connection, project_id: str, owner: str, *, clock: Clock = system_clock
    ) -> None:
        self.repository = BatchFileRepository(connection)
        self.project_id = project_id
        self.owner = owner
        self.clock = clock

    async def check_room(self, file_name: str) -> None:
        """Make room where files have aged out, and see whether one of this name may come.

        :raises FileNameTakenError: the owner has one of this name
        :raises ConflictError: the owner has `FILES_MOST` already
        """
        now = self.clock()
        await self.repository.delete_expired(now)
        await self.repository.lock_owner(self.project_id, self.owner)
        names = await self.repository.file_names(self.project_id, self.owner, now)
        if file_name in names:
            raise FileNameTakenError(f"there is a file {file_name!r} already")
        if len(names) >= FILES_MOST:
            raise ConflictError(f"there are {FILES_MOST} files already: delete one, or wait until one is old")

    async def store(self, file_name: str, contents: Contents, spool: TextIO) -> BatchFile:
        """Store a file. Raises what `check_room` raises.

        :param spool: its rows as `read_targets` wrote them
        """
        await self.check_room(file_name)
        now = self.clock()
        file = await self.repository.insert_file(
            str(uuid4()),
            self.project_id,
            self.owner,
            file_name,
            contents,
            now=now,
            expires_at=now + FILE_LIFE,
        )
        spool.seek(0)
        await self.repository.copy_rows(file, spool)
        return file

    async def list_files(self) -> Sequence[BatchFile]:
        """Return the owner's files, the newest first."""
        return await self.repository.list_files(self.project_id, self.owner, self.clock())

    async def delete(self, file_id: str) -> None:
        """Delete a file; tasks that were created with it keep their targets. Raises FileMissingError."""
        now = self.clock()
        if not await self.repository.expire_file(self.project_id, self.owner, file_id, now):
            raise FileMissingError(f"there is no file {file_id!r}")
        await self.repository.delete_expired(now)


async def resolve_file(
    connection: Connection, project_id: str, task_type: TaskType, file_id: str, *, clock: Clock = system_clock
) -> BatchFile:
    """Return the file that a task takes its targets from, whosever in the project it is.

    :raises FileMissingError: there is none, or it has aged out
    :raises InvalidInputError: it lacks columns that tasks of this type need
    """
    found = await BatchFileRepository(connection).find_file(project_id, file_id, clock())
    if found is None:
        raise FileMissingError(f"there is no file {file_id!r}")
    missing = [name for name in COLUMNS_NEEDED.get(task_type, ()) if name not in found.columns]
    if missing:
        raise InvalidInputError(
            f"the file lacks the columns {', '.join(missing)}, which {task_type} needs",
            field="document_source",
        )
    return found
