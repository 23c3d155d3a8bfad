"""Metering master data: billing rules, premises, usage classes, service points, meters, parties.

Keys are the client's own. PUT makes or replaces, so it can be sent again; `bulk` does so with many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator

from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    KeyCursor,
    Page,
    PageLimit,
    key_cursor,
    page_of,
    read_key_cursor,
)
from api_plugin.management.metering_schemas import (
    Bulk,
    BulkResponse,
    MeterResponse,
    PartyResponse,
    PremiseResponse,
    RulesBody,
    RulesResponse,
    ServicePointResponse,
    UsageClassResponse,
)
from api_plugin.management.problems import MISSING, NEW, PROBLEMS
from api_plugin.management.project_scope import KeyPath, ScopeDep
from api_plugin.management.schemas import Answer
from include.billing.model import Commodity, ProjectRules
from include.metering.flat import FlatRowService
from include.metering.meters import MeterService
from include.metering.model import Meter, Party, Premise, ServicePoint, Tally, UsageClass
from include.metering.people import PeopleService
from include.metering.places import PlaceService
from include.metering.problems import alone
from include.metering.rows import (
    MeterFields,
    MeterRow,
    PartyFields,
    PartyRow,
    PointRow,
    PremiseFields,
    PremiseRow,
    ServicePointFields,
    ServicePointRow,
    UsageClassFields,
    UsageClassRow,
    check_key,
)
from include.metering.rules import RulesService

router = APIRouter(prefix="/projects/{project_id}", responses={**PROBLEMS, **MISSING})

A = TypeVar("A", bound=Answer)


# --- billing rules


@router.get("/billing-rules", tags=["billing rules"])
async def get_billing_rules(scope: ScopeDep) -> RulesResponse:
    """How a project is billed; one without rules of its own by the defaults."""
    return RulesResponse.of(await scope.run(RulesService, lambda service: service.find()))


@router.put("/billing-rules", tags=["billing rules"])
async def put_billing_rules(body: RulesBody, scope: ScopeDep) -> RulesResponse:
    """Set how a project is billed from now on."""

    async def work(service: RulesService) -> ProjectRules:
        await service.put(body.rules())
        return await service.find()

    return RulesResponse.of(await scope.run(RulesService, work))


# --- premises


@router.get("/premises", tags=["premises"])
async def list_premises(
    scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: KeyCursor = None
) -> Page[PremiseResponse]:
    """Premises by key."""
    after = read_key_cursor(cursor)
    rows = await scope.run(PlaceService, lambda service: service.list_premises(after=after, limit=limit + 1))
    return _page(PremiseResponse, rows, limit, lambda row: row.key)


@router.get("/premises/{key}", tags=["premises"])
async def get_premise(key: KeyPath, scope: ScopeDep) -> PremiseResponse:
    """One premise."""
    return PremiseResponse.model_validate(
        await scope.run(PlaceService, lambda service: service.find_premise(key))
    )


@router.put("/premises/{key}", tags=["premises"], responses=NEW)
async def put_premise(
    key: KeyPath, body: PremiseFields, scope: ScopeDep, response: Response
) -> PremiseResponse:
    """Make or replace a premise."""
    row = PremiseRow(key=key, **vars(body))

    async def work(service: PlaceService) -> tuple[Tally, Premise]:
        with alone():
            return await service.put_premises([row]), await service.find_premise(key)

    return _put(PremiseResponse, response, await scope.run(PlaceService, work))


@router.post("/premises/bulk", tags=["premises"])
async def put_premises(body: Bulk[PremiseRow], scope: ScopeDep) -> BulkResponse:
    """Make or replace many premises."""
    return _tally(await scope.run(PlaceService, lambda service: service.put_premises(body.items)))


@router.delete("/premises/{key}", status_code=204, tags=["premises"])
async def delete_premise(key: KeyPath, scope: ScopeDep) -> None:
    """Delete a premise without service points."""
    await scope.run(PlaceService, lambda service: service.delete_premise(key))


# --- usage classes


@router.get("/usage-classes", tags=["usage classes"])
async def list_usage_classes(
    scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: KeyCursor = None
) -> Page[UsageClassResponse]:
    """Usage classes by key."""
    after = read_key_cursor(cursor)
    rows = await scope.run(
        PlaceService, lambda service: service.list_usage_classes(after=after, limit=limit + 1)
    )
    return _page(UsageClassResponse, rows, limit, lambda row: row.key)


@router.get("/usage-classes/{key}", tags=["usage classes"])
async def get_usage_class(key: KeyPath, scope: ScopeDep) -> UsageClassResponse:
    """One usage class."""
    return UsageClassResponse.model_validate(
        await scope.run(PlaceService, lambda service: service.find_usage_class(key))
    )


@router.put("/usage-classes/{key}", tags=["usage classes"], responses=NEW)
async def put_usage_class(
    key: KeyPath, body: UsageClassFields, scope: ScopeDep, response: Response
) -> UsageClassResponse:
    """Make or replace a usage class."""
    row = UsageClassRow(key=key, **vars(body))

    async def work(service: PlaceService) -> tuple[Tally, UsageClass]:
        with alone():
            return await service.put_usage_classes([row]), await service.find_usage_class(key)

    return _put(UsageClassResponse, response, await scope.run(PlaceService, work))


@router.post("/usage-classes/bulk", tags=["usage classes"])
async def put_usage_classes(body: Bulk[UsageClassRow], scope: ScopeDep) -> BulkResponse:
    """Make or replace many usage classes."""
    return _tally(await scope.run(PlaceService, lambda service: service.put_usage_classes(body.items)))


@router.delete("/usage-classes/{key}", status_code=204, tags=["usage classes"])
async def delete_usage_class(key: KeyPath, scope: ScopeDep) -> None:
    """Delete a usage class without service points."""
    await scope.run(PlaceService, lambda service: service.delete_usage_class(key))


# --- service points


@router.get("/service-points", tags=["service points"])
async def list_service_points(
    scope: ScopeDep,
    premise: Annotated[str | None, Query(), AfterValidator(lambda key: key and check_key(key))] = None,
    commodity: Commodity | None = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: KeyCursor = None,
) -> Page[ServicePointResponse]:
    """Service points by key, each with the meter that is there."""
    after = read_key_cursor(cursor)
    rows = await scope.run(
        PlaceService,
        lambda service: service.list_service_points(
            after=after, limit=limit + 1, premise=premise, commodity=commodity
        ),
    )
    return _page(ServicePointResponse, rows, limit, lambda row: row.key)


@router.get("/service-points/{key}", tags=["service points"])
async def get_service_point(key: KeyPath, scope: ScopeDep) -> ServicePointResponse:
    """One service point with the meter that is there."""
    return ServicePointResponse.model_validate(
        await scope.run(PlaceService, lambda service: service.find_service_point(key))
    )


@router.put("/service-points/{key}", tags=["service points"], responses=NEW)
async def put_service_point(
    key: KeyPath, body: ServicePointFields, scope: ScopeDep, response: Response
) -> ServicePointResponse:
    """Make or replace a service point; its meter and residents stay."""
    row = PointRow(key=key, **vars(body))

    async def work(service: PlaceService) -> tuple[Tally, ServicePoint]:
        with alone():
            return await service.put_service_points([row]), await service.find_service_point(key)

    return _put(ServicePointResponse, response, await scope.run(PlaceService, work))


@router.post("/service-points/bulk", tags=["service points"])
async def put_service_points(body: Bulk[ServicePointRow], scope: ScopeDep) -> BulkResponse:
    """Make or replace many service points, each with premise, meter and resident as far as told."""
    return _tally(await scope.run(FlatRowService, lambda service: service.put(body.items)))


@router.delete("/service-points/{key}", status_code=204, tags=["service points"])
async def delete_service_point(key: KeyPath, scope: ScopeDep) -> None:
    """Delete a service point that never had a meter, a resident or a tariff of its own."""
    await scope.run(PlaceService, lambda service: service.delete_service_point(key))


# --- meters


@router.get("/meters", tags=["meters"])
async def list_meters(
    scope: ScopeDep,
    commodity: Commodity | None = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: KeyCursor = None,
) -> Page[MeterResponse]:
    """Meters by device_id, each with its registers and where it is."""
    after = read_key_cursor(cursor)
    rows = await scope.run(
        MeterService, lambda service: service.list_meters(after=after, limit=limit + 1, commodity=commodity)
    )
    return _page(MeterResponse, rows, limit, lambda row: row.device_id)


@router.get("/meters/{device_id}", tags=["meters"])
async def get_meter(device_id: KeyPath, scope: ScopeDep) -> MeterResponse:
    """One meter with its registers and where it is."""
    return MeterResponse.model_validate(
        await scope.run(MeterService, lambda service: service.find_meter(device_id))
    )


@router.put("/meters/{device_id}", tags=["meters"], responses=NEW)
async def put_meter(
    device_id: KeyPath, body: MeterFields, scope: ScopeDep, response: Response
) -> MeterResponse:
    """Make or replace a meter, with exactly the registers that are told."""
    row = MeterRow(device_id=device_id, **vars(body))

    async def work(service: MeterService) -> tuple[Tally, Meter]:
        with alone():
            return await service.put_meters([row]), await service.find_meter(device_id)

    return _put(MeterResponse, response, await scope.run(MeterService, work))


@router.post("/meters/bulk", tags=["meters"])
async def put_meters(body: Bulk[MeterRow], scope: ScopeDep) -> BulkResponse:
    """Make or replace many meters."""
    return _tally(await scope.run(MeterService, lambda service: service.put_meters(body.items)))


@router.delete("/meters/{device_id}", status_code=204, tags=["meters"])
async def delete_meter(device_id: KeyPath, scope: ScopeDep) -> None:
    """Delete a meter that was never installed."""
    await scope.run(MeterService, lambda service: service.delete_meter(device_id))


# --- parties


@router.get("/parties", tags=["parties"])
async def list_parties(
    scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: KeyCursor = None
) -> Page[PartyResponse]:
    """Parties by key."""
    after = read_key_cursor(cursor)
    rows = await scope.run(PeopleService, lambda service: service.list_parties(after=after, limit=limit + 1))
    return _page(PartyResponse, rows, limit, lambda row: row.key)


@router.get("/parties/{key}", tags=["parties"])
async def get_party(key: KeyPath, scope: ScopeDep) -> PartyResponse:
    """One party."""
    return PartyResponse.model_validate(
        await scope.run(PeopleService, lambda service: service.find_party(key))
    )


@router.put("/parties/{key}", tags=["parties"], responses=NEW)
async def put_party(key: KeyPath, body: PartyFields, scope: ScopeDep, response: Response) -> PartyResponse:
    """Make or replace a party. Bills keep the names they were made with."""
    row = PartyRow(key=key, **vars(body))

    async def work(service: PeopleService) -> tuple[Tally, Party]:
        with alone():
            return await service.put_parties([row]), await service.find_party(key)

    return _put(PartyResponse, response, await scope.run(PeopleService, work))


@router.post("/parties/bulk", tags=["parties"])
async def put_parties(body: Bulk[PartyRow], scope: ScopeDep) -> BulkResponse:
    """Make or replace many parties."""
    return _tally(await scope.run(PeopleService, lambda service: service.put_parties(body.items)))


@router.delete("/parties/{key}", status_code=204, tags=["parties"])
async def delete_party(key: KeyPath, scope: ScopeDep) -> None:
    """Delete a party that never lived anywhere."""
    await scope.run(PeopleService, lambda service: service.delete_party(key))


# ---


def _page(kind: type[A], rows: Sequence[Any], limit: int, key: Callable[[Any], str]) -> Page[A]:
    return page_of(rows, limit, kind.model_validate, lambda row: key_cursor(key(row)))


def _put(kind: type[A], response: Response, done: tuple[Tally, object]) -> A:
    tally, found = done
    if tally.created:
        response.status_code = 201
    return kind.model_validate(found)


def _tally(tally: Tally) -> BulkResponse:
    return BulkResponse.model_validate(tally)
