"""Uploaded lists of targets: upload, list, delete (research `iot.md` A2, A7)."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import Annotated

from fastapi import APIRouter, File, Path, UploadFile
from pydantic import BaseModel

from api_plugin.common.limits import request_limit
from api_plugin.iot_batch.errors import ERRORS, FILE_PATH, MISSING
from api_plugin.iot_batch.paging import iot_time
from api_plugin.iot_batch.scope import Scope, ScopeDep
from include.batch_files.model import BatchFile, FileTooLargeError
from include.batch_files.reading import read_upload
from include.batch_files.service import BatchFileService, check_file_name
from include.kit.db import Connection
from include.settings import get_settings

#: What the form around a file weighs at most.
FORM_BYTES = 16_384

router = APIRouter(prefix=f"/{{project_id}}{FILE_PATH}", tags=["batch files"], responses=ERRORS)

FileId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,128}$")]


class FileResponse(BaseModel):
    """An uploaded file."""

    file_id: str
    file_name: str
    upload_time: str

    @classmethod
    def of(cls, file: BatchFile) -> FileResponse:
        """Return what is shown of it."""
        return cls(file_id=file.file_id, file_name=file.file_name, upload_time=iot_time(file.uploaded_at))


class FileList(BaseModel):
    """The caller's files, the newest first."""

    files: list[FileResponse]


def body_limit(path: str) -> int:
    """Return how many bytes the body of a request to this API may have."""
    if path.endswith(FILE_PATH):
        return get_settings().batch_file_limit_bytes + FORM_BYTES
    return request_limit(path)


@router.post("", status_code=201)
async def upload_batch_task_file(
    file: Annotated[UploadFile, File(description=".xlsx, .xls or CSV, the first row names the columns")],
    scope: ScopeDep,
) -> FileResponse:
    """Upload a list of devices for tasks of the next hour."""
    most = get_settings().batch_file_limit_bytes
    if file.size is None or file.size > most:
        raise FileTooLargeError(f"is larger than {most} bytes", field="file")
    # Some clients send the whole path.
    name = check_file_name((file.filename or "").replace("\\", "/").rpartition("/")[2])

    async def look(connection: Connection) -> None:
        await _service(connection, scope).check_room(name)

    # Before the file is read, which takes a while; and once more when it is stored.
    await scope.run(look)
    with TemporaryFile("w+", encoding="utf-8", newline="\n") as spool:
        contents = await read_upload(file.file, spool, rows_most=get_settings().batch_file_rows)

        async def store(connection: Connection) -> BatchFile:
            return await _service(connection, scope).store(name, contents, spool)

        return FileResponse.of(await scope.run(store))


@router.get("")
async def list_batch_task_files(scope: ScopeDep) -> FileList:
    """The files that were uploaded with the same credential and have not aged out."""

    async def work(connection: Connection) -> FileList:
        files = await _service(connection, scope).list_files()
        return FileList(files=[FileResponse.of(one) for one in files])

    return await scope.run(work)


@router.delete("/{file_id}", status_code=204, responses=MISSING)
async def delete_batch_task_file(file_id: FileId, scope: ScopeDep) -> None:
    """Delete a file; tasks that were created with it keep their targets."""

    async def work(connection: Connection) -> None:
        await _service(connection, scope).delete(file_id)

    await scope.run(work)


def _service(connection: Connection, scope: Scope) -> BatchFileService:
    return BatchFileService(connection, scope.project_id, str(scope.token.id))
