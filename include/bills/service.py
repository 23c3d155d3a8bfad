"""Use cases on bills that were made: lists of them (document 000, history)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from include.bills.model import BillFilter, BillPage, DateSpan, ListedBill
from include.bills.repository import BillRepository
from include.kit.db import Connection, Database
from include.settings import get_settings
from include.tokens.model import require_project

#: How many bills of a span are read at a time.
PIECE = 1000


class BillHistory:
    """Lists of final bills, the newest first, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(self, connection: Connection, *, projects: Sequence[str] | None = None) -> None:
        self.repository = BillRepository(connection)
        self.projects = projects
        self.default_timezone = get_settings().timezone

    async def page(self, wanted: BillFilter, *, limit: int, offset: int) -> BillPage:
        """Return a page of bills.

        :raises PermissionDeniedError: the project is not the caller's
        """
        require_project(wanted.project_id, self.projects)
        find = self.repository.page_device_bills if wanted.device_id else self.repository.page_bills
        return await find(wanted, limit=limit, offset=offset, timezone=self.default_timezone)

    async def piece_of_span(
        self, wanted: BillFilter, span: DateSpan, *, after: ListedBill | None = None
    ) -> list[ListedBill]:
        """Return the next `PIECE` bills whose period ends within a span, from the one `after` on.

        :raises PermissionDeniedError: the project is not the caller's
        """
        require_project(wanted.project_id, self.projects)
        find = self.repository.span_device_bills if wanted.device_id else self.repository.span_bills
        return await find(wanted, span, after=after, limit=PIECE, timezone=self.default_timezone)


async def bills_of_span(
    database: Database, wanted: BillFilter, span: DateSpan, *, projects: Sequence[str] | None = None
) -> AsyncIterator[list[ListedBill]]:
    """Yield all bills whose period ends within a span, piece by piece; the first may be empty.

    Each piece is a transaction of its own along the index. A cursor would hold a connection of the pool for
    as long as the slowest client takes to read a million bills.

    :raises PermissionDeniedError: the project is not the caller's
    """
    last: ListedBill | None = None
    while True:
        async with database.transaction() as connection:
            history = BillHistory(connection, projects=projects)
            piece = await history.piece_of_span(wanted, span, after=last)
        yield piece
        if len(piece) < PIECE:
            return
        last = piece[-1]
