"""The student before it was trained, called once more to show what training brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from alignkit.artifact import Artifact, load_artifact
from alignkit.commandline.composed import build, plain
from alignkit.commandline.sides import PACKAGED_SIDES, complete_sides
from alignkit.embedders.base import Embedder, Role, embed_all
from alignkit.errors import AlignkitError
from alignkit.evaluation.before import Before
from alignkit.evaluation.embedding_time import embedding_time
from alignkit.evaluation.student_record import product_of
from alignkit.evaluation.table_rows import HEAD_ALONE
from alignkit.pairs.base import PairSplits
from alignkit.pairs.evaluation_set import EvaluationSet, Side
from alignkit.pairs.text_sets import TextSet
from alignkit.student_files import START


def untouched(
    artifact: Artifact, run: Path | None, test: EvaluationSet, data: PairSplits | TextSet, settings: Mapping[str, Any]
) -> tuple[Before | None, str | None]:
    """The head alone and its student, as `distill` keeps them in the run folder, on the texts that are measured.

    Args:
        artifact: the head.
        run: its folder.
        test: its queries and corpus are embedded.
        data: that `test` was made from.
        settings: of the command: `data.role`, `time_embedding`.

    Returns:
        These and `None`, or `None` and why not; twice `None` where no student was trained.
    """
    if product_of(artifact) == HEAD_ALONE:
        return None, None
    reason = "the run folder does not have it"
    if run is not None and (run / START).is_dir():
        try:
            return _called(run / START, test, data, settings), None
        except AlignkitError as error:  # it is only compared with
            reason = str(error)
    return None, f"the head alone is not shown beside the trained student: {reason}"


def _called(start: Path, test: EvaluationSet, data: PairSplits | TextSet, settings: Mapping[str, Any]) -> Before:
    alone = load_artifact(start)
    config = OmegaConf.create({"student": None})
    complete_sides(config, alone, start, {"student": PACKAGED_SIDES["student"]})
    student: Embedder = build(plain(config)["student"], "student")
    own: Role = settings["data"].get("role", "document")
    roles: tuple[Role, Role] = (own, own) if isinstance(data, PairSplits) else ("query", "document")
    try:
        queries = _side(test.queries, student, roles[0])
        corpus = queries if test.corpus is test.queries else _side(test.corpus, student, roles[1])
        origin = replace(test.origin, student_identity=student.identity(roles[0]))
        was = replace(test, queries=queries, corpus=corpus, origin=origin)
        Before(was, alone).check(test)  # before anything is timed
        asked = None if settings["time_embedding"] is not False else "time_embedding=false"
        return Before(was, alone, embedding_time(was, "student", student, asked))
    finally:
        student.close()


def _side(side: Side, student: Embedder, role: Role) -> Side:
    if side.texts is None:
        raise AlignkitError("the sentences behind the vectors are not known")
    return replace(side, student=np.asarray(embed_all(student, list(side.texts), role)))
