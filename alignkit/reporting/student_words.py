"""What training the student took, cost and lost, in sentences."""

from __future__ import annotations

from alignkit.evaluation.forgotten import Change, Forgetting
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import RowName, Times
from alignkit.metrics.intervals import Interval


def student_words(result: Result) -> list[str]:
    """What was kept, what it took, what a query costs now, and what became of other texts; empty for a head alone."""
    record = result.about.student
    if record is None:
        return []
    rate = "" if record.texts_per_s is None else f" at {record.texts_per_s:,.0f} texts/s"
    took = f"training the student took {record.seconds:,.0f} s{rate}"
    calls = record.teacher_calls
    asked = "" if calls is None else f" and {calls:,} calls of the teacher"
    lines = [
        f"the student is {'as trained' if record.kept else 'as it was'}: {record.reason}",
        f"{took}{asked}; {record.epochs:.3g} epochs, kept {record.best_epoch:.3g}",
        *_query_cost(result),
    ]
    if record.forgetting is not None:
        lines.append(forgetting_words(record.forgetting))
    elif record.unchecked is not None:
        lines.append(f"whether it forgot other texts was not looked at: {record.unchecked}")
    return lines


def forgetting_words(forgotten: Forgetting) -> str:
    """What became of texts unlike the training texts."""
    changes = "; ".join(f"{column.heading} {_change(one)}" for column, one in forgotten.changes.items())
    return f"on {forgotten.texts:,} texts unlike the training texts ({forgotten.source}): {changes}"


def lost_words(forgotten: Forgetting) -> str:
    """A warning: which figures are worse beyond chance."""
    lost = " and ".join(
        f"{column.heading} fell from {forgotten.changes[column].before.value:.3f} to "
        f"{forgotten.changes[column].after.value:.3f}"
        for column in forgotten.lost
    )
    return (
        f"training the student cost it other texts: on {forgotten.texts:,} of them ({forgotten.source}) {lost}, beyond "
        "chance; add such texts to the training texts, or keep the head alone if queries will be like these"
    )


def _change(one: Change) -> str:
    return f"{one.before.value:.3f} before, {one.after.value:.3f} after, {_interval(one.change)}"


def _interval(change: Interval) -> str:
    return f"{change.value:+.3f} (95% interval {change.low:+.3f} to {change.high:+.3f})"


def _query_cost(result: Result) -> list[str]:
    rows = {"now": result.product.row, "with the head alone": RowName.ALIGNED}
    told = {
        when: words
        for when, name in rows.items()
        if name in result.rows and (times := result.rows[name].times) and (words := _costs(times))
    }
    return [f"a query costs {'; '.join(f'{words} {when}' for when, words in told.items())}"] if told else []


def _costs(times: Times) -> str:
    parts = [] if times.total_ms is None else [f"{times.total_ms:.2f} ms"]
    return ", ".join([*parts, *([] if times.models_mb is None else [f"{times.models_mb:,.1f} MB of models"])])
