"""The queries of a folder's task by a field, and what the head keeps for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.benchmarking.unit_figures import UnitFigures
from alignkit.errors import ConfigError
from alignkit.evaluation.group_figures import GroupFigure, group_figures
from alignkit.evaluation.table_rows import Product, RowName
from alignkit.pairs.query_groups import check_field, rows_of_groups, values_of_queries

ONLY_FOLDERS = "only folders on this machine have fields"


@dataclass(frozen=True)
class TaskGroups:
    """Figures by group, and how the groups were made."""

    figures: tuple[GroupFigure, ...] = ()
    notes: tuple[str, ...] = ()


def check_groups(tasks: Sequence[Any], group_by: str | None) -> None:
    """Whether one of the folders has the field: said before a model is asked for anything.

    Raises:
        ConfigError: if none has.
    """
    folders = [task for task in tasks if hasattr(task, "fields")]
    if group_by is None:
        return
    if not folders:
        raise ConfigError(f"group_by={group_by}: {ONLY_FOLDERS}, and no task is one; leave it out")
    if all(_lacks(task, group_by) for task in folders):
        check_field(folders[0].fields, group_by)


def _lacks(task: Any, field: str) -> bool:
    try:
        check_field(task.fields, field)
    except ConfigError:
        return True
    return False


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
    if _lacks(task, group_by):
        return TaskGroups(notes=(f"group_by={group_by}: no text of this folder has a value in such a field",))
    if product.row not in figures:
        return TaskGroups(notes=(f"group_by={group_by}: the head itself was not run",))
    units = figures[product.row].strata[0].units
    texts, relevant = _texts(task, units)
    values = values_of_queries(task.fields, group_by, texts, relevant)
    by_row = {name: one.strata[0].figures for name, one in figures.items()}
    found = group_figures(rows_of_groups(values.values), by_row, product, seed=seed, resamples=resamples)
    return TaskGroups(found, (values.note,))


def _texts(task: Any, queries: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Of the queries, and what is relevant to each."""
    ((split,),) = (splits.values() for splits in task.dataset.values())  # a folder has one
    query, document = (dict(zip(split[side]["id"], split[side]["text"], strict=True)) for side in ("queries", "corpus"))
    judged = split["relevant_docs"]
    relevant = [[document[name] for name, grade in judged[one].items() if grade > 0] for one in queries]
    return [query[one] for one in queries], relevant
