"""Pictures and papers for `images` of handles."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, File, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.limits import request_limit
from api_plugin.management.maintenance_schemas import AttachmentResponse
from api_plugin.management.maintenance_scope import Organization
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.routes import RowId
from include.maintenance.attachments import BYTES_MOST, Attachment, AttachmentService

PATH = "/maintenance/attachments"
#: What the form around a file weighs at most.
FORM_BYTES: Final = 16_384

#: Whatever the file is, a browser neither takes it for something else nor runs what is in it.
SAFE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=86400, immutable",
}

router = APIRouter(prefix=PATH, tags=["maintenance attachments"], responses={**PROBLEMS, **MISSING})


def body_limit(path: str) -> int:
    """Return how many bytes the body of a request to this API may have."""
    return BYTES_MOST + FORM_BYTES if path.endswith(PATH) else request_limit(path)


@router.post("", status_code=201)
async def add_maintenance_attachment(
    request: Request,
    file: Annotated[
        UploadFile, File(description=f"JPEG, PNG, GIF, WebP or PDF, at most {BYTES_MOST:,} bytes")
    ],
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
) -> AttachmentResponse:
    """Store a file; its `url` goes into `images` of a handle."""
    content = await file.read(BYTES_MOST + 1)
    stored = await transact(
        database,
        lambda connection: AttachmentService(connection, projects=caller.projects).store(
            file.filename or "", content, organization_id
        ),
    )
    return _shown(stored, request)


@router.get(
    "/{attachment_id}",
    response_class=Response,
    responses={200: {"description": "the file", "content": {"application/octet-stream": {}}}},
)
async def get_maintenance_attachment(
    attachment_id: RowId, caller: CallerDep, database: DatabaseDep
) -> Response:
    """A stored file."""
    async with database.transaction() as connection:
        stored, content = await AttachmentService(connection, projects=caller.projects).find(attachment_id)
    # Papers are saved, not opened: they can hold scripts of their own.
    shown = "inline" if stored.content_type.startswith("image/") else "attachment"
    disposition = f"{shown}; filename*=UTF-8''{quote(stored.name, safe='')}"
    return Response(
        content,
        media_type=stored.content_type,
        headers={**SAFE_HEADERS, "Content-Disposition": disposition},
    )


@router.delete("/{attachment_id}", status_code=204)
async def delete_maintenance_attachment(
    attachment_id: RowId, caller: CallerDep, database: DatabaseDep
) -> None:
    """Forget a file; handles that name it go on naming it."""
    await transact(
        database,
        lambda connection: AttachmentService(connection, projects=caller.projects).delete(attachment_id),
    )


def _shown(stored: Attachment, request: Request) -> AttachmentResponse:
    url = f"{request.scope.get('root_path', '')}{PATH}/{stored.id}"
    fields = {name: getattr(stored, name) for name in AttachmentResponse.model_fields if name != "url"}
    return AttachmentResponse(**fields, url=url)
