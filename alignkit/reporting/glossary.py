"""What rows and columns mean, for a reader who has not seen them before."""

from __future__ import annotations

from alignkit.evaluation.columns import Column
from alignkit.evaluation.table_rows import RowName

# what a row embeds queries with, what the corpus, and what it is for
ROWS = {
    RowName.TEACHER: (
        "teacher query",
        "teacher corpus",
        "the ceiling: what the expensive model finds in its own index",
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
TIME_COLUMNS = {
    "embed_ms": ("embed ms", "embedding one query, ms, where its model ran (see below the table)"),
    "head_ms": ("head ms", "the head on this machine's CPU, ms"),
    "search_ms": ("search ms", "scanning the whole corpus on this machine's CPU, ms"),
    "total_ms": ("total ms", "the three together, ms"),
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
