"""The queries of a folder's task by a field, and what the head keeps for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.benchmarking.unit_figures import UnitFigures
from alignkit.errors import AlignkitError, ConfigError, DataError
from alignkit.evaluation.group_figures import GroupFigure, group_figures
from alignkit.evaluation.table_rows import Product, RowName
from alignkit.pairs.query_groups import QueryValues, rows_of_groups, values_of_queries

ONLY_FOLDERS = "only folders on this machine have fields"


@dataclass(frozen=True)
class TaskGroups:
    """Figures by group, and how the groups were made."""

    figures: tuple[GroupFigure, ...] = ()
    notes: tuple[str, ...] = ()


def check_groups(tasks: Sequence[Any], group_by: str | None) -> None:
    """Whether the queries of one of the folders can be grouped: said before a model is asked for anything.

    Raises:
        ConfigError: if no task is a folder, or none has the field.
        DataError: if no query has a value in it.
    """
    if group_by is None:
        return
    folders = [task for task in tasks if hasattr(task, "fields")]
    if not folders:
        raise ConfigError(f"group_by={group_by}: {ONLY_FOLDERS}, and no task is one; leave it out")
    reasons = [_why_not(task, group_by) for task in folders]
    if reasons[0] is not None and all(reasons):
        raise reasons[0]


def _why_not(task: Any, field: str) -> AlignkitError | None:
    try:
        _values(task, field, list(_split(task)["relevant_docs"]))
    except (ConfigError, DataError) as error:
        return error
    return None


def groups_of_task(
    task: Any, figures: Mapping[RowName, UnitFigures], product: Product, group_by: str | None, *,
    seed: int, resamples: int,
) -> TaskGroups:  # fmt: skip
    """The groups of a folder; none where none were asked for.

    Args:
        task: its data loaded; only folders have fields.
        figures: row → figures of the queries.
        product: which row is compared with the teacher's.
        group_by: the field.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    if group_by is None:
        return TaskGroups()
    if not hasattr(task, "fields"):
        return TaskGroups(notes=(f"group_by={group_by}: {ONLY_FOLDERS}",))
    if _why_not(task, group_by):
        return TaskGroups(notes=(f"group_by={group_by}: no query of this folder has a value in such a field",))
    if product.row not in figures:
        return TaskGroups(notes=(f"group_by={group_by}: the head itself was not run",))
    units = figures[product.row].strata[0].units
    values = _values(task, group_by, units)
    by_row = {name: one.strata[0].figures for name, one in figures.items()}
    found = group_figures(rows_of_groups(values.values), by_row, product, seed=seed, resamples=resamples)
    return TaskGroups(found, (values.note,))


def _values(task: Any, field: str, queries: Sequence[str]) -> QueryValues:
    split = _split(task)
    query, document = (dict(zip(split[side]["id"], split[side]["text"], strict=True)) for side in ("queries", "corpus"))
    judged = split["relevant_docs"]
    relevant = [[document[name] for name, grade in judged[one].items() if grade > 0] for one in queries]
    return values_of_queries(task.fields, field, [query[one] for one in queries], relevant)


def _split(task: Any) -> Any:
    ((split,),) = (splits.values() for splits in task.dataset.values())  # a folder has one
    return split
