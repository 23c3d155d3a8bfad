"""From what is asked of a list to SQL: columns from an allow-list, values always bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import sql

from include.maintenance.filters import Condition, Filter, Kind, Operator

#: Moments are asked for by seconds, as they are shown.
_SECOND = timedelta(seconds=1)

#: By operator: `{column}`, and `{first}` and `{last}` of the values or `{all}` of them.
_PLAIN: Mapping[Operator, LiteralString] = {
    "=": "{column} = {first}",
    ">": "{column} > {first}",
    ">=": "{column} >= {first}",
    "<": "{column} < {first}",
    "<=": "{column} <= {first}",
    "like": "{column} ILIKE {first}",
    "in": "{column} = ANY({all})",
    "between": "{column} BETWEEN {first} AND {last}",
    "empty": "false",  # a number or a moment is always there
}
_OF_TEXTS: Mapping[Operator, LiteralString] = {**_PLAIN, "empty": "{column} = ''"}
#: `{first_end}` and `{last_end}`: where the second of a value ends.
_OF_MOMENTS: Mapping[Operator, LiteralString] = {
    **_PLAIN,
    "=": "({column} >= {first} AND {column} < {first_end})",
    ">": "{column} >= {first_end}",
    "<=": "{column} < {first_end}",
    "in": "date_trunc('second', {column}) = ANY({all})",
    "between": "({column} >= {first} AND {column} < {last_end})",
}


@dataclass(frozen=True, slots=True)
class Column:
    """What a field is in SQL.

    :ivar source: of a field of kind `list`: how a row has a member for which a condition on `item` is met,
        with `{}` for the condition; of others an expression that is never null
    :ivar index: of a list that has an index: how it has one of the members `{}`
    """

    kind: Kind
    source: LiteralString
    index: LiteralString | None = None


def kinds(columns: Mapping[str, Column]) -> Mapping[str, Kind]:
    """Return what the grammar must know of columns."""
    return {name: column.kind for name, column in columns.items()}


def compile_filter(wanted: Filter, columns: Mapping[str, Column]) -> tuple[sql.Composable, Mapping[str, Any]]:
    """Return a filter as a condition, and the parameters it has."""
    binder = _Binder()
    parts = [_condition(one, columns[one.field], binder) for one in wanted.every]
    if wanted.any:
        either = [_condition(one, columns[one.field], binder) for one in wanted.any]
        parts.append(sql.SQL("({})").format(sql.SQL(" OR ").join(either)))
    return sql.SQL(" AND ").join(parts or [sql.SQL("true")]), binder.parameters


@dataclass
class _Binder:
    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> sql.Placeholder:
        name = f"value_{len(self.parameters)}"
        self.parameters[name] = value
        return sql.Placeholder(name)


def _condition(condition: Condition, column: Column, binder: _Binder) -> sql.Composable:
    match column.kind:
        case "list":
            made = _of_members(condition, column, binder)
        case "moment":
            made = _filled(_OF_MOMENTS, condition, sql.SQL(column.source), binder)
        case "text":
            made = _filled(_OF_TEXTS, condition, sql.SQL(column.source), binder)
        case _:
            made = _filled(_PLAIN, condition, sql.SQL(column.source), binder)
    return sql.SQL("NOT ({})").format(made) if condition.negated else made


def _of_members(condition: Condition, column: Column, binder: _Binder) -> sql.Composable:
    if condition.operator == "empty":
        return sql.SQL("NOT ({})").format(sql.SQL(column.source).format(sql.SQL("true")))
    if column.index and condition.operator in ("=", "in"):
        return sql.SQL(column.index).format(binder.bind(list(condition.values)))
    return sql.SQL(column.source).format(_filled(_PLAIN, condition, sql.SQL("item"), binder))


def _filled(
    forms: Mapping[Operator, LiteralString], condition: Condition, column: sql.Composable, binder: _Binder
) -> sql.Composable:
    form, values = forms[condition.operator], condition.values
    parts: dict[str, sql.Composable] = {"column": column}
    if "{all}" in form:
        parts["all"] = binder.bind(list(values))
    if "{first}" in form:
        parts["first"] = binder.bind(values[0])
    if "{last}" in form:
        parts["last"] = binder.bind(values[-1])
    for end, value in (("first_end", values[:1]), ("last_end", values[-1:])):
        if f"{{{end}}}" in form and isinstance(value[0], datetime):
            parts[end] = binder.bind(value[0] + _SECOND)
    return sql.SQL(form).format(**parts)
