"""A batch of document 003: items one by one, each problem in its own item's `err`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from api_plugin.common.errors import field_problem, printable
from api_plugin.crontab.schemas import ITEMS_MOST, LOG_DEFAULT, LogLimit, TaskResult
from include.callbacks.model import ItemResult
from include.errors import InvalidInputError

Item = TypeVar("Item", bound=BaseModel)

LIMIT: TypeAdapter[int] = TypeAdapter(LogLimit)


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """The items of a request, and for each whether it can be read: `results` is None where it can."""

    items: list[Item]
    results: list[TaskResult | None]

    async def settle(self, work: Callable[[list[Item]], Awaitable[Sequence[ItemResult]]]) -> list[TaskResult]:
        """Do the work on the items that can be read; return one result an item, in the request's order."""
        done = iter(await work(self.items) if self.items else [])
        return [result or wire_result(next(done)) for result in self.results]


def make_batch(payload: dict[str, Any], model: type[Item], extra: Sequence[str] = ()) -> Batch[Item]:
    """Return the items of a body's `task_list`; `extra` are fields it may have beside that.

    :raises InvalidInputError: `task_list` cannot be used as a whole, or there is an unknown field
    """
    for name in payload:
        if name not in ("task_list", *extra):
            raise InvalidInputError("is not a field of this request", field=printable(name))
    items: list[Item] = []
    results: list[TaskResult | None] = []
    for raw in _task_list(payload):
        try:
            items.append(model.model_validate(raw))
            results.append(None)
        except ValidationError as error:
            results.append(_refused(raw, error))
    return Batch(items, results)


def read_limit(payload: dict[str, Any]) -> int:
    """Return `limit` of query_task_status. Raises InvalidInputError naming it."""
    try:
        return LIMIT.validate_python(payload.get("limit", LOG_DEFAULT))
    except ValidationError as error:
        raise InvalidInputError(field_problem(error.errors()[0]).message, field="limit") from None


def wire_result(result: ItemResult) -> TaskResult:
    """Write a result as the document spells it."""
    task_id = "" if result.task_id is None else str(result.task_id)
    return TaskResult(task_id=task_id, name=result.name, err=result.err)


def _task_list(payload: dict[str, Any]) -> list[Any]:
    items = payload.get("task_list")
    if not isinstance(items, list):
        raise InvalidInputError("must be a list of tasks", field="task_list")
    if not 1 <= len(items) <= ITEMS_MOST:
        raise InvalidInputError(f"has {len(items)} items, 1 to {ITEMS_MOST} are taken", field="task_list")
    return items


def _refused(raw: Any, error: ValidationError) -> TaskResult:
    if not isinstance(raw, dict):
        return TaskResult(task_id="", name="", err="task_list: an item must be an object")
    problems = [str(field_problem(item)) for item in error.errors(include_url=False)]
    if any("\ud800" <= character <= "\udfff" for key in raw for character in key):
        problems = ["the name of a field has half of a surrogate pair"]
    return TaskResult(task_id=_echo(raw.get("task_id")), name=_echo(raw.get("name")), err="; ".join(problems))


def _echo(value: Any) -> str:
    """Give back what the client sent, for it to tell the item by."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    return printable(str(value))
