"""What training the student took, cost and lost, in sentences."""

from __future__ import annotations

from alignkit.evaluation.columns import Column
from alignkit.evaluation.forgotten import Forgetting
from alignkit.evaluation.result import Result
from alignkit.evaluation.student_record import StudentRecord
from alignkit.evaluation.table_rows import RowName, Times
from alignkit.language.speaking import say, told
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
        changes = _changes(record.forgetting, tuple(record.forgetting.changes))
        lines.append(say("on {texts}: {changes}", texts=_texts(record.forgetting), changes=changes))
    if record.unchecked is not None:
        lines.append(say("whether it forgot other texts was not looked at: {why}", why=told(record.unchecked)))
    return lines


def lost_words(forgotten: Forgetting) -> str:
    """A warning: which figures are worse beyond chance on texts unlike the training texts, and what to do."""
    return say(
        "the student forgot {texts}: {changes}; add such texts to the training texts, or keep the head alone if "
        "queries will be like these",
        texts=_texts(forgotten),
        changes=_changes(forgotten, forgotten.lost),
    )


def _made(table: TableReport) -> str:
    made = say(
        "the student is a table of {entries:,} entries ({tables})",
        entries=table.entries,
        tables=", ".join(table.tables),
    )
    if not table.asked:
        return say("{made}, made without a call of the teacher", made=made)
    calls = say("all cached before")
    if table.calls:
        calls = say("{calls:,} calls, {seconds:,.0f} s", calls=table.calls, seconds=table.teacher_seconds)
    return say(
        "{made}; the teacher was asked for {asked:,} of {wanted:,} that it could be asked for ({calls})",
        made=made,
        asked=table.asked,
        wanted=table.wanted,
        calls=calls,
    )


def _fewer_calls(table: TableReport) -> list[str]:
    """What a smaller budget would have given."""
    changes = [
        say("{value:+.3f} with {asked:,} (95% interval {low:+.3f} to {high:+.3f})", asked=one.asked, **vars(one.change))
        for one in table.curve
        if one.change is not None
    ]
    if not changes:
        return []
    whole = table.curve[0]
    return [
        say(
            "what fewer calls would cost: cosine {cosine:.3f} with {asked:,} of these entries, {changes}; measured on "
            "{judged_on:,} training texts, by tables fitted to the others",
            cosine=whole.cosine,
            asked=whole.asked,
            changes=say(", ").join(changes),
            judged_on=table.judged_on,
        )
    ]


def _kept(record: StudentRecord) -> str:
    if not record.kept:
        return say("the student is as it was: {reason}", reason=told(record.reason))
    return say(
        "the trained student was kept, as it was after {best:.3g} of {epochs:.3g} epochs: {reason}",
        best=record.best_epoch,
        epochs=record.epochs,
        reason=told(record.reason),
    )


def _took(record: StudentRecord) -> str:
    took = say("training the student took {seconds:,.0f} s", seconds=record.seconds)
    if record.texts_per_s is not None:
        took = say("{took} at {rate:,.0f} texts/s", took=took, rate=record.texts_per_s)
    if record.teacher_calls is None:
        return took
    if not record.teacher_calls:
        return say("{took} and no call of the teacher", took=took)
    return say("{took} and {calls:,} calls of the teacher", took=took, calls=record.teacher_calls)


def _texts(forgotten: Forgetting) -> str:
    return say(
        "{count:,} texts unlike the training texts ({source})", count=forgotten.texts, source=told(forgotten.source)
    )


def _changes(forgotten: Forgetting, columns: tuple[Column, ...]) -> str:
    return say("; ").join(
        say(
            "{figure} {before:.3f} before, {after:.3f} after ({value:+.3f}, 95% interval {low:+.3f} to {high:+.3f})",
            figure=say(NAMES[column]),
            before=one.before.value,
            after=one.after.value,
            **vars(one.change),
        )
        for column in columns
        for one in [forgotten.changes[column]]
    )


def _query_cost(result: Result) -> list[str]:
    rows = {"a query takes {cost}": result.product.row, "with the head alone {cost}": RowName.ALIGNED}
    costs = [
        say(what, cost=cost)
        for what, name in rows.items()
        if name in result.rows and (times := result.rows[name].times) and (cost := _cost(times))
    ]
    return [say("; ").join(costs)] if costs else []


def _cost(times: Times) -> str:
    parts = [] if times.total_ms is None else [f"{times.total_ms:.2f} ms"]
    if times.models_mb is not None:
        parts.append(say("{size:,.1f} MB of models", size=times.models_mb))
    return say(" and ").join(parts)
