"""What training the student took, cost and lost, in sentences."""

from __future__ import annotations

from alignkit.evaluation.columns import Column
from alignkit.evaluation.forgotten import Change, Forgetting
from alignkit.evaluation.result import Result
from alignkit.evaluation.student_record import StudentRecord
from alignkit.evaluation.table_rows import RowName, Times
from alignkit.runs.table_report import TableReport

NAMES = {Column.OVERLAP_10: "overlap@10", Column.COSINE_MEAN: "cosine"}


def student_words(result: Result) -> list[str]:
    """How it was made, what was kept, what that took, what a query costs now, and what became of other texts.

    Empty for a head alone.
    """
    record, table = result.about.student, result.about.table
    made = [] if table is None else [_made(table), *_fewer_calls(table)]
    if record is None:
        return made
    lines = [*made, _kept(record), _took(record), *_query_cost(result)]
    # a loss is an alarm, which says all of it
    if record.forgetting is not None and not record.forgetting.lost:
        lines.append(f"on {_texts(record.forgetting)}: {_changes(record.forgetting, tuple(record.forgetting.changes))}")
    if record.unchecked is not None:
        lines.append(f"whether it forgot other texts was not looked at: {record.unchecked}")
    return lines


def lost_words(forgotten: Forgetting) -> str:
    """A warning: which figures are worse beyond chance on texts unlike the training texts, and what to do."""
    return (
        f"the student forgot {_texts(forgotten)}: {_changes(forgotten, forgotten.lost)}; add such texts to the "
        "training texts, or keep the head alone if queries will be like these"
    )


def _made(table: TableReport) -> str:
    made = f"the student is a table of {table.entries:,} entries ({', '.join(table.tables)})"
    if not table.asked:
        return f"{made}, made without a call of the teacher"
    calls = f"{table.calls:,} calls, {table.teacher_seconds:,.0f} s" if table.calls else "all cached before"
    return f"{made}; the teacher was asked for {table.asked:,} of {table.wanted:,} that it could be asked for ({calls})"


def _fewer_calls(table: TableReport) -> list[str]:
    """What a smaller budget would have given."""
    told = [
        f"{change.value:+.3f} with {one.asked:,} (95% interval {change.low:+.3f} to {change.high:+.3f})"
        for one in table.curve
        if (change := one.change) is not None
    ]
    if not told:
        return []
    whole = table.curve[0]
    return [
        f"what fewer calls would cost: cosine {whole.cosine:.3f} with {whole.asked:,} of these entries, "
        f"{', '.join(told)}; measured on {table.judged_on:,} training texts, by tables fitted to the others"
    ]


def _kept(record: StudentRecord) -> str:
    if not record.kept:
        return f"the student is as it was: {record.reason}"
    state = f"after {record.best_epoch:.3g} of {record.epochs:.3g} epochs"
    return f"the trained student was kept, as it was {state}: {record.reason}"


def _took(record: StudentRecord) -> str:
    rate = "" if record.texts_per_s is None else f" at {record.texts_per_s:,.0f} texts/s"
    asked = record.teacher_calls
    calls = "" if asked is None else f" and {asked:,} calls of the teacher" if asked else " and no call of the teacher"
    return f"training the student took {record.seconds:,.0f} s{rate}{calls}"


def _texts(forgotten: Forgetting) -> str:
    return f"{forgotten.texts:,} texts unlike the training texts ({forgotten.source})"


def _changes(forgotten: Forgetting, columns: tuple[Column, ...]) -> str:
    return "; ".join(f"{NAMES[column]} {_change(forgotten.changes[column])}" for column in columns)


def _change(one: Change) -> str:
    change = one.change
    interval = f"{change.value:+.3f}, 95% interval {change.low:+.3f} to {change.high:+.3f}"
    return f"{one.before.value:.3f} before, {one.after.value:.3f} after ({interval})"


def _query_cost(result: Result) -> list[str]:
    rows = {"a query takes": result.product.row, "with the head alone": RowName.ALIGNED}
    told = [
        f"{what} {words}"
        for what, name in rows.items()
        if name in result.rows and (times := result.rows[name].times) and (words := _cost(times))
    ]
    return ["; ".join(told)] if told else []


def _cost(times: Times) -> str:
    parts = [] if times.total_ms is None else [f"{times.total_ms:.2f} ms"]
    return " and ".join([*parts, *([] if times.models_mb is None else [f"{times.models_mb:,.1f} MB of models"])])
