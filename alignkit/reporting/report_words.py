"""All that the templates of the report say, as plain values."""

from __future__ import annotations

from typing import Any

from alignkit.evaluation.columns import Column
from alignkit.evaluation.result import Result
from alignkit.evaluation.same_models import model_name
from alignkit.language.speaking import TAGS, say, spoken, told
from alignkit.metrics.intervals import Interval
from alignkit.reporting import code_words, glossary
from alignkit.reporting.confidence_words import confidence_words
from alignkit.reporting.curve_words import curve_words
from alignkit.reporting.group_words import GroupTable
from alignkit.reporting.remarks import alarms_of, notes_of
from alignkit.reporting.student_words import student_words
from alignkit.reporting.training_words import training_words
from alignkit.reporting.verdict_words import verdict_words

DATA_KINDS = {True: "real data", False: "synthetic data", None: "not stated whether real or synthetic"}


def report_words(result: Result) -> dict[str, Any]:
    """Names of the templates → values."""
    about, origin, rows = result.about, result.origin, result.rows
    present = [column for column in Column if any(row[column] is not None for row in rows.values())]
    finding = {*result.certainty.means, Column.SELF_MRR, Column.SELF_RECALL_1, Column.HUMAN_SPEARMAN}
    found = [column for column in present if column in finding]
    likeness = [column for column in present if column not in found]
    return {
        "language": TAGS[spoken()],
        "source": told(origin.source),
        "split": told(origin.split),
        "data_kind": say(DATA_KINDS[origin.real]),
        "student": told(model_name(origin.student_identity)),
        "teacher": told(model_name(origin.teacher_identity)),
        "notes": [*notes_of(result), *map(told, about.doubts or ())],
        "leaks": told(about.leaks) if about.leaks else about.leaks,
        "alarms": alarms_of(result),
        "verdict": verdict_words(result.verdict),
        "evidence": result.verdict.evidence,
        "measure": say(result.measure.heading),
        "certainty": _certainty(result),
        "rows": result.labelled({name: row.to_json() for name, row in rows.items()}),
        "row_meanings": result.labelled({name: [*map(say, glossary.meaning(name, result.product))] for name in rows}),
        "product": result.product.row.value,
        "own_index": result.product.own_index.value,
        "tables": [
            (say("Finding: what each row retrieves"), found),
            (say("Likeness: how near the vectors are"), likeness),
        ],
        "headings": {key: say(heading) for key, heading in glossary.HEADINGS.items()},
        "meanings": {key: say(meaning) for key, meaning in glossary.MEANINGS.items()},
        "share_columns": [column for column in present if any(column in row.shares for row in rows.values())],
        "share_meaning": say(glossary.SHARE_MEANING),
        "times": result.labelled({name: row.times.to_json() for name, row in rows.items() if row.times}),
        "time_columns": _time_columns(result),
        "timed": {say(side): told(said) for side, said in (about.timed or {}).items()},
        "intervals": result.labelled(result.certainty.means[result.measure]),
        "shares": result.labelled(result.certainty.shares),
        "differences": _differences(result),
        "groups": GroupTable.of_result(result),
        "failures": result.failures,
        "confidence": result.confidence,
        "confidence_words": confidence_words(result.confidence) if result.confidence else [],
        "curve_words": curve_words(result),
        "code_headings": code_words.code_headings(result),
        "code_rows": list(code_words.code_cells(result)),
        "code_meaning": code_words.code_meaning(),
        "code_differences": list(code_words.code_differences(result)),
        "code_differences_meaning": say(code_words.DIFFERENCES_MEANING),
        "splits": {
            split: {name.value: row.to_json() for name, row in table.items()}
            for split, table in result.other_splits.items()
        },
        "training": [*student_words(result), *(training_words(result, about.training) if about.training else [])],
        "limits": [*map(say, glossary.LIMITS)],
        "missing": [f"`{name.value}`" for name in result.left_out],
    }


def _certainty(result: Result) -> str:
    """What the intervals are drawn from."""
    evidence = result.verdict.evidence
    drawn = "{measure} with 95% intervals: paired bootstrap over {queries:,} queries, {resamples:,} resamples."
    if evidence.groups < evidence.queries:
        drawn = (
            "{measure} with 95% intervals: paired bootstrap over {queries:,} queries in {groups:,} groups, "
            "{resamples:,} resamples."
        )
    return say(
        drawn,
        measure=say(result.measure.heading),
        queries=evidence.queries,
        groups=evidence.groups,
        resamples=result.sampling.resamples,
    )


def _time_columns(result: Result) -> list[str]:
    """All of them; the models' size only where it is known."""
    sized = any(row.times and row.times.models_mb is not None for row in result.rows.values())
    return [key for key in glossary.TIME_COLUMNS if sized or key != "models_mb"]


def _differences(result: Result) -> list[tuple[str, Interval, str]]:
    found = []
    for rival, interval in result.certainty.differences[result.measure].items():
        if interval is not None:
            beyond = say("beyond chance" if interval.low > 0 or interval.high < 0 else "could be chance")
            if interval.low == interval.high == 0:
                beyond = say("the same for every query")
            found.append((f"{result.product.row.value} - {rival.value}", interval, beyond))
    return found
