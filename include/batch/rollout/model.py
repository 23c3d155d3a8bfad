"""`x_rollout` of a batch task as it is asked for and stored: read, checked, written.

Ours beyond the vendor's contract. Where a peer has the same its limits are taken (research `iot.md` B2): a
ramp grows by 1.1 to 5 from 1 to 1,000 a minute, percentages have two decimals.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from include.cron import check_zone
from include.errors import CronExpressionError, InvalidInputError
from include.tariffs.windows import MINUTES, minute_of_day

#: The field of the create body.
FIELD = "x_rollout"

PER_MINUTE_MOST = 1_000_000
IN_FLIGHT_MOST = 1_000_000
WAVES_MOST = 100
SPREAD_MOST = 86_400

#: Windows by the clocks of each device.
DEVICE = "device"

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: In the order of `date.weekday`.
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CLOSED = ConfigDict(extra="forbid")


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number")
    return value


def _growth(factor: Decimal) -> Decimal:
    if not Decimal("1.1") <= factor <= 5:
        raise ValueError("must be 1.1 to 5")
    return factor


def _clock(text: str) -> str:
    minute_of_day(text)
    return text


def _zone(name: str) -> str:
    if name != DEVICE:
        try:
            check_zone(name, field="timezone")
        except CronExpressionError as error:
            raise ValueError(error.message) from None
    return name


def _once(days: tuple[Day, ...]) -> tuple[Day, ...]:
    if len(set(days)) != len(days):
        raise ValueError("names a day twice")
    return days


_Count = Annotated[int, Field(strict=True, ge=1)]
_Decimal = Annotated[Decimal, BeforeValidator(_number), PlainSerializer(float, when_used="json")]
_Percent = Annotated[_Decimal, Field(gt=0, le=100, decimal_places=2)]
_Clock = Annotated[str, AfterValidator(_clock)]


@dataclass(frozen=True, config=_CLOSED)
class Every:
    """After how many more a ramp grows: those that succeeded, or those that were begun."""

    succeeded: _Count | None = None
    begun: _Count | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.succeeded is None) == (self.begun is None):
            raise ValueError("needs one of succeeded, begun")
        return self


@dataclass(frozen=True, config=_CLOSED)
class Rate:
    """How many attempts may be begun in any minute.

    Constant with `per_minute` alone; a ramp with the other three, of which `per_minute` is then the ceiling.
    """

    per_minute: Annotated[int, Field(strict=True, ge=1, le=PER_MINUTE_MOST)] | None = None
    base_per_minute: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    factor: Annotated[_Decimal, Field(decimal_places=1), AfterValidator(_growth)] | None = None
    every: Every | None = None

    @model_validator(mode="after")
    def _constant_or_ramp(self) -> Self:
        ramp = [self.base_per_minute, self.factor, self.every]
        if None in ramp and (self.per_minute is None or any(part is not None for part in ramp)):
            raise ValueError("needs per_minute, or base_per_minute, factor and every")
        if self.base_per_minute and self.per_minute and self.base_per_minute > self.per_minute:
            raise ValueError("base_per_minute must not be above per_minute")
        return self


@dataclass(frozen=True, config=_CLOSED)
class Abort:
    """When too many failed: at `failed_percent` of those that ended, once `min_executed` have."""

    failed_percent: _Percent
    min_executed: _Count
    action: Literal["pause", "stop"] = "pause"


@dataclass(frozen=True, config=_CLOSED)
class Wave:
    """A part of the targets, in their order, and what must be so before the next part begins.

    :ivar percent: of all targets, rounded up; or `count`; or all the `rest`
    :ivar success_percent: of the wave must have succeeded once all of it has ended
    :ivar approval: somebody must say so
    """

    percent: _Percent | None = None
    count: _Count | None = None
    rest: Literal[True] | None = None
    success_percent: _Percent | None = None
    approval: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if sum(size is not None for size in (self.percent, self.count, self.rest)) != 1:
            raise ValueError("needs one of percent, count, rest")
        return self

    @property
    def gated(self) -> bool:
        return self.approval or self.success_percent is not None


@dataclass(frozen=True, config=_CLOSED)
class Window:
    """The time of day in which attempts are begun; an end that is not after the start lies on the next day.

    :ivar start: HH:MM
    :ivar end: HH:MM, to 24:00
    :ivar days: on which it starts
    :ivar timezone: an IANA name, or `device`: that of each device, else CARILLON_TIMEZONE
    """

    start: _Clock
    end: _Clock
    days: Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_once)] = DAYS
    timezone: Annotated[str, AfterValidator(_zone)] = DEVICE

    @model_validator(mode="after")
    def _starts_today(self) -> Self:
        if minute_of_day(self.start) == MINUTES:
            raise ValueError("start must be before 24:00")
        return self


@dataclass(frozen=True, config=_CLOSED)
class Rollout:
    """All of `x_rollout`; what is None does not limit the task.

    :ivar max_in_flight: sub-tasks that are Processing at a time
    :ivar spread_seconds: over which the first attempts are spread, at random, from when they might begin
    """

    rate: Rate | None = None
    max_in_flight: Annotated[int, Field(strict=True, ge=1, le=IN_FLIGHT_MOST)] | None = None
    abort: Abort | None = None
    waves: Annotated[tuple[Wave, ...], Field(min_length=1, max_length=WAVES_MOST)] | None = None
    window: Window | None = None
    spread_seconds: Annotated[int, Field(strict=True, ge=1, le=SPREAD_MOST)] | None = None

    @model_validator(mode="after")
    def _waves_add_up(self) -> Self:
        waves = self.waves or ()
        if any(wave.rest for wave in waves[:-1]):
            raise ValueError("waves: only the last can be the rest")
        if sum(wave.percent or 0 for wave in waves) > 100:
            raise ValueError("waves: more than 100 percent")
        if waves and waves[-1].gated:
            raise ValueError("waves: the last one has none after it that could wait")
        return self


_ROLLOUT = TypeAdapter(Rollout)


def parse(document: Mapping[str, Any], *, field: str = FIELD) -> Rollout:
    """Read `x_rollout`.

    :raises InvalidInputError: names what cannot be used as a dotted path, such as `x_rollout.waves.1.percent`
    """
    try:
        return _ROLLOUT.validate_python(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([field, *map(str, first["loc"])])
        raise InvalidInputError(_words(first["type"], first["msg"]), field=path) from None


def as_json(rollout: Rollout) -> dict[str, Any]:
    """Return the form in which a rollout is stored; `parse` reads it back."""
    return cast(dict[str, Any], _ROLLOUT.dump_python(rollout, mode="json", exclude_none=True))


def _words(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "is required"
        case "unexpected_keyword_argument":
            return "is not a field of this request"
    return message.removeprefix("Value error, ").replace("Input should", "must", 1)
