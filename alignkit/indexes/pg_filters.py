"""Conditions on the columns of a table of PostgreSQL, and on what lies inside its columns of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from alignkit.indexes.filters import Condition, FilterError, Scalar, is_number, mismatch
from alignkit.indexes.pg_connection import quoted
from alignkit.indexes.pg_table import PgTable

if TYPE_CHECKING:
    from psycopg.sql import Composable

_SIGNS = {"ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_WHOLE = ("smallint", "integer", "bigint")
_NUMBERS = (*_WHOLE, "numeric", "real", "double precision")
_TEXTS = ("text", "character", "name", "citext")
_JSON = ("json", "jsonb")


def condition_sql(conditions: Sequence[Condition], table: PgTable) -> tuple[Composable, list[Any]]:
    """All the conditions as SQL, with names quoted, and the values to bind.

    Raises:
        FilterError: if a column cannot be compared with such a value.
    """
    from psycopg.sql import SQL

    parts, values = [], list[Any]()
    for condition in conditions:
        part, bound = _one(condition, table)
        parts.append(part)
        values += bound
    return SQL(" AND ").join(parts) if parts else SQL("true"), values


def _one(condition: Condition, table: PgTable) -> tuple[Composable, list[Any]]:
    from psycopg.sql import SQL

    name, _, rest = condition.field.partition(".")
    if condition.field in table.columns:
        name, rest = condition.field, ""
    kind, column = table.columns[name], SQL("t.{}").format(quoted(name))
    if kind in _JSON:
        return _in_json(condition, column, rest.split(".") if rest else [])
    if rest:
        raise FilterError(f"filter: column '{name}' is of type {kind}, which has nothing called '{rest}' inside")
    if kind.endswith("[]"):
        return _in_array(condition, column, kind)
    cast, values = _bound(condition, kind)
    if condition.operator == "in":
        return SQL("{} = ANY (%s::text[]::{}[])").format(column, cast), [values]
    return SQL("{} {} %s::{}").format(column, SQL(_SIGNS[condition.operator]), cast), values


def _in_array(condition: Condition, column: Composable, kind: str) -> tuple[Composable, list[Any]]:
    from psycopg.sql import SQL

    cast, values = _bound(condition, kind.removesuffix("[]"))
    if condition.operator == "in":
        return SQL("{} && %s::text[]::{}[]::{}").format(column, cast, SQL(kind)), [values]
    if condition.operator == "ne":
        return SQL("cardinality({0}) > 0 AND NOT %s::{1} = ANY ({0})").format(column, cast), values
    sign = SQL(_SIGNS[condition.operator])
    return SQL("EXISTS (SELECT FROM unnest({}) AS u WHERE u {} %s::{})").format(column, sign, cast), values


def _in_json(condition: Condition, column: Composable, path: list[str]) -> tuple[Composable, list[Any]]:
    from psycopg.sql import SQL

    found = SQL("({}::jsonb #> %s::text[])").format(column)
    values = [json.dumps(value, ensure_ascii=False) for value in condition.values]
    # a list contains its values, a single value itself
    if condition.operator == "in":
        return SQL("{} @> ANY (%s::text[]::jsonb[])").format(found), [path, values]
    if condition.operator == "ne":
        rule = "(jsonb_typeof({0}) <> 'null' AND {0} <> '[]' AND NOT {0} @> %s::text::jsonb)"
        return SQL(rule).format(found), [path, path, path, values[0]]
    # JSON orders values of different kinds too, and lists by their length
    rule = (
        "EXISTS (SELECT FROM jsonb_path_query({0}, 'lax $[*]') AS u"
        " WHERE jsonb_typeof(u) = jsonb_typeof(%s::text::jsonb) AND u {1} %s::text::jsonb)"
    )
    return SQL(rule).format(found, SQL(_SIGNS[condition.operator])), [path, values[0], values[0]]


def _bound(condition: Condition, kind: str) -> tuple[Composable, list[str]]:
    """The type to compare in, and the values as text of it."""
    from psycopg.sql import SQL

    base = kind.partition("(")[0]
    fits, expected = _expected(base, kind)
    for value in condition.values:
        if not fits(value):
            raise mismatch(Condition(condition.field, condition.operator, (value,)), expected)
    # a type with a length would cut what is compared, and then find it
    compared = "text" if base.startswith(_TEXTS) else base if base in _NUMBERS else kind
    if base in _WHOLE:
        compared = "bigint" if all(isinstance(value, int) for value in condition.values) else "numeric"
    return SQL(compared), [str(value) for value in condition.values]


def _expected(base: str, kind: str) -> tuple[Callable[[Scalar], bool], str]:
    if base in _NUMBERS:
        return is_number, "numbers"
    if base == "boolean":
        return (lambda value: isinstance(value, bool)), "true or false"
    if base.startswith(_TEXTS):
        return (lambda value: isinstance(value, str)), "texts"
    # dates, UUIDs, values of an enum …: as text, which the server reads
    return (lambda value: not isinstance(value, bool)), f"values of {kind}, as texts"
