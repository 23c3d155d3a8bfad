"""Pictures and papers of a handling, stored beside it: what they are is seen from their contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from include.errors import InvalidInputError, NotFoundError
from include.kit.clock import Clock
from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.maintenance.clock import maintenance_clock
from include.maintenance.organizations import owner

queries = load_queries(__file__, "attachment_queries.sql")

BYTES_MOST: Final = 5 * 1024 * 1024
NAME_LONGEST: Final = 200

#: What a file may be, and the endings that its name may have then. What can hold a script (SVG, HTML) is not
#: among them.
TYPES: Final[dict[str, tuple[str, ...]]] = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/png": (".png",),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "application/pdf": (".pdf",),
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stored file; `size` in bytes."""

    id: int
    organization_id: str
    name: str
    content_type: str
    size: int
    created_at: datetime


def content_type(content: bytes) -> str | None:
    """Return what a file is by its first bytes, None where it is nothing that is taken."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return "application/pdf" if content.startswith(b"%PDF-") else None


def check_attachment(name: str, content: bytes) -> tuple[str, str]:
    """Return the name and type of a file. Raises InvalidInputError naming `file`."""
    # Some clients send the whole path.
    name = name.replace("\\", "/").rpartition("/")[2].strip()
    if not 1 <= len(name) <= NAME_LONGEST or not name.isprintable():
        raise InvalidInputError(f"needs a name of 1 to {NAME_LONGEST} printable characters", field="file")
    if not content:
        raise InvalidInputError("is empty", field="file")
    if len(content) > BYTES_MOST:
        raise InvalidInputError(f"must have at most {BYTES_MOST:,} bytes", field="file")
    found = content_type(content)
    if found is None:
        raise InvalidInputError("must be a JPEG, PNG, GIF, WebP or PDF file", field="file")
    if PurePosixPath(name).suffix.lower() not in TYPES[found]:
        raise InvalidInputError(f"is {found}: its name must end in {' or '.join(TYPES[found])}", field="file")
    return name, found


class AttachmentService:
    """The use cases, inside the caller's transaction.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None, clock: Clock = maintenance_clock
    ) -> None:
        self.projects = projects
        self.clock = clock
        visible = {"projects": None if projects is None else list(projects)}
        self.repository = _AttachmentRepository(connection, visible)

    async def store(self, name: str, content: bytes, organization_id: str | None = None) -> Attachment:
        """Keep a file.

        :raises InvalidInputError: see `check_attachment`, `owner`
        :raises NotFoundError: see `owner`
        """
        name, found = check_attachment(name, content)
        return await self.repository.insert_attachment(
            organization_id=owner(self.projects, organization_id),
            name=name,
            content_type=found,
            content=content,
            now=self.clock(),
        )

    async def find(self, id: int) -> tuple[Attachment, bytes]:
        """Return a file with its contents. Raises NotFoundError."""
        found = await self.repository.find_attachment(id)
        if found is None:
            raise NotFoundError(f"there is no attachment {id}")
        return found

    async def delete(self, id: int) -> None:
        """Forget a file; handles that name it go on naming it. Raises NotFoundError."""
        if not await self.repository.delete_attachment(id):
            raise NotFoundError(f"there is no attachment {id}")


class _AttachmentRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def insert_attachment(self, **values: Any) -> Attachment:
        [row] = await self._rows(queries.insert_attachment, **values)
        return Attachment(**row)

    async def find_attachment(self, id: int) -> tuple[Attachment, bytes] | None:
        rows = await self._rows(queries.find_attachment, id=id)
        if not rows:
            return None
        row = dict(rows[0])
        content: bytes = row.pop("content")
        return Attachment(**row), content

    async def delete_attachment(self, id: int) -> bool:
        return await self._run(queries.delete_attachment, id=id) > 0
