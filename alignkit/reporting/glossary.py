"""What rows and columns mean, for a reader who has not seen them before."""

from __future__ import annotations

from alignkit.evaluation.columns import Column
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName

Meaning = tuple[str, str, str]
# what a row embeds queries with, what the corpus, and what it is for
ROWS: dict[RowName, Meaning] = {
    RowName.TEACHER: (
        "teacher query",
        "teacher corpus",
        "the ceiling: what the expensive model finds in its own index",
    ),
    RowName.TUNED: (
        "trained student's query through its head",
        "teacher corpus",
        "the product: student and head trained together, expensive index",
    ),
    RowName.TUNED_PLAIN: (
        "the same without its whitening",
        "teacher corpus",
        "what queries find that look like the teacher's vectors, as documents do",
    ),
    RowName.TUNED_BOTH: (
        "trained student's query through its head",
        "trained student's corpus through its head",
        "without the teacher: not even the index needs it",
    ),
    RowName.ALIGNED: (
        "student query through the head",
        "teacher corpus",
        "the product: cheap queries, expensive index",
    ),
    RowName.ALIGNED_PLAIN: (
        "the same without its whitening",
        "teacher corpus",
        "what queries find that look like the teacher's vectors, as documents do",
    ),
    RowName.ALIGNED_BOTH: (
        "student query through the head",
        "student corpus through the head",
        "without the teacher: not even the index needs it",
    ),
    RowName.STUDENT_TUNED: (
        "trained student's query",
        "trained student's corpus",
        "the honest rival: the trained student with an index of its own",
    ),
    RowName.STUDENT: ("student query", "student corpus", "the honest rival: the cheap model with an index of its own"),
    RowName.CASCADE: (
        "student query through the head, then one teacher query",
        "teacher corpus",
        "the head finds as many candidates as the name says, the teacher puts them in order",
    ),
    RowName.RIDGE: ("student query through a linear map in closed form", "teacher corpus", "what any head must beat"),
    RowName.RAW: (
        "student query through a random projection",
        "teacher corpus",
        "before any alignment: the two spaces have nothing in common",
    ),
    RowName.MEAN: (
        "the mean teacher vector of the training split, whatever the query",
        "teacher corpus",
        "the floor: it knows nothing of the query",
    ),
}
# what changes where the product is a trained student: the head alone is then a rival, and `student` was not trained
BESIDE_TRAINED: dict[RowName, Meaning] = {
    RowName.ALIGNED: (
        "untouched student's query through the head alone",
        "teacher corpus",
        "what there was before: what training the student brings is measured against it",
    ),
    RowName.STUDENT: (
        "untouched student's query",
        "untouched student's corpus",
        "the other honest rival: the student as it was, with an index of its own",
    ),
    RowName.CASCADE: (
        "trained student's query through its head, then one teacher query",
        "teacher corpus",
        "the head finds as many candidates as the name says, the teacher puts them in order",
    ),
    RowName.RIDGE: (
        "trained student's query through a linear map in closed form",
        "teacher corpus",
        "what any head must beat",
    ),
    RowName.RAW: (
        "trained student's query through a random projection",
        "teacher corpus",
        "before any alignment: the two spaces have nothing in common",
    ),
}
TIME_COLUMNS = {
    "embed_ms": ("embed ms", "embedding one query, ms, where its model ran (see below the table)"),
    "head_ms": ("head ms", "the head on this machine's CPU, ms"),
    "search_ms": ("search ms", "scanning the whole corpus on this machine's CPU, ms"),
    "total_ms": ("total ms", "the three together, ms"),
    "models_mb": ("models MB", "what the models that embed the query and the head weigh in memory, MB"),
}
HEADINGS = {**{column.value: column.heading for column in Column}, **{key: one[0] for key, one in TIME_COLUMNS.items()}}
MEANINGS = {**{column.value: column.meaning for column in Column}, **{key: one[1] for key, one in TIME_COLUMNS.items()}}
SHARE_MEANING = (
    "Each figure divided by the teacher's own: at 100% a row finds as much as the teacher, above 100% more. This is "
    "the mean of a row divided by the mean of the teacher, not the mean over queries."
)
LIMITS = (
    "They hold for texts like those tested. Figures for another domain, language or length can be far worse: evaluate "
    "on your own texts.",
    "The intervals cover the choice of queries, not the choice of training pairs or of the seed.",
    "A high cosine does not mean a good search: the `mean` row shows what a model gets that ignores its input.",
    "Where relevance is a shared label, a text with another label counts as wrong even if a reader would accept it.",
    "Times are of one query at a time, scanning all vectors, as measured once; an approximate index is faster, and a "
    "server that is busy or far away is slower.",
)


def meaning(name: RowName, product: Product) -> Meaning:
    """What a row is beside this product."""
    return ROWS[name] if product == HEAD_ALONE else BESIDE_TRAINED.get(name, ROWS[name])
