"""The body that creates a batch task: read, checked, and what is made of it. Source: research `iot.md` A3."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, StrictBool, StrictInt, StringConstraints

from include.batch.documents import check_document
from include.batch.model import FILE_TYPES, ROW_TYPES, UPGRADE_TYPES, NewTask, TaskPolicy, TaskType
from include.batch.rollout import as_json, parse
from include.devices.rows import check_json
from include.errors import InvalidInputError
from include.metering.rows import Row

TARGETS_MOST = 30_000
GROUPS_MOST = 1_000
EXT_INFO_LONGEST = 512
RETRIES_MOST, RETRY_MINUTES_MOST = 5, 1440

#: How far ahead a task may be scheduled, and by how much clocks may differ there and in the past.
SCHEDULE_MOST, CLOCKS_DIFFER = timedelta(days=7), timedelta(minutes=1)

MOMENT_FORM = "%Y%m%dT%H%M%SZ"
_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")

#: They alone may wait for a confirm, and the first two know modes and extra words.
_WITH_MODE: frozenset[TaskType] = UPGRADE_TYPES - {"moduleUpgrade"}


class TimeFormatError(InvalidInputError):
    """A moment is not written as it has to be."""


AppId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,36}$")]
TaskName = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[\u3400-\u4dbf\u4e00-\u9fffA-Za-z0-9_]{1,128}$"),
    Field(description="Chinese characters, letters, digits and _", examples=["testname"]),
]
Target = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,128}$")]
FileId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,128}$")]
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(check_json)]


class Filter(Row):
    """Targets by what they belong to."""

    group_ids: Annotated[list[Target], Field(min_length=1, max_length=GROUPS_MOST)]


class Policy(Row):
    """When a task runs, and how often a sub-task is tried again by itself."""

    schedule_time: str | None = Field(
        None,
        description="UTC, at most 7 days ahead; at once where it is left out",
        examples=["20151212T121212Z"],
    )
    retry_count: Annotated[StrictInt, Field(ge=0, le=RETRIES_MOST)] | None = None
    retry_interval: Annotated[StrictInt, Field(ge=0, le=RETRY_MINUTES_MOST)] | None = Field(
        None, description="minutes"
    )

    def checked(self, now: datetime) -> TaskPolicy:
        """Return what is kept of it. Raises InvalidInputError."""
        if (self.retry_count is None) != (self.retry_interval is None):
            missing = "retry_count" if self.retry_count is None else "retry_interval"
            raise InvalidInputError(
                "is required: retry_count and retry_interval come together", field=f"task_policy.{missing}"
            )
        interval = self.retry_interval
        return TaskPolicy(
            None if self.schedule_time is None else _schedule_time(self.schedule_time, now),
            self.retry_count,
            None if interval is None else timedelta(minutes=interval),
        )


class TaskRequest(Row):
    """The body of POST batchtasks. Of several sources of targets the first counts that the task type has."""

    model_config = ConfigDict(hide_input_in_errors=True)

    app_id: AppId | None = Field(None, description="resource space; by default the project's own")
    task_name: TaskName
    task_type: TaskType
    task_mode: Literal["GATEWAY"] | None = Field(None, description="of firmware and software upgrades")
    need_confirm: StrictBool | None = Field(
        None, description="of upgrades: sub-tasks wait for the call `confirm`"
    )
    task_ext_info: JsonObject | None = Field(
        None,
        description=f"of firmware and software upgrades: goes to the device; {EXT_INFO_LONGEST} characters",
    )
    targets: Annotated[list[Target], Field(max_length=TARGETS_MOST)] | None = Field(
        None, description="device ids; the first source"
    )
    targets_filter: Filter | None = Field(None, description="the second source")
    document: JsonObject | None = Field(None, description="what is sent, by task type")
    task_policy: Policy | None = None
    document_source: FileId | None = Field(None, description="file_id of an uploaded file; the third source")
    x_rollout: JsonObject | None = Field(None, description="ours: how fast, in which waves and windows")

    def new_task(self, project_id: str, *, created_by: str, now: datetime) -> NewTask:
        """Return the task that is asked for. Raises InvalidInputError, which names the field."""
        self._check_type()
        check_document(self.task_type, self.document)
        return NewTask(
            project_id=project_id,
            task_name=self.task_name,
            task_type=self.task_type,
            app_id=self.app_id,
            task_mode=self.task_mode,
            need_confirm=bool(self.need_confirm),
            task_ext_info=self.task_ext_info,
            document=self.document,
            policy=self.task_policy.checked(now) if self.task_policy else TaskPolicy(),
            rollout=None if self.x_rollout is None else as_json(parse(self.x_rollout)),
            created_by=created_by,
            **self._sources(),
        )

    def _check_type(self) -> None:
        """Refuse what this task type does not have."""
        if self.need_confirm and self.task_type not in UPGRADE_TYPES:
            raise InvalidInputError("is for upgrades", field="need_confirm")
        for name in ("task_mode", "task_ext_info"):
            if getattr(self, name) is not None and self.task_type not in _WITH_MODE:
                raise InvalidInputError("is for firmwareUpgrade and softwareUpgrade", field=name)
        written = json.dumps(self.task_ext_info, ensure_ascii=False, separators=(",", ":"))
        if len(written) > EXT_INFO_LONGEST:
            raise InvalidInputError(
                f"must have at most {EXT_INFO_LONGEST} characters as JSON", field="task_ext_info"
            )

    def _sources(self) -> dict[str, Any]:
        """Return the sources of targets that this task type has; the first of them counts."""
        sent: dict[str, Any] = {}
        if self.task_type not in ROW_TYPES:
            sent["targets"] = self.targets or None
            sent["targets_filter"] = self.targets_filter.model_dump() if self.targets_filter else None
        if self.task_type in FILE_TYPES:
            sent["document_source"] = self.document_source
        if not any(sent.values()):
            raise InvalidInputError(f"is required: {', '.join(sent)}", field=next(iter(sent)))
        return sent


def read_moment(text: str, field: str) -> datetime:
    """Return a moment of the wire, `yyyyMMdd'T'HHmmss'Z'`. Raises TimeFormatError."""
    try:
        if _MOMENT.fullmatch(text) is None:
            raise ValueError(text)
        return datetime.strptime(text, MOMENT_FORM).replace(tzinfo=UTC)
    except ValueError:
        raise TimeFormatError("must be like 20151212T121212Z", field=field) from None


def _schedule_time(text: str, now: datetime) -> datetime:
    field = "task_policy.schedule_time"
    moment = read_moment(text, field)
    if moment < now - CLOCKS_DIFFER:
        raise InvalidInputError("lies in the past", field=field)
    if moment > now + SCHEDULE_MOST + CLOCKS_DIFFER:
        raise InvalidInputError(f"is more than {SCHEDULE_MOST.days} days ahead", field=field)
    return moment
