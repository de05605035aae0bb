"""The command `watch`: what is done once its words have been read."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact
from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.commandline import build, plain
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import complete_sides
from alignkit.embedders.base import ROLES, join_batches
from alignkit.embedders.steadiness import Steadiness
from alignkit.errors import ConfigError
from alignkit.head_models import teacher_roles
from alignkit.language.speaking import say
from alignkit.reporting.watch_page import write_watch
from alignkit.reporting.watch_words import console_lines
from alignkit.runs.folder import asked_head, run_of
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.watching.live_queries import LiveQueries, read_live
from alignkit.watching.live_rows import check_same_student
from alignkit.watching.looking import Looked, look, usable_queries
from alignkit.watching.past_looks import past_looks
from alignkit.watching.replaced import check_unreplaced, lowest_cosine, role_of_training
from alignkit.watching.searched import Searched, SearchedEngine, SearchedVectors
from alignkit.watching.standing import Standing, judge
from alignkit.watching.unlikeness import unlikeness_of
from alignkit.watching.watched import Watched

WORSE_EXIT_CODE = 3


def main(config: DictConfig) -> None:
    """Look once, report."""
    head = asked_head(config.head)
    artifact, run = load_artifact(head), run_of(head)
    complete_sides(config, artifact, head)
    settings = plain(config)
    if settings["corpus"] is not None and settings.get("index") is not None:
        raise ConfigError("corpus= and index= both say what is searched; give one of them")
    queries = read_live(settings["queries"], settings["text_column"])
    if artifact.student_identity is not None:
        check_same_student(settings["queries"], queries.logged_by, [artifact.student_identity])
    sample = HeldOutSample.load(run)
    with contextlib.closing(AlignedEmbedder(artifact, build(settings["student"], "student"))) as aligned:
        lowest = dict[str, float]()
        if sample is not None and (canary := sample.canary) is not None:
            again = aligned.embed_student(canary.texts)
            now = join_batches(again, len(canary.texts), artifact.student_dim)
            lowest["student"] = lowest_cosine("student", canary.student, now)
            least = Steadiness(aligned.student, aligned.student_role).least(lowest["student"], canary.texts)
            check_unreplaced("student", lowest["student"], artifact.student_identity, least)
        unlikeness = unlikeness_of(queries, aligned, run, settings["seed"])
        watched = Watched(str(head), Path(settings["queries"]).name, artifact, queries.notes, unlikeness, lowest)
        if settings["budget"]:
            watched = _ask(watched, queries, aligned, sample, run, settings)
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_watch(watched, folder, html=settings["html"])
    console = Screen(80)
    for line in console_lines(watched):
        console.print(line, markup=False)
    report = folder / ("report.html" if settings["html"] else "metrics.json")
    console.print(f"\n{say('report: {file}', file=report)}", soft_wrap=True, markup=False)
    if watched.judged is not None and watched.judged.standing is Standing.WORSE:
        sys.exit(WORSE_EXIT_CODE)


def _ask(
    watched: Watched, queries: LiveQueries, aligned: AlignedEmbedder, sample: HeldOutSample | None, run: Path | None,
    settings: dict[str, Any],
) -> Watched:  # fmt: skip
    """Ask the teacher for some of the queries, and judge the head by all looks."""
    artifact, lowest = aligned.artifact, dict[str, float]()
    usable = usable_queries(queries, run)
    with (
        _searched(settings, artifact.teacher_dim, sample) as searched,
        contextlib.closing(build(settings["teacher"], "teacher")) as teacher,
        VectorCache(settings["cache_dir"]) as cache,
    ):
        cached = CachedEmbedder(teacher, cache)
        roles = teacher_roles(artifact, cached.dim, {role: cached.identity(role) for role in ROLES})
        role = roles[0]
        if sample is not None and (canary := sample.canary) is not None:
            role, lowest["teacher"] = role_of_training(roles, teacher, canary)
            least = Steadiness(teacher, role).least(lowest["teacher"], canary.texts)
            check_unreplaced("teacher", lowest["teacher"], artifact.teacher_identity, least)
        about = {"head": artifact.digest(), "place": searched.place}
        with past_looks(watched.head, about) as past:
            looked: Looked = look(
                past, queries, usable, aligned, cached, role, searched, sample,
                name=watched.queries, budget=settings["budget"], seed=settings["seed"],
            )  # fmt: skip
    return replace(
        watched,
        notes=(*watched.notes, *looked.notes),
        lowest_cosines={**watched.lowest_cosines, **lowest},
        judged=judge(looked.past, settings["seed"]),
        place=searched.place,
        index_change=looked.index_change,
        history=looked.past.folder,
    )


@contextlib.contextmanager
def _searched(settings: dict[str, Any], width: int, sample: HeldOutSample | None) -> Iterator[Searched]:
    """What the queries search: an engine, a file, or what the run kept."""
    if settings.get("index") is not None:
        with build(settings["index"], "index") as index:
            yield SearchedEngine(index, width)
    elif settings["corpus"] is not None:
        yield SearchedVectors.of_file(settings["corpus"], width)
    elif sample is not None and len(sample.teacher):
        yield SearchedVectors("the run's held-out texts", np.asarray(sample.teacher), width)
    else:
        raise ConfigError(
            "there is nothing to search: the head came without its run's held-out texts; give the index with index=, "
            "or the teacher's vectors with corpus=FILE"
        )
