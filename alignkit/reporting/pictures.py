"""The pictures of the report: for each the question that it answers, and the answer in words."""

from __future__ import annotations

from collections.abc import Iterator

from alignkit.evaluation.columns import Column
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import HEAD_ALONE, RowName
from alignkit.language.speaking import say, told
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
    said = [
        say(
            "Before, the mean cosine is {before}; after, {after}, and 19 of 20 texts are above {low}.",
            before=number(rows[RowName.RAW][Column.COSINE_MEAN]),
            after=number(aligned[Column.COSINE_MEAN]),
            low=number(aligned[Column.COSINE_P05]),
        )
    ]
    if result.product != HEAD_ALONE and RowName.ALIGNED in rows:
        alone = number(rows[RowName.ALIGNED][Column.COSINE_MEAN])
        said.append(say("The head alone gives {cosine}.", cosine=alone))
    if mean is not None:
        blind = number(mean[Column.COSINE_MEAN])
        said.append(say("Ignoring the text altogether gives {cosine}.", cosine=blind))
    yield (
        say("Are the vectors nearer to the teacher's than before?"),
        plots.cosine_plot(result.cosines, result.product.row),
        say(" ").join(said),
    )


def _recall(result: Result) -> Iterator[Picture]:
    svg = plots.recall_plot(result.recall, result.product.row)
    yield say("How much is found when more hits are looked at?"), svg, recall_words(result)


def recall_words(result: Result) -> str:
    """What the head finds among the first ten, and among those that the cascade hands to the teacher."""
    curve, cascade = result.recall.by_row[result.product.row], result.label(RowName.CASCADE)
    handed = min(result.verdict.evidence.cascade_size, len(curve))
    first_ten = curve[min(9, len(curve) - 1)]
    if handed <= 10:
        return say(
            "The first ten hits through the head hold {ten:.0%} of what there is to find: {cascade}, in which the "
            "teacher puts them in order, can get no further.",
            ten=first_ten,
            cascade=cascade,
        )
    return say(
        "The first ten hits through the head hold {ten:.0%} of what there is to find, the first {handed} hold "
        "{all:.0%}: {cascade}, in which the teacher puts those in order, can get no further.",
        ten=first_ten,
        handed=handed,
        all=curve[handed - 1],
        cascade=cascade,
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
        timed = result.about.timed or {}
        places = say("; ").join(say("{side}: {said}", side=say(side), said=told(one)) for side, one in timed.items())
        yield (
            say("What does a query cost for that quality?"),
            plots.frontier_plot(quality, total_ms, result.measure, result.label),
            say(
                "Up and to the left is better; no row is both quicker and better than those on the grey line. One "
                "query at a time, head and search on this machine's CPU. Where the models ran: {places}.",
                places=places,
            ),
        )


def _map(result: Result) -> Iterator[Picture]:
    plane = plots.map_plot(result.projection, result.product.row)
    if plane is not None:
        colour = say("Blue" if result.product == HEAD_ALONE else "Violet")
        yield (
            say("Does the aligned space look like the teacher's?"),
            plane,
            say(
                "Each grey line joins the two vectors of one text. {colour} points near the middle are texts whose "
                "aligned vectors are too average. Two dimensions show a small part of the space.",
                colour=colour,
            ),
        )


def _confidence(result: Result) -> Iterator[Picture]:
    sure = result.confidence
    if sure is not None and sure.routing:
        question = say("Does it pay to send unsure queries to the teacher?")
        yield question, plots.routing_plot(sure.routing), routing_words(sure)
        yield (
            say("Does the head know how much it finds?"),
            plots.reliability_plot(sure.reliability),
            calibration_words(sure)
            or say(
                "Each point is a tenth of the queries, the least sure to the left. On the line, a head finds what it "
                "expects."
            ),
        )


def _curve(result: Result) -> Iterator[Picture]:
    if result.curve is not None:
        ceiling = result.rows[RowName.TEACHER][result.measure] or 1.0
        svg = plots.learning_plot(result.curve, result.measure, ceiling)
        yield say("Would more training pairs help?"), svg, curve_words(result)
