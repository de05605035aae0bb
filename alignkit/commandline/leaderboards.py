"""What `compare` and a sweep leave and print: the leaderboard of some runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from alignkit.artifact import Artifact
from alignkit.commandline.composed import build, plain
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import complete_sides, runs_here
from alignkit.comparing.finished_run import FinishedRun
from alignkit.comparing.found_runs import FoundRuns
from alignkit.comparing.hparams_events import write_hparams
from alignkit.comparing.leaderboard import Group, group_runs
from alignkit.comparing.leaderboard_words import console_group, leaderboard_json, markdown, notes, setting_lines
from alignkit.comparing.query_cost import Costs
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError, ArtifactError
from alignkit.event_files import why_no_events
from alignkit.files import write_whole
from alignkit.pasting import quoted

logger = logging.getLogger(__name__)

MARKDOWN, JSON, EVENTS = "leaderboard.md", "leaderboard.json", "tensorboard"


def measured_groups(
    found: FoundRuns, objective: str | None, *, time_embedding: bool,
    settings: Mapping[Path, Mapping[str, str]] | None = None,
) -> tuple[tuple[Group, ...], list[str]]:  # fmt: skip
    """Read the runs and measure what a query costs each.

    Args:
        found: the runs.
        objective: see `group_runs`.
        time_embedding: whether students are timed.
        settings: of each run those that are shown; `None` shows those in which the runs differ.

    Returns:
        The groups, and what is said of runs that are not among them.

    Raises:
        ArtifactError: if no run can be read.
    """
    names, costs = found.names(), Costs(_student_of if time_embedding else None)
    read, remarks = [], []
    for folder in found.finished:
        try:
            run = FinishedRun.read(folder, names[folder])
        except AlignkitError as error:
            remarks.append(f"left out: {error}")
            continue
        cost = None
        try:
            cost = costs.of(run)
        except AlignkitError as error:
            remarks.append(f"{run.name}: its head costs nothing that could be measured: {error}")
        read.append((run, cost))
    if not read:
        raise ArtifactError("; ".join(remarks) or "none of these runs is finished, so that there is nothing to compare")
    if found.unfinished:
        first = ", ".join(names[folder] for folder in found.unfinished[:3])
        remarks.append(f"{len(found.unfinished)} unfinished and left out: {first}{', …' * (len(found.unfinished) > 3)}")
    shown = None if settings is None else {names[path]: some for path, some in settings.items()}
    return group_runs(read, objective, shown), remarks


def write_leaderboard(
    folder: Path, groups: Sequence[Group], title: str, remarks: Sequence[str], more: Mapping[str, Any],
    *, tensorboard: bool = True,
) -> None:  # fmt: skip
    """Write the page, the figures and TensorBoard's events, and print the tables.

    Args:
        folder: of the leaderboard.
        groups: the tables.
        title: of the page.
        remarks: what else is to be said.
        more: for the file of figures.
        tensorboard: whether events are written.
    """
    write_whole(folder / MARKDOWN, markdown(groups, title, remarks))
    write_whole(folder / JSON, leaderboard_json(groups, {**more, "remarks": list(remarks)}))
    console = Screen(80)
    for group in groups:
        console.print(f"{group.measured_on}; teacher {group.teacher}", markup=False)
        console.print(console_group(group))
        for line in setting_lines(group):
            console.print(line, markup=False)
        console.print()
    for line in (*notes(groups), *remarks):
        console.print(line, markup=False)
    console.print(f"\nleaderboard: {folder / MARKDOWN}", soft_wrap=True, markup=False)
    if not tensorboard:
        return
    if (error := why_no_events(folder)) is not None:
        logger.warning("%s: no TensorBoard events, their names do not fit there (%s)", folder, error.strerror)
        return
    write_hparams(groups, folder / EVENTS)
    console.print(f"TensorBoard: tensorboard --logdir {quoted(str(folder / EVENTS))}", soft_wrap=True, markup=False)


def _student_of(run: FinishedRun, artifact: Artifact) -> Embedder | None:
    """The student of a run, where it is a model of this process."""
    if not runs_here(artifact.student_identity):
        return None
    config = OmegaConf.create({"student": None})
    complete_sides(config, artifact, run.head, {"student": "two_layer"})
    student: Embedder = build(plain(config)["student"], "student")
    return student
