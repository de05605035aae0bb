"""The queries of a set by a field that a file holds beside the texts: a domain, a department, a language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignkit.errors import ConfigError, DataError
from alignkit.pairs.evaluation_set import EvaluationSet, Grouping
from alignkit.sentences.text_fields import CORPUS, QUERIES, FieldRows, FieldValues, values_of

NONE = "(none)"


@dataclass(frozen=True)
class QueryValues:
    """The values of every query, none or several each, and how they were found, in words."""

    values: list[tuple[str, ...]]
    note: str


@dataclass(frozen=True)
class _Found:
    """Where a field was found, and what the texts there have in it."""

    rows: FieldRows
    values: FieldValues


def check_field(fields: tuple[FieldRows, ...], field: str | None) -> None:
    """Whether queries can be grouped by a field: said before a model is asked for anything.

    Raises:
        ConfigError: as `grouped`.
    """
    if field is not None:
        _look(fields, field)


def grouped(test: EvaluationSet, field: str | None) -> EvaluationSet:
    """The same with its queries in groups.

    A field of the queries is looked for first, then one of the corpus: a query then belongs to the groups of the texts
    that are relevant to it or, where nothing is judged, to that of the text that it is itself. A query with several
    values is in several groups.

    Args:
        test: with texts.
        field: its name; `queries.NAME` or `corpus.NAME` where both sides have one of that name; `None` leaves the set
            as it is.

    Raises:
        ConfigError: if there is nothing to look into, or no such field; the message names those that there are.
        DataError: if no query has a value in it.
    """
    if field is None:
        return test
    texts = test.queries.texts
    found = values_of_queries(
        test.origin.fields if texts is not None else (), field, texts or (), _relevant_texts(test)
    )
    return replace(
        test,
        grouping=Grouping(field, rows_of_groups(found.values)),
        groups=[" + ".join(own) or NONE for own in found.values],
        origin=replace(test.origin, notes=(*test.origin.notes, found.note)),
    )


def values_of_queries(
    fields: tuple[FieldRows, ...], field: str, texts: Sequence[str], relevant: Sequence[Iterable[str]] | None
) -> QueryValues:
    """The values of each query in a field; see `grouped`.

    Args:
        fields: of the queries and of the corpus.
        field: its name.
        texts: of the Q queries.
        relevant: the texts that are relevant to each; `None` where nothing is judged.

    Raises:
        ConfigError: if there is nothing to look into, or no such field.
        DataError: if no query has a value in it.
    """
    found = _look(fields, field)
    by_text = found.values.by_text
    if found.rows.side == QUERIES:
        values = [by_text.get(text, ()) for text in texts]
        by = f"their own {field}"
    elif relevant is not None:
        values = [tuple(sorted({value for text in own for value in by_text.get(text, ())})) for own in relevant]
        by = f"the {field} of the texts relevant to them"
    else:
        values = [by_text.get(text, ()) for text in texts]
        by = f"the {field} of the texts that they are"
    if not any(values):
        raise DataError(f"group_by={field}: none of the {len(texts):,} queries has a value in {found.rows.place}")
    note = f"groups: queries by {by}, from {found.rows.place}"
    if several := sum(len(own) > 1 for own in values):
        note += f"; {several:,} of {len(values):,} queries are in several groups, and count in each"
    return QueryValues(values, note)


def rows_of_groups(values: Sequence[tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Name of a group → its queries, ascending; those without a value are a group too."""
    rows: dict[str, list[int]] = {}
    for row, own in enumerate(values):
        for name in own or (NONE,):
            rows.setdefault(name, []).append(row)
    return {name: np.array(own) for name, own in rows.items()}


def _look(fields: tuple[FieldRows, ...], field: str) -> _Found:
    if not fields:
        raise ConfigError(
            f"group_by={field}: these texts come without fields; name the file that has them with "
            f"data.sentences=FILE.jsonl (data=vectors), or have them read with index.payload=[{field}] (data=index)"
        )
    side, _, rest = field.partition(".")
    asked = [(side, rest)] if side in (QUERIES, CORPUS) and rest else []
    # a field within one that is called `corpus` is found too
    asked += [(QUERIES, field), (CORPUS, field)]
    known: dict[str, None] = {}
    for wanted, name in asked:
        for rows in fields:
            if rows.side != wanted:
                continue
            values = values_of(rows, name)
            if values.has_field:
                return _Found(rows, values)
            if values.nested:
                within = [one for one in values.known if one.startswith(f"{name}.")]
                raise ConfigError(f"group_by={field}: holds fields itself; name one of them: {', '.join(within)}")
            known.update(dict.fromkeys(values.known))
    places = " and ".join(dict.fromkeys(rows.place for rows in fields))
    raise ConfigError(f"group_by={field}: no text has a value in such a field; {places}: {', '.join(known)}")


def _relevant_texts(test: EvaluationSet) -> list[list[str]] | None:
    """Of each query; what is judged and has no vector is not there."""
    if test.qrels is None:
        return None
    texts = test.corpus.texts or ()
    found: list[list[str]] = [[] for _ in range(len(test.queries))]
    for query, row in zip(*np.divmod(test.qrels.keys, test.qrels.shape[1]), strict=True):
        if row < len(texts):
            found[query].append(texts[row])
    return found
