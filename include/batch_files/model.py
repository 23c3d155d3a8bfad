"""Uploaded lists of targets as they are stored and shown. Moments are aware and in UTC.

Source: research `iot.md` A2, A7, A8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.errors import ConflictError, InvalidInputError, NotFoundError, RowProblem

NAME_LONGEST = 60
#: Of one owner at a time, and how long each is kept.
FILES_MOST, FILE_LIFE = 10, timedelta(hours=1)
#: How many problems an answer names.
PROBLEMS_TOLD = 20


class FileMissingError(NotFoundError):
    """There is no such file, or it has aged out."""


class FileNameTakenError(ConflictError):
    """Another file has this name."""


class FileTooLargeError(InvalidInputError):
    """The file has more bytes than it may have."""


class UnusableRowsError(InvalidInputError):
    """Rows of the file cannot be used, so none was kept.

    :param problems: the first `PROBLEMS_TOLD`
    :param count: how many there are
    """

    def __init__(self, problems: Sequence[RowProblem], count: int) -> None:
        told = "; ".join(map(str, problems))
        more = f"; and {count - len(problems)} more" if count > len(problems) else ""
        super().__init__(f"{count} problem{'s' if count > 1 else ''}: {told}{more}", field="file")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A stored file.

    :ivar id: ours; clients know `file_id`
    :ivar owner: whose ten files it is among
    :ivar columns: by the names of `DeviceRow`
    :ivar expires_at: from then on it is not there any more
    """

    id: int
    file_id: str
    project_id: str
    owner: str
    file_name: str
    columns: Sequence[str]
    rows: int
    uploaded_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds; its rows are in the spool that they were read into.

    :ivar columns: that have a heading, by the names of `DeviceRow`
    """

    columns: Sequence[str]
    rows: int
