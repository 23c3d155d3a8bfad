"""Event subscriptions: who is told of what happens, and what they were told."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    Page,
    PageCursor,
    PageLimit,
    page_of,
    read_id_cursor,
)
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.routes import RowId
from api_plugin.management.schemas import Answer
from include.events.model import EventState
from include.events.service import EventService
from include.metering.rows import check_project

router = APIRouter(tags=["events"], responses={**PROBLEMS, **MISSING})

URL_LONGEST = 2048

Resource = Literal["batchtask", "maintenance.task"]
ProjectId = Annotated[
    str,
    AfterValidator(lambda text: text and check_project(text)),
    Field(description="empty: of what belongs to no project, for tokens that are not restricted to any"),
]


def _once(resources: list[Resource]) -> list[Resource]:
    if len(set(resources)) != len(resources):
        raise ValueError("names a resource twice")
    return resources


Url = Annotated[str, Field(min_length=1, max_length=URL_LONGEST)]
Resources = Annotated[list[Resource], Field(min_length=1), AfterValidator(_once)]


class SubscriptionBody(BaseModel):
    """Whom to tell of what happens in a project from now on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "project_id": "p1",
                "url": "https://example.com/events",
                "resources": ["batchtask"],
            }
        },
    )

    project_id: ProjectId
    url: Url
    resources: Resources


class SubscriptionChanges(BaseModel):
    """What is to be another; what is not told stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    resources: Resources | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.url is None and self.resources is None:
            raise ValueError("needs url or resources")
        return self


class SubscriptionResponse(Answer):
    """A subscription. Its secret is shown once, when it is made."""

    id: int
    project_id: str
    url: str
    resources: list[str]
    created_at: AwareDatetime


class NewSubscriptionResponse(SubscriptionResponse):
    """A subscription that was made."""

    secret: str = Field(description="signs what is sent (Standard Webhooks); it is not shown again")


class EventResponse(Answer):
    """Something that happened, for one subscription."""

    id: int
    webhook_id: str = Field(description="of the header webhook-id, the same on every attempt")
    resource: str
    event: str = Field(validation_alias="action", description="what happened")
    subject: str = Field(description="to which one; what happens to one is told in order")
    body: dict[str, Any] = Field(description="notify_data.body")
    state: EventState
    attempts: int
    created_at: AwareDatetime
    next_at: AwareDatetime | None = Field(
        description="of the next attempt; while one is under way, when it counts as lost"
    )
    delivered_at: AwareDatetime | None
    last_error: str | None


@router.post("/event-subscriptions", status_code=201)
async def create_event_subscription(
    body: SubscriptionBody, caller: CallerDep, database: DatabaseDep
) -> NewSubscriptionResponse:
    """Have somebody told of what happens; the secret in the answer is not shown again."""
    made, secret = await transact(
        database,
        lambda connection: EventService(connection, projects=caller.projects).subscribe(
            body.project_id, body.url, body.resources
        ),
    )
    shown = SubscriptionResponse.model_validate(made)
    return NewSubscriptionResponse(**shown.model_dump(), secret=secret)


@router.get("/event-subscriptions")
async def list_event_subscriptions(
    caller: CallerDep,
    database: DatabaseDep,
    project: Annotated[str | None, Query(max_length=64)] = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[SubscriptionResponse]:
    """Subscriptions, the oldest first."""
    after = read_id_cursor(cursor)
    async with database.transaction() as connection:
        rows = await EventService(connection, projects=caller.projects).list_subscriptions(
            project=project, after=after, limit=limit + 1
        )
    return page_of(rows, limit, SubscriptionResponse.model_validate)


@router.get("/event-subscriptions/{subscription_id}")
async def get_event_subscription(
    subscription_id: RowId, caller: CallerDep, database: DatabaseDep
) -> SubscriptionResponse:
    """One subscription."""
    async with database.transaction() as connection:
        found = await EventService(connection, projects=caller.projects).find(subscription_id)
    return SubscriptionResponse.model_validate(found)


@router.patch("/event-subscriptions/{subscription_id}")
async def change_event_subscription(
    subscription_id: RowId, body: SubscriptionChanges, caller: CallerDep, database: DatabaseDep
) -> SubscriptionResponse:
    """Tell another address, or of other resources; what waits goes to the new address."""
    changed = await transact(
        database,
        lambda connection: EventService(connection, projects=caller.projects).change(
            subscription_id, url=body.url, resources=body.resources
        ),
    )
    return SubscriptionResponse.model_validate(changed)


@router.delete("/event-subscriptions/{subscription_id}", status_code=204)
async def delete_event_subscription(subscription_id: RowId, caller: CallerDep, database: DatabaseDep) -> None:
    """Tell nothing more; what waits is given up."""
    await transact(
        database,
        lambda connection: EventService(connection, projects=caller.projects).unsubscribe(subscription_id),
    )


@router.get("/event-subscriptions/{subscription_id}/events")
async def list_events(
    subscription_id: RowId,
    caller: CallerDep,
    database: DatabaseDep,
    state: EventState | None = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[EventResponse]:
    """What a subscription was told or is to be told, the newest first."""
    before = read_id_cursor(cursor) or None
    async with database.transaction() as connection:
        rows = await EventService(connection, projects=caller.projects).events(
            subscription_id, state=state, before=before, limit=limit + 1
        )
    return page_of(rows, limit, EventResponse.model_validate)


@router.post("/event-subscriptions/{subscription_id}/events/{event_id}/redeliver", status_code=202)
async def redeliver_event(
    subscription_id: RowId, event_id: RowId, caller: CallerDep, database: DatabaseDep
) -> EventResponse:
    """Tell an event again, now, whatever became of it, under the same webhook-id."""
    event = await transact(
        database,
        lambda connection: EventService(connection, projects=caller.projects).redeliver(
            subscription_id, event_id
        ),
    )
    return EventResponse.model_validate(event)
