"""The pictures of the report: for each the question that it answers, and the answer in words."""

from __future__ import annotations

from collections.abc import Iterator

from alignkit.evaluation.columns import Column
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import HEAD_ALONE, RowName
from alignkit.reporting import plots
from alignkit.reporting.confidence_words import calibration_words, routing_words
from alignkit.reporting.curve_words import curve_words
from alignkit.reporting.figure_tables import number

Picture = tuple[str, str, str]


def draw(result: Result) -> list[Picture]:
    """The plots: question, SVG, answer in words."""
    return [*_cosines(result), *_recall(result), *_cost(result), *_map(result), *_confidence(result), *_curve(result)]


def _cosines(result: Result) -> Iterator[Picture]:
    rows = result.rows
    aligned, mean = rows[result.product.row], rows.get(RowName.MEAN)
    said = (
        f"Before, the mean cosine is {number(rows[RowName.RAW][Column.COSINE_MEAN])}; after, "
        f"{number(aligned[Column.COSINE_MEAN])}, and 19 of 20 texts are above {number(aligned[Column.COSINE_P05])}."
    )
    if result.product != HEAD_ALONE and RowName.ALIGNED in rows:
        said += f" The head alone gives {number(rows[RowName.ALIGNED][Column.COSINE_MEAN])}."
    if mean is not None:
        said += f" Ignoring the text altogether gives {number(mean[Column.COSINE_MEAN])}."
    yield (
        "Are the vectors nearer to the teacher's than before?",
        plots.cosine_plot(result.cosines, result.product.row),
        said,
    )


def _recall(result: Result) -> Iterator[Picture]:
    curves = result.recall
    ylabel = "share of relevant texts found" if curves.of_relevant else "share of the teacher's first ten found"
    svg = plots.recall_plot(curves.by_row, ylabel, result.product.row)
    yield "How much is found when more hits are looked at?", svg, recall_words(result)


def recall_words(result: Result) -> str:
    """What the head finds among the first ten, and among those that the cascade hands to the teacher."""
    curve, cascade = result.recall.by_row[result.product.row], result.label(RowName.CASCADE)
    handed = min(result.verdict.evidence.cascade_size, len(curve))
    said = f"The first ten hits through the head hold {curve[min(9, len(curve) - 1)]:.0%} of what there is to find"
    if handed <= 10:
        return f"{said}: {cascade}, in which the teacher puts them in order, can get no further."
    return (
        f"{said}, the first {handed} hold {curve[handed - 1]:.0%}: {cascade}, in which the teacher puts those in "
        "order, can get no further."
    )


def _cost(result: Result) -> Iterator[Picture]:
    # nobody would choose a random projection: it would only press the others together
    total_ms: dict[RowName, float] = {
        name: row.times.total_ms
        for name, row in result.rows.items()
        if name != RowName.RAW and row.times and row.times.total_ms is not None
    }
    if total_ms:
        quality: dict[RowName, float] = {name: result.rows[name][result.measure] or 0.0 for name in total_ms}
        places = "; ".join(f"{name}: {said}" for name, said in (result.about.timed or {}).items())
        yield (
            "What does a query cost for that quality?",
            plots.frontier_plot(quality, total_ms, result.measure.heading, result.label),
            "Up and to the left is better; no row is both quicker and better than those on the grey line. One query at "
            f"a time, head and search on this machine's CPU. Where the models ran: {places}.",
        )


def _map(result: Result) -> Iterator[Picture]:
    plane = plots.map_plot(result.projection, result.product.row)
    if plane is not None:
        colour = "Blue" if result.product == HEAD_ALONE else "Violet"
        yield (
            "Does the aligned space look like the teacher's?",
            plane,
            f"Each grey line joins the two vectors of one text. {colour} points near the middle are texts whose "
            "aligned vectors are too average. Two dimensions show a small part of the space.",
        )


def _confidence(result: Result) -> Iterator[Picture]:
    sure = result.confidence
    if sure is not None and sure.routing:
        question = "Does it pay to send unsure queries to the teacher?"
        yield question, plots.routing_plot(sure.routing), routing_words(sure)
        yield (
            "Does the head know how much it finds?",
            plots.reliability_plot(sure.reliability),
            calibration_words(sure)
            or "Each point is a tenth of the queries, the least sure to the left. On the line, a head finds what it "
            "expects.",
        )


def _curve(result: Result) -> Iterator[Picture]:
    if result.curve is not None:
        ceiling = result.rows[RowName.TEACHER][result.measure] or 1.0
        svg = plots.learning_plot(result.curve, result.measure.heading, ceiling)
        yield "Would more training pairs help?", svg, curve_words(result)
